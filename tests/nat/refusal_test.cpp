#include "kubeproxy/nat/refusal.hpp"

#include "nat/translation_table.hpp"

#include <gtest/gtest.h>

/// Packets that no translation does justice to: the reason, what their sender is told, and not a byte changed.
namespace kubeproxy::refusal_tests {
namespace {

using build::bytes_of;
using build::packet;
using seed::be16;
using seed::counted;
using seed::icmp;
using seed::octets;
using seed::with;
using table::expect;

template <ip_version To>
octets any_packet() {
    packet p{.message = seed::udp(counted(4), 1, 2)};
    if constexpr (std::same_as<To, ipv6>) p.source = "2001:db8::9", p.destination = "2001:db8::8";
    return bytes_of(p);
}

template <ip_version From, ip_version To>
void refused(std::string rule, octets in, drop_reason why, std::optional<icmp_error_fields> answer = {},
             translation_settings const& settings = {}) {
    expect<From, To>({.rule = std::move(rule),
                      .in = std::move(in),
                      .out = any_packet<To>(),
                      .settings = settings,
                      .why = why,
                      .answer = answer});
}

packet six(packet p) {
    p.source = "2001:db8::1";
    p.destination = "64:ff9b:1::cb00:710a";
    return p;
}

TEST(refusal, source_routes) {
    auto const route = [](unsigned kind, unsigned pointer) {
        return bytes_of(packet{.options = seed::of({kind, 7, pointer, 203, 0, 113, 9, 0})});
    };
    icmp_error_fields const failed{3, 5, 0};
    refused<ipv4, ipv6>("RFC 7915 section 4.1: loose", route(131, 4), drop_reason::source_route, failed);
    refused<ipv4, ipv6>("RFC 7915 section 4.1: strict", route(137, 4), drop_reason::source_route, failed);
    refused<ipv4, ipv4>("the checksum covers the route's end", route(131, 4), drop_reason::source_route, failed);
    expect<ipv4, ipv6>({"RFC 7915 section 4.1: one that is used up is ignored", route(131, 8), bytes_of(six({}))});
    auto const record = bytes_of(packet{.options = seed::of({7, 7, 4, 0, 0, 0, 0, 0})});
    expect<ipv4, ipv6>({"record route is no source route", record, bytes_of(six({}))});
    auto const broken = bytes_of(packet{.options = seed::of({1, 7, 1, 131})});
    expect<ipv4, ipv6>({"an option of impossible length ends the search", broken, bytes_of(six({}))});

    auto const routing = bytes_of(six({.extensions = {seed::options(0), seed::routing(2)}}));
    refused<ipv6, ipv4>("RFC 7915 section 5.1: Segments Left, pointer to it", routing, drop_reason::source_route,
                        icmp_error_fields{4, 0, 40 + 8 + 3});
    refused<ipv6, ipv6>("RFC 8200 section 8.1: another pseudo-header", routing, drop_reason::source_route,
                        icmp_error_fields{4, 0, 40 + 8 + 3});
}

TEST(refusal, damaged_packets) {
    auto const wrong = with(bytes_of(packet{}), {{10, be16(0x1111)}});
    refused<ipv4, ipv6>("RFC 1812 section 5.2.2", wrong, drop_reason::bad_ipv4_checksum);
    refused<ipv4, ipv4>("TCP cut short", bytes_of(packet{.protocol = 6, .message = counted(19)}),
                        drop_reason::truncated_transport);
    refused<ipv6, ipv4>("RFC 7112: a first fragment without its ports",
                        bytes_of(six({.message = counted(7), .extensions = {seed::fragment(0, 1)}})),
                        drop_reason::tiny_fragment);
    auto const udp = seed::udp(counted(8));
    auto const without = [&](unsigned length) {
        return with(bytes_of(packet{.message = udp}), {{24, be16(length)}, {26, be16(0)}});
    };
    refused<ipv4, ipv6>("UDP 0, and no length to compute over", without(7), drop_reason::truncated_transport);
    refused<ipv4, ipv6>("UDP 0, longer than the packet", without(17), drop_reason::truncated_transport);
}

TEST(refusal, fragments) {
    auto const none = with(bytes_of(packet{.fragment = 0x2000}), {{26, be16(0)}});
    refused<ipv4, ipv6>("RFC 7915 section 4.5: UDP 0 in a fragment", none, drop_reason::zero_udp_checksum,
                        icmp_error_fields{3, 13, 0});
    auto const sctp = packet{
        .protocol = 132, .message = with(seed::sctp(counted(20)), {{8, seed::be32(0x0badc4c0)}}), .fragment = 0x2000};
    refused<ipv4, ipv4>("a CRC over parts that are not here", bytes_of(sctp), drop_reason::sctp_fragment);
    auto const echo = packet{.protocol = 1, .message = icmp(8, 0, 7, counted(24)), .fragment = 0x2000};
    refused<ipv4, ipv6>("ICMPv6 covers a pseudo-header, with the whole length", bytes_of(echo),
                        drop_reason::icmp_fragment);
    auto later = echo;
    later.fragment = 3;
    refused<ipv4, ipv6>("every part of it", bytes_of(later), drop_reason::icmp_fragment);

    icmp_error_fields const prohibited{1, 1, 0};
    refused<ipv6, ipv4>("RFC 7915 section 5.1.1: an extension header behind the fragment header",
                        bytes_of(six({.extensions = {seed::fragment(0, 1), seed::options(60)}})),
                        drop_reason::extension_after_fragment, prohibited);
    refused<ipv6, ipv4>("AH is one, too",
                        bytes_of(six({.protocol = 51, .message = counted(24), .extensions = {seed::fragment(0, 1)}})),
                        drop_reason::extension_after_fragment, prohibited);
    refused<ipv6, ipv4>("and in a later part, where only its number shows",
                        bytes_of(six({.protocol = 60, .message = counted(24), .extensions = {seed::fragment(9, 1)}})),
                        drop_reason::extension_after_fragment, prohibited);
}

TEST(refusal, protocols_without_a_counterpart) {
    auto const four = [](unsigned protocol) { return bytes_of(packet{.protocol = protocol, .message = counted(24)}); };
    auto const with_ipv6 = [](unsigned protocol) {
        return bytes_of(six({.protocol = protocol, .message = counted(24)}));
    };
    for (unsigned const protocol : {0u, 43u, 44u, 60u, 135u, 139u, 140u})
        refused<ipv4, ipv6>("an IPv6 extension header's number", four(protocol), drop_reason::protocol_unsupported);
    refused<ipv4, ipv6>("IGMP is MLD there (RFC 7915 section 4.2)", four(2), drop_reason::protocol_unsupported);
    refused<ipv4, ipv6>("ICMPv6 over IPv4", four(58), drop_reason::protocol_unsupported);
    refused<ipv6, ipv4>("ICMP over IPv6", with_ipv6(1), drop_reason::protocol_unsupported);
    refused<ipv4, ipv6>("AH covers the header (RFC 4302 section 3.3.3)", four(51), drop_reason::protocol_unsupported);
    refused<ipv6, ipv4>("AH", with_ipv6(51), drop_reason::protocol_unsupported);
    refused<ipv4, ipv6>("RFC 7915 section 4.2: timestamp",
                        bytes_of(packet{.protocol = 1, .message = icmp(13, 0, 7, counted(12))}),
                        drop_reason::icmp_type);
    refused<ipv6, ipv4>("RFC 7915 section 5.2: neighbour solicitation",
                        bytes_of(six({.protocol = 58, .message = icmp(135, 0, 0, counted(16))})),
                        drop_reason::icmp_type);
}

TEST(refusal, hops_used_up) {
    translation_settings const router{.decrement_ttl = true};
    for (unsigned const ttl : {0u, 1u}) {
        refused<ipv4, ipv6>("RFC 1812 section 5.3.1", bytes_of(packet{.ttl = ttl}), drop_reason::hop_limit_exceeded,
                            icmp_error_fields{11, 0, 0}, router);
        refused<ipv6, ipv6>("RFC 4443 section 3.3", bytes_of(six({.ttl = ttl})), drop_reason::hop_limit_exceeded,
                            icmp_error_fields{3, 0, 0}, router);
    }
}

} // namespace
} // namespace kubeproxy::refusal_tests
