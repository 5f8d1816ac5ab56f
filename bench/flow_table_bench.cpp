#include "kubeproxy/flow/table.hpp"

#include "support/flow_tuples.hpp"

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include <benchmark/benchmark.h>

// A row is named after its table: the number of flows in it. Time is per packet, not per burst.

namespace {

using namespace std::chrono_literals;
using kubeproxy::flow_ref;
using kubeproxy::flow_time;
using kubeproxy::insert_outcome;
using kubeproxy::ipv4;
using kubeproxy::ipv6;
using kubeproxy::new_flow;
using kubeproxy::tuple;
using kubeproxy::bench::original;
using kubeproxy::bench::random_packets;
using kubeproxy::bench::translated;

constexpr std::size_t burst_size = 32;
constexpr new_flow established{.state = kubeproxy::flow_state::udp_assured, .timeout = 3600s};
constexpr new_flow half_open{.state = kubeproxy::flow_state::tcp_syn_sent, .timeout = 240s};

/// The table, and a worker that is inside its domain for each burst if it is a shared one.
template <class Table>
class bench_table {
  public:
    static constexpr bool is_shared = std::is_same_v<Table, kubeproxy::shared_flow_table>;
    explicit bench_table(kubeproxy::flow_table_size size) : table{make(size)} { begin_burst(); }
    void begin_burst() {
        if constexpr (is_shared) {
            domain_.leave(worker_);
            domain_.enter(worker_);
        }
    }

  private:
    Table make(kubeproxy::flow_table_size size) {
        if constexpr (is_shared)
            return Table{size, kubeproxy::secret{1}, domain_};
        else
            return Table{size, kubeproxy::secret{1}};
    }
    kubeproxy::quiescent_domain domain_;
    std::size_t worker_ = *domain_.attach();

  public:
    Table table;
};

template <kubeproxy::ip_version V>
kubeproxy::flow_table_size room_for(std::uint32_t flows) {
    if constexpr (std::same_as<V, ipv4>)
        return {.narrow = flows, .wide = 0};
    else
        return {.narrow = 0, .wide = flows};
}

template <kubeproxy::ip_version V, class Table>
bool fill(Table& t, std::uint64_t flows) {
    for (std::uint64_t i = 0; i < flows; ++i) {
        if (i % burst_size == 0) t.begin_burst();
        if (t.table.insert(original<V>(i), translated<V>(i), established, flow_time{}).what != insert_outcome::inserted)
            return false;
    }
    return true;
}

template <class Table, kubeproxy::ip_version V, class Work>
std::uint64_t look_up_burst(Table& table, tuple<V> const* packets, Work work) {
    std::array<std::uint64_t, burst_size> hashes;
    std::array<flow_ref, burst_size> candidates;
    for (std::size_t i = 0; i < burst_size; ++i) table.prefetch_bucket(hashes[i] = table.hash(packets[i]));
    for (std::size_t i = 0; i < burst_size; ++i) table.prefetch_record(candidates[i] = table.candidate(hashes[i]));
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < burst_size; ++i) {
        auto const ref = table.find(packets[i], hashes[i], candidates[i]);
        if (!ref) continue;
        work(ref);
        ++found;
    }
    return found;
}

