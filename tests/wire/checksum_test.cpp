#include "kubeproxy/wire/checksum.hpp"

#include "support/seed_packets.hpp"

#include <gtest/gtest.h>

#include <random>

namespace kubeproxy::checksum_tests {
namespace {

using seed::octets;

/// By the words' definition: RFC 1071 section 1, a byte at a time.
std::uint16_t slow_checksum(byte_span bytes) {
    auto const c = seed::internet_checksum({bytes.begin(), bytes.end()});
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(c[0]) << 8 | std::to_integer<unsigned>(c[1]));
}

octets random_bytes(std::size_t size, std::mt19937& random) {
    octets result(size);
    for (auto& b : result) b = static_cast<std::byte>(random());
    return result;
}

TEST(checksum, rfc_1071_section_3_example) {
    auto const data = seed::of({0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7});
    EXPECT_EQ(fold(sum_of(data)), 0xddf2);
    EXPECT_EQ(checksum_of(sum_of(data)), 0x220d);
}

TEST(checksum, an_odd_byte_is_padded_with_zero) { // RFC 1071 section 1
    EXPECT_EQ(fold(sum_of(seed::of({0x12}))), 0x1200);
    EXPECT_EQ(fold(sum_of(seed::of({0x12, 0x34, 0x56}))), 0x1234 + 0x5600);
    EXPECT_EQ(sum_of(octets{}), 0u);
}

TEST(checksum, every_length_and_offset) {
    std::mt19937 random{1071};
    auto const bytes = random_bytes(200, random);
    for (std::size_t offset = 0; offset < 17; ++offset)
        for (std::size_t size = 0; offset + size <= bytes.size(); ++size) {
            auto const part = byte_span{bytes}.subspan(offset, size);
            ASSERT_EQ(checksum_of(sum_of(part)), slow_checksum(part)) << offset << '+' << size;
        }
    octets const ones(65535, std::byte{0xff});
    EXPECT_EQ(checksum_of(sum_of(ones)), slow_checksum(ones)) << "the most carries there can be";
}

TEST(checksum, rfc_1624_section_4_example) { // RFC 1141's form would give 0xffff
    EXPECT_EQ(checksum_after(0xdd2f, 0x5555, 0x3285), 0x0000);
    EXPECT_EQ(checksum_plus(0xdd2f, sum_change(0x5555, 0x3285)), 0x0000);
}

/// Incremental equals full, whatever changes, at every even offset, in data of odd length too.
TEST(checksum, incremental_is_full) {
    std::mt19937 random{1624};
    for (int i = 0; i < 100'000; ++i) {
        auto bytes = random_bytes(2 + random() % 63, random);
        bytes[0] |= std::byte{1}; // data of zeros alone has two checksums, and no packet is so
        auto const before = checksum_of(sum_of(bytes));
        auto const at = random() % (bytes.size() / 2) * 2;
        auto const size = std::min<std::size_t>(2 + random() % 8 * 2, bytes.size() - at);
        auto const old_sum = sum_of(byte_span{bytes}.subspan(at, size));
        for (std::size_t k = at; k < at + size; ++k) bytes[k] = static_cast<std::byte>(random());
        bytes[0] |= std::byte{1};
        auto const change = sum_change(old_sum, sum_of(byte_span{bytes}.subspan(at, size)));
        ASSERT_EQ(checksum_plus(before, change), slow_checksum(bytes));
        ASSERT_EQ(checksum_plus(checksum_plus(before, change), opposite(change)), before) << "undone";
    }
}

TEST(checksum, udp_sends_zero_as_ones) { // RFC 768
    EXPECT_EQ(udp_checksum(0), 0xffff);
    EXPECT_EQ(udp_checksum(0xffff), 0xffff);
    EXPECT_EQ(udp_checksum(1), 1);
}

TEST(checksum, folding) {
    static_assert(fold(0) == 0 && fold(0xffff) == 0xffff && fold(0x1'0000) == 1 && fold(0x1'fffe) == 0xffff);
    static_assert(fold(0xffff'ffff'ffff'ffff) == 0xffff && fold(0xffff'0001'0000'0000) == 1);
    static_assert(sum_of(std::array{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}}) == 0x0102 + 0x0304);
}

TEST(checksum, pseudo_header) { // RFC 8200 section 8.1: the upper half of the length counts
    std::array<std::byte, 16> one{}, two{};
    one[15] = std::byte{1};
    two[0] = std::byte{0x20};
    EXPECT_EQ(pseudo_header_sum(one, two, 58, 0x0002'0003), 1u + 0x2000 + 58 + 2 + 3);
}

} // namespace
} // namespace kubeproxy::checksum_tests
