#include "kubeproxy/flow/identifications.hpp"

#include <gtest/gtest.h>

#include <set>

// IPv4 identifications of datagrams that leave with a shared address (RFC 6864 sections 4 and 5.3).

namespace kubeproxy::identifications_tests {
namespace {

using namespace std::chrono_literals;

constexpr auto lifetime = 30s; ///< that a datagram's identification is remembered

flow_time at(std::chrono::milliseconds when) { return flow_time{when}; }

tuple<ipv4> towards(std::uint32_t destination, std::uint8_t protocol = 17) {
    return {.source = ipv4_address(0xc6120001), .destination = ipv4_address(destination), .protocol = protocol};
}

identification_pool pool_of(worker_share share = {}) { return {7, share, lifetime}; }

TEST(identifications, none_repeats_within_two_minutes) { // RFC 6864 section 4.3
    auto pool = pool_of();
    std::set<std::uint16_t> given;
    while (auto const taken = pool.take(towards(1), at(0s))) ASSERT_TRUE(given.insert(*taken).second) << *taken;
    EXPECT_GT(given.size(), 65536u * 15 / 16) << "nearly all are given out";
    EXPECT_FALSE(pool.take(towards(1), at(150s))) << "the last fragment may have left after 30 s";
    EXPECT_TRUE(pool.take(towards(1), at(150s + 1ms)));
}

TEST(identifications, the_limit_holds_for_any_two_minutes_not_for_fixed_ones) {
    auto pool = pool_of();
    for (unsigned i = 0; i < 30'000; ++i) ASSERT_TRUE(pool.take(towards(1), at(0s)));
    std::set<std::uint16_t> late;
    while (auto const taken = pool.take(towards(1), at(140s))) ASSERT_TRUE(late.insert(*taken).second);
    std::size_t more = 0;
    while (auto const taken = pool.take(towards(1), at(160s))) {
        ++more;
        ASSERT_FALSE(late.contains(*taken)) << "used 20 s ago";
    }
    EXPECT_GT(more, 20'000u) << "those of the beginning serve again";
}

TEST(identifications, each_destination_and_protocol_has_its_own) {
    auto pool = pool_of();
    while (pool.take(towards(1), at(0s))) {
    }
    EXPECT_TRUE(pool.take(towards(2), at(0s)));
    EXPECT_TRUE(pool.take(towards(1, 132), at(0s)));
}

TEST(identifications, ports_make_no_difference) {
    auto pool = pool_of();
    std::set<std::uint16_t> given;
    for (std::uint16_t port = 0; port < 1000; ++port) {
        auto t = towards(1);
        t.source_port = port;
        ASSERT_TRUE(given.insert(*pool.take(t, at(0s))).second);
    }
}

TEST(identifications, workers_share_them) {
    std::set<std::uint16_t> given;
    for (std::uint32_t worker = 0; worker < 3; ++worker) {
        auto pool = pool_of({worker, 3});
        for (unsigned i = 0; i < 20'000; ++i) ASSERT_TRUE(given.insert(*pool.take(towards(1), at(0s))).second);
    }
}

TEST(identifications, where_they_start_is_secret) {
    identification_pool one{1, {}, lifetime}, other{2, {}, lifetime};
    EXPECT_NE(one.take(towards(1), at(0s)), other.take(towards(1), at(0s)));
}

TEST(identifications, the_parts_of_a_datagram_have_one) {
    fragment_identifications all{{.seed = 3, .lifetime = lifetime}};
    auto const key = [](std::uint32_t source, std::uint32_t identification) {
        return fragment_key<ipv4>{ipv4_address(source), ipv4_address(9), identification, 17};
    };
    auto const first = all.of(key(1, 5), towards(1), at(0s));
    EXPECT_EQ(all.of(key(1, 5), towards(1), at(30s)), first);
    EXPECT_NE(all.of(key(2, 5), towards(1), at(0s)), first) << "another client";
    EXPECT_NE(all.of(key(1, 6), towards(1), at(0s)), first) << "another datagram";
    EXPECT_NE(all.of(key(1, 5), towards(1), at(31s)), first) << "forgotten by then";
    fragment_key<ipv6> const six{.identification = 5};
    auto const of_ipv6 = all.of(six, towards(1), at(0s));
    EXPECT_EQ(all.of(six, towards(1), at(1s)), of_ipv6);
}

TEST(identifications, a_full_map_forgets_the_oldest) {
    identification_map<ipv4> map{3, 8, lifetime};
    for (std::uint32_t i = 0; i < 9; ++i) map.note({.identification = i}, static_cast<std::uint16_t>(i), at(i * 1s));
    EXPECT_FALSE(map.find({.identification = 0}, at(9s)));
    for (std::uint32_t i = 1; i < 9; ++i) EXPECT_EQ(map.find({.identification = i}, at(9s)), i);
}

} // namespace
} // namespace kubeproxy::identifications_tests
