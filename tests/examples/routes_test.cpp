#include "tap_forwarder/router/reverse_path.hpp"
#include "tap_forwarder/router/routes.hpp"

#include "kubeproxy/wire/address_text.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

namespace examples::routes_tests {
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

TEST(reverse_path, strict_for_connected_networks_and_feasible_for_those_beyond_gateways) {
    route_table<ipv4> table;
    for (auto const& r : {to<ipv4>("0.0.0.0/0", 0, "192.0.2.254"), to<ipv4>("192.0.2.0/24", 0),
                          to<ipv4>("10.244.1.0/24", 1), to<ipv4>("10.244.2.0/24", 1, "10.244.1.2"),
                          to<ipv4>("10.244.2.0/24", 2, "198.51.100.2"), to<ipv4>("198.51.100.0/24", 2)})
        table.add(r);
    struct {
        char const* rule;
        char const* source;
        std::uint32_t link;
        bool strict;
    } const rows[]{
        {"RFC 3704 section 2.2: a connected network is behind its link", "10.244.1.7", 1, true},
        {"RFC 3704 section 2.2: and behind no other", "10.244.1.7", 0, false},
        {"a default route through a link does not make connected networks reachable by it", "198.51.100.9", 0, false},
        {"RFC 3704 section 2.3: the best of two routes", "10.244.2.7", 1, true},
        {"RFC 3704 section 2.3: the other one", "10.244.2.7", 2, true},
        {"RFC 3704 section 2.3: a less specific route counts, too", "10.244.2.7", 0, true},
        {"everything else is behind the default route", "203.0.113.9", 0, true},
        {"and behind no other link", "203.0.113.9", 1, false},
    };
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        auto const source = *parse_address<ipv4>(row.source);
        EXPECT_EQ(has_reverse_path(table, source, row.link, reverse_path::strict), row.strict);
        EXPECT_TRUE(has_reverse_path(table, source, row.link, reverse_path::loose));
        EXPECT_TRUE(has_reverse_path(table, source, row.link, reverse_path::off));
    }
    route_table<ipv4> none;
    auto const anybody = *parse_address<ipv4>("203.0.113.9");
    EXPECT_FALSE(has_reverse_path(none, anybody, 0, reverse_path::strict));
    EXPECT_FALSE(has_reverse_path(none, anybody, 0, reverse_path::loose)) << "RFC 3704 section 2.4";
    EXPECT_TRUE(has_reverse_path(none, anybody, 0, reverse_path::off));
}

TEST(reverse_path, modes_have_names) {
    EXPECT_EQ(read_reverse_path("strict"), reverse_path::strict);
    EXPECT_EQ(read_reverse_path("loose"), reverse_path::loose);
    EXPECT_EQ(read_reverse_path("off"), reverse_path::off);
    for (auto const* bad : {"", "Strict", "on", "loose "}) EXPECT_EQ(read_reverse_path(bad), std::nullopt) << bad;
}

} // namespace
} // namespace examples::routes_tests
