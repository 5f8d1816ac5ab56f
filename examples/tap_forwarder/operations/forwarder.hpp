#pragma once

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/handover/file.hpp"
#include "kubeproxy/handover/transfer.hpp"
#include "tap_forwarder/operations/link_options.hpp"
#include "tap_forwarder/operations/whole_file.hpp"
#include "tap_forwarder/worker/worker.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace examples {

struct forwarder_settings {
    std::vector<tap_option> taps;
    std::vector<route_option> routes;
    std::size_t workers = 1;
    std::uint32_t flows = 1u << 20; ///< of IPv4, and as many that have IPv6 on a side
    std::size_t mtu = router_link::default_mtu;
    proxied_addresses answer_for = proxied_addresses::none;
    reverse_path sources = reverse_path::strict;
    bool track_direct = false;              ///< see kubeproxy::proxy_settings
    std::string capture;                    ///< empty: none
    std::chrono::microseconds busy_poll{0}; ///< how long a worker looks again before it sleeps
};

/// A router whose data plane is the library: TAP devices, workers, and the control path. Everything but start() and
/// stop() is for one thread, the one that controls.
class forwarder {
  public:
    /// Each worker has three readers of the services: its own, its proxy's, and that of the addresses it answers for.
    /// The thread that controls has one, and one more while it takes over flows.
    static constexpr std::size_t max_workers = (kubeproxy::quiescent_domain::max_workers - 2) / 3;

    /// Opens the devices. \throws startup_error, naming the option
    explicit forwarder(forwarder_settings const& settings)
        : links_{make_links(settings.taps, settings.mtu)}, routes_{make_routes(links_, settings.routes)},
          devices_{open_devices(settings.taps, settings.workers, settings.mtu, choice_for(settings.workers))},
          key_{kubeproxy::secret::from_system()}, flows_{{settings.flows, settings.flows}, key_, services_},
          clients_{affinity_clients, key_}, control_{services_, {.hooks = hooks()}}, place_{services_} {
        if (!settings.capture.empty()) capture_ = open_capture(settings.capture);
        make_workers(settings);
    }
    forwarder(forwarder const&) = delete;
    forwarder& operator=(forwarder const&) = delete;
    ~forwarder() { stop(); }

    [[nodiscard]] kubeproxy::controller& control() noexcept { return control_; }
    [[nodiscard]] kubeproxy::service_source& services() noexcept { return services_; }
    [[nodiscard]] kubeproxy::shared_flow_table& flows() noexcept { return flows_; }
    [[nodiscard]] kubeproxy::shared_affinity_table& clients() noexcept { return clients_; }
    [[nodiscard]] std::vector<router_link> const& links() const noexcept { return links_; }
    [[nodiscard]] std::vector<tap_device> const& devices() const noexcept { return devices_; }
    [[nodiscard]] std::vector<std::unique_ptr<worker>> const& workers() const noexcept { return workers_; }
    /// Whether worker i runs on processor i, where all devices have the frames from there in its queue.
    [[nodiscard]] bool has_processor_for_each_worker() const noexcept {
        return std::ranges::all_of(devices_, [](tap_device const& each) { return each.steering().is_on(); });
    }
    /// The workers' clock: what their proxies are told, and the flow table.
    [[nodiscard]] static std::chrono::nanoseconds now() noexcept {
        return std::chrono::steady_clock::now().time_since_epoch();
    }

    [[nodiscard]] static kubeproxy::flow_time flow_now() noexcept {
        return kubeproxy::flow_time{std::chrono::duration_cast<std::chrono::milliseconds>(now())};
    }

    /// Tells which links are those of local pods. \pre the workers have not started
    void set_pod_links(kubeproxy::node_configuration const& node) { mark_pod_links(links_, node); }
    void start() {
        for (std::size_t i = 0; i < workers_.size(); ++i)
            workers_[i]->start(has_processor_for_each_worker() ? std::optional{i} : std::nullopt);
        is_running_ = true;
    }
    void stop() {
        if (!std::exchange(is_running_, false)) return;
        for (auto& each : workers_) each->stop();
    }

    /// Lines of the `ku` language. When it returns no packet is treated by what was before.
    kubeproxy::command_result execute(std::string_view lines) {
        auto result = control_.apply(lines);
        if (result.ok()) wait_for_workers();
        return result;
    }
    /// Until every worker sees what was published last: a burst, some microseconds.
    void wait_for_workers() {
        auto& domain = services_.quiescence();
        auto const since = domain.advance();
        while (!domain.has_passed(since)) std::this_thread::yield();
        control_.collect();
    }

    /// The sum over the workers; each at one moment of its own.
    [[nodiscard]] worker_counters counters() {
        worker_counters sum;
        if (is_running_)
            for (auto& each : workers_) sum += each->counters();
        return sum;
    }
    /// Calls f() while no flow record that it finds is reused.
    template <class F>
    auto inside(F&& f) {
        kubeproxy::read_side_section const section{place_};
        return f();
    }
    void flush_capture() {
        if (capture_) capture_->flush();
    }

