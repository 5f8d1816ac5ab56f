#pragma once

#include "path_packets.hpp"

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/dataplane/proxy.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

/// A data plane with services, flows and packets, timed from bytes to verdict.
///
/// Only process() is timed. A batch of bursts is written into buffers first, then processed while the clock runs: two
/// readings of the clock for 1024 packets, and nothing to subtract. The packets then lie in the second-level cache,
/// where the writer left them; a device that writes into the cache leaves them in the third (DDIO), so a host's parse
/// stage waits some nanoseconds longer, or prefetches. IMIX packets touch the same lines: the path reads no payload.
/// Flows are chosen at random, uniformly: their index and record lines are where the size of the table lets them be.
namespace kubeproxy::bench {

using nanoseconds = std::chrono::duration<double, std::nano>;

/// Verdicts of a batch.
struct tally {
    std::uint64_t forwarded = 0, fresh = 0;
    void operator()(span_packet&, outcome const& o) noexcept {
        forwarded += o.what == verdict::forward() ? 1u : 0u;
        fresh += o.relation == flow_relation::fresh ? 1u : 0u;
    }
};

/// A proxy with its buffers and its clock.
template <class Table>
class path_worker {
  public:
    static constexpr std::size_t batch_bursts = 32;

    path_worker(Table& flows, typename proxy<span_packet, Table>::affinity_type& clients, service_source& services,
                worker_share share, std::size_t bursts = batch_bursts)
        : buffers_{bursts}, proxy_{flows, clients, services, {.share = share}}, random_{share.index} {}

    [[nodiscard]] std::size_t batch() const noexcept { return buffers_.size(); }
    [[nodiscard]] packet_buffers const& packets() const noexcept { return buffers_; }
    /// Writes the batch: write(slot, bytes), size_of(slot) bytes each.
    template <class SizeOf, class Write>
    void fill(SizeOf&& size_of, Write&& write) {
        for (std::size_t slot = 0; slot < buffers_.size(); ++slot) write(slot, buffers_.renew(slot, size_of(slot)));
    }
    template <class Write>
    void fill(sizes s, Write&& write) {
        fill([s](std::size_t slot) { return packet_size(s, slot); }, write);
    }
    /// Processes the batch. 32 packets come every `pace`, in the proxy's time.
    nanoseconds run(tally& verdicts, std::chrono::nanoseconds pace = std::chrono::microseconds{2}) noexcept {
        auto const begin = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < buffers_.bursts(); ++i) proxy_.process(buffers_.burst(i), now_ += pace, verdicts);
        return std::chrono::steady_clock::now() - begin;
    }
    [[nodiscard]] std::chrono::nanoseconds now() const noexcept { return now_; }
    void set_now(std::chrono::nanoseconds now) noexcept { now_ = now; }
    [[nodiscard]] auto& path() noexcept { return proxy_; }

    /// Uniform below `bound`.
    [[nodiscard]] std::uint32_t random_below(std::uint32_t bound) noexcept {
        return static_cast<std::uint32_t>((random_() & 0xffff'ffff) * bound >> 32);
    }

    /// Workers that begin at the same number draw the same.
    void draw_from(std::uint64_t seed) { random_.seed(seed); }

  private:
    packet_buffers buffers_;
    proxy<span_packet, Table> proxy_;
    std::chrono::nanoseconds now_{std::chrono::seconds{1}};
    std::mt19937_64 random_;
};

/// How many flows a table must hold.
struct bed_size {
    std::uint32_t narrow = 64, wide = 64;
    [[nodiscard]] static bed_size for_flows(translation const& t, std::uint32_t flows) noexcept {
        bool const is_narrow = std::string_view{t.name} == "44";
        return {is_narrow ? flows : 64, is_narrow ? 64 : flows};
    }
};

template <class Table>
class path_bed {
  public:
    using worker_type = path_worker<Table>;

    path_bed(std::string const& ku, bed_size size, unsigned workers = 1)
        : control_{services_}, table_{make_table({size.narrow, size.wide})}, clients_{make_clients()} {
        if (auto const result = control_.apply(ku); !result.ok())
            throw std::logic_error{"the configuration is refused: " + result.error->reason};
        for (unsigned i = 0; i < workers; ++i)
            workers_.push_back(std::make_unique<worker_type>(table_, clients_, services_, worker_share{i, workers}));
    }
    [[nodiscard]] Table& table() noexcept { return table_; }
    [[nodiscard]] worker_type& worker(std::size_t i = 0) noexcept { return *workers_[i]; }

    /// Enters flows [first, last), each with a reply (TCP: with its whole handshake).
    void establish(client_flows& flows, std::uint32_t first, std::uint32_t last) {
        flows.reserve(last);
        auto& w = worker();
        for (auto at = first; at < last; at += static_cast<std::uint32_t>(w.batch())) {
            auto const flow = [&](std::size_t slot) {
                return std::min(at + static_cast<std::uint32_t>(slot), last - 1);
            };
            step([&](std::size_t slot, mutable_byte_span to) { flows.write_opening(to, flow(slot)); });
            for (std::size_t slot = 0; slot < w.batch(); ++slot) flows.learn(flow(slot), w.packets()[slot].bytes());
            step([&](std::size_t slot, mutable_byte_span to) { flows.write_answer(to, flow(slot)); });
            step([&](std::size_t slot, mutable_byte_span to) { flows.write_request(to, flow(slot)); });
            step([&](std::size_t slot, mutable_byte_span to) { flows.write_reply(to, flow(slot)); });
        }
        for (std::size_t i = 1; i < workers_.size(); ++i) worker(i).set_now(w.now());
    }

  private:
    template <class Write>
    void step(Write&& write) {
        tally verdicts;
        worker().fill(sizes::smallest, write);
        (void)worker().run(verdicts);
        if (verdicts.forwarded != worker().batch()) throw std::logic_error{"a flow was not made"};
    }
    [[nodiscard]] Table make_table(flow_table_size size) {
        if constexpr (Table::sharing_type::is_shared)
            return Table{size, secret{1}, services_};
        else
            return Table{size, secret{1}};
    }
    [[nodiscard]] auto make_clients() { return typename proxy<span_packet, Table>::affinity_type{64, secret{1}}; }

    service_source services_;
    controller control_;
    Table table_;
    typename proxy<span_packet, Table>::affinity_type clients_;
    std::vector<std::unique_ptr<worker_type>> workers_;
};

/// Ends the flows that have no reply yet, in random order: their records are taken again in an order that no machine
/// predicts.
template <class Table>
void erase_unreplied(Table& table) {
    std::vector<flow_ref> gone;
    table.for_each([&](flow_ref flow) {
        if (is_evictable(table.body(flow).state())) gone.push_back(flow);
    });
    std::ranges::shuffle(gone, std::mt19937{7});
    for (auto const flow : gone) table.erase(flow);
}

/// Times of batches, told as the mean and as the median, which other programs on the machine disturb less.
class batch_times {
  public:
    void add(nanoseconds time, std::size_t packets) { each_.push_back(time.count() / static_cast<double>(packets)); }
    void report(benchmark::State& state, std::size_t batch) {
        state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
        if (each_.empty()) return;
        auto const middle = each_.begin() + static_cast<std::ptrdiff_t>(each_.size() / 2);
        std::nth_element(each_.begin(), middle, each_.end());
        state.counters["ns/packet"] = *middle;
    }

  private:
    std::vector<double> each_;
};

} // namespace kubeproxy::bench
