#include "kubeproxy/flow/table.hpp"

#include "support/interrupted_workers.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>

// What becomes of an insertion when another worker interferes at the worst moment: it lost a race, which is no reason
// to say that a table is full.

namespace kubeproxy::lost_race_tests {
namespace {
using namespace std::chrono_literals;
using testing_support::interrupted_workers;

constexpr auto never = [](flow_ref) { return false; };
flow_ref ref(std::uint32_t index) { return flow_ref::narrow(index, flow_direction::original); }

/// Two buckets. Entries of the tag `paired` may stand in either, those of `alone` in the first only.
struct index_lost_race : testing::Test {
    using index_type = flow_index<interrupted_workers, standard_memory>;
    using insertion = index_type::insertion;

    static std::uint64_t tag_with_room_for(std::uint32_t entries) {
        for (std::uint64_t tag = std::uint64_t{1} << 33;; tag += std::uint64_t{1} << 33) {
            auto probe = index_type::with_buckets(2);
            std::uint32_t room = 0;
            while (probe.insert(tag, ref(room + 1), never).what == insertion::inserted) ++room;
            if (room == entries) return tag;
        }
    }
    index_lost_race() {
        for (std::uint32_t i = 1; i <= 7; ++i) EXPECT_EQ(index.insert(paired, ref(i), never).what, insertion::inserted);
    }

    index_type index = index_type::with_buckets(2);
    std::uint64_t paired = tag_with_room_for(14), alone = tag_with_room_for(7);
    /// Locks that an insertion into the full first bucket takes before it makes its first move.
    static constexpr unsigned locks_before_move = 2;
};

TEST_F(index_lost_race, an_entry_that_was_to_move_is_taken_out) {
    interrupted_workers::interrupt(8, locks_before_move, [&] { EXPECT_TRUE(index.erase(paired, ref(1))); });
    EXPECT_EQ(index.insert(alone, ref(8), never).what, insertion::inserted);
    EXPECT_FALSE(interrupted_workers::meanwhile) << "the other worker had its turn";
    for (std::uint32_t i = 2; i <= 7; ++i)
        EXPECT_EQ(index.find(paired, [&](flow_ref r) { return r == ref(i); }), ref(i));
}

TEST_F(index_lost_race, the_room_that_was_made_is_taken) {
    interrupted_workers::interrupt(8, locks_before_move + 2, [&] { // the move locks two buckets
        EXPECT_EQ(index.insert(alone, ref(9), never).what, insertion::inserted);
    });
    EXPECT_EQ(index.insert(alone, ref(8), never).what, insertion::inserted);
    EXPECT_FALSE(interrupted_workers::meanwhile) << "the other worker had its turn";
    EXPECT_EQ(index.find(alone, [&](flow_ref r) { return r == ref(9); }), ref(9));
}

TEST_F(index_lost_race, an_index_that_is_filled_meanwhile_is_full) {
    interrupted_workers::interrupt(8, locks_before_move, [&] {
        for (std::uint32_t i = 11; i <= 17; ++i)
            EXPECT_EQ(index.insert(paired, ref(i), never).what, insertion::inserted);
    });
    EXPECT_EQ(index.insert(alone, ref(8), never).what, insertion::full);
}

struct table_lost_race : testing::Test {
    using table_type = basic_flow_table<interrupted_workers, standard_memory>;

    static tuple<ipv4> client_to_vip(std::uint32_t client) {
        return {ipv4_address(client), ipv4_address(0x0a60'0001), 40'000, 80, ip_protocol::udp};
    }
    static tuple<ipv4> client_to_pod(std::uint32_t client) {
        return {ipv4_address(client), ipv4_address(0x0af4'0001), 40'000, 8080, ip_protocol::udp};
    }
    insert_result enter(std::uint32_t client, std::uint32_t reply_of, std::chrono::seconds timeout, flow_time now,
                        flow_state state = flow_state::udp_unreplied) {
        return table.insert(client_to_vip(client), client_to_pod(reply_of),
                            {.service = client, .state = state, .timeout = timeout}, now);
    }

    static constexpr std::uint32_t capacity = 100;
    quiescent_domain domain; // nobody is inside: a record that is given back may be used at once
    table_type table{{.narrow = capacity, .wide = 0}, secret{1}, domain};
};

TEST_F(table_lost_race, the_flow_to_evict_is_ended_by_another_worker) {
    for (std::uint32_t i = 0; i < capacity; ++i) ASSERT_EQ(enter(i, i, 30s, {}).what, insert_outcome::inserted);
    interrupted_workers::interrupt(1, 0, [&] { table.flush(); });
    EXPECT_EQ(enter(1000, 1000, 30s, {}).what, insert_outcome::inserted) << "there is room for all flows now";
    EXPECT_FALSE(interrupted_workers::meanwhile) << "the other worker had its turn";
    EXPECT_EQ(table.counters().flows(), 1u);
    EXPECT_EQ(table.counters().insert_full, 0u);
}

TEST_F(table_lost_race, a_table_of_flows_to_keep_is_full) {
    for (std::uint32_t i = 0; i < capacity; ++i)
        ASSERT_EQ(enter(i, i, 7440s, {}, flow_state::tcp_established).what, insert_outcome::inserted);
    EXPECT_EQ(enter(1000, 1000, 30s, {}).what, insert_outcome::full);
    EXPECT_EQ(table.counters().insert_full, 1u);
}

TEST_F(table_lost_race, the_expired_flow_in_the_way_is_ended_by_another_worker) {
    auto const old = enter(1, 1, 1s, flow_time::of(0));
    ASSERT_EQ(old.what, insert_outcome::inserted);
    interrupted_workers::interrupt(1, 0, [&] { EXPECT_TRUE(table.erase(old.ref)); });
    auto const now = flow_time::of(5000);
    auto const added = enter(2, 1, 30s, now);
    EXPECT_EQ(added.what, insert_outcome::inserted) << "its reply tuple is free";
    EXPECT_FALSE(interrupted_workers::meanwhile) << "the other worker had its turn";
    EXPECT_EQ(table.find(client_to_pod(1).mirrored()), added.ref.mirrored());
}

TEST_F(table_lost_race, the_reply_tuple_is_taken_again_by_another_worker) {
    auto const old = enter(1, 1, 1s, flow_time::of(0));
    auto const now = flow_time::of(5000);
    insert_result others;
    interrupted_workers::interrupt(1, 0, [&] {
        EXPECT_TRUE(table.erase(old.ref));
        others = enter(3, 1, 30s, now);
    });
    auto const added = enter(2, 1, 30s, now);
    EXPECT_EQ(added.what, insert_outcome::reply_taken);
    EXPECT_EQ(added.ref, others.ref.mirrored()) << "the live flow, not the one that has ended";
}

} // namespace
} // namespace kubeproxy::lost_race_tests
