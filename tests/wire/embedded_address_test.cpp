#include "kubeproxy/wire/embedded_address.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <random>

#include <gtest/gtest.h>

namespace kubeproxy::embedded_address_tests {
namespace {

/// An address from its eight groups of 16 bits, as RFC 4291 section 2.2 writes them.
ipv6::address from_groups(std::array<unsigned, 8> const& groups) {
    ipv6::address a{};
    for (std::size_t i = 0; i < groups.size(); ++i) {
        a[2 * i] = static_cast<std::byte>(groups[i] >> 8);
        a[2 * i + 1] = static_cast<std::byte>(groups[i] & 0xff);
    }
    return a;
}

struct embedding_case {
    unsigned prefix_length;
    std::array<unsigned, 8> prefix, embedded;
};

// RFC 6052 section 2.4, tables 1 and 2: 192.0.2.33 behind each prefix.
constexpr std::array rfc6052_examples{
    embedding_case{32, {0x2001, 0xdb8}, {0x2001, 0xdb8, 0xc000, 0x221}},
    embedding_case{40, {0x2001, 0xdb8, 0x100}, {0x2001, 0xdb8, 0x1c0, 0x2, 0x21}},
    embedding_case{48, {0x2001, 0xdb8, 0x122}, {0x2001, 0xdb8, 0x122, 0xc000, 0x2, 0x2100}},
    embedding_case{56, {0x2001, 0xdb8, 0x122, 0x300}, {0x2001, 0xdb8, 0x122, 0x3c0, 0x0, 0x221}},
    embedding_case{64, {0x2001, 0xdb8, 0x122, 0x344}, {0x2001, 0xdb8, 0x122, 0x344, 0xc0, 0x2, 0x2100}},
    embedding_case{96, {0x2001, 0xdb8, 0x122, 0x344}, {0x2001, 0xdb8, 0x122, 0x344, 0, 0, 0xc000, 0x221}},
    embedding_case{96, {0x64, 0xff9b}, {0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x221}},
};

TEST(embedded_address, the_tables_of_rfc_6052_section_2_4) {
    auto const address = ipv4_address(0xc000'0221);
    for (auto const& row : rfc6052_examples) {
        auto const p = prefix<ipv6>::of(from_groups(row.prefix), row.prefix_length);
        EXPECT_EQ(embed(p, address), from_groups(row.embedded)) << "/" << row.prefix_length;
        EXPECT_EQ(extract(p, from_groups(row.embedded)), address) << "/" << row.prefix_length;
    }
}

TEST(embedded_address, only_the_lengths_of_rfc_6052_section_2_2) {
    for (unsigned length = 0; length <= 200; ++length) {
        bool const is_defined = std::ranges::any_of(rfc6052_examples, [&](auto const& row) //
                                                    { return row.prefix_length == length; });
        EXPECT_EQ(is_embedding_length(length), is_defined) << "/" << length;
    }
}

TEST(embedded_address, any_address_comes_back_and_stays_behind_its_prefix) {
    std::mt19937_64 random{1};
    for (auto const length : {32u, 40u, 48u, 56u, 64u, 96u}) {
        for (int i = 0; i < 1000; ++i) {
            ipv6::address a;
            for (auto& octet : a) octet = static_cast<std::byte>(random());
            a[8] = std::byte{0}; // RFC 6052 section 2.2: bits 64 to 71 are zero, in a prefix of 96 bits too
            auto const p = prefix<ipv6>::of(a, length);
            auto const address = ipv4_address(static_cast<std::uint32_t>(random()));
            auto const embedded = embed(p, address);
            ASSERT_EQ(extract(p, embedded), address) << "/" << length;
            ASSERT_TRUE(p.contains(embedded)) << "/" << length;
            ASSERT_EQ(embedded[8], std::byte{0}) << "/" << length;
        }
    }
}

TEST(embedded_address, what_is_behind_the_ipv4_address_is_zero_and_ignored) { // RFC 6052 section 2.2, suffix
    auto const p = prefix<ipv6>::of(from_groups({0x2001, 0xdb8}), 32);
    auto suffixed = from_groups({0x2001, 0xdb8, 0xc000, 0x221, 0, 0xffff, 0xffff, 0xffff});
    EXPECT_EQ(extract(p, suffixed), ipv4_address(0xc000'0221));
    auto const embedded = embed(p, ipv4_address(0xffff'ffff));
    EXPECT_TRUE(std::all_of(embedded.begin() + 8, embedded.end(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(embedded_address, the_prefix_for_local_use) { // RFC 8215 section 5: 64:ff9b:1::/48, of which the first /96
    EXPECT_EQ(embed(local_use_nat64_prefix, ipv4_address(0xc000'0221)),
              from_groups({0x64, 0xff9b, 1, 0, 0, 0, 0xc000, 0x221}));
    EXPECT_TRUE(is_embedding_length(local_use_nat64_prefix.length));
}

} // namespace
} // namespace kubeproxy::embedded_address_tests
