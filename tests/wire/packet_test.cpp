#include "kubeproxy/wire/packet.hpp"

#include "support/seed_packets.hpp"

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::packet_tests {
namespace {

using seed::fragment;
using seed::ipv4_packet;
using seed::ipv6_packet;
using seed::octets;
using seed::options;

/// What a packet of version V is expected to be parsed to; the rest is checked for every row alike.
struct outcome {
    std::uint8_t protocol;
    content what;
    std::uint32_t transport;
    bool is_fragment = false;
    drop_reason flaw = drop_reason::none;
};

template <class Packet>
struct parse_case {
    std::string_view rule;
    Packet packet;
    outcome expected;
};

template <ip_version V>
void expect_outcome(octets bytes, outcome const& expected) {
    auto const before = bytes;
    auto const result = parse(bytes);
    ASSERT_TRUE(std::holds_alternative<parsed<V>>(result));
    auto const& p = std::get<parsed<V>>(result);
    EXPECT_EQ(p.protocol, expected.protocol);
    EXPECT_EQ(p.what, expected.what);
    EXPECT_EQ(p.transport, expected.transport);
    EXPECT_EQ(p.is_fragment, expected.is_fragment);
    EXPECT_EQ(name(p.flaw), name(expected.flaw));
    bool const is_common = expected.protocol == ip_protocol::tcp || expected.protocol == ip_protocol::udp;
    EXPECT_EQ(p.is_plain, is_common && expected.what == content::ports && !expected.is_fragment &&
                              expected.flaw == drop_reason::none && p.fragment_header == 0 &&
                              expected.transport == V::minimum_header);
    EXPECT_EQ(p.bytes.data(), bytes.data());
    EXPECT_EQ(p.bytes.size(), bytes.size());
    EXPECT_EQ(p.payload().data(), bytes.data() + expected.transport);
    EXPECT_EQ(bytes, before) << "parsing writes nothing";
}

void expect_outcomes(std::vector<parse_case<ipv4_packet>> const& rows) {
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        expect_outcome<ipv4>(seed::bytes_of(row.packet), row.expected);
    }
}
void expect_outcomes(std::vector<parse_case<ipv6_packet>> const& rows) {
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        expect_outcome<ipv6>(seed::bytes_of(row.packet), row.expected);
    }
}

constexpr auto truncated = drop_reason::truncated_transport;
constexpr auto tiny = drop_reason::tiny_fragment;

TEST(packet, what_stands_behind_an_ipv4_header) {
    auto const quoted = seed::bytes_of(ipv4_packet{});
    expect_outcomes(std::vector<parse_case<ipv4_packet>>{
        {"RFC 768", {.payload = seed::udp({})}, {17, content::ports, 20}},
        {"RFC 9293 section 3.1", {.protocol = 6, .payload = seed::tcp({})}, {6, content::ports, 20}},
        {"RFC 9260 section 3.1", {.protocol = 132, .payload = seed::sctp({})}, {132, content::ports, 20}},
        {"RFC 791 section 3.1: options", {.options = octets(40, std::byte{1})}, {17, content::ports, 60}},
        {"RFC 792: echo", {.protocol = 1, .payload = seed::icmp(8, 0, 0, {})}, {1, content::echo, 20}},
        {"RFC 792: echo reply", {.protocol = 1, .payload = seed::icmp(0, 0, 0, {})}, {1, content::echo, 20}},
        {"RFC 792: timestamp", {.protocol = 1, .payload = seed::icmp(13, 0, 0, {})}, {1, content::other_icmp, 20}},
        {"RFC 792: unreachable", {.protocol = 1, .payload = seed::icmp(3, 3, 0, quoted)}, {1, content::icmp_error, 20}},
        {"RFC 792: an error that quotes nothing is an error",
         {.protocol = 1, .payload = seed::icmp(3, 3, 0, {})},
         {1, content::icmp_error, 20}},
        {"RFC 4443: ICMPv6 over IPv4 is not ICMP",
         {.protocol = 58, .payload = seed::icmp(128, 0, 0, {})},
         {58, content::opaque, 20}},
        {"RFC 2784: GRE is not looked into", {.protocol = 47, .payload = {}}, {47, content::opaque, 20}},
        {"RFC 4303: ESP is not looked into", {.protocol = 50, .payload = seed::counted(8)}, {50, content::opaque, 20}},
        {"RFC 8200 section 4: extension headers mean nothing here",
         {.protocol = 0, .payload = seed::of({17, 0, 1, 4, 0, 0, 0, 0})},
         {0, content::opaque, 20}},
    });
}

