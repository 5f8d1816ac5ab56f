#include "kubeproxy/nat/translate.hpp"

#include "nat/translation_table.hpp"

#include <gtest/gtest.h>

/// IPv4 to IPv6 and back, field by field. Both packets of a row are built from scratch.
namespace kubeproxy::translate_tests {
namespace {

using build::bytes_of;
using build::packet;
using seed::be16;
using seed::counted;
using seed::icmp;
using seed::octets;
using seed::with;
using table::expect;
using table::row;

/// The same packet on both sides of the translator.
packet as_ipv4(packet p) {
    p.source = "198.51.100.2";
    p.destination = "203.0.113.10";
    return p;
}
packet as_ipv6(packet p) {
    p.source = "2001:db8::2";
    p.destination = "64:ff9b:1::cb00:710a";
    return p;
}

/// A packet that IPv4 may not cut, of `size` bytes behind the IP header.
packet of_size(std::size_t size) { return {.message = seed::udp(counted(size - 8))}; }

octets first_two_thirds(octets message) { return seed::cut(std::move(message), 24); }

TEST(translate, to_ipv6_whole_packets) {
    auto const row46 = [](std::string rule, packet in, packet out) {
        expect<ipv4, ipv6>({std::move(rule), bytes_of(as_ipv4(std::move(in))), bytes_of(as_ipv6(std::move(out)))});
    };
    row46("RFC 7915 section 4.1: traffic class copied, flow label 0, hop limit is TTL",
          {.ttl = 9, .traffic_class = 0xb9, .identification = 7}, {.ttl = 9, .traffic_class = 0xb9});
    row46("RFC 7915 section 4.1: options are ignored", {.options = octets(12, std::byte{1})}, {});
    row46("RFC 7915 section 4.1: DF clear and small: no fragment header", {.identification = 7, .fragment = 0}, {});
    row46("TCP, the pseudo-header changes by its addresses only (RFC 7915 section 4.5)",
          {.protocol = 6, .message = seed::tcp(counted(9), 0x18, 1, 80)},
          {.protocol = 6, .message = seed::tcp(counted(9), 0x18, 1, 8080)});
    row46("SCTP", {.protocol = 132, .message = seed::sctp(counted(8), 5, 80)},
          {.protocol = 132, .message = seed::sctp(counted(8), 5, 8080)});
    for (unsigned const coverage : {0u, 8u, 13u})
        row46("UDP-Lite (RFC 3828 section 3.1): the pseudo-header changes by its addresses only",
              {.protocol = 136, .message = seed::udp_lite(counted(9), coverage, 5, 80)},
              {.protocol = 136, .message = seed::udp_lite(counted(9), coverage, 5, 8080)});
    row46("DCCP (RFC 4340 section 9.1)", {.protocol = 33, .message = seed::dccp(counted(9), 5, 80)},
          {.protocol = 33, .message = seed::dccp(counted(9), 5, 8080)});
    row46("ESP is copied", {.protocol = 50, .message = counted(40)}, {.protocol = 50, .message = counted(40)});
    row46("RFC 7915 section 4.2: echo request 8 -> 128",
          {.protocol = 1, .message = icmp(8, 0, 0x1111'0001, counted(3))},
          {.protocol = 58, .message = icmp(128, 0, 0x2222'0001, counted(3))});
    row46("RFC 7915 section 4.2: echo reply 0 -> 129", {.protocol = 1, .message = icmp(0, 0, 0x1111'0001, counted(4))},
          {.protocol = 58, .message = icmp(129, 0, 0x1111'0001, counted(4))});
}

TEST(translate, to_ipv4_whole_packets) {
    auto const row64 = [](std::string rule, packet in, packet out) {
        auto const bytes = bytes_of(as_ipv4(std::move(out)));
        SCOPED_TRACE(rule);
        octets memory = bytes_of(as_ipv6(std::move(in)));
        span_packet p{memory, 0};
        auto const headers = table::parsed_as<ipv6>(memory);
        auto shown = bytes;
        auto const after = tuple_of(table::parsed_as<ipv4>(shown));
        ASSERT_TRUE((rewriter<ipv6, ipv4>{}(p, headers, after, changes_of(tuple_of(headers), after)).done()));
        octets left(p.bytes().begin(), p.bytes().end());
        EXPECT_TRUE(build::header_checksum_is_valid(left));
        left = with(left, {{4, {bytes[4], bytes[5]}}, {10, {bytes[10], bytes[11]}}}); // identification, its checksum
        EXPECT_EQ(hex::text_of(left), hex::text_of(bytes));
    };
    row64("RFC 7915 section 5.1: traffic class copied, TTL is hop limit, no DF up to 1260",
          {.ttl = 3, .traffic_class = 0x2e, .flow_label = 0xabcde}, {.ttl = 3, .traffic_class = 0x2e, .fragment = 0});
    row64("RFC 7915 section 5.1: extension headers are skipped",
          {.extensions = {seed::options(0), seed::routing(0), seed::options(60, 3)}}, {.fragment = 0});
    auto small = of_size(1240), large = of_size(1241);
    small.fragment = 0;
    row64("RFC 7915 section 5.1: 1260 bytes, DF clear", small, small);
    row64("RFC 7915 section 5.1: 1261 bytes, DF set", large, large);
    row64("no next header", {.protocol = 59, .message = {}}, {.protocol = 59, .message = {}, .fragment = 0});
    row64("RFC 7915 section 5.2: echo request 128 -> 8",
          {.protocol = 58, .message = icmp(128, 0, 0x1111'0001, counted(3))},
          {.protocol = 1, .message = icmp(8, 0, 0x2222'0001, counted(3)), .fragment = 0});
    row64("RFC 7915 section 5.2: echo reply 129 -> 0",
          {.protocol = 58, .message = icmp(129, 0, 0x1111'0001, counted(4))},
          {.protocol = 1, .message = icmp(0, 0, 0x2222'0001, counted(4)), .fragment = 0});
    row64("UDP-Lite", {.protocol = 136, .message = seed::udp_lite(counted(9), 8, 5, 80)},
          {.protocol = 136, .message = seed::udp_lite(counted(9), 8, 5, 8080), .fragment = 0});
    row64("DCCP", {.protocol = 33, .message = seed::dccp(counted(9), 5, 80)},
          {.protocol = 33, .message = seed::dccp(counted(9), 5, 8080), .fragment = 0});
    row64("SCTP", {.protocol = 132, .message = seed::sctp(counted(8), 5, 80)},
          {.protocol = 132, .message = seed::sctp(counted(8), 5, 8080), .fragment = 0});
}

// RFC 9653 section 5.2: the ends have agreed on it, in each direction by itself.
TEST(translate, a_zero_sctp_checksum_stays_zero) {
    auto four = as_ipv4({.protocol = 132, .message = seed::sctp(counted(8), 5, 80)});
    auto six = as_ipv6({.protocol = 132, .message = seed::sctp(counted(8), 5, 8080)});
    auto const zero4 = with(bytes_of(four), {{28, seed::be32(0)}}), zero6 = with(bytes_of(six), {{48, seed::be32(0)}});
    expect<ipv4, ipv6>({"towards IPv6", zero4, zero6});
    four.fragment = 0x2000;
    six.extensions = {seed::fragment(0, 1, 0)};
    expect<ipv6, ipv4>({"towards IPv4, a first part", with(bytes_of(six), {{56, seed::be32(0)}}),
                        with(bytes_of(four), {{28, seed::be32(0)}})});
}

TEST(translate, large_packets_have_no_identification) { // RFC 7915 section 5.1, RFC 6864 section 4.1
    expect<ipv6, ipv4>({"DF set: 0", bytes_of(as_ipv6(of_size(1400))), bytes_of(as_ipv4(of_size(1400)))});
}

TEST(translate, fragments_keep_their_place) {
    auto const in = seed::udp(counted(100), 40000, 80);
    packet four = as_ipv4({.message = first_two_thirds(in), .identification = 0xbeef, .fragment = 0x2000});
    packet six = as_ipv6({.message = first_two_thirds(in), .extensions = {seed::fragment(0, 1, 0xbeef)}});
    four.protocol = six.protocol = 47; // opaque: no checksum to be carried over
    expect<ipv4, ipv6>({"RFC 7915 section 4.1: first", bytes_of(four), bytes_of(six)});
    four.fragment = 0x2005;
    six.extensions = {seed::fragment(5, 1, 0xbeef)};
    expect<ipv4, ipv6>({"middle", bytes_of(four), bytes_of(six)});
    four.fragment = 0x0007;
    six.extensions = {seed::fragment(7, 0, 0xbeef)};
    expect<ipv4, ipv6>({"last", bytes_of(four), bytes_of(six)});
    expect<ipv6, ipv4>({"RFC 7915 section 5.1.1: last", bytes_of(six), bytes_of(four)});
    six.extensions = {seed::fragment(7, 1, 0x7777'beef)};
    four.fragment = 0x2007;
    expect<ipv6, ipv4>({"RFC 7915 section 5.1.1: low 16 bits of the identification", bytes_of(six), bytes_of(four)});
    six.extensions = {seed::options(60), seed::fragment(0, 0, 0xbeef)};
    four.fragment = 0;
    expect<ipv6, ipv4>({"RFC 6946: an atomic fragment is whole, and may be cut", bytes_of(six), bytes_of(four)});
}

/// RFC 7915 section 4.1: what an IPv4 router might have cut gets a fragment header; the rest is told to be smaller.
TEST(translate, packets_too_long_for_ipv6) {
    translation_settings const narrow{.lowest_ipv6_mtu = 1280, .ipv6_mtu = 1400};
    auto in = as_ipv4(of_size(1240)), out = as_ipv6(of_size(1240));
    in.fragment = 0;
    expect<ipv4, ipv6>({"1280 bytes fit", bytes_of(in), bytes_of(out), narrow});
    in = as_ipv4(of_size(1241));
    out = as_ipv6(of_size(1241));
    in.fragment = 0;
    in.identification = 0xabcd;
    out.extensions = {seed::fragment(0, 0, 0xabcd)};
    expect<ipv4, ipv6>({"1281 bytes, DF clear: to be cut", bytes_of(in), bytes_of(out), narrow});
    in = as_ipv4(of_size(1360));
    expect<ipv4, ipv6>({"DF set: up to the next hop's MTU", bytes_of(in), bytes_of(as_ipv6(of_size(1360))), narrow});
    in = as_ipv4(of_size(1361));
    expect<ipv4, ipv6>({.rule = "DF set, one byte more: Fragmentation Needed, MTU 20 smaller",
                        .in = bytes_of(in),
                        .out = bytes_of(as_ipv6(of_size(1361))),
                        .settings = narrow,
                        .why = drop_reason::too_big,
                        .answer = icmp_error_fields{3, 4, 1380}});
    in.fragment = 0;
    auto const cut_at_next_hop = translation_settings{.lowest_ipv6_mtu = 1500, .ipv6_mtu = 1400};
    out = as_ipv6(of_size(1361));
    out.extensions = {seed::fragment(0, 0, 0)};
    expect<ipv4, ipv6>({"DF clear, and the next hop is the narrowest", bytes_of(in), bytes_of(out), cut_at_next_hop});
    in.protocol = out.protocol = 47;
    in.fragment = 0x4000 | 0x2000 | 3;
    expect<ipv4, ipv6>({.rule = "a part with DF: its fragment header counts",
                        .in = bytes_of(in),
                        .out = bytes_of(out),
                        .settings = narrow,
                        .why = drop_reason::too_big,
                        .answer = icmp_error_fields{3, 4, 1372}});
}

TEST(translate, packets_too_long_for_ipv4) {
    translation_settings const narrow{.ipv4_mtu = 1400};
    expect<ipv6, ipv4>({"1400 fit", bytes_of(as_ipv6(of_size(1380))), bytes_of(as_ipv4(of_size(1380))), narrow});
    row too_big{.rule = "RFC 7915 section 5.1 sets DF: Packet Too Big, MTU 20 larger",
                .in = bytes_of(as_ipv6(of_size(1381))),
                .out = bytes_of(as_ipv4(of_size(1381))),
                .settings = narrow,
                .why = drop_reason::too_big,
                .answer = icmp_error_fields{2, 0, 1420}};
    expect<ipv6, ipv4>(too_big);
    too_big.settings.ipv4_mtu = 1000;
    too_big.rule = "RFC 8200 section 5: no sender is asked for less than 1280";
    too_big.answer = icmp_error_fields{2, 0, 1280};
    expect<ipv6, ipv4>(too_big);
    auto six = as_ipv6(of_size(1400)), four = as_ipv4(of_size(1400));
    six.extensions = {seed::fragment(0, 0, 9)};
    four.fragment = 0;
    four.identification = 9;
    expect<ipv6, ipv4>({"with a fragment header IPv4 may cut it", bytes_of(six), bytes_of(four), narrow});
}

TEST(translate, udp_without_a_checksum) {
    auto const none = [](packet const& p) {
        auto const b = bytes_of(p);
        return with(b, {{b.size() - p.message.size() + 6, be16(0)}});
    };
    auto const in = as_ipv4({.message = seed::udp(counted(7), 4, 80)});
    auto const out = as_ipv6({.message = seed::udp(counted(7), 4, 8080)});
    expect<ipv4, ipv6>({"RFC 7915 section 4.5: computed for IPv6", none(in), bytes_of(out)});
    auto behind = in, behind_out = out;
    behind.message = with(seed::joined({in.message, counted(5)}), {{6, be16(0)}});
    behind_out.message = seed::joined({out.message, counted(5)});
    auto expected = bytes_of(behind_out);
    auto const of_the_datagram = bytes_of(out);
    expected = with(expected, {{46, {of_the_datagram[46], of_the_datagram[47]}}}); // RFC 768: the length says what
    expect<ipv4, ipv6>({"only the datagram is covered", with(bytes_of(behind), {{26, be16(0)}}), expected});
    auto four = in;
    auto const six = as_ipv6({.message = in.message, .extensions = {seed::fragment(0, 0, 9)}});
    four.fragment = 0;
    four.identification = 9;
    expect<ipv6, ipv4>({"RFC 7915 section 5.5: stays 0", none(six), none(four)});
}

/// Only the pseudo-header is in the field, and of that only the addresses differ (virtio 1.2 section 5.1.6.2).
TEST(translate, super_packets_with_partial_checksums) {
    auto const partial = [](packet const& p, std::size_t at) {
        auto b = bytes_of(p);
        auto const sum = seed::internet_checksum(seed::joined({build::address(p.source), build::address(p.destination),
                                                               seed::be32(p.message.size()), seed::be32(p.protocol)}));
        auto const field = b.size() - p.message.size() + at;
        return with(b, {{field, {~sum[0], ~sum[1]}}});
    };
    auto const data = counted(60'000);
    auto const in = as_ipv4({.protocol = 6, .message = seed::tcp(data, 0x18, 1, 80)});
    auto const out = as_ipv6({.protocol = 6, .message = seed::tcp(data, 0x18, 1, 8080)});
    row r{.rule = "TCP 4 -> 6, segments of 1460 - 20",
          .in = partial(in, 16),
          .out = partial(out, 16),
          .state = checksum_state::partial,
          .gso_size = 1440};
    expect<ipv4, ipv6>(r);
    r.rule = "segments one byte too long: 40 + 20 + 1441";
    r.gso_size = 1441;
    r.why = drop_reason::too_big;
    r.answer = icmp_error_fields{3, 4, 1480};
    expect<ipv4, ipv6>(r);
    row back{.rule = "TCP 6 -> 4",
             .in = partial(out, 16),
             .out = partial(in, 16),
             .state = checksum_state::partial,
             .gso_size = 1440};
    expect<ipv6, ipv4>(back);
    auto const longest = as_ipv6({.protocol = 6, .message = seed::tcp(counted(65'515), 0x18, 1, 80)});
    expect<ipv6, ipv4>({.rule = "65,535 bytes behind the IPv6 header do not fit an IPv4 length",
                        .in = bytes_of(longest),
                        .out = bytes_of(in),
                        .gso_size = 1400,
                        .why = drop_reason::too_big});
}

TEST(translate, a_partial_echo_gets_the_pseudo_header) { // RFC 4443 section 2.3
    auto const message = icmp(8, 0, 7, counted(8));
    auto const in = with(bytes_of(as_ipv4({.protocol = 1, .message = message})), {{22, be16(0)}});
    auto const six = as_ipv6({.protocol = 58, .message = with(message, {{0, seed::of({128})}})});
    auto const sum = seed::internet_checksum(
        seed::joined({build::address(six.source), build::address(six.destination), be16(message.size()), be16(58)}));
    expect<ipv4, ipv6>({.rule = "the device adds the rest",
                        .in = in,
                        .out = with(bytes_of(six), {{42, {~sum[0], ~sum[1]}}}),
                        .state = checksum_state::partial});
}

TEST(translate, headroom) {
    auto const in = bytes_of(as_ipv4({})), out = bytes_of(as_ipv6({}));
    expect<ipv4, ipv6>({.rule = "20 bytes are enough", .in = in, .out = out, .headroom = 20});
    expect<ipv4, ipv6>({.rule = "19 are not", .in = in, .out = out, .why = drop_reason::no_headroom, .headroom = 19});
    auto const options = bytes_of(as_ipv4({.options = octets(20, std::byte{1})}));
    expect<ipv4, ipv6>({.rule = "options leave their room", .in = options, .out = out, .headroom = 0});
    auto padded = options;
    padded.resize(padded.size() + 9);
    expect<ipv4, ipv6>({.rule = "link-layer padding is cut off", .in = padded, .out = out, .headroom = 0});
}

static_assert(rewriter<ipv4, ipv6>::headroom == 128 && rewriter<ipv6, ipv4>::headroom == 68);

} // namespace
} // namespace kubeproxy::translate_tests
