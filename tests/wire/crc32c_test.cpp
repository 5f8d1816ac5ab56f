#include "kubeproxy/wire/crc32c.hpp"

#include "support/seed_packets.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string_view>

namespace kubeproxy::crc32c_tests {
namespace {

using seed::octets;

octets random_bytes(std::size_t size, std::mt19937& random) {
    octets result(size);
    for (auto& b : result) b = static_cast<std::byte>(random());
    return result;
}

std::uint32_t slow_crc(octets const& bytes) { return load_crc32c(seed::crc32c(bytes), 0); }

TEST(crc32c, rfc_3720_appendix_b_4) { // the examples of iSCSI, which has the same CRC
    octets counted = seed::counted(32), backwards(counted.rbegin(), counted.rend());
    EXPECT_EQ(crc32c(octets(32, std::byte{0})), 0x8a91'36aa);
    EXPECT_EQ(crc32c(octets(32, std::byte{0xff})), 0x62a8'ab43);
    EXPECT_EQ(crc32c(counted), 0x46dd'794e);
    EXPECT_EQ(crc32c(backwards), 0x113f'db5c);
}

TEST(crc32c, check_value) { // the catalogues' check value of CRC-32C
    octets digits;
    for (char const c : std::string_view{"123456789"}) digits.push_back(static_cast<std::byte>(c));
    EXPECT_EQ(crc32c(digits), 0xe306'9283);
}

/// Both ways to compute it are the bitwise one, at every length and offset.
TEST(crc32c, every_length_and_offset) {
    std::mt19937 random{9260};
    auto const bytes = random_bytes(80, random);
    for (std::size_t offset = 0; offset < 9; ++offset)
        for (std::size_t size = 0; offset + size <= bytes.size(); ++size) {
            octets const part(bytes.begin() + static_cast<std::ptrdiff_t>(offset),
                              bytes.begin() + static_cast<std::ptrdiff_t>(offset + size));
            auto const expected = slow_crc(part);
            ASSERT_EQ(crc32c(part), expected) << offset << '+' << size;
            ASSERT_EQ(~detail::crc32c_portable(~0u, part), expected) << offset << '+' << size;
        }
}

TEST(crc32c, incremental_is_full) {
    std::mt19937 random{3309};
    for (int i = 0; i < 20'000; ++i) {
        auto bytes = random_bytes(4 + random() % 100, random);
        auto const before = crc32c(bytes);
        auto const at = random() % (bytes.size() - 3);
        auto const old_word = load_be<std::uint32_t>(bytes, at);
        auto const new_word = static_cast<std::uint32_t>(random());
        store_be(bytes, at, new_word);
        auto const to_end = static_cast<std::uint32_t>(bytes.size() - at);
        ASSERT_EQ(crc32c_after(before, old_word, new_word, to_end), crc32c(bytes)) << at << " of " << bytes.size();
        ASSERT_EQ(crc32c_after(before ^ 0x5a5a, old_word, new_word, to_end), crc32c(bytes) ^ 0x5a5a)
            << "as wrong as before";
    }
    octets longest(65'535, std::byte{7});
    auto const before = crc32c(longest);
    store_be(longest, 0, std::uint32_t{0x1234'5678});
    EXPECT_EQ(crc32c_after(before, 0x0707'0707, 0x1234'5678, 65'535), crc32c(longest));
}

TEST(crc32c, stands_lowest_byte_first) { // RFC 9260 appendix A
    octets field(6);
    store_crc32c(field, 1, 0x1234'5678);
    EXPECT_EQ(field, seed::of({0, 0x78, 0x56, 0x34, 0x12, 0}));
    EXPECT_EQ(load_crc32c(field, 1), 0x1234'5678u);
}

} // namespace
} // namespace kubeproxy::crc32c_tests