TEST(packet, what_stands_behind_an_ipv6_header) {
    auto const quoted = seed::bytes_of(ipv6_packet{});
    expect_outcomes(std::vector<parse_case<ipv6_packet>>{
        {"RFC 768", {.payload = seed::udp({})}, {17, content::ports, 40}},
        {"RFC 9293 section 3.1", {.protocol = 6, .payload = seed::tcp({})}, {6, content::ports, 40}},
        {"RFC 9260 section 3.1", {.protocol = 132, .payload = seed::sctp({})}, {132, content::ports, 40}},
        {"RFC 4443 section 4.1", {.protocol = 58, .payload = seed::icmp(128, 0, 0, {})}, {58, content::echo, 40}},
        {"RFC 4443 section 4.2", {.protocol = 58, .payload = seed::icmp(129, 0, 0, {})}, {58, content::echo, 40}},
        {"RFC 4861 section 4.3", {.protocol = 58, .payload = seed::icmp(135, 0, 0, {})}, {58, content::other_icmp, 40}},
        {"RFC 4443 section 3.2",
         {.protocol = 58, .payload = seed::icmp(2, 0, 1280, quoted)},
         {58, content::icmp_error, 40}},
        {"RFC 792: ICMP over IPv6 is not ICMPv6",
         {.protocol = 1, .payload = seed::icmp(8, 0, 0, {})},
         {1, content::opaque, 40}},
        {"RFC 8200 section 4: behind extension headers",
         {.extensions = {options(0), seed::routing(0), options(60, 2)}},
         {17, content::ports, 40 + 8 + 24 + 24}},
        {"RFC 8200 section 4.7: no next header", {.protocol = 59, .payload = {}}, {59, content::opaque, 40}},
        {"RFC 4302: AH is not looked into", {.protocol = 51, .payload = seed::counted(24)}, {51, content::opaque, 40}},
        {"RFC 4303: ESP is not looked into", {.protocol = 50, .payload = seed::counted(24)}, {50, content::opaque, 40}},
        {"RFC 8200 section 4.1: a header out of place",
         {.extensions = {options(60), options(0)}},
         {0, content::opaque, 48, false, drop_reason::bad_extension_header}},
    });
}

