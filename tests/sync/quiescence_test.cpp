#include "kubeproxy/sync/quiescence.hpp"

#include "support/threads.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::quiescence_tests {
namespace {
using testing_support::overlap_meter, testing_support::repeat_until_overlapped, testing_support::run_together;

TEST(quiescence, nobody_holds_anything_back_outside) {
    quiescent_domain domain;
    EXPECT_TRUE(domain.has_passed(domain.advance())) << "no worker at all";
    auto const worker = domain.attach().value();
    EXPECT_TRUE(domain.has_passed(domain.advance())) << "a worker that never entered";
    domain.enter(worker);
    domain.leave(worker);
    EXPECT_TRUE(domain.has_passed(domain.advance())) << "a worker that left";
}

TEST(quiescence, a_worker_inside_may_hold_what_was_unlinked_since) {
    quiescent_domain domain;
    auto const worker = domain.attach().value();
    domain.enter(worker);
    auto const unlinked = domain.advance();
    EXPECT_FALSE(domain.has_passed(unlinked));
    EXPECT_FALSE(domain.has_passed(unlinked)) << "asking changes nothing";
    domain.leave(worker);
    EXPECT_TRUE(domain.has_passed(unlinked));
}

TEST(quiescence, a_worker_that_entered_later_cannot_hold_it) {
    quiescent_domain domain;
    auto const worker = domain.attach().value();
    domain.enter(worker);
    auto const unlinked = domain.advance();
    domain.leave(worker);
    domain.enter(worker);
    EXPECT_TRUE(domain.has_passed(unlinked));
    auto const next = domain.advance();
    EXPECT_TRUE(domain.has_passed(unlinked));
    EXPECT_FALSE(domain.has_passed(next));
}

TEST(quiescence, entering_again_is_a_quiescent_point_too) {
    quiescent_domain domain;
    auto const worker = domain.attach().value();
    domain.enter(worker);
    auto const unlinked = domain.advance();
    domain.enter(worker); // the next burst
    EXPECT_TRUE(domain.has_passed(unlinked));
}

TEST(quiescence, is_full_with_the_last_worker_and_until_one_leaves) {
    quiescent_domain domain;
    for (std::size_t i = 0; i < quiescent_domain::max_workers; ++i) {
        EXPECT_FALSE(domain.is_full()) << i;
        EXPECT_TRUE(domain.attach());
    }
    EXPECT_TRUE(domain.is_full());
    EXPECT_FALSE(domain.attach());
    domain.detach(17);
    EXPECT_FALSE(domain.is_full());
    EXPECT_EQ(domain.attach(), 17u);
}

TEST(quiescence, all_workers_must_pass) {
    quiescent_domain domain;
    std::array const workers{domain.attach().value(), domain.attach().value(), domain.attach().value()};
    for (auto const worker : workers) domain.enter(worker);
    auto const unlinked = domain.advance();
    for (auto const worker : workers) {
        EXPECT_FALSE(domain.has_passed(unlinked));
        domain.leave(worker);
    }
    EXPECT_TRUE(domain.has_passed(unlinked));
}

TEST(quiescence, epochs_pass_in_order) {
    quiescent_domain domain;
    auto const worker = domain.attach().value();
    auto const first = domain.advance();
    EXPECT_EQ(domain.current(), first);
    domain.enter(worker);
    auto const second = domain.advance();
    EXPECT_GT(second, first);
    EXPECT_TRUE(domain.has_passed(first));
    EXPECT_FALSE(domain.has_passed(second));
}

TEST(quiescence, a_place_belongs_to_one_worker_until_it_is_given_back) {
    quiescent_domain domain;
    std::set<std::size_t> places;
    for (std::size_t i = 0; i < quiescent_domain::max_workers; ++i) places.insert(domain.attach().value());
    EXPECT_EQ(places.size(), quiescent_domain::max_workers);
    EXPECT_LT(*places.rbegin(), quiescent_domain::max_workers);
    EXPECT_FALSE(domain.attach().has_value());
    domain.detach(7);
    EXPECT_EQ(domain.attach(), 7u);
    EXPECT_FALSE(domain.attach().has_value());
}

TEST(quiescence, threads_attach_to_places_of_their_own) {
    constexpr std::size_t half = quiescent_domain::max_workers / 2;
    repeat_until_overlapped(2, 5000, [&](overlap_meter& meter) {
        std::vector<quiescent_domain> domains(200);
        std::array<std::vector<std::size_t>, 2> places;
        run_together(2, [&](std::size_t which) {
            for (auto& domain : domains)
                for (std::size_t i = 0; i < half; ++i) {
                    meter.step(which);
                    places[which].push_back(domain.attach().value());
                }
        });
        for (std::size_t domain = 0; domain < domains.size(); ++domain) {
            std::set<std::size_t> all;
            for (auto const& mine : places) all.insert(&mine[domain * half], &mine[domain * half] + half);
            ASSERT_EQ(all.size(), quiescent_domain::max_workers) << "domain " << domain;
        }
    });
}

/// With a place for every thread, each attach() succeeds, although the free place may move from where a thread has not
/// looked yet to where it has.
TEST(quiescence, a_free_place_is_found_while_others_come_and_go) {
    repeat_until_overlapped(2, 5000, [&](overlap_meter& meter) {
        quiescent_domain domain;
        for (std::size_t i = 0; i < quiescent_domain::max_workers - 2; ++i) ASSERT_TRUE(domain.attach());
        std::array<std::size_t, 2> failed{};
        run_together(2, [&](std::size_t which) {
            std::optional<std::size_t> mine = domain.attach();
            for (std::size_t i = 0; i < 20'000; ++i) {
                meter.step(which);
                if (mine) domain.detach(*mine);
                mine = domain.attach();
                failed[which] += mine ? 0u : 1u;
            }
        });
        EXPECT_EQ(failed[0] + failed[1], 0u);
        EXPECT_TRUE(domain.is_full());
    });
}

/// Both words are equal while it is published, and 0 while it is not. They are plain memory: ThreadSanitizer
/// sees a reader that is not ordered before the reuse.
struct node {
    std::uint64_t a = 0, b = 0;
};

class publisher {
  public:
    publisher() { publish(nodes_[0]); }

