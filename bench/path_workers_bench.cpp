// The whole path with workers that share a table, each a thread of its own. The argument is the number of flows.
//
// Workers fill their buffers, wait for each other, and process their batches at the same time: what is timed of one
// runs while the others run too. ns/packet is the machine's: one worker's median divided by the number of workers.

#include "support/path_bed.hpp"

#include <array>
#include <atomic>
#include <thread>

namespace kubeproxy::bench {
namespace {

using bed_type = path_bed<shared_flow_table>;
using worker_type = bed_type::worker_type;

/// Where threads meet; they spin, for what they wait for takes microseconds. One that has no processor lets others run.
class meeting {
  public:
    explicit meeting(unsigned threads) noexcept : threads_{threads} {}
    void wait() noexcept {
        auto const round = round_.load();
        if (arrived_.fetch_add(1) + 1 == threads_) {
            arrived_.store(0);
            round_.fetch_add(1);
            return;
        }
        for (unsigned spins = 0; round_.load() == round;)
            if (++spins % 10'000 == 0) std::this_thread::yield();
    }

  private:
    unsigned threads_;
    std::atomic<unsigned> arrived_{0}, round_{0};
};

/// The other workers of a benchmark: each does `turn` whenever the first one does.
class others {
  public:
    template <class Turn>
    others(unsigned workers, Turn turn) : start_{workers} {
        for (unsigned i = 1; i < workers; ++i)
            threads_.emplace_back([this, turn, i] {
                for (;;) {
                    start_.wait();
                    if (is_over_) return;
                    turn(i, start_);
                }
            });
    }
    others(others const&) = delete;
    others& operator=(others const&) = delete;
    ~others() {
        is_over_ = true;
        start_.wait();
        for (auto& t : threads_) t.join();
    }
    /// Lets them begin a turn, and returns where they meet within it.
    [[nodiscard]] meeting& begin() noexcept {
        start_.wait();
        return start_;
    }

  private:
    meeting start_;
    std::atomic<bool> is_over_{false};
    std::vector<std::thread> threads_;
};

struct shared_flows {
    bed_type bed;
    client_flows flows;
    std::uint32_t count;
    std::array<std::uint64_t, 2> turns{}; ///< of each worker

    shared_flows(translation const& t, std::uint32_t n, unsigned workers)
        : bed{ku_text_of(t), bed_size::for_flows(t, n), workers}, flows{t, transport::udp}, count{n} {
        bed.establish(flows, 0, n);
    }
};

/// Every worker gets packets of both directions of its own share of the flows.
void own_packets(shared_flows& s, unsigned i, unsigned workers) {
    auto& w = s.bed.worker(i);
    w.fill(sizes::smallest, [&](std::size_t slot, mutable_byte_span to) {
        auto const flow = w.random_below(s.count / workers) * workers + i;
        return slot % 2 == 0 ? s.flows.write_request(to, flow) : s.flows.write_reply(to, flow);
    });
}
/// Requests come to one worker, their replies to the other.
void crossed_packets(shared_flows& s, unsigned i, unsigned) {
    auto& w = s.bed.worker(i);
    w.fill(sizes::smallest, [&](std::size_t, mutable_byte_span to) {
        auto const flow = w.random_below(s.count);
        return i == 0 ? s.flows.write_request(to, flow) : s.flows.write_reply(to, flow);
    });
}

/// The same, and both get the same flows at the same moment: a record is never at rest.
void crossed_packets_at_once(shared_flows& s, unsigned i, unsigned workers) {
    s.bed.worker(i).draw_from(s.turns[i]++);
    crossed_packets(s, i, workers);
}

using packets_of = void (*)(shared_flows&, unsigned, unsigned);

void run(benchmark::State& state, translation const& t, unsigned workers, packets_of fill) {
    shared_flows s{t, static_cast<std::uint32_t>(state.range(0)), workers};
    batch_times times;
    tally verdicts;
    others rest{workers, [&](unsigned i, meeting& all) {
                    fill(s, i, workers);
                    all.wait();
                    tally ignored;
                    (void)s.bed.worker(i).run(ignored);
                }};
    auto& worker = s.bed.worker();
    for (auto _ : state) {
        auto& all = rest.begin();
        fill(s, 0, workers);
        all.wait();
        auto const time = worker.run(verdicts) / workers;
        state.SetIterationTime(time.count() * 1e-9);
        times.add(time, worker.batch());
    }
    if (verdicts.forwarded != static_cast<std::uint64_t>(state.iterations()) * worker.batch())
        return state.SkipWithError("packets of known flows were not forwarded");
    times.report(state, worker.batch());
}

void add(char const* name, unsigned workers, packets_of fill) {
    for (auto const& t : std::span{translations}.first(2))
        benchmark::RegisterBenchmark(
            (std::string{"nat"} + t.name + "/shared/" + std::to_string(workers) + name).c_str(),
            [&t, workers, fill](benchmark::State& state) { run(state, t, workers, fill); })
            ->Arg(1 << 10)
            ->Arg(1 << 16)
            ->Arg(1 << 20)
            ->Iterations(512) // the table takes longer to fill
            ->UseManualTime();
}

[[maybe_unused]] bool const registered = [] {
    add("_worker", 1, own_packets);
    add("_workers", 2, own_packets);
    add("_workers_replies_crossed", 2, crossed_packets);
    add("_workers_replies_crossed_at_once", 2, crossed_packets_at_once);
    return true;
}();

} // namespace
} // namespace kubeproxy::bench
