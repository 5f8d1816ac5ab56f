#include "kubeproxy/wire/bytes.hpp"

#include "support/seed_packets.hpp"

#include <array>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace kubeproxy::bytes_tests {
namespace {

using seed::octets;

TEST(bytes, network_order_is_big_endian) { // RFC 1700, "Data Notations"
    auto const bytes = seed::of({0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef});
    EXPECT_EQ(load_be<std::uint8_t>(bytes, 7), 0xef);
    EXPECT_EQ(load_be<std::uint16_t>(bytes, 0), 0x0123);
    EXPECT_EQ(load_be<std::uint32_t>(bytes, 4), 0x89ab'cdefu);
    EXPECT_EQ(load_be<std::uint64_t>(bytes, 0), 0x0123'4567'89ab'cdefu);
}

template <class T>
void expect_every_alignment() {
    constexpr auto value = static_cast<T>(0xf1e2'd3c4'b5a6'9788u);
    for (std::size_t at = 0; at <= 8; ++at) {
        octets bytes(8 + sizeof(T), std::byte{0x55});
        store_be(bytes, at, value);
        EXPECT_EQ(load_be<T>(bytes, at), value) << "offset " << at;
        octets expected(bytes.size(), std::byte{0x55});
        for (std::size_t i = 0; i < sizeof(T); ++i)
            expected[at + i] = static_cast<std::byte>(std::uint64_t{value} >> 8 * (sizeof(T) - 1 - i));
        EXPECT_EQ(bytes, expected) << "offset " << at;
    }
}

// Behind Ethernet's 14 octets an IP header is not aligned to 4: under UBSan this finds an access that needs it.
TEST(bytes, any_alignment_is_read_and_written_and_nothing_beside_it) {
    expect_every_alignment<std::uint8_t>();
    expect_every_alignment<std::uint16_t>();
    expect_every_alignment<std::uint32_t>();
    expect_every_alignment<std::uint64_t>();
}

TEST(bytes, the_last_octets_of_a_buffer_are_reachable) {
    octets bytes(sizeof(std::uint64_t));
    store_be(bytes, 0, std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(load_be<std::uint32_t>(bytes, 4), 0xffff'ffffu);
    EXPECT_EQ(load_be<std::uint8_t>(bytes, 7), 0xff);
}

TEST(bytes, an_object_keeps_its_octets_in_order) {
    using address = std::array<std::byte, 4>;
    auto bytes = seed::counted(9);
    EXPECT_EQ(load_object<address>(bytes, 5), (address{std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8}}));
    store_object(bytes, 1, address{std::byte{0xa}, std::byte{0xb}, std::byte{0xc}, std::byte{0xd}});
    EXPECT_EQ(bytes, seed::of({0, 0xa, 0xb, 0xc, 0xd, 5, 6, 7, 8}));
}

TEST(bytes, a_move_may_overlap_in_both_directions) {
    auto forward = seed::counted(8);
    move_bytes(forward, 2, 0, 6);
    EXPECT_EQ(forward, seed::of({0, 1, 0, 1, 2, 3, 4, 5}));
    auto backward = seed::counted(8);
    move_bytes(backward, 0, 2, 6);
    EXPECT_EQ(backward, seed::of({2, 3, 4, 5, 6, 7, 6, 7}));
    move_bytes(backward, 8, 8, 0);
    EXPECT_EQ(backward, seed::of({2, 3, 4, 5, 6, 7, 6, 7}));
}

TEST(bytes, a_copy_leaves_what_is_behind_it) {
    octets to(6, std::byte{9});
    copy_bytes(to, seed::of({1, 2, 3}));
    EXPECT_EQ(to, seed::of({1, 2, 3, 9, 9, 9}));
    copy_bytes(to, {});
    EXPECT_EQ(to, seed::of({1, 2, 3, 9, 9, 9}));
}

} // namespace
} // namespace kubeproxy::bytes_tests
