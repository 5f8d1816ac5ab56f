#include "kubeproxy/wire/address_text.hpp"

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace kubeproxy::address_text_tests {
namespace {

struct text_case {
    std::string_view read;
    std::string_view printed; ///< empty: refused
};

class address_forms : public testing::TestWithParam<text_case> {};

TEST_P(address_forms, are_read_and_printed_in_one_form) {
    auto const address = parse_address(GetParam().read);
    ASSERT_EQ(address.has_value(), !GetParam().printed.empty()) << GetParam().read;
    if (address) {
        EXPECT_EQ(to_text(*address), GetParam().printed);
        EXPECT_EQ(parse_address(GetParam().printed), address);
    }
}

INSTANTIATE_TEST_SUITE_P(rfc_5952, address_forms,
                         testing::Values(text_case{"2001:0db8::0001", "2001:db8::1"},               // 4.1
                                         text_case{"2001:db8::0:1", "2001:db8::1"},                 // 4.2.1
                                         text_case{"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},        // 4.2.1
                                         text_case{"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // 4.2.2
                                         text_case{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},          // 4.2.3
                                         text_case{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},    // 4.2.3
                                         text_case{"2001:DB8::ABCD", "2001:db8::abcd"},             // 4.3
                                         text_case{"0:0:0:0:0:ffff:192.0.2.1", "::ffff:192.0.2.1"}, // 5
                                         text_case{"::ffff:c000:201", "::ffff:192.0.2.1"},          // 5
                                         text_case{"2001:db8:aaaa:bbbb:cccc:dddd:eeee:1",           // 2.1
                                                   "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"}));

INSTANTIATE_TEST_SUITE_P(
    rfc_4291_section_2_2, address_forms,
    testing::Values(text_case{"ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"},
                    text_case{"2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"},
                    text_case{"FF01:0:0:0:0:0:0:101", "ff01::101"}, text_case{"0:0:0:0:0:0:0:1", "::1"},
                    text_case{"0:0:0:0:0:0:0:0", "::"}, text_case{"::", "::"}, text_case{"1::", "1::"},
                    text_case{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"}, text_case{"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
                    text_case{"0:0:0:0:0:0:13.1.68.3", "::d01:4403"}, text_case{"::13.1.68.3", "::d01:4403"},
                    text_case{"1:2:3:4:5:6:13.1.68.3", "1:2:3:4:5:6:d01:4403"}));

INSTANTIATE_TEST_SUITE_P(ipv4, address_forms,
                         testing::Values(text_case{"192.0.2.1", "192.0.2.1"}, text_case{"0.0.0.0", "0.0.0.0"},
                                         text_case{"255.255.255.255", "255.255.255.255"}));

INSTANTIATE_TEST_SUITE_P(
    refused, address_forms,
    testing::Values(text_case{"", ""}, text_case{" ::1", ""}, text_case{"::1 ", ""}, text_case{"192.0.2", ""},
                    text_case{"192.0.2.1.1", ""}, text_case{"192.0.2.256", ""}, text_case{"192.0.2.-1", ""},
                    text_case{"192.0.2.+1", ""}, text_case{"192.0.2.", ""}, text_case{".192.0.2.1", ""},
                    text_case{"192.0.2.01", ""}, // octal to some (RFC 6943 section 3.1.1)
                    text_case{"192.0.2.0x1", ""}, text_case{"1:2:3:4:5:6:7", ""}, text_case{"1:2:3:4:5:6:7:8:9", ""},
                    text_case{"1:2:3:4:5:6:7:8::", ""}, text_case{"::1:2:3:4:5:6:7:8", ""}, text_case{":::", ""},
                    text_case{"1::2::3", ""}, text_case{":1", ""}, text_case{"1:", ""}, text_case{"12345::", ""},
                    text_case{"g::", ""}, text_case{"1:2:3:4:5:6:7:192.0.2.1", ""}, text_case{"::192.0.2.1:1", ""},
                    text_case{"192.0.2.1::", ""}, text_case{"fe80::1%eth0", ""}, text_case{"[::1]", ""},
                    text_case{"::0x1", ""}, text_case{"::-1", ""}));

/// Prints an address in full, eight groups, which needs no rule: an oracle for the short form.
std::string in_full(ipv6::address const& a) {
    std::string text;
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (i != 0 && i % 2 == 0) text += ':';
        text += digits[std::to_integer<std::size_t>(a[i] >> 4)];
        text += digits[std::to_integer<std::size_t>(a[i] & std::byte{0xf})];
    }
    return text;
}

TEST(address_text, short_and_full_form_of_any_address_are_the_same_address) {
    std::mt19937_64 random{5952};
    for (int round = 0; round < 20'000; ++round) {
        ipv6::address a{};
        auto const zeros = random(); // by groups, so that runs of zeros of all lengths and places come up
        for (std::size_t i = 0; i < a.size(); ++i)
            if ((zeros >> (i / 2) & 1u) != 0) a[i] = static_cast<std::byte>(random());
        auto const text = to_text(a);
        EXPECT_EQ(parse_address<ipv6>(text), a) << text;
        EXPECT_EQ(parse_address<ipv6>(in_full(a)), a) << text;
        EXPECT_LE(text.size(), in_full(a).size());
    }
}

struct prefix_case {
    std::string_view read;
    std::string_view printed; ///< empty: refused
};

class prefix_forms : public testing::TestWithParam<prefix_case> {};

TEST_P(prefix_forms, are_read_and_printed) {
    auto const prefix = parse_prefix(GetParam().read);
    ASSERT_EQ(prefix.has_value(), !GetParam().printed.empty()) << GetParam().read;
    if (prefix) {
        EXPECT_EQ(to_text(*prefix), GetParam().printed);
    }
}

INSTANTIATE_TEST_SUITE_P(
    rfc_4291_section_2_3, prefix_forms,
    testing::Values(prefix_case{"2001:0DB8:0000:CD30:0000:0000:0000:0000/60", "2001:db8:0:cd30::/60"},
                    prefix_case{"2001:0DB8::CD30:0:0:0:0/60", "2001:db8:0:cd30::/60"},
                    prefix_case{"2001:0DB8:0:CD30::/60", "2001:db8:0:cd30::/60"},
                    prefix_case{"2001:0DB8:0:CD30:123:4567:89AB:CDEF/60", "2001:db8:0:cd30::/60"}));

INSTANTIATE_TEST_SUITE_P(bounds, prefix_forms,
                         testing::Values(prefix_case{"90.0.0.0/8", "90.0.0.0/8"}, prefix_case{"0.0.0.0/0", "0.0.0.0/0"},
                                         prefix_case{"192.0.2.1/32", "192.0.2.1/32"},
                                         prefix_case{"192.0.2.1", "192.0.2.1/32"}, prefix_case{"::1", "::1/128"},
                                         prefix_case{"192.0.2.1/24", "192.0.2.0/24"}, prefix_case{"::/0", "::/0"},
                                         prefix_case{"::1/128", "::1/128"}, prefix_case{"90.0.0.0/33", ""},
                                         prefix_case{"::/129", ""}, prefix_case{"::/", ""}, prefix_case{"/8", ""},
                                         prefix_case{"90.0.0.0/08", ""}, prefix_case{"90.0.0.0/-1", ""},
                                         prefix_case{"90.0.0.0/8/8", ""}, prefix_case{"90/8", ""},
                                         prefix_case{"90.0.0.0/255.0.0.0", ""}, prefix_case{"::/1000", ""}));

TEST(address_text, address_with_port) { // RFC 5952 section 6
    EXPECT_EQ(to_text(ip_address{ipv4_address(0xc0000201)}, 80), "192.0.2.1:80");
    EXPECT_EQ(to_text(*parse_address("2001:db8::1"), 65535), "[2001:db8::1]:65535");
}

TEST(address_text, version) {
    EXPECT_EQ(version_of(*parse_address("192.0.2.1")), 4u);
    EXPECT_EQ(version_of(*parse_address("::192.0.2.1")), 6u);
    EXPECT_EQ(version_of(*parse_prefix("192.0.2.0/24")), 4u);
    EXPECT_EQ(version_of(*parse_prefix("2001:db8::/32")), 6u);
}

} // namespace
} // namespace kubeproxy::address_text_tests
