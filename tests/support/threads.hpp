#pragma once

#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::testing_support {

/// Measures whether threads really ran at the same time.
///
/// Each thread calls step() once in each round of its loop. A step overlaps if another thread has made a step since
/// this thread's step before, for then both loops were running.
class overlap_meter {
  public:
    explicit overlap_meter(std::size_t threads) : lanes_(threads) {
        for (auto& each : lanes_) each.seen.resize(threads);
    }

    void step(std::size_t which) noexcept {
        auto& mine = lanes_[which];
        mine.steps.fetch_add(1, std::memory_order_relaxed); // relaxed: the meter orders nothing that the test checks
        bool has_another_moved = false;
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            auto const now = lanes_[i].steps.load(std::memory_order_relaxed);
            has_another_moved = has_another_moved || (i != which && now != mine.seen[i]);
            mine.seen[i] = now;
        }
        if (has_another_moved) ++mine.overlaps;
    }
    /// Overlapping steps of thread 0, for which a test chooses the thread that every other one may disturb.
    /// \pre called by thread 0, or the threads have been joined
    [[nodiscard]] std::uint64_t overlaps() const noexcept { return lanes_[0].overlaps; }

  private:
    struct alignas(64) lane {
        std::atomic<std::uint64_t> steps{0};
        std::vector<std::uint64_t> seen; ///< of each thread's steps, by this thread
        std::uint64_t overlaps = 0;
    };
    std::vector<lane> lanes_;
};

/// Calls work(0) to work(threads - 1), each on a thread of its own; all begin at one barrier. Returns when all have
/// ended.
template <class F>
void run_together(std::size_t threads, F&& work) {
    std::barrier start{static_cast<std::ptrdiff_t>(threads)};
    std::vector<std::jthread> running;
    for (std::size_t i = 0; i < threads; ++i)
        running.emplace_back([&, i] {
            start.arrive_and_wait();
            work(i);
        });
}

/// Repeats `round(meter)` until its threads have overlapped in at least `enough` steps, all rounds together. A round
/// makes the objects of the test anew, runs threads that call meter.step(), and checks the result. Fails if the threads
/// hardly overlapped in `max_rounds` rounds: the test has then shown nothing about what they do at the same time. A
/// machine with one processor overlaps only where it switches between threads, and such a test fails there.
template <class F>
void repeat_until_overlapped(std::size_t threads, std::uint64_t enough, F&& round, unsigned max_rounds = 3000) {
    std::uint64_t overlaps = 0;
    unsigned rounds = 0;
    for (; rounds < max_rounds && overlaps < enough && !testing::Test::HasFailure(); ++rounds) {
        overlap_meter meter{threads};
        round(meter);
        overlaps += meter.overlaps();
    }
    testing::Test::RecordProperty("rounds", static_cast<int>(rounds));
    testing::Test::RecordProperty("overlapping_steps", std::to_string(overlaps));
    if (!testing::Test::HasFailure()) {
        EXPECT_GE(overlaps, enough) << "the threads did not run at the same time in " << rounds << " rounds";
    }
}

} // namespace kubeproxy::testing_support
