#include "kubeproxy/flow/tuple.hpp"

#include "support/seed_packets.hpp"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::tuple_tests {
namespace {

using seed::fragment;
using seed::ipv4_packet;
using seed::ipv6_packet;
using seed::octets;

struct tuple_case4 {
    std::string_view rule;
    ipv4_packet packet;
    std::uint16_t source_port, destination_port;
};
struct tuple_case6 {
    std::string_view rule;
    ipv6_packet packet;
    std::uint16_t source_port, destination_port;
};

template <ip_version V, class Row>
void expect_tuples(std::vector<Row> const& rows) {
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        auto bytes = seed::bytes_of(row.packet);
        auto const t = tuple_of(parse_as<V>(bytes));
        EXPECT_EQ(octets(t.source.begin(), t.source.end()), row.packet.source);
        EXPECT_EQ(octets(t.destination.begin(), t.destination.end()), row.packet.destination);
        EXPECT_EQ(t.source_port, row.source_port);
        EXPECT_EQ(t.destination_port, row.destination_port);
        EXPECT_EQ(t.protocol, row.packet.protocol);
    }
}

TEST(tuple, what_an_ipv4_packet_shows) {
    auto const quoted = seed::bytes_of(ipv4_packet{});
    auto const options = octets(40, std::byte{0xff}); // a port read from here would be 65535
    expect_tuples<ipv4>(std::vector<tuple_case4>{
        {"RFC 768", {.payload = seed::udp({}, 4660, 53)}, 4660, 53},
        {"RFC 9293 section 3.1", {.protocol = 6, .payload = seed::tcp({}, 2, 65535, 1)}, 65535, 1},
        {"RFC 9260 section 3.1", {.protocol = 132, .payload = seed::sctp({}, 1, 65535)}, 1, 65535},
        {"RFC 791 section 3.1: options", {.options = options, .payload = seed::udp({}, 4660, 53)}, 4660, 53},
        {"RFC 5508 section 3.1: the identifier of a query is its source",
         {.protocol = 1, .payload = seed::icmp(8, 0, 0x1234'0001, {})},
         0x1234,
         0},
        {"RFC 5508 section 3.1: the identifier of a reply is its destination",
         {.protocol = 1, .payload = seed::icmp(0, 0, 0x1234'0001, {})},
         0,
         0x1234},
        {"RFC 792: a timestamp is not followed", {.protocol = 1, .payload = seed::icmp(13, 0, 0x1234'0001, {})}, 0, 0},
        {"RFC 792: an error has no ports of its own", {.protocol = 1, .payload = seed::icmp(3, 3, 7, quoted)}, 0, 0},
        {"RFC 791 section 3.2: the first fragment", {.fragment = 0x2000, .payload = seed::udp({}, 4660, 53)}, 4660, 53},
        {"RFC 791 section 3.2: data is no port", {.fragment = 1, .payload = seed::udp({}, 4660, 53)}, 0, 0},
        {"RFC 768: no whole header, no ports", {.payload = seed::of({1, 2, 3, 4, 0, 7, 0})}, 0, 0},
        {"RFC 2784: GRE has none", {.protocol = 47, .payload = seed::counted(16)}, 0, 0},
    });
}

TEST(tuple, what_an_ipv6_packet_shows) {
    expect_tuples<ipv6>(std::vector<tuple_case6>{
        {"RFC 768", {.payload = seed::udp({}, 4660, 53)}, 4660, 53},
        {"RFC 9293 section 3.1", {.protocol = 6, .payload = seed::tcp({}, 2, 65535, 1)}, 65535, 1},
        {"RFC 4443 section 4.1: echo request",
         {.protocol = 58, .payload = seed::icmp(128, 0, 0x1234'0001, {})},
         0x1234,
         0},
        {"RFC 4443 section 4.2: echo reply",
         {.protocol = 58, .payload = seed::icmp(129, 0, 0x1234'0001, {})},
         0,
         0x1234},
        {"RFC 4443 section 3.1: an error", {.protocol = 58, .payload = seed::icmp(1, 4, 0x1234'0001, {})}, 0, 0},
        {"RFC 8200 section 4: ports behind extension headers",
         {.extensions = {seed::options(0, 2), seed::options(60)}, .payload = seed::udp({}, 4660, 53)},
         4660,
         53},
        {"RFC 6946: an atomic fragment",
         {.extensions = {fragment(0, 0)}, .payload = seed::udp({}, 4660, 53)},
         4660,
         53},
        {"RFC 8200 section 4.5: a later fragment",
         {.extensions = {fragment(1, 0)}, .payload = seed::udp({}, 4660, 53)},
         0,
         0},
        {"RFC 8200 section 4.7: no next header", {.protocol = 59, .payload = {}}, 0, 0},
    });
}

/// The packet that answers `p`: both addresses and, in `payload`, both ports changed round.
template <class Packet>
Packet answer(Packet p, octets payload) {
    std::swap(p.source, p.destination);
    p.payload = std::move(payload);
    return p;
}

template <ip_version V, class Packet>
void expect_mirror(Packet const& request, Packet const& reply) {
    auto a = seed::bytes_of(request), b = seed::bytes_of(reply);
    auto const there = tuple_of(parse_as<V>(a)), back = tuple_of(parse_as<V>(b));
    EXPECT_EQ(there.mirrored(), back);
    EXPECT_EQ(back.mirrored(), there);
    EXPECT_NE(there, back);
}

TEST(tuple, an_answer_shows_the_mirror) {
    ipv4_packet const udp4{.payload = seed::udp({}, 4660, 53)};
    expect_mirror<ipv4>(udp4, answer(udp4, seed::udp({}, 53, 4660)));
    ipv4_packet const echo4{.protocol = 1, .payload = seed::icmp(8, 0, 0x1234'0001, {})};
    expect_mirror<ipv4>(echo4, answer(echo4, seed::icmp(0, 0, 0x1234'0001, {})));
    ipv4_packet const gre{.protocol = 47, .payload = {}};
    expect_mirror<ipv4>(gre, answer(gre, {}));
    ipv6_packet const tcp6{.protocol = 6, .payload = seed::tcp({}, 2, 4660, 80)};
    expect_mirror<ipv6>(tcp6, answer(tcp6, seed::tcp({}, 0x12, 80, 4660)));
    ipv6_packet const echo6{.protocol = 58, .payload = seed::icmp(128, 0, 0x1234'0001, {})};
    expect_mirror<ipv6>(echo6, answer(echo6, seed::icmp(129, 0, 0x1234'0001, {})));
}

/// Another tuple for each octet of it that counts; 3 at the end are always zero.
template <ip_version V>
void expect_every_octet_counts() {
    tuple<V> const t{.source_port = 1, .destination_port = 2, .protocol = 6};
    EXPECT_EQ(t, t);
    std::vector<tuple<V>> others;
    for (std::size_t i = 0; i < t.source.size(); ++i) {
        others.push_back(t);
        others.back().source[i] = std::byte{1};
        others.push_back(t);
        others.back().destination[i] = std::byte{1};
    }
    for (int bit = 0; bit < 16; ++bit) {
        others.push_back(t);
        others.back().source_port ^= static_cast<std::uint16_t>(1u << bit);
        others.push_back(t);
        others.back().destination_port ^= static_cast<std::uint16_t>(1u << bit);
    }
    others.push_back(t);
    others.back().protocol = 17;
    for (auto const& other : others) {
        EXPECT_FALSE(t == other);
        EXPECT_FALSE(t == other.mirrored());
        EXPECT_EQ(other.mirrored().mirrored(), other);
    }
}

TEST(tuple, every_octet_tells_conversations_apart) {
    expect_every_octet_counts<ipv4>();
    expect_every_octet_counts<ipv6>();
}

} // namespace
} // namespace kubeproxy::tuple_tests
