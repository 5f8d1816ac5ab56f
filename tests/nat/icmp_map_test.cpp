#include "kubeproxy/nat/icmp_map.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string_view>
#include <vector>

/// RFC 7915 section 4.2 with Figure 3, section 5.2 with Figure 6, row by row.
namespace kubeproxy::detail {

std::ostream& operator<<(std::ostream& out, icmp_head const& h) {
    return out << unsigned{h.type} << '/' << unsigned{h.code} << " rest " << h.rest;
}

namespace icmp_map_tests {
namespace {

struct row {
    std::string_view rule;
    icmp_head in;
    std::optional<icmp_head> out;
};

constexpr translation_settings wide{.ipv6_mtu = 0xffff, .ipv4_mtu = 0xffff};

template <ip_version From>
void expect(std::vector<row> const& rows) {
    for (auto const& r : rows) EXPECT_EQ(head_after<From>(r.in, {100}, wide), r.out) << r.rule << ": " << r.in;
}

TEST(icmp_map, towards_ipv6) {
    icmp_head const no_route{1, 0, 0}, prohibited{1, 1, 0};
    expect<ipv4>({
        {"network unreachable", {3, 0, 0}, no_route},
        {"host unreachable", {3, 1, 0}, no_route},
        {"protocol unreachable: a Parameter Problem at the Next Header", {3, 2, 0}, icmp_head{4, 1, 6}},
        {"port unreachable", {3, 3, 0}, icmp_head{1, 4, 0}},
        {"fragmentation needed: Packet Too Big, 20 more", {3, 4, 1400}, icmp_head{2, 0, 1420}},
        {"source route failed", {3, 5, 0}, no_route},
        {"network unknown", {3, 6, 0}, no_route},
        {"host unknown", {3, 7, 0}, no_route},
        {"source host isolated", {3, 8, 0}, no_route},
        {"network prohibited", {3, 9, 0}, prohibited},
        {"host prohibited", {3, 10, 0}, prohibited},
        {"network unreachable for this service", {3, 11, 0}, no_route},
        {"host unreachable for this service", {3, 12, 0}, no_route},
        {"communication prohibited", {3, 13, 0}, prohibited},
        {"host precedence violation", {3, 14, 0}, std::nullopt},
        {"precedence cutoff", {3, 15, 0}, prohibited},
        {"not assigned", {3, 16, 0}, std::nullopt},
        {"source quench is obsolete", {4, 0, 0}, std::nullopt},
        {"redirect is for one link", {5, 1, 0xc0000201}, std::nullopt},
        {"TTL exceeded", {11, 0, 0}, icmp_head{3, 0, 0}},
        {"reassembly time exceeded", {11, 1, 0x00200000}, icmp_head{3, 1, 0}},
        {"parameter problem, missing option", {12, 1, 0}, std::nullopt},
        {"parameter problem, bad length", {12, 2, 0x08000000}, icmp_head{4, 0, 7}},
        {"parameter problem, not assigned", {12, 3, 0}, std::nullopt},
    });
}

TEST(icmp_map, figure_3) {
    struct {
        unsigned first, last;
        std::optional<std::uint32_t> after;
    } const rows[] = {{0, 0, 0}, {1, 1, 1},    {2, 3, 4},   {4, 7, {}},   {8, 8, 7},
                      {9, 9, 6}, {10, 11, {}}, {12, 15, 8}, {16, 19, 24}, {20, 255, {}}};
    for (auto const& r : rows)
        for (auto p = r.first; p <= r.last; ++p) {
            auto const expected = r.after ? std::optional{icmp_head{4, 0, *r.after}} : std::nullopt;
            EXPECT_EQ(head_after<ipv4>({12, 0, p << 24}, {100}, wide), expected) << p;
        }
}

TEST(icmp_map, towards_ipv4) {
    expect<ipv6>({
        {"no route", {1, 0, 0}, icmp_head{3, 1, 0}},
        {"prohibited", {1, 1, 0}, icmp_head{3, 10, 0}},
        {"beyond scope", {1, 2, 0}, icmp_head{3, 1, 0}},
        {"address unreachable", {1, 3, 0}, icmp_head{3, 1, 0}},
        {"port unreachable", {1, 4, 0}, icmp_head{3, 3, 0}},
        {"policy", {1, 5, 0}, std::nullopt},
        {"packet too big: 20 less", {2, 0, 1400}, icmp_head{3, 4, 1380}},
        {"an MTU that no IPv4 field holds", {2, 0, 0x0002'0000}, icmp_head{3, 4, 0xffff - 20}},
        {"an MTU of nonsense: what every IPv4 link carries", {2, 0, 3}, icmp_head{3, 4, 68}},
        {"hop limit exceeded", {3, 0, 0}, icmp_head{11, 0, 0}},
        {"reassembly time exceeded", {3, 1, 0}, icmp_head{11, 1, 0}},
        {"unknown next header: protocol unreachable", {4, 1, 6}, icmp_head{3, 2, 0}},
        {"unknown option", {4, 2, 0}, std::nullopt},
        {"not assigned", {100, 0, 0}, std::nullopt},
    });
}

TEST(icmp_map, figure_6) {
    struct {
        unsigned first, last;
        std::optional<std::uint32_t> after;
    } const rows[] = {{0, 0, 0}, {1, 1, 1},   {2, 3, {}},   {4, 5, 2},    {6, 6, 9},
                      {7, 7, 8}, {8, 23, 12}, {24, 39, 16}, {40, 300, {}}};
    for (auto const& r : rows)
        for (auto p = r.first; p <= r.last; ++p) {
            auto const expected = r.after ? std::optional{icmp_head{12, 0, *r.after << 24}} : std::nullopt;
            EXPECT_EQ(head_after<ipv6>({4, 0, p}, {100}, wide), expected) << p;
        }
}

TEST(icmp_map, the_narrowest_hop_decides) {
    constexpr translation_settings hops{.ipv6_mtu = 1480, .ipv4_mtu = 1400};
    EXPECT_EQ(mtu_towards_ipv6(1300, {100}, hops), 1320u);
    EXPECT_EQ(mtu_towards_ipv6(1500, {100}, hops), 1420u) << "the IPv4 hop, 20 more";
    EXPECT_EQ(mtu_towards_ipv6(1500, {100}, {.ipv6_mtu = 1480, .ipv4_mtu = 1500}), 1480u) << "the IPv6 hop";
    EXPECT_EQ(mtu_towards_ipv6(576, {100}, hops), 1280u) << "RFC 7915 section 4.2: never below 1280";
    EXPECT_EQ(mtu_towards_ipv4(1500, {}, hops), 1400u) << "the IPv4 hop";
    EXPECT_EQ(mtu_towards_ipv4(1500, {}, {.ipv6_mtu = 1400, .ipv4_mtu = 1500}), 1380u) << "the IPv6 hop, 20 less";
    EXPECT_EQ(mtu_towards_ipv4(1300, {}, hops), 1280u);
}

// RFC 7915 section 5.2: "taking into account whether or not the packet in error includes a Fragment Header".
TEST(icmp_map, a_quoted_fragment_header_takes_eight_bytes_more) {
    constexpr packet_in_error fragment{.size = 1280, .has_fragment_header = true};
    EXPECT_EQ(mtu_towards_ipv4(1000, fragment, wide), 972u);
    EXPECT_EQ(mtu_towards_ipv4(1400, fragment, wide), 1372u);
    EXPECT_EQ(mtu_towards_ipv4(1500, fragment, {.ipv6_mtu = 1400, .ipv4_mtu = 1500}), 1372u) << "the IPv6 hop, 28 less";
    EXPECT_EQ(mtu_towards_ipv4(1500, fragment, {.ipv6_mtu = 1500, .ipv4_mtu = 1400}), 1400u) << "the IPv4 hop as it is";
    for (std::uint32_t const nonsense : {0u, 68u, 95u, 96u})
        EXPECT_EQ(mtu_towards_ipv4(nonsense, fragment, wide), 68u) << "RFC 791 section 3.2";
    EXPECT_EQ(mtu_towards_ipv4(97, fragment, wide), 69u);
}

TEST(icmp_map, plateaus_for_routers_before_rfc_1191) {
    EXPECT_EQ(mtu_towards_ipv6(0, {1500}, wide), 1492u + 20);
    EXPECT_EQ(mtu_towards_ipv6(0, {1492}, wide), 1280u) << "less than the packet, not as long";
    EXPECT_EQ(mtu_towards_ipv6(0, {4353}, wide), 4352u + 20);
    EXPECT_EQ(mtu_towards_ipv6(0, {9000}, wide), 8166u + 20);
    EXPECT_EQ(mtu_towards_ipv6(0, {40}, wide), 1280u);
}

} // namespace
} // namespace icmp_map_tests
} // namespace kubeproxy::detail