TEST(packet, fragments) {
    auto const data = seed::counted(16);
    expect_outcomes(std::vector<parse_case<ipv4_packet>>{
        {"RFC 791 section 3.2: the first shows the ports", {.fragment = 0x2000}, {17, content::ports, 20, true}},
        {"RFC 791 section 3.2: from the middle",
         {.fragment = 0x2001, .payload = data},
         {17, content::later_fragment, 20, true}},
        {"RFC 791 section 3.2: the last",
         {.fragment = 0x0001, .payload = data},
         {17, content::later_fragment, 20, true}},
        {"RFC 791 section 3.2: the last may be of any length",
         {.fragment = 0x0001, .payload = seed::of({0})},
         {17, content::later_fragment, 20, true}},
        {"RFC 791 section 3.2: of a protocol that is not looked into",
         {.fragment = 0x2000, .protocol = 47, .payload = data},
         {47, content::opaque, 20, true}},
        {"RFC 791 section 3.2: a later one of it has no place for looking either",
         {.fragment = 0x0001, .protocol = 47, .payload = data},
         {47, content::later_fragment, 20, true}},
        {"RFC 792: the first of an echo",
         {.fragment = 0x2000, .protocol = 1, .payload = seed::icmp(8, 0, 0, {})},
         {1, content::echo, 20, true}},
        {"RFC 791 section 3.1: don't fragment is no fragment", {.fragment = 0x4000}, {17, content::ports, 20}},
        {"RFC 791 section 3.1: the reserved bit is no fragment", {.fragment = 0x8000}, {17, content::ports, 20}},
    });
    expect_outcomes(std::vector<parse_case<ipv6_packet>>{
        {"RFC 8200 section 4.5: the first", {.extensions = {fragment(0, 1)}}, {17, content::ports, 48, true}},
        {"RFC 8200 section 4.5: from the middle",
         {.extensions = {fragment(1, 1)}, .payload = data},
         {17, content::later_fragment, 48, true}},
        {"RFC 8200 section 4.5: the last, of nothing",
         {.extensions = {fragment(1, 0)}, .payload = {}},
         {17, content::later_fragment, 48, true}},
        {"RFC 6946: an atomic fragment is a whole packet", {.extensions = {fragment(0, 0)}}, {17, content::ports, 48}},
        {"RFC 8200 section 4.5: a later one is not walked into",
         {.protocol = 0, .extensions = {fragment(1, 0)}, .payload = data},
         {0, content::later_fragment, 48, true}},
    });
}

struct size_case {
    std::string_view rule;
    unsigned protocol4, protocol6;
    std::size_t size;
};

// The fixed headers: RFC 9293 section 3.1, RFC 768, RFC 9260 section 3.1, RFC 792.
std::vector<size_case> const fixed_headers{
    {"TCP", 6, 6, 20}, {"UDP", 17, 17, 8}, {"SCTP", 132, 132, 12}, {"ICMP", 1, 58, 8}};

TEST(packet, a_transport_header_is_whole_or_missed) {
    for (auto const& row : fixed_headers) {
        for (std::size_t size = 0; size <= row.size; ++size) {
            SCOPED_TRACE(testing::Message() << row.rule << ", " << size << " octets");
            bool const is_whole = size == row.size;
            auto const flaw = is_whole ? drop_reason::none : truncated;
            auto const payload = octets(size, std::byte{200}); // ICMP of an unknown type
            auto const what = !is_whole ? content::opaque : row.protocol4 == 1 ? content::other_icmp : content::ports;
            expect_outcome<ipv4>(seed::bytes_of(ipv4_packet{.protocol = row.protocol4, .payload = payload}),
                                 {static_cast<std::uint8_t>(row.protocol4), what, 20, false, flaw});
            expect_outcome<ipv6>(seed::bytes_of(ipv6_packet{.protocol = row.protocol6, .payload = payload}),
                                 {static_cast<std::uint8_t>(row.protocol6), what, 40, false, flaw});
        }
    }
}

// RFC 1858 section 3 and RFC 7112 section 5: a first fragment that hides its transport header is an attack.
TEST(packet, a_first_fragment_without_its_transport_header_is_tiny) {
    for (auto const& row : fixed_headers) {
        SCOPED_TRACE(row.rule);
        auto const payload = octets(row.size - 1);
        auto const protocol4 = static_cast<std::uint8_t>(row.protocol4);
        auto const protocol6 = static_cast<std::uint8_t>(row.protocol6);
        expect_outcome<ipv4>(seed::bytes_of(ipv4_packet{.fragment = 0x2000, .protocol = protocol4, .payload = payload}),
                             {protocol4, content::opaque, 20, true, tiny});
        expect_outcome<ipv6>(
            seed::bytes_of(ipv6_packet{.protocol = protocol6, .extensions = {fragment(0, 1)}, .payload = payload}),
            {protocol6, content::opaque, 48, true, tiny});
        expect_outcome<ipv6>(
            seed::bytes_of(ipv6_packet{.protocol = protocol6, .extensions = {fragment(0, 0)}, .payload = payload}),
            {protocol6, content::opaque, 48, false, truncated});
    }
}

