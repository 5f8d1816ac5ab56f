#include "kubeproxy/wire/illegal_address.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>

#include <string>

// Sources that do not change family, range by range, with their neighbours on both sides.

namespace kubeproxy::illegal_address_tests {
namespace {

template <ip_version V>
typename V::address address_of(std::string const& text) {
    typename V::address result{};
    EXPECT_EQ(::inet_pton(std::same_as<V, ipv4> ? AF_INET : AF_INET6, text.c_str(), result.data()), 1) << text;
    return result;
}

TEST(illegal_address, of_ipv4) {
    for (auto const* text : {"0.0.0.0", "0.255.255.255",                        // RFC 1122 section 3.2.1.3 (a), (b)
                             "127.0.0.1", "127.255.255.255",                    // (g)
                             "224.0.0.1", "239.255.255.255",                    // class D, RFC 5771
                             "240.0.0.1", "255.255.255.254", "255.255.255.255", // class E, (c)
                             "169.254.0.0", "169.254.255.255"})                 // RFC 3927 section 2.7
        EXPECT_TRUE(is_illegal_source(address_of<ipv4>(text))) << text;
    for (auto const* text : {"1.0.0.0", "126.255.255.255", "128.0.0.0", "223.255.255.255", "169.253.255.255",
                             "169.255.0.0", "10.0.0.1", "192.0.2.255"})
        EXPECT_FALSE(is_illegal_source(address_of<ipv4>(text))) << text;
}

TEST(illegal_address, of_ipv6) {
    auto const nat64 = prefix<ipv6>::of(address_of<ipv6>("2001:db8:64::"), 96);
    for (auto const* text : {"::", "::1",                    // RFC 4291 sections 2.5.2, 2.5.3
                             "ff00::", "ff02::1", "ffff::1", // section 2.7
                             "fe80::1", "febf:ffff::1",      // section 2.5.6
                             "2001:db8:64::127.0.0.1", "2001:db8:64::0.0.0.0", "2001:db8:64::255.255.255.255",
                             "64:ff9b::224.0.0.1", "64:ff9b::169.254.0.1", // RFC 6052 section 3.1
                             "::ffff:127.0.0.1", "::ffff:240.0.0.1"})      // RFC 4291 section 2.5.5.2
        EXPECT_TRUE(is_illegal_source(address_of<ipv6>(text), nat64)) << text;
    for (auto const* text : {"::2", "2001:db8::1", "fec0::1", "fe7f::1", "fd00::1", "feff::1", "2001:db8:64::192.0.2.1",
                             "2001:db8:65::127.0.0.1", "64:ff9b::192.0.2.1",
                             "64:ff9b:1::127.0.0.1"}) // local use (RFC 8215), and not the prefix in use
        EXPECT_FALSE(is_illegal_source(address_of<ipv6>(text), nat64)) << text;
}

} // namespace
} // namespace kubeproxy::illegal_address_tests
