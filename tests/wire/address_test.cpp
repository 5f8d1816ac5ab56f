#include "kubeproxy/wire/address.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string_view>

#include <gtest/gtest.h>

namespace kubeproxy::address_tests {
namespace {

/// 2001:db8::`last`, of the documentation range (RFC 3849).
constexpr ipv6::address documentation(unsigned last) {
    ipv6::address a{std::byte{0x20}, std::byte{0x01}, std::byte{0x0d}, std::byte{0xb8}};
    a[15] = static_cast<std::byte>(last);
    return a;
}

/// Bit `i`, counted from the first one sent.
template <class Address>
bool bit(Address const& a, unsigned i) {
    return (std::to_integer<unsigned>(a[i / 8]) >> (7 - i % 8) & 1u) != 0;
}

template <class Address>
Address random_address(std::mt19937_64& random) {
    Address a;
    for (auto& octet : a) octet = static_cast<std::byte>(random());
    return a;
}

TEST(address, a_number_stands_in_network_order) {
    auto const a = ipv4_address(0xc000'0201);
    EXPECT_EQ(a, (ipv4::address{std::byte{192}, std::byte{0}, std::byte{2}, std::byte{1}}));
    for (auto const number : {0u, 1u, 0x0102'0304u, 0x8000'0000u, 0xffff'ffffu})
        EXPECT_EQ(to_number(ipv4_address(number)), number);
}

TEST(address, order_is_that_of_the_octets_sent) {
    EXPECT_LT(ipv4_address(0x0a00'0001), ipv4_address(0x0a00'0002));
    EXPECT_LT(ipv4_address(0x7fff'ffff), ipv4_address(0x8000'0000)); // octets are unsigned
    EXPECT_LT(documentation(1), documentation(0xff));
}

struct mask_case {
    unsigned bits;
    std::uint32_t mask;
};

TEST(address, ipv4_masks) { // RFC 4632 section 3.1
    for (auto const& row : {mask_case{0, 0}, mask_case{1, 0x8000'0000}, mask_case{7, 0xfe00'0000},
                            mask_case{8, 0xff00'0000}, mask_case{9, 0xff80'0000}, mask_case{12, 0xfff0'0000},
                            mask_case{24, 0xffff'ff00}, mask_case{31, 0xffff'fffe}, mask_case{32, 0xffff'ffff}}) {
        EXPECT_EQ(to_number(masked(ipv4_address(0xffff'ffff), row.bits)), row.mask) << "/" << row.bits;
        EXPECT_EQ(to_number(masked(ipv4_address(0x1234'5678), row.bits)), 0x1234'5678 & row.mask) << "/" << row.bits;
    }
}

template <ip_version V>
void expect_masks_bit_by_bit() {
    std::mt19937_64 random{1};
    for (unsigned length = 0; length <= address_bits<V>; ++length) {
        auto const a = random_address<typename V::address>(random);
        auto const m = masked(a, length);
        for (unsigned i = 0; i < address_bits<V>; ++i)
            ASSERT_EQ(bit(m, i), i < length && bit(a, i)) << "/" << length << " bit " << i;
    }
}

TEST(address, a_mask_keeps_the_first_bits_and_clears_the_others) {
    expect_masks_bit_by_bit<ipv4>();
    expect_masks_bit_by_bit<ipv6>();
}

template <ip_version V>
void expect_a_prefix_ends_at_its_length() {
    std::mt19937_64 random{2};
    for (unsigned length = 0; length <= address_bits<V>; ++length) {
        auto const a = random_address<typename V::address>(random);
        auto const p = prefix<V>::of(a, length);
        EXPECT_TRUE(p.contains(a) && p.contains(p.address)) << "/" << length;
        for (unsigned i = 0; i < address_bits<V>; ++i) {
            auto other = a;
            other[i / 8] ^= static_cast<std::byte>(0x80u >> i % 8);
            ASSERT_EQ(p.contains(other), i >= length) << "/" << length << " bit " << i;
        }
    }
}

TEST(address, the_bits_of_a_mask_are_kept) {
    ipv6::address all_bits, some{};
    all_bits.fill(std::byte{0xff});
    for (std::size_t i = 0; i < some.size(); ++i) some[i] = static_cast<std::byte>(0x5a + 11 * i);
    for (unsigned length = 0; length <= 128; ++length)
        EXPECT_EQ(masked_by(some, masked(all_bits, length)), masked(some, length)) << length;
    EXPECT_EQ(masked_by(ipv4_address(0x1234'5678), ipv4_address(0xff00'ff0f)), ipv4_address(0x1200'5608));
}

TEST(address, a_prefix_contains_what_differs_behind_its_length_only) { // RFC 4291 section 2.3, RFC 4632 section 3.1
    expect_a_prefix_ends_at_its_length<ipv4>();
    expect_a_prefix_ends_at_its_length<ipv6>();
}

TEST(address, a_prefix_forgets_the_host_part) {
    EXPECT_EQ(prefix<ipv4>::of(ipv4_address(0x5a01'0203), 8), prefix<ipv4>::of(ipv4_address(0x5a00'0000), 8));
    EXPECT_NE(prefix<ipv4>::of(ipv4_address(0x5a00'0000), 8), prefix<ipv4>::of(ipv4_address(0x5a00'0000), 9));
    EXPECT_TRUE(prefix<ipv4>{}.contains(ipv4_address(0xffff'ffff))) << "0.0.0.0/0 is every address";
    EXPECT_TRUE(prefix<ipv6>{}.contains(documentation(1))) << "::/0 is every address";
}

struct kind_case {
    std::string_view rule;
    std::uint32_t address;
    bool multicast, loopback, unspecified;
};

TEST(address, kinds_of_ipv4) {
    std::array const rows{
        kind_case{"RFC 5771 section 3: below 224.0.0.0/4", 0xdfff'ffff, false, false, false},
        kind_case{"RFC 5771 section 3: the first of 224.0.0.0/4", 0xe000'0000, true, false, false},
        kind_case{"RFC 5771 section 3: the last of 224.0.0.0/4", 0xefff'ffff, true, false, false},
        kind_case{"RFC 1112 section 4: class E is not multicast", 0xf000'0000, false, false, false},
        kind_case{"RFC 919 section 7: broadcast is not multicast", 0xffff'ffff, false, false, false},
        kind_case{"RFC 1122 section 3.2.1.3 (g): below 127.0.0.0/8", 0x7eff'ffff, false, false, false},
        kind_case{"RFC 1122 section 3.2.1.3 (g): all of 127.0.0.0/8", 0x7fff'ffff, false, true, false},
        kind_case{"RFC 1122 section 3.2.1.3 (g): 127.0.0.1", 0x7f00'0001, false, true, false},
        kind_case{"RFC 1122 section 3.2.1.3 (a): 0.0.0.0", 0, false, false, true},
        kind_case{"RFC 1122 section 3.2.1.3 (b): 0.0.0.1 is a host of this network", 1, false, false, false},
    };
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        auto const a = ipv4_address(row.address);
        EXPECT_EQ(is_multicast(a), row.multicast);
        EXPECT_EQ(is_loopback(a), row.loopback);
        EXPECT_EQ(is_unspecified(a), row.unspecified);
    }
}

TEST(address, kinds_of_ipv6) { // RFC 4291 sections 2.5.2, 2.5.3 and 2.7
    ipv6::address one{};
    one[15] = std::byte{1};
    EXPECT_TRUE(is_loopback(one));
    EXPECT_FALSE(is_loopback(ipv6::address{}));
    EXPECT_FALSE(is_loopback(documentation(1)));
    EXPECT_TRUE(is_unspecified(ipv6::address{}));
    EXPECT_FALSE(is_unspecified(one));
    EXPECT_TRUE(is_multicast(ipv6::address{std::byte{0xff}, std::byte{0x02}}));
    EXPECT_FALSE(is_multicast(ipv6::address{std::byte{0xfe}, std::byte{0x80}})) << "link-local unicast";
    one[0] = std::byte{1};
    EXPECT_FALSE(is_loopback(one));
}

} // namespace
} // namespace kubeproxy::address_tests
