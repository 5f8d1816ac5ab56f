#include "support/routes.hpp"

#include "kubeproxy/wire/address_text.hpp"

#include <gtest/gtest.h>

#include <string>

namespace examples {
namespace {

using kubeproxy::ipv4, kubeproxy::ipv6, kubeproxy::parse_address, kubeproxy::parse_prefix;

template <class V>
route<V> to(std::string const& prefix, std::uint32_t link, std::string const& gateway = "") {
    route<V> made{.to = *parse_prefix<V>(prefix), .link = link};
    if (!gateway.empty()) made.gateway = *parse_address<V>(gateway);
    return made;
}

TEST(routes, the_longest_prefix_wins_in_any_order) {
    for (bool const reversed : {false, true}) {
        route_table<ipv4> table;
        std::vector routes{to<ipv4>("0.0.0.0/0", 0, "192.0.2.254"), to<ipv4>("10.0.0.0/8", 1),
                           to<ipv4>("10.244.1.0/24", 2), to<ipv4>("10.244.1.7/32", 3)};
        if (reversed) std::ranges::reverse(routes);
        for (auto const& r : routes) table.add(r);
        EXPECT_EQ(table.find(*parse_address<ipv4>("10.244.1.7"))->link, 3u);
        EXPECT_EQ(table.find(*parse_address<ipv4>("10.244.1.8"))->link, 2u);
        EXPECT_EQ(table.find(*parse_address<ipv4>("10.244.2.1"))->link, 1u);
        EXPECT_EQ(table.find(*parse_address<ipv4>("198.51.100.1"))->link, 0u);
    }
}

TEST(routes, of_two_equal_prefixes_the_first_stays) {
    route_table<ipv6> table;
    table.add(to<ipv6>("2001:db8::/32", 4));
    table.add(to<ipv6>("2001:db8::/32", 5));
    EXPECT_EQ(table.find(*parse_address<ipv6>("2001:db8::1"))->link, 4u);
}

TEST(routes, what_no_prefix_holds_has_no_route) {
    route_table<ipv6> table;
    EXPECT_EQ(table.find(*parse_address<ipv6>("2001:db8::1")), nullptr);
    table.add(to<ipv6>("fd00::/8", 0));
    EXPECT_EQ(table.find(*parse_address<ipv6>("2001:db8::1")), nullptr);
}

TEST(routes, the_next_hop_is_the_gateway_or_the_destination_itself) {
    auto const there = *parse_address<ipv4>("198.51.100.7");
    EXPECT_EQ(to<ipv4>("198.51.100.0/24", 0).next_hop(there), there);
    EXPECT_EQ(to<ipv4>("0.0.0.0/0", 0, "192.0.2.254").next_hop(there), *parse_address<ipv4>("192.0.2.254"));
}

} // namespace
} // namespace examples
