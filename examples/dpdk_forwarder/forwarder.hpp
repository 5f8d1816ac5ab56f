#pragma once

#include "dpdk_forwarder/clock.hpp"
#include "dpdk_forwarder/counters.hpp"
#include "dpdk_forwarder/options.hpp"
#include "dpdk_forwarder/port.hpp"
#include "dpdk_forwarder/runtime.hpp"
#include "dpdk_forwarder/worker.hpp"

#include "support/configuration.hpp"

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/service/affinity.hpp"
#include "kubeproxy/service/publication.hpp"

#include <rte_ethdev.h>
#include <rte_lcore.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace dpdk {

/// The started ports, and how workers use them.
class port_set {
  public:
    port_set(settings const& s, std::uint16_t workers)
        : pool_{make_pool(frames_for(workers), s.mtu)}, links_(rte_eth_dev_count_avail()) {
        if (links_.empty()) throw std::runtime_error{"no port: see --vdev, -a"};
        for (auto number = rte_eth_find_next(0); number < RTE_MAX_ETHPORTS;
             number = rte_eth_find_next(static_cast<std::uint16_t>(number + 1)))
            ports_.push_back(
                std::make_unique<ethernet_port>(number, ethernet_port::settings{workers, s.mtu, pool_.get()}));
        for (std::size_t i = 0; i < links_.size(); ++i) connect(i, s);
    }

    [[nodiscard]] std::span<port_link> links() noexcept { return links_; }
    [[nodiscard]] std::span<std::unique_ptr<ethernet_port> const> all() const noexcept { return ports_; }
    [[nodiscard]] rte_mempool& pool() const noexcept { return *pool_; }

    /// Tells workers what `ku set interface` says now.
    void map_returns(std::span<kubeproxy::interface_nat const> interfaces) {
        for (std::size_t i = 0; i < links_.size(); ++i) {
            auto const is_set = [&](kubeproxy::pod_family pods) {
                return std::ranges::count(interfaces, kubeproxy::interface_nat{ports_[i]->name(), pods}) != 0;
            };
            links_[i].maps_stateless_replies_ipv4.store(is_set(kubeproxy::pod_family::ipv4) ? 1 : 0,
                                                        std::memory_order_relaxed);
            links_[i].maps_stateless_replies_ipv6.store(is_set(kubeproxy::pod_family::ipv6) ? 1 : 0,
                                                        std::memory_order_relaxed);
        }
    }

  private:
    /// What queues and lcores may hold at once.
    [[nodiscard]] static unsigned frames_for(unsigned workers) {
        constexpr unsigned queue_pair = 2048, lcore = 1024;
        return std::max(8192u, rte_eth_dev_count_avail() * workers * queue_pair + workers * lcore) - 1;
    }

    void connect(std::size_t i, settings const& s) {
        auto const& port = *ports_[i];
        auto const other = i ^ 1;
        links_[i].number = port.number();
        links_[i].receive_queues = port.receive_queues();
        links_[i].peer = static_cast<std::uint16_t>(other < links_.size() ? other : i);
        links_[i].send_offloads = port.send_offloads();
        links_[i].hop = {.how = s.how, .own = port.address()};
        if (!s.gateways.empty()) links_[i].hop.gateway = s.gateways[std::min(i, s.gateways.size() - 1)];
    }

    packet_pool pool_; // before the ports: they give their frames back when they stop
    std::vector<std::unique_ptr<ethernet_port>> ports_;
    std::vector<port_link> links_;
};

/// The library, configured: one control path, one flow table, a worker for each lcore.
class forwarder {
  public:
    explicit forwarder(settings const& s)
        : ports_{s, static_cast<std::uint16_t>(rte_lcore_count())}, control_{services_,
                                                                             {.seed = examples::ring_seed_of(s.seed),
                                                                              .hooks = hooks()}},
          notes_{examples::configure(control_, s.config)}, flows_{examples::table_size(control_.configuration().node()),
                                                                  examples::secret_of(s.seed), services_},
          clients_{kubeproxy::proxy_settings{}.affinity_clients, flows_.key()}, place_{services_} {
        ports_.map_returns(control_.configuration().node().interfaces);
        packet_clock clock;
        if (s.clock == settings::time::packets) {
            auto const field = find_receive_time();
            clock = packet_clock{field.offset, field.flag};
        }
        auto const count = rte_lcore_count();
        for (unsigned i = 0; i < count; ++i) {
            kubeproxy::proxy_settings of_worker;
            of_worker.ring_seed = examples::ring_seed_of(s.seed);
            of_worker.share = {i, count};
            workers_.push_back(std::make_unique<worker>(static_cast<std::uint16_t>(i), ports_.links(), clock, flows_,
                                                        clients_, services_, of_worker));
        }
        is_ready_ = true;
    }

