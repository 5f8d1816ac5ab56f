// The whole path, packets of known flows: bytes to verdict in bursts of 32, one worker.
// ns/packet is the median over batches of 1024 packets; what is timed: support/path_bed.hpp.

#include "support/path_bed.hpp"

#include <optional>

namespace kubeproxy::bench {
namespace {

enum class direction { original, reply, mixed };
constexpr std::array directions{"original", "reply", "mixed"};
constexpr std::array size_names{"64B", "imix"};

/// A table full of flows: made once for all the benchmarks that ask for the same one in a row.
struct full_table {
    translation const* of;
    std::uint32_t count;
    client_flows flows;
    path_bed<flow_table> bed;

    full_table(translation const& t, std::uint32_t n)
        : of{&t}, count{n}, flows{t, transport::udp}, bed{ku_text_of(t), bed_size::for_flows(t, n)} {
        bed.establish(flows, 0, n);
    }
};

full_table& table_of(translation const& t, std::uint32_t flows) {
    static std::optional<full_table> kept;
    if (!kept || kept->of != &t || kept->count != flows) {
        kept.reset(); // before the next one takes its memory
        kept.emplace(t, flows);
    }
    return *kept;
}

void write_packet(full_table& t, mutable_byte_span to, direction towards, std::size_t slot) {
    auto const flow = t.bed.worker().random_below(t.count);
    bool const is_reply = towards == direction::reply || (towards == direction::mixed && slot % 2 == 1);
    return is_reply ? t.flows.write_reply(to, flow) : t.flows.write_request(to, flow);
}

void established(benchmark::State& state, translation const& tr, sizes s, direction towards) {
    auto& t = table_of(tr, static_cast<std::uint32_t>(state.range(0)));
    auto& worker = t.bed.worker();
    batch_times times;
    tally verdicts;
    for (auto _ : state) {
        worker.fill(s, [&](std::size_t slot, mutable_byte_span to) { write_packet(t, to, towards, slot); });
        auto const time = worker.run(verdicts);
        state.SetIterationTime(time.count() * 1e-9);
        times.add(time, worker.batch());
    }
    if (verdicts.fresh != 0 || verdicts.forwarded != static_cast<std::uint64_t>(state.iterations()) * worker.batch())
        return state.SkipWithError("packets of known flows were not forwarded as such");
    times.report(state, worker.batch());
}

[[maybe_unused]] bool const registered = [] {
    for (auto const flows : {1 << 10, 1 << 16, 1 << 20, 1 << 23})
        for (auto const& t : translations)
            for (auto const s : {sizes::smallest, sizes::imix})
                for (auto const d : {direction::original, direction::reply, direction::mixed}) {
                    auto const name = std::string{"nat"} + t.name + "/established/" +
                                      size_names[static_cast<std::size_t>(s)] + '/' +
                                      directions[static_cast<std::size_t>(d)];
                    benchmark::RegisterBenchmark(name.c_str(),
                                                 [&t, s, d](benchmark::State& state) { established(state, t, s, d); })
                        ->Arg(flows)
                        ->UseManualTime();
                }
    return true;
}();

} // namespace
} // namespace kubeproxy::bench