TEST(packet, bytes_that_are_no_packet) {
    struct refusal_case {
        std::string_view rule;
        octets bytes;
        drop_reason why;
    };
    auto const ip4 = seed::bytes_of(ipv4_packet{});
    auto const ip6 = seed::bytes_of(ipv6_packet{});
    std::vector<refusal_case> const rows{
        {"nothing", {}, drop_reason::truncated},
        {"RFC 791, RFC 8200: version 0", octets(60), drop_reason::bad_version},
        {"RFC 791, RFC 8200: version 5", seed::with(ip4, {{0, seed::of({0x55})}}), drop_reason::bad_version},
        {"RFC 791: cut in the header", seed::cut(ip4, 19), drop_reason::truncated},
        {"RFC 791: cut in the payload", seed::cut(ip4, ip4.size() - 1), drop_reason::bad_length},
        {"RFC 791: IHL 4", seed::with(ip4, {{0, seed::of({0x44})}}), drop_reason::bad_header_length},
        {"RFC 8200: cut in the header", seed::cut(ip6, 39), drop_reason::truncated},
        {"RFC 8200: cut in the payload", seed::cut(ip6, ip6.size() - 1), drop_reason::bad_length},
        {"IPv4 with IPv6's version", seed::with(ip4, {{0, seed::of({0x65})}}), drop_reason::truncated},
    };
    for (auto row : rows) {
        auto const result = parse(row.bytes);
        ASSERT_TRUE(std::holds_alternative<drop_reason>(result)) << row.rule;
        EXPECT_EQ(name(std::get<drop_reason>(result)), name(row.why)) << row.rule;
    }
}

TEST(packet, link_layer_padding_is_cut_off) { // RFC 894: a frame carries 46 octets at least
    auto const ip4 = seed::bytes_of(ipv4_packet{.payload = seed::udp({})});
    auto padded4 = seed::joined({ip4, octets(18, std::byte{0xee})});
    EXPECT_EQ(parse_ipv4(padded4).bytes.size(), ip4.size());
    EXPECT_EQ(parse_ipv4(padded4).payload().size(), 8u);

    auto const ip6 = seed::bytes_of(ipv6_packet{.protocol = 59, .payload = {}});
    auto padded6 = seed::joined({ip6, octets(6, std::byte{0xee})});
    EXPECT_EQ(parse_ipv6(padded6).bytes.size(), ip6.size());
    EXPECT_TRUE(parse_ipv6(padded6).payload().empty());
}

TEST(packet, padding_does_not_make_a_transport_header_whole) {
    auto padded4 = seed::joined({seed::bytes_of(ipv4_packet{.payload = octets(7)}), octets(19)});
    EXPECT_EQ(parse_ipv4(padded4).flaw, truncated);
    auto padded6 = seed::joined({seed::bytes_of(ipv6_packet{.payload = octets(7)}), octets(19)});
    EXPECT_EQ(parse_ipv6(padded6).flaw, truncated);
    auto chained = seed::joined({seed::bytes_of(ipv6_packet{.protocol = 60, .payload = octets(7)}), octets(19)});
    EXPECT_EQ(parse_ipv6(chained).flaw, drop_reason::bad_extension_header);
}

TEST(packet, what_the_extension_headers_said_is_kept) { // RFC 7915 sections 5.1 and 5.1.1 need it
    auto routed = seed::bytes_of(ipv6_packet{.extensions = {seed::routing(1)}});
    EXPECT_EQ(parse_ipv6(routed).segments_left, 43u);
    EXPECT_EQ(parse_ipv6(routed).flaw, drop_reason::none) << "a packet that is not ours passes with its route";

    auto fragmented = seed::bytes_of(ipv6_packet{.extensions = {options(0), fragment(0, 1), options(60)}});
    auto const p = parse_ipv6(fragmented);
    EXPECT_EQ(p.fragment_header, 48u);
    EXPECT_TRUE(p.extension_after_fragment);
    EXPECT_EQ(p.what, content::ports);
    EXPECT_EQ(p.transport, 64u);
}

