#include "kubeproxy/flow/quiescence.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy {
namespace {

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
    constexpr std::size_t rounds = 200, half = quiescent_domain::max_workers / 2;
    std::vector<quiescent_domain> domains(rounds);
    std::array<std::vector<std::size_t>, 2> places;
    std::atomic<std::size_t> arrivals{0};
    auto const meet = [&](std::size_t meeting) { // by turning, so that both run to the same place at once
        arrivals.fetch_add(1);
        for (int turns = 0; arrivals.load() < 2 * (meeting + 1); ++turns)
            if (turns > 1000) std::this_thread::yield();
    };
    auto const attach_half = [&](std::vector<std::size_t>& mine) {
        for (auto& domain : domains) {
            for (std::size_t i = 0; i < half; ++i) {
                meet(mine.size());
                mine.push_back(domain.attach().value());
            }
        }
    };
    std::thread other{attach_half, std::ref(places[0])};
    attach_half(places[1]);
    other.join();
    for (std::size_t round = 0; round < rounds; ++round) {
        std::set<std::size_t> all;
        for (auto const& mine : places) all.insert(&mine[round * half], &mine[round * half] + half);
        ASSERT_EQ(all.size(), quiescent_domain::max_workers) << "round " << round;
    }
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
        auto& old = *current_.load();
        publish(&old == &nodes_[0] ? nodes_[1] : nodes_[0]);
        auto const unlinked = domain.advance();
        while (!domain.has_passed(unlinked)) std::this_thread::yield();
        old = {};
    }

    /// One burst of a worker; false: it saw a node that was taken from it.
    [[nodiscard]] bool read(std::size_t worker, std::uint64_t burst) {
        domain.enter(worker);
        auto const& seen = *current_.load();
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
        current_.store(&n);
    }
    std::array<node, 2> nodes_{};
    std::uint64_t version_ = 0;
    std::atomic<node*> current_{nullptr};
};

TEST(quiescence, what_a_thread_reads_is_not_reused_under_it) {
    publisher published;
    std::atomic<bool> is_done{false};
    std::array<std::uint64_t, 2> bursts{}, damaged{};
    auto const work = [&](std::size_t i) {
        auto const worker = published.domain.attach().value();
        for (; !is_done.load() || bursts[i] < 100; ++bursts[i])
            if (!published.read(worker, bursts[i])) ++damaged[i];
        published.domain.detach(worker);
    };
    std::array threads{std::thread{work, std::size_t{0}}, std::thread{work, std::size_t{1}}};
    for (int i = 0; i < 2000; ++i) published.replace();
    is_done.store(true);
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(damaged[0] + damaged[1], 0u) << "of " << bursts[0] + bursts[1] << " bursts";
}

} // namespace
} // namespace kubeproxy