    /// Publishes another node, and makes the one before it worthless as soon as nobody can see it.
    void replace() {
        auto& old = *current_.load(std::memory_order_relaxed);
        publish(&old == &nodes_[0] ? nodes_[1] : nodes_[0]);
        auto const unlinked = domain.advance();
        while (!domain.has_passed(unlinked)) std::this_thread::yield();
        old = {};
    }

    /// One burst of a worker; false: it saw a node that was taken from it.
    [[nodiscard]] bool read(std::size_t worker, std::uint64_t burst) {
        domain.enter(worker);
        auto const& seen = *current_.load(std::memory_order_acquire); // as the index loads entries
        auto const before = seen.a;
        if (burst % 16 == 0) std::this_thread::yield(); // so that replace() runs meanwhile, on one processor too
        bool const is_intact = before != 0 && seen.b == before;
        domain.leave(worker);
        return is_intact;
    }

    quiescent_domain domain;

  private:
    void publish(node& n) {
        n = {++version_, version_};
        current_.store(&n, std::memory_order_release);
    }
    std::array<node, 2> nodes_{};
    std::uint64_t version_ = 0;
    std::atomic<node*> current_{nullptr};
};

TEST(quiescence, what_a_thread_reads_is_not_reused_under_it) {
    repeat_until_overlapped(3, 1000, [&](overlap_meter& meter) {
        publisher published;
        std::atomic<bool> is_done{false};
        std::array<std::uint64_t, 3> bursts{}, damaged{};
        auto const read = [&](std::size_t which) {
            auto const worker = published.domain.attach().value();
            for (; !is_done.load() || bursts[which] < 100; ++bursts[which]) {
                meter.step(which);
                if (!published.read(worker, bursts[which])) ++damaged[which];
            }
            published.domain.detach(worker);
        };
        run_together(3, [&](std::size_t which) {
            if (which != 0) return read(which);
            for (int i = 0; i < 2000; ++i) {
                meter.step(0);
                published.replace();
            }
            is_done.store(true);
        });
        EXPECT_EQ(damaged[1] + damaged[2], 0u) << "of " << bursts[1] + bursts[2] << " bursts";
    });
}

/// The two fences in the smallest form: a worker enters, then loads with relaxed order; the writer removes, advances
/// and asks. If the writer is told that nobody is inside, the worker must see the removal. Without the fences
/// processors with a store buffer (x86, too) break this within milliseconds.
TEST(quiescence, who_enters_unseen_sees_the_removal) {
    constexpr std::size_t rounds = 20'000;
    repeat_until_overlapped(2, 5000, [&](overlap_meter& meter) {
        std::vector<quiescent_domain> domains(64);
        for (auto& domain : domains) ASSERT_EQ(domain.attach(), 0u);
        std::vector<std::atomic<int>> removed(rounds);
        std::vector<char> has_passed(rounds), saw_removal(rounds);
        std::array<std::atomic<std::size_t>, 2> arrived{};
        auto const meet = [&](std::size_t which, std::size_t round) {
            arrived[which].store(round + 1, std::memory_order_release);
            for (int turns = 0; arrived[1 - which].load(std::memory_order_acquire) <= round; ++turns)
                if (turns > 1000) std::this_thread::yield();
        };
        run_together(2, [&](std::size_t which) {
            for (std::size_t round = 0; round < rounds; ++round) {
                auto& domain = domains[round % domains.size()];
                if (which == 0) domain.leave(0);
                meter.step(which);
                meet(which, round);
                if (which == 0) {
                    for (std::atomic<std::size_t> delay{0}; delay.load() < round % 128;) ++delay; // tries each distance
                    domain.enter(0);
                    saw_removal[round] = removed[round].load(std::memory_order_relaxed) != 0;
                } else {
                    removed[round].store(1, std::memory_order_relaxed);
                    has_passed[round] = domain.has_passed(domain.advance());
                }
            }
        });
        std::size_t broken = 0;
        for (std::size_t round = 0; round < rounds; ++round) broken += has_passed[round] && !saw_removal[round];
        EXPECT_EQ(broken, 0u) << "of " << rounds;
    });
}

} // namespace
} // namespace kubeproxy::quiescence_tests