TEST(packet, parse_as_is_the_version_asked_for) {
    auto ip4 = seed::bytes_of(ipv4_packet{});
    auto ip6 = seed::bytes_of(ipv6_packet{});
    EXPECT_EQ(parse_as<ipv4>(ip4).transport, 20u);
    EXPECT_EQ(parse_as<ipv6>(ip6).transport, 40u);
}

TEST(packet, the_longest_packets) {
    auto ip4 = seed::bytes_of(ipv4_packet{.payload = octets(65535 - 20)});
    expect_outcome<ipv4>(ip4, {17, content::ports, 20});
    auto ip6 = seed::bytes_of(ipv6_packet{.payload = octets(65535)});
    expect_outcome<ipv6>(ip6, {17, content::ports, 40});
}

TEST(packet, every_kind_of_seed_is_valid) {
    for (auto& [kind, bytes] : seed::all_kinds()) {
        SCOPED_TRACE(kind);
        EXPECT_LE(bytes.size(), 200u);
        auto const result = parse(bytes);
        ASSERT_FALSE(std::holds_alternative<drop_reason>(result));
        if (auto const* const p = std::get_if<parsed<ipv4>>(&result)) {
            EXPECT_TRUE(kind.starts_with("v4"));
            EXPECT_EQ(p->flaw, drop_reason::none);
        } else {
            EXPECT_TRUE(kind.starts_with("v6"));
            EXPECT_EQ(std::get<parsed<ipv6>>(result).flaw, drop_reason::none);
        }
    }
}

// The transport numbers and the ICMP types are small tables; each is checked over all of its 256 values.

TEST(packet, which_protocols_have_ports_and_what_size_their_headers_are) {
    for (unsigned number = 0; number < 256; ++number) {
        auto const protocol = static_cast<std::uint8_t>(number);
        std::size_t const expected = number == 6                                                    ? 20
                                     : number == 17 || number == 136 || number == 1 || number == 58 ? 8
                                     : number == 132 || number == 33                                ? 12
                                                                                                    : 0;
        EXPECT_EQ(transport_header_size(protocol), expected) << number;
        constexpr std::array with_ports{6u, 17u, 33u, 132u, 136u};
        EXPECT_EQ(has_ports(protocol), std::ranges::find(with_ports, number) != with_ports.end()) << number;
        EXPECT_EQ(zero_is_no_checksum(protocol), number == 17 || number == 136) << number; // RFC 768, RFC 3828
    }
    EXPECT_EQ(checksum_offset(6), 16u);  // RFC 9293 section 3.1
    EXPECT_EQ(checksum_offset(17), 6u);  // RFC 768
    EXPECT_EQ(checksum_offset(136), 6u); // RFC 3828 section 3.1
    EXPECT_EQ(checksum_offset(33), 6u);  // RFC 4340 section 5.1
    EXPECT_EQ(checksum_offset(1), 2u);   // RFC 792
    EXPECT_EQ(checksum_offset(58), 2u);  // RFC 4443 section 2.1
}

TEST(packet, which_icmp_messages_quote_a_packet) {
    for (unsigned number = 0; number < 256; ++number) {
        auto const type = static_cast<std::uint8_t>(number);
        // RFC 1122 section 3.2.2: unreachable, redirect, source quench, time exceeded, parameter problem
        EXPECT_EQ(is_icmp_error<ipv4>(type), number == 3 || number == 4 || number == 5 || number == 11 || number == 12)
            << number;
        EXPECT_EQ(is_icmp_echo<ipv4>(type), number == 0 || number == 8) << number;
        // RFC 4443 section 2.1: the high-order bit is zero in errors
        EXPECT_EQ(is_icmp_error<ipv6>(type), number < 128) << number;
        EXPECT_EQ(is_icmp_echo<ipv6>(type), number == 128 || number == 129) << number;
    }
}

} // namespace
} // namespace kubeproxy::packet_tests