  private:
    static constexpr std::size_t affinity_clients = 1 << 16;

    [[nodiscard]] static queue_choice choice_for(std::size_t workers) noexcept {
        return has_processor_for_each(workers) ? queue_choice::processor : queue_choice::kernel;
    }

    [[nodiscard]] static std::unique_ptr<frame_capture> open_capture(std::string const& file) {
        try {
            return std::make_unique<frame_capture>(file);
        } catch (capture_error const& wrong) {
            throw startup_error{"--capture " + std::string{wrong.what()}};
        }
    }

    void make_workers(forwarder_settings const& settings) {
        shared_data_plane const shared{services_, flows_, clients_, links_, routes_};
        auto const mtu = static_cast<std::uint16_t>(max_link_mtu(links_));
        for (std::size_t i = 0; i < settings.workers; ++i) {
            packet_path_settings path{.answer_for = settings.answer_for, .sources = settings.sources};
            path.proxy.track_direct = settings.track_direct;
            path.proxy.share = {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(settings.workers)};
            path.proxy.translation.ipv4_mtu = path.proxy.translation.ipv6_mtu =
                mtu; // of a link the router knows better
            std::vector<int> queues;
            for (auto const& device : devices_) queues.push_back(device.queues()[i].number());
            worker::announcement announce_to_others;
            if (settings.workers > 1)
                announce_to_others = [this](worker& from, worker::neighbour_update const& what) {
                    for (auto& other : workers_)
                        if (other.get() != &from) other->learn_neighbour(what);
                };
            workers_.push_back(std::make_unique<worker>(shared, path, worker_queues{std::move(queues), capture_.get()},
                                                        settings.busy_poll, std::move(announce_to_others)));
        }
    }

    [[nodiscard]] kubeproxy::controller_hooks hooks() {
        return {.flows = [this] { return inside([&] { return flows_of(flows_, now(), control_.current()); }); },
                .clients = [this] { return clients_of(clients_, flow_now(), control_.current()); },
                .counters = [this] { return counter_views(); },
                .flush = [this] { inside([&] { flows_.flush(); }); },
                .save_config =
                    [](std::string const& file, std::string_view text) {
                        write_whole_file(file, text);
                        return "saved " + std::to_string(text.size()) + " bytes to " + file + '\n';
                    },
                .save_flows = [this](std::string const& file) { return save_flows(file); }};
    }

    [[nodiscard]] std::vector<kubeproxy::counter_view> counter_views();
    [[nodiscard]] std::string save_flows(std::string const& file) {
        if (control_.current() == nullptr) throw kubeproxy::ku_error{"there are no services yet"};
        auto const images = images_of(flows_, *control_.current(), flow_now());
        write_whole_file(file, flow_file_of(images));
        return "saved " + std::to_string(images.flows.size()) + " flows to " + file + '\n';
    }

    std::vector<router_link> links_;
    routing_tables routes_;
    std::vector<tap_device> devices_;
    kubeproxy::secret key_;
    kubeproxy::service_source services_;
    kubeproxy::shared_flow_table flows_;
    kubeproxy::shared_affinity_table clients_;
    kubeproxy::controller control_;
    kubeproxy::service_reader place_; ///< the control thread's own
    std::unique_ptr<frame_capture> capture_;
    std::vector<std::unique_ptr<worker>> workers_;
    bool is_running_ = false;
};

/// What `show counters` prints: where packets came from and ended, by reason where there are several.
inline std::vector<kubeproxy::counter_view> forwarder::counter_views() {
    using kubeproxy::action;
    auto const sum = counters();
    std::vector<kubeproxy::counter_view> all{{"received", sum.packets.received},
                                             {"made", sum.packets.made},
                                             {"sent", sum.packets.sent},
                                             {"consumed", sum.packets.consumed},
                                             {"waiting", sum.packets.waiting},
                                             {"dropped", sum.packets.dropped()},
                                             {"dropped_by_library", sum.packets.dropped_by_library}};
    auto const add = [&](std::string name, std::uint64_t value) {
        if (value != 0) all.push_back({std::move(name), value});
    };
    for (std::size_t i = 0; i < router_drop_count; ++i)
        add("dropped." + std::string{name(static_cast<router_drop>(i))}, sum.packets.drops[i]);
    for (std::size_t i = 0; i < router_event_count; ++i)
        add("router." + std::string{name(static_cast<router_event>(i))}, sum.packets.events[i]);
    for (auto const what : {action::forward, action::pass, action::reply, action::drop}) {
        std::uint64_t packets = 0;
        for (auto const& each : workers_) packets += each->verdicts().packets(what);
        add("library." + std::string{name(what)}, packets);
    }
    for (std::size_t i = 1; i < kubeproxy::drop_reason_count; ++i) {
        auto const why = static_cast<kubeproxy::drop_reason>(i);
        std::uint64_t packets = 0;
        for (auto const& each : workers_) packets += each->verdicts().dropped(why);
        add("library.drop." + std::string{name(why)}, packets);
    }
    return all;
}

} // namespace examples