    [[nodiscard]] port_set const& ports() const noexcept { return ports_; }
    [[nodiscard]] kubeproxy::controller& control() noexcept { return control_; }
    /// Lines of the `ku` language, while workers run. When it returns no packet is treated by what was before.
    kubeproxy::command_result execute(std::string_view lines) {
        auto result = control_.apply(lines);
        if (!result.ok()) return result;
        ports_.map_returns(control_.configuration().node().interfaces);
        free_replaced_services();
        return result;
    }
    /// Ends the endpoints whose drain time is over. To be called several times a second, by the thread that executes.
    void tick() {
        if (control_.tick(now())) free_replaced_services();
    }
    [[nodiscard]] examples::configuration_notes const& notes() const noexcept { return notes_; }
    [[nodiscard]] std::span<std::unique_ptr<worker> const> workers() const noexcept { return workers_; }

    /// Runs `round(worker)` on every lcore, this one too, until `lasts()` is false.
    template <class Round, class Lasts>
    void run(Round round, Lasts lasts) {
        run_on(rte_lcore_count(), round, lasts);
    }
    /// The same on the first lcores.
    template <class Round, class Lasts>
    void run_on(unsigned lcores, Round round, Lasts lasts) {
        struct job {
            Round& round;
            Lasts& lasts;
            std::span<std::unique_ptr<worker> const> workers;
        } all{round, lasts, workers_};
        auto const work = [](void* argument) {
            auto& mine = *static_cast<job*>(argument);
            auto& self = *mine.workers[static_cast<std::size_t>(rte_lcore_index(-1))];
            while (mine.lasts()) mine.round(self);
            return 0;
        };
        unsigned lcore = 0;
        RTE_LCORE_FOREACH(lcore)
        if (static_cast<unsigned>(rte_lcore_index(static_cast<int>(lcore))) < lcores && lcore != rte_lcore_id())
            (void)rte_eal_remote_launch(work, &all, lcore);
        if (static_cast<unsigned>(rte_lcore_index(-1)) < lcores) work(&all);
        rte_eal_mp_wait_lcore();
    }

  private:
    /// Calls f() while no flow record that it finds is reused.
    template <class F>
    auto inside(F f) {
        kubeproxy::read_side_section const section{place_};
        return f();
    }

    /// The time by which flows are judged. Of packets with times of their own the first worker saw the latest.
    [[nodiscard]] std::chrono::nanoseconds now() const noexcept { return workers_.front()->clock().now(); }

    /// When it returns no packet is treated by what was before.
    void free_replaced_services() {
        auto& domain = services_.quiescence();
        auto const since = domain.advance();
        while (!domain.has_passed(since)) std::this_thread::yield(); // a burst, some microseconds
        control_.collect();
    }

    [[nodiscard]] kubeproxy::controller_hooks hooks() {
        return {.flows =
                    [this] {
                        if (!is_ready_) return std::vector<kubeproxy::flow_view>{};
                        return inside([&] { return flows_of(flows_, now(), control_.current()); });
                    },
                .clients =
                    [this] {
                        if (!is_ready_) return std::vector<kubeproxy::affinity_view>{};
                        auto const time = std::chrono::duration_cast<std::chrono::milliseconds>(now());
                        return clients_of(clients_, kubeproxy::flow_time{time}, control_.current());
                    },
                .counters =
                    [this] {
                        if (!is_ready_) return std::vector<kubeproxy::counter_view>{};
                        return counter_views(ports_.all(), workers_);
                    },
                .flush =
                    [this] {
                        if (is_ready_) inside([&] { flows_.flush(); });
                    }};
    }

    bool is_ready_ = false; ///< not while the ku file is read: its lines may ask for what there is only later
    port_set ports_;
    kubeproxy::service_source services_;
    kubeproxy::controller control_;
    examples::configuration_notes notes_;
    kubeproxy::shared_flow_table flows_;
    kubeproxy::shared_affinity_table clients_;
    kubeproxy::service_reader place_; ///< the control path's own
    std::vector<std::unique_ptr<worker>> workers_;
};

} // namespace dpdk