template <class Table, kubeproxy::ip_version V, class Work>
void look_up(benchmark::State& state, Work work) {
    auto const flows = static_cast<std::uint64_t>(state.range(0));
    static kubeproxy::bench::kept<bench_table<Table>> tables;
    auto& t = tables.of(flows, [&] {
        auto filled = std::make_unique<bench_table<Table>>(room_for<V>(static_cast<std::uint32_t>(flows)));
        (void)fill<V>(*filled, flows);
        return filled;
    });
    if (t.table.counters().flows() != flows)
        return state.SkipWithError("the table refused a flow that it has room for");
    auto const packets = random_packets<V>(flows);
    for (auto const& p : packets)
        if (auto const ref = t.table.find(p); !ref || t.table.template leaves_as<V>(ref.mirrored()) != p.mirrored())
            return state.SkipWithError("a flow is not found, or is another one");
    std::uint64_t looked = 0, found = 0;
    for (auto _ : state) {
        t.begin_burst();
        found +=
            look_up_burst(t.table, packets.data() + looked % packets.size(), [&](flow_ref ref) { work(t.table, ref); });
        looked += burst_size;
    }
    if (found != looked) state.SkipWithError("a lookup missed");
    state.SetItemsProcessed(static_cast<std::int64_t>(looked));
    state.counters["ns/packet"] = benchmark::Counter(static_cast<double>(looked) / 1e9,
                                                     benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["bytes/flow"] = static_cast<double>(t.table.bytes()) / static_cast<double>(flows);
}

template <class Table, kubeproxy::ip_version V>
void hit(benchmark::State& state) {
    look_up<Table, V>(state, [](auto& table, flow_ref ref) { benchmark::DoNotOptimize(table.body(ref).service); });
}
/// With what every packet of a known flow also does: time, counters, state.
template <class Table, kubeproxy::ip_version V>
void hit_and_touch(benchmark::State& state) {
    kubeproxy::timeouts const limits;
    look_up<Table, V>(state, [&](auto& table, flow_ref ref) {
        table.touch(ref, flow_time::of(1), kubeproxy::transport_event::packet, 64, limits);
    });
}

/// A flow ends and another begins, the table staying half full; the packet that begins it was looked up in its burst.
template <class Table, kubeproxy::ip_version V>
void churn(benchmark::State& state) {
    auto const flows = static_cast<std::uint64_t>(state.range(0));
    bench_table<Table> t{room_for<V>(static_cast<std::uint32_t>(2 * flows))};
    if (!fill<V>(t, flows)) return state.SkipWithError("the table refused a flow that it has room for");
    std::uint64_t next = flows, wrong = 0;
    for (auto _ : state) {
        t.begin_burst();
        std::array<std::uint64_t, burst_size> hashes;
        for (std::size_t i = 0; i < burst_size; ++i)
            t.table.prefetch_bucket(hashes[i] = t.table.hash(original<V>(next - flows + i)));
        for (std::size_t i = 0; i < burst_size; ++i) {
            t.table.prefetch_record(t.table.candidate(hashes[i]));
            t.table.prefetch_bucket(t.table.hash(original<V>(next + i)));
            t.table.prefetch_insert(t.table.reply_hash(translated<V>(next + i)));
        }
        for (std::size_t i = 0; i < burst_size; ++i, ++next) {
            wrong += t.table.erase(t.table.find(original<V>(next - flows), hashes[i])) ? 0u : 1u;
            auto const added = t.table.insert(original<V>(next), translated<V>(next), half_open, flow_time{});
            wrong += added.what == insert_outcome::inserted ? 0u : 1u;
        }
    }
    auto const done = next - flows;
    if (wrong != 0 || t.table.counters().flows() != flows) state.SkipWithError("a flow was lost or refused");
    state.SetItemsProcessed(static_cast<std::int64_t>(done));
    state.counters["ns/packet"] =
        benchmark::Counter(static_cast<double>(done) / 1e9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

/// Every packet is a SYN of its own, the table is full of them, and a thousand established flows must stay.
template <class Table, kubeproxy::ip_version V>
void flood(benchmark::State& state) {
    constexpr std::uint64_t kept = 1000;
    auto const flows = static_cast<std::uint64_t>(state.range(0));
    bench_table<Table> t{room_for<V>(static_cast<std::uint32_t>(flows))};
    if (!fill<V>(t, kept)) return state.SkipWithError("the table refused a flow that it has room for");
    std::uint64_t next = kept, refused = 0;
    auto const burst = [&] {
        t.begin_burst();
        std::array<std::uint64_t, burst_size> hashes;
        for (std::size_t i = 0; i < burst_size; ++i) {
            t.table.prefetch_bucket(hashes[i] = t.table.hash(original<V>(next + i)));
            t.table.prefetch_insert(t.table.reply_hash(translated<V>(next + i)));
        }
        for (std::size_t i = 0; i < burst_size; ++i, ++next) {
            if (t.table.find(original<V>(next), hashes[i])) ++refused;
            auto const now = flow_time::of(static_cast<std::uint32_t>(next / 5000));
            auto const added = t.table.insert(original<V>(next), translated<V>(next), half_open, now);
            refused += added.what == insert_outcome::inserted ? 0u : 1u;
        }
    };
    while (next < 2 * flows) burst();
    auto const before = next;
    for (auto _ : state) burst();
    for (std::uint64_t i = 0; i < kept; ++i)
        if (!t.table.find(original<V>(i))) return state.SkipWithError("an established flow was evicted");
    state.SetItemsProcessed(static_cast<std::int64_t>(next - before));
    state.counters["ns/packet"] = benchmark::Counter(static_cast<double>(next - before) / 1e9,
                                                     benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["refused"] = static_cast<double>(refused) / static_cast<double>(next - kept);
}

/// Expiry that finds nothing to do: what a burst pays for it.
template <class Table>
void idle_sweep(benchmark::State& state) {
    auto const flows = static_cast<std::uint64_t>(state.range(0));
    bench_table<Table> t{room_for<ipv4>(static_cast<std::uint32_t>(flows))};
    if (!fill<ipv4>(t, flows)) return state.SkipWithError("the table refused a flow that it has room for");
    for (auto _ : state) benchmark::DoNotOptimize(t.table.sweep(burst_size, flow_time::of(1000)));
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst_size));
}

using kubeproxy::flow_table;
using kubeproxy::shared_flow_table;

BENCHMARK(hit<flow_table, ipv4>)->Arg(1000)->Arg(64'000)->Arg(1'000'000)->Arg(3'350'000);
BENCHMARK(hit<shared_flow_table, ipv4>)->Arg(1000)->Arg(64'000)->Arg(1'000'000);
BENCHMARK(hit_and_touch<flow_table, ipv4>)->Arg(1000)->Arg(64'000)->Arg(1'000'000);
BENCHMARK(hit_and_touch<shared_flow_table, ipv4>)->Arg(1000)->Arg(64'000)->Arg(1'000'000);
BENCHMARK(hit_and_touch<flow_table, ipv6>)->Arg(1000)->Arg(64'000)->Arg(1'000'000);
BENCHMARK(churn<flow_table, ipv4>)->Arg(1000)->Arg(64'000)->Arg(1'000'000)->Arg(3'350'000)->Iterations(20'000);
BENCHMARK(churn<shared_flow_table, ipv4>)->Arg(1000)->Arg(500'000);
BENCHMARK(churn<flow_table, ipv6>)->Arg(500'000);
BENCHMARK(flood<flow_table, ipv4>)->Arg(65'536)->Arg(1'000'000);
BENCHMARK(flood<shared_flow_table, ipv4>)->Arg(65'536);
BENCHMARK(idle_sweep<flow_table>)->Arg(64'000)->Arg(1'000'000);

} // namespace
