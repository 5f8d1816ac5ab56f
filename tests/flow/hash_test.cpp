#include "kubeproxy/flow/hash.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <random>
#include <unordered_set>
#include <vector>

namespace kubeproxy::hash_tests {
namespace {

template <class Mixing>
class flow_hash_test : public testing::Test {};

#if defined(__AES__) && defined(__SSE2__)
using mixings = testing::Types<multiply_mixing, aes_mixing>;
#else
using mixings = testing::Types<multiply_mixing>;
#endif
TYPED_TEST_SUITE(flow_hash_test, mixings);

template <ip_version V>
tuple<V> with_bit_flipped(tuple<V> const& t, std::size_t bit) {
    auto bytes = std::bit_cast<std::array<std::uint8_t, sizeof(tuple<V>)>>(t);
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ 1u << bit % 8);
    return std::bit_cast<tuple<V>>(bytes);
}

template <ip_version V>
tuple<V> random_tuple(std::mt19937_64& random) {
    tuple<V> t;
    for (auto& byte : t.source) byte = static_cast<std::byte>(random());
    for (auto& byte : t.destination) byte = static_cast<std::byte>(random());
    t.source_port = static_cast<std::uint16_t>(random());
    t.destination_port = static_cast<std::uint16_t>(random());
    t.protocol = static_cast<std::uint8_t>(random());
    return t;
}

/// The strict avalanche criterion (Webster, Tavares, CRYPTO '85): each input bit flips each output bit half the time.
template <class Mixing, ip_version V>
void expect_avalanche() {
    constexpr int samples = 4000;
    constexpr double deviation = 6 * 0.5 * 0.0158; // six standard deviations of a share of 4000
    std::mt19937_64 random{7};
    constexpr std::size_t last_bit = (sizeof(tuple<V>) - 3) * 8; // the last three bytes are always zero
    for (std::size_t in = 0; in < last_bit; in += 7) {
        std::array<int, 64> flips{};
        for (int i = 0; i < samples; ++i) {
            basic_flow_hash<Mixing> const hash{random()};
            auto const t = random_tuple<V>(random);
            auto const difference = hash(t) ^ hash(with_bit_flipped(t, in));
            for (std::size_t out = 0; out < 64; ++out) flips[out] += static_cast<int>(difference >> out & 1);
        }
        for (std::size_t out = 0; out < 64; ++out)
            ASSERT_NEAR(flips[out] / double{samples}, 0.5, deviation) << "input bit " << in << ", output bit " << out;
    }
}
TYPED_TEST(flow_hash_test, every_input_bit_reaches_every_output_bit) {
    expect_avalanche<TypeParam, ipv4>();
    expect_avalanche<TypeParam, ipv6>();
}

/// Clients differ in few bits: neighbouring addresses and ports must spread over buckets and tags as chance would.
TYPED_TEST(flow_hash_test, neighbouring_tuples_spread_evenly) {
    basic_flow_hash<TypeParam> const hash{42};
    constexpr std::size_t buckets = 1024, each = 256;
    std::array<unsigned, buckets> low{}, high{};
    std::unordered_set<std::uint64_t> all;
    for (std::uint32_t i = 0; i < buckets * each; ++i) {
        tuple<ipv4> const t{.source = ipv4_address(0x0a00'0000 + (i >> 8)),
                            .destination = ipv4_address(0x0a60'0001),
                            .source_port = static_cast<std::uint16_t>(32768 + (i & 0xff)),
                            .destination_port = 80,
                            .protocol = 6};
        auto const h = hash(t);
        ++low[h % buckets];
        ++high[h >> 54];
        all.insert(h);
    }
    EXPECT_EQ(all.size(), buckets * each) << "64 bits: a collision among 2^18 is a chance of 2^-29";
    for (auto const& counts : {low, high}) {
        double chi_square = 0;
        for (auto const n : counts) chi_square += (n - double{each}) * (n - double{each}) / each;
        EXPECT_LT(chi_square, 1023 + 6 * 45.2); // mean and standard deviation of chi-square with 1023 degrees
        EXPECT_GT(chi_square, 1023 - 6 * 45.2);
    }
}

/// Tuples that meet under one seed part under another, or a client could prepare a flood of collisions.
TYPED_TEST(flow_hash_test, collisions_depend_on_the_seed) {
    basic_flow_hash<TypeParam> const hash{1}, other{2};
    std::mt19937_64 random{3};
    std::vector<tuple<ipv6>> first_bucket;
    while (first_bucket.size() < 200)
        if (auto const t = random_tuple<ipv6>(random); hash(t) % 4096 == 0) first_bucket.push_back(t);
    std::size_t still = 0;
    for (auto const& t : first_bucket) still += other(t) % 4096 == other(first_bucket[0]) % 4096 ? 1u : 0u;
    EXPECT_LE(still, 3u) << "the first itself, and 200/4096 by chance";
}

TYPED_TEST(flow_hash_test, is_a_function_of_tuple_and_seed) {
    std::mt19937_64 random{9};
    auto const t = random_tuple<ipv4>(random);
    EXPECT_EQ(basic_flow_hash<TypeParam>{5}(t), basic_flow_hash<TypeParam>{5}(t));
    EXPECT_NE(basic_flow_hash<TypeParam>{5}(t), basic_flow_hash<TypeParam>{6}(t));
    EXPECT_NE(basic_flow_hash<TypeParam>{5}(t), basic_flow_hash<TypeParam>{5}(t.mirrored()));
}

} // namespace
} // namespace kubeproxy::hash_tests
