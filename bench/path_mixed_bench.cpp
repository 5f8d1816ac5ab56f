// The whole path, packets of several kinds: in one burst, against bursts of each kind alone; and ICMP errors.

#include "support/path_bed.hpp"

#include <deque>

namespace kubeproxy::bench {
namespace {

/// The kinds that a mixed burst has an equal share of: 44 and 66, UDP and TCP, known and new.
struct kind {
    client_flows flows;
    bool is_new;
    std::uint32_t next; ///< the number of the next new flow
};

class mixture {
  public:
    explicit mixture(std::uint32_t known)
        : known_{known}, bed_{std::string{ku_text_of(translations[0])} + ku_text_of(translations[1]),
                              {4 * known + (1 << 16), 4 * known + (1 << 16)}} {
        for (auto const over : {transport::udp, transport::tcp})
            for (auto const& t : std::span{translations}.first(2)) {
                auto& k = kinds_.emplace_back(kind{{t, over}, false, known});
                bed_.establish(k.flows, 0, known);
                kinds_.push_back({k.flows, true, known});
            }
    }
    [[nodiscard]] std::size_t kinds() const noexcept { return kinds_.size(); }
    /// Nanoseconds for each packet of a batch: of kind `which`, or of all, mixed.
    [[nodiscard]] double batch_of(std::size_t which, tally& verdicts) {
        auto& worker = bed_.worker();
        worker.fill(sizes::smallest, [&](std::size_t slot, mutable_byte_span to) {
            write(kinds_[which < kinds() ? which : slot % kinds()], to);
        });
        return worker.run(verdicts).count() / static_cast<double>(worker.batch());
    }
    /// Ends the new flows from time to time, or the table would fill.
    void tidy() {
        if (kinds_[1].next < known_ + (1 << 13)) return;
        erase_unreplied(bed_.table());
        for (auto& k : kinds_) k.next = known_;
    }
    [[nodiscard]] std::size_t batch() { return bed_.worker().batch(); }

  private:
    void write(kind& k, mutable_byte_span to) {
        if (k.is_new) return k.flows.write_opening(to, k.next++);
        k.flows.write_request(to, bed_.worker().random_below(known_));
    }

    std::uint32_t known_;
    path_bed<flow_table> bed_;
    std::deque<kind> kinds_;
};

double median_of(std::vector<double>& values) {
    auto const middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// ns/packet is the mixed burst's; `of_parts` is what its packets would take in bursts of one kind each.
void mixed(benchmark::State& state) {
    mixture m{static_cast<std::uint32_t>(state.range(0))};
    std::vector<std::vector<double>> times(m.kinds() + 1);
    tally verdicts;
    for (auto _ : state) {
        for (std::size_t which = 0; which <= m.kinds(); ++which) times[which].push_back(m.batch_of(which, verdicts));
        state.SetIterationTime(times.back().back() * 1e-9 * static_cast<double>(m.batch()));
        m.tidy();
    }
    if (verdicts.forwarded != static_cast<std::uint64_t>(state.iterations()) * m.batch() * times.size())
        return state.SkipWithError("packets were not forwarded");
    double parts = 0;
    for (std::size_t which = 0; which < m.kinds(); ++which) parts += median_of(times[which]);
    parts /= static_cast<double>(m.kinds());
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(m.batch()));
    state.counters["ns/packet"] = median_of(times.back());
    state.counters["of_parts"] = parts;
    state.counters["ratio"] = median_of(times.back()) / parts;
}
BENCHMARK(mixed)
    ->Name("mixed_44_66_udp_tcp_known_new")
    ->Arg(1 << 10)
    ->Arg(1 << 16)
    ->Arg(1 << 18)
    ->Iterations(200)
    ->UseManualTime();

/// Port unreachable from pods, each about a flow of its own.
void icmp_errors(benchmark::State& state, translation const& t) {
    auto const count = static_cast<std::uint32_t>(state.range(0));
    path_bed<flow_table> bed{ku_text_of(t), bed_size::for_flows(t, count)};
    client_flows flows{t, transport::udp};
    bed.establish(flows, 0, count);
    auto& worker = bed.worker();
    std::vector<build::octets> errors;
    for (std::size_t slot = 0; slot < worker.batch(); ++slot)
        errors.push_back(flows.error_about(static_cast<std::uint32_t>(slot) % count));
    batch_times times;
    tally verdicts;
    for (auto _ : state) {
        worker.fill([&](std::size_t slot) { return errors[slot].size(); },
                    [&](std::size_t slot, mutable_byte_span to) { copy_bytes(to, errors[slot]); });
        auto const time = worker.run(verdicts);
        state.SetIterationTime(time.count() * 1e-9);
        times.add(time, worker.batch());
    }
    if (verdicts.forwarded != static_cast<std::uint64_t>(state.iterations()) * worker.batch())
        return state.SkipWithError("errors about known flows were not forwarded");
    times.report(state, worker.batch());
}

[[maybe_unused]] bool const registered = [] {
    for (auto const& t : translations)
        benchmark::RegisterBenchmark((std::string{"nat"} + t.name + "/icmp_error").c_str(),
                                     [&t](benchmark::State& state) { icmp_errors(state, t); })
            ->Arg(1 << 10)
            ->UseManualTime();
    return true;
}();

} // namespace
} // namespace kubeproxy::bench
