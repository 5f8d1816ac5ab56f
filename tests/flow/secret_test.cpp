#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/flow/secret.hpp"
#include "kubeproxy/flow/table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <vector>

// A host's secret: what is derived from it, and what an attacker who does not know it can do.

namespace kubeproxy::secret_tests {
namespace {

constexpr std::array all_uses{secret_use::flow_table, secret_use::affinity, secret_use::fragments,
                              secret_use::source_ports, secret_use::identifications};

TEST(secret, each_use_has_a_value_of_its_own) {
    std::set<std::uint64_t> seen;
    for (auto const& key : {secret{0}, secret{1}, secret{1, 0}, secret{0, 1}, secret{1, 1}, secret{~0ull, ~0ull}})
        for (auto const use : all_uses) seen.insert(key.derive(use));
    EXPECT_EQ(seen.size(), 5 * all_uses.size()); // secret{1} is secret{1, 0}
}

TEST(secret, both_halves_change_every_bit_of_a_seed_about_half_of_the_time) {
    for (unsigned bit = 0; bit < 128; ++bit) {
        std::size_t changed = 0;
        constexpr std::uint64_t trials = 200;
        for (std::uint64_t i = 0; i < trials; ++i) {
            secret const before{i * 0x1234567, ~i};
            secret const after{(i * 0x1234567) ^ (bit < 64 ? 1ull << bit : 0),
                               ~i ^ (bit >= 64 ? 1ull << (bit - 64) : 0)};
            changed += static_cast<std::size_t>(
                __builtin_popcountll(before.derive(secret_use::flow_table) ^ after.derive(secret_use::flow_table)));
        }
        EXPECT_NEAR(static_cast<double>(changed) / trials, 32.0, 2.0) << "bit " << bit;
    }
}

TEST(secret, the_system_gives_another_one_each_time) {
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 16; ++i) seen.insert(secret::from_system().derive(secret_use::flow_table));
    EXPECT_EQ(seen.size(), 16u);
}

/// The bucket and tag of a tuple, as the index takes them from the hash: 22 bits are a table of four million buckets.
template <class Hash>
std::uint64_t place(Hash const& hash, tuple<ipv4> const& t) {
    return hash(t) & 0x3fffff;
}

tuple<ipv4> attacker_tuple(std::uint32_t n) {
    return {.source = {std::byte{203}, std::byte{0}, std::byte(n >> 24), std::byte(n >> 16 & 0xff)},
            .destination = {std::byte{198}, std::byte{51}, std::byte{100}, std::byte{7}},
            .source_port = static_cast<std::uint16_t>(n),
            .destination_port = 80,
            .protocol = 6};
}

/// The attacker knows the code, has a table of his own with any secret, and looks for tuples that collide there. In the
/// victim's table they must be spread like any others. Structured sets are tried as well: tuples that differ in few
/// bits, by a constant, or by exchanged fields.
template <class Hash>
void expect_no_transfer(Hash const& attacker, Hash const& victim) {
    std::unordered_map<std::uint64_t, std::vector<tuple<ipv4>>> by_place;
    constexpr std::uint32_t tried = 1u << 18;
    for (std::uint32_t n = 0; n < tried; ++n)
        by_place[attacker(attacker_tuple(n)) & 0xfff].push_back(attacker_tuple(n));
    std::size_t pairs = 0, still_together = 0; // 64 tuples each that share 12 bits of their hash
    for (auto const& [where, tuples] : by_place)
        for (std::size_t i = 1; i < tuples.size(); ++i) {
            ++pairs;
            still_together += (victim(tuples[0]) & 0xfff) == (victim(tuples[i]) & 0xfff) ? 1 : 0;
        }
    // Chance brings pairs / 4096 together, which is 64; six times its standard deviation is allowed.
    EXPECT_LT(still_together, pairs / 4096 + 48) << pairs << " pairs";
}
template <class Hash>
void expect_no_structure(Hash const& victim) {
    auto const spread = [&](auto&& tuple_of) {
        std::set<std::uint64_t> places;
        constexpr std::uint32_t count = 4096;
        for (std::uint32_t n = 0; n < count; ++n) places.insert(place(victim, tuple_of(n)));
        return count - places.size(); // collisions among 4,096 in 4,194,304 places: 2 are expected
    };
    EXPECT_LT(spread([](std::uint32_t n) { return attacker_tuple(n); }), 20u) << "consecutive ports";
    EXPECT_LT(spread([](std::uint32_t n) { return attacker_tuple(n << 16); }), 20u) << "consecutive addresses";
    EXPECT_LT(spread([](std::uint32_t n) { return attacker_tuple(n * 0x10001u); }), 20u) << "both together";
    EXPECT_LT(spread([](std::uint32_t n) { return attacker_tuple(n ^ n << 16 ^ 0xffff); }), 20u) << "complements";
    EXPECT_LT(spread([](std::uint32_t n) {
                  auto t = attacker_tuple(0x5555);
                  t.source_port = static_cast<std::uint16_t>(n);
                  t.destination_port = static_cast<std::uint16_t>(~n);
                  return t;
              }),
              20u)
        << "ports whose sum is constant";
}

TEST(secret, tuples_that_collide_under_one_secret_do_not_under_another) {
    for (std::uint64_t n = 1; n <= 4; ++n) {
        auto const seed = [](secret const& key) { return key.derive(secret_use::flow_table); };
        expect_no_transfer(flow_hash{seed(secret{n})}, flow_hash{seed(secret::from_system())});
        expect_no_transfer(basic_flow_hash<multiply_mixing>{seed(secret{n})},
                           basic_flow_hash<multiply_mixing>{seed(secret::from_system())});
        expect_no_structure(flow_hash{seed(secret::from_system())});
        expect_no_structure(basic_flow_hash<multiply_mixing>{seed(secret::from_system())});
    }
}

} // namespace
} // namespace kubeproxy::secret_tests
