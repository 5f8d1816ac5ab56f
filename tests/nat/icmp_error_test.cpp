#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/quoted.hpp"
#include "kubeproxy/nat/translate_error.hpp"

#include "nat/translation_table.hpp"

#include <gtest/gtest.h>

/// ICMP errors inside out. A row's expected packet quotes what the sender of the quoted packet sent.
namespace kubeproxy::icmp_error_tests {
namespace {

using build::bytes_of;
using build::packet;
using seed::be16;
using seed::counted;
using seed::cut;
using seed::icmp;
using seed::joined;
using seed::octets;
using seed::with;
using table::expect;

std::string const client4 = "192.0.2.1", vip4 = "203.0.113.10", pod4 = "10.244.1.7", router4 = "198.51.100.1";
std::string const client6 = "2001:db8::1", vip6 = "2001:db8:96::10", pod6 = "2001:db8:244::7",
                  router6 = "2001:db8:ffff::1";

octets udp_from(std::string const& source, std::string const& destination, unsigned port, std::size_t size = 40) {
    return bytes_of({.source = source, .destination = destination, .message = seed::udp(counted(size), 40000, port)});
}

octets error4(std::string const& source, std::string const& destination, unsigned type, unsigned code,
              octets const& quoted, std::size_t rest = 0) {
    return bytes_of(
        {.source = source, .destination = destination, .protocol = 1, .message = icmp(type, code, rest, quoted)});
}
octets error6(std::string const& source, std::string const& destination, unsigned type, unsigned code,
              octets const& quoted, std::size_t rest = 0) {
    return bytes_of(
        {.source = source, .destination = destination, .protocol = 58, .message = icmp(type, code, rest, quoted)});
}

/// What quoted_of makes of an error about `quoted`.
template <ip_version V>
quoted_packet<V> seen(octets const& quoted, unsigned type = 3, std::size_t rest = 0) {
    static octets bytes; // the result points into it
    bytes = std::same_as<V, ipv4> ? error4(router4, client4, type, 1, quoted, rest)
                                  : error6(router6, client6, type, 0, quoted, rest);
    return quoted_of(table::parsed_as<V>(bytes));
}

TEST(quoted, shows_the_flow) {
    auto const udp = seen<ipv4>(udp_from(client4, pod4, 8080)).key;
    EXPECT_EQ(udp.source_port, 40000);
    EXPECT_EQ(udp.destination_port, 8080);
    EXPECT_EQ(udp.source, (ipv4_address(0xc0000201)));
    EXPECT_EQ(udp.protocol, 17);
    auto const request = bytes_of({.protocol = 1, .message = icmp(8, 0, 0x1234'0001, counted(8))});
    EXPECT_EQ(seen<ipv4>(request).key.source_port, 0x1234);
    auto const reply = bytes_of({.protocol = 1, .message = icmp(0, 0, 0x1234'0001, counted(8))});
    EXPECT_EQ(seen<ipv4>(reply).key.destination_port, 0x1234) << "a reply is the mirror of its request";
    auto const extended = bytes_of({.source = client6,
                                    .destination = pod6,
                                    .message = seed::udp({}, 7, 9),
                                    .extensions = {seed::options(0), seed::options(60)}});
    EXPECT_EQ(seen<ipv6>(extended).key.destination_port, 9);
    auto const later = bytes_of({.message = counted(40), .fragment = 0x2003});
    EXPECT_EQ(seen<ipv4>(later).key.source_port, 0) << "a later fragment shows addresses only";
    EXPECT_EQ(seen<ipv4>(later).why, drop_reason::none);
}

TEST(quoted, may_be_cut_short) {
    auto const tcp = bytes_of({.protocol = 6, .message = seed::tcp(counted(99), 0x10, 7, 9)});
    EXPECT_EQ(seen<ipv4>(cut(tcp, 28)).key.destination_port, 9) << "RFC 792: eight bytes of it";
    EXPECT_EQ(seen<ipv4>(cut(tcp, 27)).why, drop_reason::quoted_truncated);
    EXPECT_EQ(seen<ipv4>(cut(tcp, 19)).why, drop_reason::quoted_truncated);
    EXPECT_EQ(seen<ipv4>({}).why, drop_reason::quoted_truncated);
    auto const extended = bytes_of({.source = client6, .destination = pod6, .extensions = {seed::options(0)}});
    EXPECT_EQ(seen<ipv6>(cut(extended, 47)).why, drop_reason::quoted_truncated);
    EXPECT_EQ(seen<ipv6>(cut(extended, 55)).why, drop_reason::quoted_truncated);
    EXPECT_EQ(seen<ipv6>(cut(extended, 56)).why, drop_reason::none);
    EXPECT_EQ(seen<ipv4>(bytes_of({.source = client6, .destination = pod6})).why, drop_reason::quoted_truncated)
        << "the other version";
}

TEST(quoted, an_error_about_an_error_is_none) { // RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)
    EXPECT_EQ(seen<ipv4>(error4(client4, pod4, 3, 3, udp_from(pod4, client4, 1))).why, drop_reason::quoted_icmp_error);
    EXPECT_EQ(seen<ipv6>(error6(client6, pod6, 1, 4, udp_from(pod6, client6, 1))).why, drop_reason::quoted_icmp_error);
}

TEST(quoted, ends_before_an_extension) { // RFC 4884 sections 4 and 7
    auto const quoted = seed::joined({udp_from(client4, pod4, 9, 20), octets(80), counted(16)});
    auto const q = seen<ipv4>(quoted, 3, 32u << 16);
    EXPECT_EQ(q.quotation, 128u);
    EXPECT_EQ(q.extension.size(), 16u);
    EXPECT_EQ(q.headers.bytes.size(), 48u) << "padding is no part of it";
    EXPECT_EQ(seen<ipv4>(quoted, 3, 36u << 16).extension.size(), 0u) << "a length that reaches the end";
    EXPECT_EQ(seen<ipv4>(quoted, 3, 4u << 16).extension.size(), 0u) << "a length below a header";
    EXPECT_EQ(seen<ipv4>(quoted, 5, 32u << 16).extension.size(), 0u) << "a redirect has no length, but an address";
    auto const six = seed::joined({udp_from(client6, pod6, 9, 40), octets(40), counted(16)});
    EXPECT_EQ(seen<ipv6>(six, 1, std::size_t{16} << 24).extension.size(), 16u);
    EXPECT_EQ(seen<ipv6>(six, 2, std::size_t{16} << 24).extension.size(), 0u) << "an MTU is no length";
}

TEST(icmp_error, within_a_family) { // RFC 5508 section 7
    expect<ipv4, ipv4>({"port unreachable from the pod", error4(pod4, client4, 3, 3, udp_from(client4, pod4, 8080)),
                        error4(vip4, client4, 3, 3, udp_from(client4, vip4, 80))});
    expect<ipv4, ipv4>({"from a router on the way", error4(router4, client4, 11, 0, udp_from(client4, pod4, 8080)),
                        error4(router4, client4, 11, 0, udp_from(client4, vip4, 80))});
    expect<ipv4, ipv4>({"an MTU stays", error4(router4, client4, 3, 4, udp_from(client4, pod4, 8080), 1400),
                        error4(router4, client4, 3, 4, udp_from(client4, vip4, 80), 1400)});
    expect<ipv6, ipv6>({"ICMPv6", error6(pod6, client6, 1, 4, udp_from(client6, pod6, 8080)),
                        error6(vip6, client6, 1, 4, udp_from(client6, vip6, 80))});
    auto const echo = [](std::string const& to, std::size_t id) {
        return bytes_of({.source = client6, .destination = to, .protocol = 58, .message = icmp(128, 0, id << 16, {})});
    };
    expect<ipv6, ipv6>({"about an echo request", error6(router6, client6, 3, 0, echo(pod6, 7)),
                        error6(router6, client6, 3, 0, echo(vip6, 9))});
    auto const gre = [](std::string const& to) {
        return bytes_of({.source = client4, .destination = to, .protocol = 47, .message = counted(3)});
    };
    expect<ipv4, ipv4>({"about a protocol without ports", error4(router4, client4, 3, 2, gre(pod4)),
                        error4(router4, client4, 3, 2, gre(vip4))});
}

TEST(icmp_error, about_part_of_a_packet) {
    auto const tcp = [](std::string const& to, unsigned port, std::size_t size) {
        return cut(bytes_of({.source = client4,
                             .destination = to,
                             .protocol = 6,
                             .message = seed::tcp(counted(50), 0x10, 40000, port)}),
                   size);
    };
    for (std::size_t const size : {38u, 39u, 40u, 61u})
        expect<ipv4, ipv4>({"a checksum that is there changes, " + std::to_string(size),
                            error4(router4, client4, 3, 1, tcp(pod4, 8080, size)),
                            error4(router4, client4, 3, 1, tcp(vip4, 80, size))});
    auto const without = [&](std::string const& to, unsigned port) { return tcp(to, port, 36); };
    expect<ipv4, ipv4>({"one that is not there does not", error4(router4, client4, 3, 1, without(pod4, 8080)),
                        error4(router4, client4, 3, 1, without(vip4, 80))});
    auto const sctp = [](std::string const& to, unsigned port) {
        return bytes_of(
            {.source = client4, .destination = to, .protocol = 132, .message = seed::sctp(counted(20), 40000, port)});
    };
    expect<ipv4, ipv4>({"a CRC over all that it covers", error4(router4, client4, 3, 1, sctp(pod4, 8080)),
                        error4(router4, client4, 3, 1, sctp(vip4, 80))});
    auto const zero = [&](octets const& b) { return with(b, {{28, seed::be32(0)}}); };
    expect<ipv4, ipv4>({"RFC 9653: a zero checksum stays zero", error4(router4, client4, 3, 1, zero(sctp(pod4, 8080))),
                        error4(router4, client4, 3, 1, zero(sctp(vip4, 80)))});
    auto const lite = [](std::string const& to, unsigned port) {
        return bytes_of({.source = client4,
                         .destination = to,
                         .protocol = 136,
                         .message = seed::udp_lite(counted(20), 8, 40000, port)});
    };
    auto const dccp = [](std::string const& to, unsigned port) {
        return bytes_of(
            {.source = client4, .destination = to, .protocol = 33, .message = seed::dccp(counted(20), 40000, port)});
    };
    for (std::size_t const size : {28u, 40u}) {
        expect<ipv4, ipv4>({"UDP-Lite: eight bytes hold its checksum (RFC 3828 section 3.1)",
                            error4(router4, client4, 3, 1, cut(lite(pod4, 8080), size)),
                            error4(router4, client4, 3, 1, cut(lite(vip4, 80), size))});
        expect<ipv4, ipv4>({"DCCP, too (RFC 4340 section 5.1)",
                            error4(router4, client4, 3, 1, cut(dccp(pod4, 8080), size)),
                            error4(router4, client4, 3, 1, cut(dccp(vip4, 80), size))});
    }
    auto const crc_kept = with(sctp(vip4, 80), {{28, [&] {
                                                     auto const b = sctp(pod4, 8080);
                                                     return octets(b.begin() + 28, b.begin() + 32);
                                                 }()}});
    expect<ipv4, ipv4>({"a CRC over more than is there stays",
                        error4(router4, client4, 3, 1, cut(sctp(pod4, 8080), 51)),
                        error4(router4, client4, 3, 1, cut(crc_kept, 51))});
    auto const later = [](std::string const& to) {
        return bytes_of({.source = client4, .destination = to, .message = counted(24), .fragment = 0x2003});
    };
    expect<ipv4, ipv4>({"of a later fragment the addresses", error4(router4, client4, 11, 1, later(pod4)),
                        error4(router4, client4, 11, 1, later(vip4))});
}

TEST(icmp_error, wrong_checksums_stay_as_wrong_within_a_family) { // RFC 1624
    auto const off_by_3 = [](octets const& b) {
        auto const checksum = std::to_integer<unsigned>(b[22]) << 8 | std::to_integer<unsigned>(b[23]);
        return with(b, {{22, be16((checksum + 3) % 0xffff)}});
    };
    expect<ipv4, ipv4>({"of the error", off_by_3(error4(pod4, client4, 3, 3, udp_from(client4, pod4, 8080))),
                        off_by_3(error4(vip4, client4, 3, 3, udp_from(client4, vip4, 80)))});
    auto const damaged = [](std::string const& to, unsigned port) {
        auto b = udp_from(client4, to, port);
        b.back() ^= std::byte{1};
        return b;
    };
    expect<ipv4, ipv4>({"of what it quotes", error4(pod4, client4, 3, 3, damaged(pod4, 8080)),
                        error4(vip4, client4, 3, 3, damaged(vip4, 80))});
}

/// The client's side of a NAT64 service is IPv6, the pod's IPv4: errors come from there.
TEST(translate_error, to_ipv6) {
    std::string const pool4 = "198.18.0.1", vip64 = "2001:db8:96::10", mapped = "64:ff9b:1::c633:6401";
    auto const quoted4 = [&](std::size_t size) {
        return bytes_of(
            {.source = pool4, .destination = pod4, .message = seed::udp(counted(size), 1024, 8080), .ttl = 9});
    };
    auto const quoted6 = [&](std::size_t size) {
        return bytes_of(
            {.source = client6, .destination = vip64, .message = seed::udp(counted(size), 40000, 80), .ttl = 9});
    };
    expect<ipv4, ipv6>({"RFC 7915 section 4.2: port unreachable", error4(pod4, pool4, 3, 3, quoted4(50)),
                        error6(vip64, client6, 1, 4, quoted6(50))});
    expect<ipv4, ipv6>({"Fragmentation Needed becomes Packet Too Big, MTU 20 larger",
                        error4(router4, pool4, 3, 4, quoted4(50), 1400),
                        error6(mapped, client6, 2, 0, quoted6(50), 1420)});
    expect<ipv4, ipv6>({"RFC 4443 section 2.4 (c): no longer than 1280", error4(router4, pool4, 11, 0, quoted4(1300)),
                        error6(mapped, client6, 3, 0, cut(quoted6(1300), 1232))});
    auto const fragment4 = bytes_of({.source = pool4,
                                     .destination = pod4,
                                     .protocol = 47,
                                     .message = counted(24),
                                     .identification = 0xbeef,
                                     .fragment = 0x2000});
    auto const fragment6 = bytes_of({.source = client6,
                                     .destination = vip64,
                                     .protocol = 47,
                                     .message = counted(24),
                                     .extensions = {seed::fragment(0, 1, 0xbeef)}});
    expect<ipv4, ipv6>({"RFC 7915 section 4.3: a quoted fragment gets its header",
                        error4(router4, pool4, 11, 1, fragment4), error6(mapped, client6, 3, 1, fragment6)});
    auto const extension = counted(20);
    expect<ipv4, ipv6>(
        {"RFC 4884 section 4: the length in 64-bit words, padding to 128",
         error4(router4, pool4, 11, 0, joined({quoted4(50), octets(50), extension}), 32u << 16),
         error6(mapped, client6, 3, 0, joined({quoted6(50), octets(30), extension}), std::size_t{16} << 24)});
    expect<ipv4, ipv6>(
        {"a longer quotation is cut to 64-bit words",
         error4(router4, pool4, 11, 0, joined({quoted4(155), octets(1), extension}), 46u << 16),
         error6(mapped, client6, 3, 0, joined({cut(quoted6(155), 200), extension}), std::size_t{25} << 24)});
    expect<ipv4, ipv6>({"Parameter Problem has no length in ICMPv6, and so no extension",
                        error4(router4, pool4, 12, 0, joined({quoted4(50), octets(50), extension}), 32u << 16),
                        error6(mapped, client6, 4, 0, quoted6(50))});
    auto const bare4 = bytes_of({.source = pool4, .destination = pod4, .protocol = 47, .message = {}});
    auto const bare6 = bytes_of({.source = client6, .destination = vip64, .protocol = 47, .message = {}});
    auto const from = error4(router4, pool4, 11, 0, joined({bare4, extension}), 5u << 16);
    auto const to = error6(mapped, client6, 3, 0, joined({bare6, octets(88), extension}), std::size_t{16} << 24);
    expect<ipv4, ipv6>({"the shortest quotation takes all the headroom there is to take", from, to});
    expect<ipv4, ipv6>({.rule = "and not a byte less",
                        .in = from,
                        .out = to,
                        .why = drop_reason::no_headroom,
                        .headroom = rewriter<ipv4, ipv6>::headroom - 1});
}

TEST(translate_error, to_ipv4) {
    std::string const vip46 = "203.0.113.10", prefixed = "64:ff9b:1::c000:201";
    auto const quoted6 = [&](std::size_t size) {
        return bytes_of({.source = prefixed,
                         .destination = pod6,
                         .message = seed::udp(counted(size), 40000, 8080),
                         .extensions = {seed::fragment(0, 0, 0xbeef)}});
    };
    auto const quoted4 = [&](std::size_t size) {
        return bytes_of({.source = client4,
                         .destination = vip46,
                         .message = seed::udp(counted(size), 40000, 80),
                         .identification = 0xbeef,
                         .fragment = 0});
    };
    // A fragment header around the error gives it an identification that is not made up.
    auto const from = [&](unsigned type, unsigned code, octets const& quoted, std::size_t rest = 0) {
        auto const message = icmp(type, code, rest, quoted);
        return bytes_of({.source = pod6,
                         .destination = prefixed,
                         .protocol = 58,
                         .message = message,
                         .extensions = {seed::fragment(0, 0, 77)}});
    };
    auto const to = [&](unsigned type, unsigned code, octets const& quoted, std::size_t rest = 0) {
        return bytes_of({.source = vip46,
                         .destination = client4,
                         .protocol = 1,
                         .message = icmp(type, code, rest, quoted),
                         .identification = 77,
                         .fragment = 0});
    };
    expect<ipv6, ipv4>({"RFC 7915 section 5.2: port unreachable", from(1, 4, quoted6(50)), to(3, 3, quoted4(50))});
    expect<ipv6, ipv4>({"Packet Too Big: MTU 28 smaller, for the fragment header", from(2, 0, quoted6(50), 1400),
                        to(3, 4, quoted4(50), 1372)});
    expect<ipv6, ipv4>(
        {"RFC 1812 section 4.3.2.3: no longer than 576", from(3, 0, quoted6(900)), to(11, 0, cut(quoted4(900), 548))});
    auto const extension = counted(20);
    expect<ipv6, ipv4>({"RFC 4884 section 4: the length in 32-bit words, padding to 128",
                        from(1, 0, joined({quoted6(30), octets(42), extension}), std::size_t{16} << 24),
                        to(3, 1, joined({quoted4(30), octets(70), extension}), 32u << 16)});
    expect<ipv6, ipv4>({"with an extension, cut before it",
                        from(1, 0, joined({quoted6(672), extension}), std::size_t{91} << 24),
                        to(3, 1, joined({cut(quoted4(672), 528), extension}), 132u << 16)});
}

TEST(translate_error, refused) {
    auto const shown = error6(router6, client6, 1, 0, udp_from(client6, vip6, 80));
    auto const refused = [&](std::string rule, octets in, drop_reason why) {
        expect<ipv4, ipv6>({.rule = std::move(rule), .in = std::move(in), .out = shown, .why = why});
    };
    auto const valid = error4(router4, client4, 3, 1, udp_from(client4, pod4, 8080));
    refused("RFC 7915 section 4.2 drops what is damaged: the new checksum would hide it", with(valid, {{22, be16(1)}}),
            drop_reason::bad_icmp_checksum);
    refused("Redirect", error4(router4, client4, 5, 1, udp_from(client4, pod4, 8080)), drop_reason::icmp_type);
    auto const part = bytes_of({.protocol = 1, .message = icmp(8, 0, 7, counted(24)), .fragment = 0x2000});
    refused("a fragment of ICMP", error4(router4, client4, 11, 1, part), drop_reason::quoted_icmp_fragment);
    refused("timestamp",
            error4(router4, client4, 3, 1, bytes_of({.protocol = 1, .message = icmp(13, 0, 7, counted(12))})),
            drop_reason::icmp_type);
    refused("AH", error4(router4, client4, 3, 1, bytes_of({.protocol = 51, .message = counted(24)})),
            drop_reason::protocol_unsupported);
    refused("nothing quoted", error4(router4, client4, 3, 1, {}), drop_reason::quoted_truncated);
    auto fragment = packet{.protocol = 1, .message = icmp(3, 1, 0, udp_from(client4, pod4, 1)), .fragment = 0x2000};
    refused("a part of an error", bytes_of(fragment), drop_reason::icmp_fragment);
}

} // namespace
} // namespace kubeproxy::icmp_error_tests
