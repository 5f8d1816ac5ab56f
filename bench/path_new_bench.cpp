// The whole path, packets of new flows: into a table with room, into one where flows end as fast as they begin, and
// into one that is full. The argument is how many flows the table holds.

#include "support/path_bed.hpp"

namespace kubeproxy::bench {
namespace {

using bed_type = path_bed<flow_table>;

bool all_forwarded(benchmark::State& state, tally const& verdicts, std::size_t batch) {
    if (verdicts.forwarded == static_cast<std::uint64_t>(state.iterations()) * batch) return true;
    state.SkipWithError("packets were not forwarded");
    return false;
}

/// Half of the table is in use, replied. New flows come until three quarters are, and then end.
void new_flows(benchmark::State& state, translation const& t) {
    auto const capacity = static_cast<std::uint32_t>(state.range(0)), half = capacity / 2;
    bed_type bed{ku_text_of(t), bed_size::for_flows(t, capacity)};
    client_flows flows{t, transport::udp};
    bed.establish(flows, 0, half);
    auto& worker = bed.worker();
    batch_times times;
    tally verdicts;
    auto next = half;
    for (auto _ : state) {
        worker.fill(sizes::smallest, [&](std::size_t, mutable_byte_span to) { flows.write_opening(to, next++); });
        auto const time = worker.run(verdicts);
        state.SetIterationTime(time.count() * 1e-9);
        times.add(time, worker.batch());
        if (next < half + half / 2) continue;
        erase_unreplied(bed.table());
        next = half;
    }
    if (!all_forwarded(state, verdicts, worker.batch())) return;
    if (verdicts.fresh != verdicts.forwarded) return state.SkipWithError("a flow is not a new one");
    times.report(state, worker.batch());
}

/// Half of the packets are of new flows, the others of the last ones; flows end by their timeout, the table half full.
void churn(benchmark::State& state, translation const& t) {
    auto const capacity = static_cast<std::uint32_t>(state.range(0)), half = capacity / 2;
    bed_type bed{ku_text_of(t), bed_size::for_flows(t, capacity)};
    client_flows const flows{t, transport::udp};
    auto& worker = bed.worker();
    auto const pace = std::chrono::nanoseconds{timeouts{}.udp_unreplied} * (burst_size / 2) / half;
    batch_times times;
    tally verdicts;
    std::uint32_t next = half;
    auto const batch = [&] {
        worker.fill(sizes::smallest, [&](std::size_t slot, mutable_byte_span to) {
            flows.write_opening(to, slot % 2 == 0 ? next++ : next - 1 - worker.random_below(half / 4));
        });
        return worker.run(verdicts, pace);
    };
    while (next < half + 2 * capacity) (void)batch(); // until as many end as begin
    verdicts = {};
    for (auto _ : state) {
        auto const time = batch();
        state.SetIterationTime(time.count() * 1e-9);
        times.add(time, worker.batch());
    }
    if (!all_forwarded(state, verdicts, worker.batch())) return;
    times.report(state, worker.batch());
    state.counters["load"] = static_cast<double>(bed.table().counters().flows()) / capacity;
}

/// Half of the table is established, half is half-open: every SYN ends one of the half-open.
void syn_flood(benchmark::State& state, translation const& t) {
    auto const capacity = static_cast<std::uint32_t>(state.range(0)), half = capacity / 2;
    bed_type bed{ku_text_of(t), bed_size::for_flows(t, capacity)};
    client_flows flows{t, transport::tcp};
    bed.establish(flows, 0, half);
    auto& worker = bed.worker();
    batch_times times;
    tally verdicts;
    auto next = half;
    auto const batch = [&] {
        worker.fill(sizes::smallest, [&](std::size_t, mutable_byte_span to) { flows.write_opening(to, next++); });
        return worker.run(verdicts);
    };
    while (next < 2 * capacity) (void)batch();
    verdicts = {};
    for (auto _ : state) {
        auto const time = batch();
        state.SetIterationTime(time.count() * 1e-9);
        times.add(time, worker.batch());
    }
    if (!all_forwarded(state, verdicts, worker.batch())) return;
    std::uint32_t kept = 0;
    bed.table().for_each(
        [&](flow_ref flow) { kept += bed.table().body(flow).state() == flow_state::tcp_established ? 1u : 0u; });
    if (kept != half) return state.SkipWithError("an established flow was evicted");
    times.report(state, worker.batch());
    state.counters["entered"] = static_cast<double>(verdicts.fresh) / static_cast<double>(verdicts.forwarded);
}

/// Every flow is replied, none may go: what is new is forwarded by the ring, without an entry.
void table_full(benchmark::State& state, translation const& t) {
    auto const capacity = static_cast<std::uint32_t>(state.range(0));
    bed_type bed{ku_text_of(t), bed_size::for_flows(t, capacity)};
    client_flows flows{t, transport::udp};
    bed.establish(flows, 0, capacity);
    auto& worker = bed.worker();
    batch_times times;
    tally verdicts;
    auto next = capacity;
    for (auto _ : state) {
        worker.fill(sizes::smallest, [&](std::size_t, mutable_byte_span to) { flows.write_opening(to, next++); });
        auto const time = worker.run(verdicts);
        state.SetIterationTime(time.count() * 1e-9);
        times.add(time, worker.batch());
    }
    if (!all_forwarded(state, verdicts, worker.batch())) return;
    if (verdicts.fresh != 0) return state.SkipWithError("a flow was entered in a full table");
    times.report(state, worker.batch());
}

using benchmark_of = void (*)(benchmark::State&, translation const&);

void add(char const* name, benchmark_of run, std::size_t of_translations) {
    for (auto const& t : std::span{translations}.first(of_translations))
        benchmark::RegisterBenchmark((std::string{"nat"} + t.name + '/' + name).c_str(),
                                     [run, &t](benchmark::State& state) { run(state, t); })
            ->Arg(1 << 14)
            ->Arg(1 << 20)
            ->Iterations(256) // the table takes longer to fill
            ->UseManualTime();
}

[[maybe_unused]] bool const registered = [] {
    add("new", new_flows, translations.size());
    add("churn", churn, 2);
    add("syn_flood", syn_flood, 2);
    add("table_full", table_full, 2);
    return true;
}();

} // namespace
} // namespace kubeproxy::bench
