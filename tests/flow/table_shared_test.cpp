#include "kubeproxy/flow/table.hpp"

#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace kubeproxy::table_shared_tests {
namespace {
using namespace std::chrono_literals;
using testing_support::overlap_meter, testing_support::repeat_until_overlapped, testing_support::run_together;

using table_type = basic_flow_table<shared_workers, standard_memory>;

tuple<ipv4> client_to_vip(std::uint32_t client) {
    return {ipv4_address(client), ipv4_address(0x0a60'0001), 40'000, 80, ip_protocol::udp};
}
tuple<ipv4> client_to_pod(std::uint32_t client) {
    return {ipv4_address(client), ipv4_address(0x0af4'0000 + client % 256), 40'000, 8080, ip_protocol::udp};
}
new_flow flow_of(std::uint32_t client, flow_state state, std::chrono::seconds timeout) {
    return {.service = client, .backend = client + 1, .state = state, .timeout = timeout};
}
flow_time at(std::uint32_t milliseconds) { return flow_time::of(milliseconds); }

/// Inside the domain for a burst.
class burst {
  public:
    burst(quiescent_domain& domain, std::size_t worker) : domain_{domain}, worker_{worker} { domain_.enter(worker_); }
    burst(burst const&) = delete;
    burst& operator=(burst const&) = delete;
    ~burst() { domain_.leave(worker_); }

  private:
    quiescent_domain& domain_;
    std::size_t worker_;
};

/// What is found must be whole: keys, translation and body of one and the same flow.
bool is_whole(table_type const& table, flow_ref ref, std::uint32_t client) {
    auto const& body = table.body(ref);
    return body.service == client && body.backend.load() == client + 1 &&
           (ref.direction() == flow_direction::original
                ? table.leaves_as<ipv4>(ref) == client_to_pod(client)
                : table.leaves_as<ipv4>(ref) == client_to_vip(client).mirrored());
}

TEST(table_shared, threads_never_lose_a_flow_that_lives_nor_see_half_of_one) {
    constexpr std::uint32_t stable = 700, passing = 4000, capacity = 1500;
    repeat_until_overlapped(2, 500, [&](overlap_meter& meter) {
        quiescent_domain domain;
        table_type table{{.narrow = capacity, .wide = 0}, secret{1}, domain};
        std::array<std::size_t, 2> const workers{*domain.attach(), *domain.attach()};
        {
            burst const inside{domain, workers[0]};
            for (std::uint32_t i = 0; i < stable; ++i)
                ASSERT_EQ(
                    table.insert(client_to_vip(i), client_to_pod(i), flow_of(i, flow_state::udp_assured, 7440s), at(0))
                        .what,
                    insert_outcome::inserted);
        }
        std::atomic<std::uint64_t> missed{0}, broken{0}, inserted{0};
        run_together(2, [&](std::size_t which) {
            std::mt19937 random{static_cast<std::uint32_t>(which)};
            for (std::uint32_t round = 0; round < 1500; ++round) {
                meter.step(which);
                burst const inside{domain, workers[which]};
                auto const now = at(round * 20);
                for (int packet = 0; packet < 32; ++packet) {
                    auto const old = static_cast<std::uint32_t>(random() % stable);
                    auto const there = table.find(client_to_vip(old)), back = table.find(client_to_pod(old).mirrored());
                    missed += there && back ? 0u : 1u;
                    if (there) table.touch(there, now, transport_event::packet, 60, {});
                    if (back) broken += is_whole(table, back, old) ? 0u : 1u;
                    auto const client = stable + static_cast<std::uint32_t>(random() % passing);
                    if (auto const ref = table.find(client_to_pod(client).mirrored())) {
                        broken += is_whole(table, ref, client) ? 0u : 1u;
                        table.touch(ref.mirrored(), now, transport_event::packet, 60, {});
                        if (random() % 4 == 0) table.erase(ref);
                        broken += is_whole(table, ref, client) ? 0u : 1u; // ended or not, until the burst ends
                    } else if (table
                                   .insert(client_to_vip(client), client_to_pod(client),
                                           flow_of(client, flow_state::udp_unreplied, 2s), now)
                                   .what == insert_outcome::inserted) {
                        ++inserted;
                    }
                }
                table.sweep(64, now);
            }
        });
        EXPECT_EQ(missed, 0u);
        EXPECT_EQ(broken, 0u);
        auto const counters = table.counters();
        EXPECT_EQ(counters.inserted, inserted + stable);
        EXPECT_GT(counters.evicted, 0u) << "the table was full at times";
        EXPECT_GT(counters.erased, 0u);
        burst const inside{domain, workers[0]};
        std::size_t walked = 0;
        table.for_each([&](flow_ref ref) {
            ++walked;
            auto const client = table.body(ref).service;
            EXPECT_EQ(table.find(client_to_vip(client)), ref);
            EXPECT_EQ(table.find(client_to_pod(client).mirrored()), ref.mirrored());
        });
        EXPECT_EQ(walked, counters.flows());
        EXPECT_LE(walked, capacity);
        table.flush();
        EXPECT_EQ(table.counters().flows(), 0u);
    });
}

TEST(table_shared, threads_that_enter_the_same_flow_make_one) {
    constexpr std::uint32_t flows = 5000;
    repeat_until_overlapped(2, 2000, [&](overlap_meter& meter) {
        quiescent_domain domain;
        table_type table{{.narrow = 3 * flows, .wide = 0}, secret{2}, domain};
        std::array<std::size_t, 2> const workers{*domain.attach(), *domain.attach()};
        std::atomic<std::uint32_t> inserted{0}, duplicates{0}, wrong{0};
        run_together(2, [&](std::size_t which) {
            for (std::uint32_t i = 0; i < flows; ++i) {
                meter.step(which);
                burst const inside{domain, workers[which]};
                auto const added =
                    table.insert(client_to_vip(i), client_to_pod(i), flow_of(i, flow_state::udp_unreplied, 30s), at(0));
                if (added.what == insert_outcome::inserted)
                    ++inserted;
                else if (added.what == insert_outcome::duplicate && is_whole(table, added.ref, i))
                    ++duplicates;
                else
                    ++wrong;
            }
        });
        EXPECT_EQ(inserted, flows);
        EXPECT_EQ(duplicates, flows);
        EXPECT_EQ(wrong, 0u);
        EXPECT_EQ(table.counters().flows(), flows);
    });
}

TEST(table_shared, threads_that_want_one_reply_tuple_share_it_never) {
    constexpr std::uint32_t flows = 5000, apart = 1'000'000;
    repeat_until_overlapped(2, 2000, [&](overlap_meter& meter) {
        quiescent_domain domain;
        table_type table{{.narrow = 3 * flows, .wide = 0}, secret{3}, domain};
        std::array<std::size_t, 2> const workers{*domain.attach(), *domain.attach()};
        std::atomic<std::uint32_t> inserted{0}, taken{0};
        run_together(2, [&](std::size_t which) {
            for (std::uint32_t i = 0; i < flows; ++i) {
                meter.step(which);
                burst const inside{domain, workers[which]};
                auto const added = table.insert(client_to_vip(i + static_cast<std::uint32_t>(which) * apart),
                                                client_to_pod(i), flow_of(i, flow_state::udp_unreplied, 30s), at(0));
                if (added.what == insert_outcome::inserted) ++inserted;
                if (added.what == insert_outcome::reply_taken) ++taken;
            }
        });
        EXPECT_EQ(inserted, flows);
        EXPECT_EQ(taken, flows);
        burst const inside{domain, workers[0]};
        for (std::uint32_t i = 0; i < flows; ++i) {
            auto const one = table.find(client_to_vip(i)), other = table.find(client_to_vip(i + apart));
            EXPECT_NE(static_cast<bool>(one), static_cast<bool>(other)) << "the loser left nothing behind";
            EXPECT_EQ(table.find(client_to_pod(i).mirrored()), (one ? one : other).mirrored());
        }
    });
}

/// An expired flow gives its reply tuple to whoever comes first. The other thread is in the way of the new flow only:
/// it may not be told that the expired one, which the first has just ended, still takes the tuple.
TEST(table_shared, threads_that_replace_an_expired_flow_see_it_replaced) {
    constexpr std::uint32_t flows = 5000, apart = 1'000'000;
    repeat_until_overlapped(2, 2000, [&](overlap_meter& meter) {
        quiescent_domain domain;
        // While the system keeps one thread from running, no record is reused: not those of the expired flows, and not
        // those that the other thread tried in vain to enter.
        table_type table{{.narrow = 5 * flows, .wide = 0}, secret{3}, domain};
        std::array<std::size_t, 2> const workers{*domain.attach(), *domain.attach()};
        {
            burst const inside{domain, workers[0]};
            for (std::uint32_t i = 0; i < flows; ++i)
                ASSERT_EQ(
                    table.insert(client_to_vip(i), client_to_pod(i), flow_of(i, flow_state::udp_replied, 1s), at(0))
                        .what,
                    insert_outcome::inserted);
        }
        auto const later = at(5000);
        std::array<std::uint32_t, 2> inserted{}, taken{}, mistaken{};
        run_together(2, [&](std::size_t which) {
            for (std::uint32_t i = 0; i < flows; ++i) {
                meter.step(which);
                burst const inside{domain, workers[which]};
                auto const added = table.insert(client_to_vip(i + (static_cast<std::uint32_t>(which) + 1) * apart),
                                                client_to_pod(i), flow_of(i, flow_state::udp_unreplied, 30s), later);
                if (added.what == insert_outcome::inserted) ++inserted[which];
                if (added.what != insert_outcome::reply_taken) continue;
                ++taken[which];
                if (table.is_expired(added.ref, later)) ++mistaken[which];
            }
        });
        EXPECT_EQ(inserted[0] + inserted[1], flows);
        EXPECT_EQ(taken[0] + taken[1], flows);
        EXPECT_EQ(mistaken[0] + mistaken[1], 0u);
        EXPECT_EQ(table.counters().expired, flows);
    });
}

TEST(table_shared, threads_that_flood_a_full_table_evict_for_each_other) {
    constexpr std::uint32_t capacity = 16'384;
    repeat_until_overlapped(2, 3000, [&](overlap_meter& meter) {
        quiescent_domain domain;
        table_type table{{.narrow = capacity, .wide = 0}, secret{4}, domain};
        std::array<std::size_t, 2> const workers{*domain.attach(), *domain.attach()};
        std::atomic<std::uint32_t> refused{0};
        run_together(2, [&](std::size_t which) {
            for (std::uint32_t i = 0; i < 60'000;) {
                meter.step(which);
                burst const inside{domain, workers[which]};
                for (int packet = 0; packet < 32; ++packet, ++i) {
                    auto const client = i * 2 + static_cast<std::uint32_t>(which);
                    auto const added = table.insert(client_to_vip(client), client_to_pod(client),
                                                    flow_of(client, flow_state::udp_unreplied, 30s), at(i / 100));
                    if (added.what != insert_outcome::inserted) ++refused;
                }
            }
        });
        // How many are refused depends on how long the system stops a thread that is inside; nothing else does.
        auto const counters = table.counters();
        EXPECT_EQ(counters.inserted + refused, 120'000u);
        EXPECT_EQ(counters.insert_full, refused);
        EXPECT_LE(counters.flows(), capacity);
        EXPECT_GE(counters.flows(), capacity - 200) << "what is refused evicts nothing";
    });
}

TEST(table_shared, workers_by_turns_evict_for_each_other) {
    constexpr std::uint32_t capacity = 16'384;
    quiescent_domain domain;
    table_type table{{.narrow = capacity, .wide = 0}, secret{6}, domain};
    std::array<std::size_t, 8> workers{};
    for (auto& worker : workers) worker = *domain.attach();
    std::uint32_t refused = 0;
    for (std::uint32_t client = 0; client < 150'000;) {
        for (auto const worker : workers) {
            domain.leave(worker);
            domain.enter(worker); // the others are still inside
            for (int packet = 0; packet < 32; ++packet, ++client)
                if (table
                        .insert(client_to_vip(client), client_to_pod(client),
                                flow_of(client, flow_state::udp_unreplied, 3000s), at(client / 100))
                        .what != insert_outcome::inserted)
                    ++refused;
        }
    }
    EXPECT_EQ(refused, 0u) << "the reserve bridges the time until all have been outside";
    EXPECT_EQ(table.counters().flows(), capacity);
}

/// A worker that stays inside keeps what has ended from being reused, and the table does not wait for it.
TEST(table_shared, a_record_is_not_reused_while_a_worker_may_read_it) {
    quiescent_domain domain;
    table_type table{{.narrow = 100, .wide = 0}, secret{5}, domain};
    auto const reader = *domain.attach(), writer = *domain.attach();
    domain.enter(writer);
    auto const ref =
        table.insert(client_to_vip(1), client_to_pod(1), flow_of(1, flow_state::udp_assured, 300s), at(0)).ref;
    domain.leave(writer);
    domain.enter(reader);
    ASSERT_EQ(table.find(client_to_vip(1)), ref);
    std::uint32_t inserted = 0;
    for (std::uint32_t i = 2; i < 1000; ++i) {
        burst const inside{domain, writer};
        if (i == 2) table.erase(ref);
        inserted +=
            table.insert(client_to_vip(i), client_to_pod(i), flow_of(i, flow_state::udp_unreplied, 30s), at(1)).what ==
                    insert_outcome::inserted
                ? 1u
                : 0u;
    }
    EXPECT_TRUE(is_whole(table, ref, 1));
    EXPECT_GE(inserted, 100u);
    EXPECT_LT(inserted, 998u) << "the reader holds all records back that came free since it entered";
    domain.leave(reader);
    for (std::uint32_t i = 2000; i < 2010; ++i) {
        burst const inside{domain, writer};
        EXPECT_EQ(
            table.insert(client_to_vip(i), client_to_pod(i), flow_of(i, flow_state::udp_unreplied, 30s), at(1)).what,
            insert_outcome::inserted);
    }
}

} // namespace
} // namespace kubeproxy::table_shared_tests
