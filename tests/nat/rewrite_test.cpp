#include "kubeproxy/nat/rewrite.hpp"

#include "nat/translation_table.hpp"

#include <gtest/gtest.h>

#include <random>

/// The diagonal: addresses and ports change in place, and nothing else does.
namespace kubeproxy::rewrite_tests {
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

std::string const client4 = "192.0.2.1", vip4 = "203.0.113.10", pod4 = "10.244.1.7";
std::string const client6 = "2001:db8::1", vip6 = "2001:db8:96::10", pod6 = "2001:db8:244::7";

/// A packet from the client to the VIP, and the same packet to the pod.
struct pair {
    packet in, out;
};

pair to_the_pod4(packet p) {
    p.source = client4;
    auto q = p;
    p.destination = vip4;
    q.destination = pod4;
    return {std::move(p), std::move(q)};
}
pair to_the_pod6(packet p) {
    p.source = client6;
    auto q = p;
    p.destination = vip6;
    q.destination = pod6;
    return {std::move(p), std::move(q)};
}

/// In both families, the destination alone changed; `out` of each pair is built from scratch.
void expect_both(std::string const& rule, packet const& in, octets const& message_after) {
    auto four = to_the_pod4(in), six = to_the_pod6(in);
    four.out.message = six.out.message = message_after;
    expect<ipv4, ipv4>({rule, bytes_of(four.in), bytes_of(four.out)});
    expect<ipv6, ipv6>({rule, bytes_of(six.in), bytes_of(six.out)});
}

TEST(rewrite, ports_and_addresses) {
    auto const data = counted(33);
    expect_both("UDP, RFC 3022 section 2.2", {.message = seed::udp(data, 40000, 80)}, seed::udp(data, 40000, 8080));
    expect_both("TCP", {.protocol = 6, .message = seed::tcp(data, 0x18, 40000, 80)},
                seed::tcp(data, 0x18, 40000, 8080));
    expect_both("SCTP, CRC32c over the changed ports (RFC 9260 section 6.8)",
                {.protocol = 132, .message = seed::sctp(data, 40000, 80)}, seed::sctp(data, 40000, 8080));
    expect_both("SCTP, no port changed: the CRC does not cover addresses",
                {.protocol = 132, .message = seed::sctp(data, 40000, 80)}, seed::sctp(data, 40000, 80));
    expect_both("UDP-Lite, all of it covered (RFC 3828 section 3.1)",
                {.protocol = 136, .message = seed::udp_lite(data, 0, 40000, 80)}, seed::udp_lite(data, 0, 40000, 8080));
    expect_both("UDP-Lite, its header covered", {.protocol = 136, .message = seed::udp_lite(data, 8, 40000, 80)},
                seed::udp_lite(data, 8, 61000, 8080));
    expect_both("UDP-Lite, no port changed: the pseudo-header did",
                {.protocol = 136, .message = seed::udp_lite(data, 12, 40000, 80)}, seed::udp_lite(data, 12, 40000, 80));
    expect_both("DCCP (RFC 4340 section 9.1)", {.protocol = 33, .message = seed::dccp(data, 40000, 80)},
                seed::dccp(data, 61000, 8080));
    expect_both("both ports (masquerade)", {.message = seed::udp(data, 40000, 80)}, seed::udp(data, 61000, 8080));
    expect_both("GRE has no ports", {.protocol = 47, .message = data}, data);
    expect_both("nothing behind the header", {.protocol = 59, .message = {}}, {});
}

TEST(rewrite, echo_identifiers) { // RFC 3022 section 4.1, RFC 5508 section 3.1
    auto const data = counted(17);
    for (unsigned const type : {8u, 0u}) {
        auto p = to_the_pod4({.protocol = 1, .message = icmp(type, 0, 0x1111'0007, data)});
        p.out.message = icmp(type, 0, 0x2222'0007, data);
        expect<ipv4, ipv4>({"identifier, sequence number kept", bytes_of(p.in), bytes_of(p.out)});
    }
    for (unsigned const type : {128u, 129u}) {
        auto p = to_the_pod6({.protocol = 58, .message = icmp(type, 0, 0x1111'0007, data)});
        p.out.message = icmp(type, 0, 0x2222'0007, data);
        expect<ipv6, ipv6>({"ICMPv6 covers the addresses (RFC 4443 section 2.3)", bytes_of(p.in), bytes_of(p.out)});
    }
    auto other = to_the_pod4({.protocol = 1, .message = icmp(13, 0, 1, counted(12))});
    expect<ipv4, ipv4>({"a timestamp goes with its addresses", bytes_of(other.in), bytes_of(other.out)});
    auto query = to_the_pod6({.protocol = 58, .message = icmp(130, 0, 1, counted(16))});
    expect<ipv6, ipv6>({"any ICMPv6 message", bytes_of(query.in), bytes_of(query.out)});
}

TEST(rewrite, what_stands_around_the_transport_header) {
    auto p = to_the_pod4({.ttl = 3, .traffic_class = 0xb9, .identification = 77, .options = octets(8, std::byte{1})});
    expect<ipv4, ipv4>({"IPv4 options stay, and no TTL is taken", bytes_of(p.in), bytes_of(p.out)});
    auto q = to_the_pod6({.ttl = 1,
                          .traffic_class = 0xb9,
                          .flow_label = 0x12345,
                          .extensions = {seed::options(0), seed::routing(0), seed::options(60, 2)}});
    expect<ipv6, ipv6>({"extension headers and flow label stay", bytes_of(q.in), bytes_of(q.out)});
    auto padded = bytes_of(p.in);
    padded.resize(padded.size() + 6, std::byte{0xee});
    expect<ipv4, ipv4>({"link-layer padding is cut off", padded, bytes_of(p.out)});
}

TEST(rewrite, hops_where_the_setting_says_so) {
    translation_settings const router{.decrement_ttl = true};
    auto p = to_the_pod4({.ttl = 2});
    p.out.ttl = 1;
    expect<ipv4, ipv4>({"RFC 1812 section 5.3.1", bytes_of(p.in), bytes_of(p.out), router});
    auto q = to_the_pod6({.ttl = 255});
    q.out.ttl = 254;
    expect<ipv6, ipv6>({"RFC 8200 section 3", bytes_of(q.in), bytes_of(q.out), router});
}

TEST(rewrite, fragments) {
    auto first = to_the_pod4({.message = seed::udp(counted(24), 40000, 80), .fragment = 0x2000});
    first.in.message = with(first.in.message, {{6, be16(0x1234)}});
    first.out = first.in;
    first.out.destination = pod4;
    // The sum of the other parts is not here: RFC 1624 from the change of the address and of the port alone.
    auto const change = [&](octets const& before, octets const& after) {
        auto const not_before = seed::internet_checksum(before);
        auto const sum = seed::internet_checksum(seed::joined({be16(0xffff ^ 0x1234), not_before, after}));
        return sum;
    };
    first.out.message = with(first.in.message, {{2, be16(8080)},
                                                {6, change(seed::joined({build::address(vip4), be16(80)}),
                                                           seed::joined({build::address(pod4), be16(8080)}))}});
    expect<ipv4, ipv4>({"a first fragment has ports", bytes_of(first.in), bytes_of(first.out)});
    auto later = to_the_pod4({.message = counted(40), .fragment = 0x2003});
    expect<ipv4, ipv4>({"a later one has none", bytes_of(later.in), bytes_of(later.out)});
    auto last = to_the_pod6({.message = counted(13), .extensions = {seed::fragment(100, 0)}});
    expect<ipv6, ipv6>({"IPv6 too", bytes_of(last.in), bytes_of(last.out)});
    auto sctp = to_the_pod4({.protocol = 132, .message = seed::sctp(counted(20)), .fragment = 0x2000});
    expect<ipv4, ipv4>({"a part of SCTP, if its ports stay", bytes_of(sctp.in), bytes_of(sctp.out)});
}

/// A transport checksum that was `before` in `in` becomes what `after` says, by hand.
TEST(rewrite, checksums_that_are_special) {
    auto p = to_the_pod4({.message = seed::udp(counted(9), 40000, 80)});
    auto in = bytes_of(p.in), out = bytes_of(p.out);
    expect<ipv4, ipv4>({"UDP 0 stays 0 (RFC 768)", with(in, {{26, be16(0)}}), with(out, {{26, be16(0)}})});
    auto const off_by = [](octets const& b, std::size_t at, unsigned n) {
        auto const old = std::to_integer<unsigned>(b[at]) << 8 | std::to_integer<unsigned>(b[at + 1]);
        return with(b, {{at, be16((old + n) % 0xffff)}});
    };
    expect<ipv4, ipv4>({"a wrong one is as wrong as it was", off_by(in, 26, 3), off_by(out, 26, 3)});
    expect<ipv4, ipv4>({"of the header, too", off_by(in, 10, 5), off_by(out, 10, 5)});

    for (unsigned const protocol : {33u, 136u}) {
        auto lite = to_the_pod4({.protocol = protocol, .message = seed::dccp(counted(9), 40000, 80)});
        lite.out.message = seed::dccp(counted(9), 40000, 8080);
        if (protocol == 136) lite.in.message = seed::udp_lite(counted(9), 8, 40000, 80);
        if (protocol == 136) lite.out.message = seed::udp_lite(counted(9), 8, 40000, 8080);
        expect<ipv4, ipv4>({"a wrong one of UDP-Lite or DCCP, too", off_by(bytes_of(lite.in), 26, 3),
                            off_by(bytes_of(lite.out), 26, 3)});
    }
    auto illegal = to_the_pod4({.protocol = 136, .message = seed::udp_lite(counted(9), 0, 40000, 80)});
    illegal.out.message = seed::udp_lite(counted(9), 0, 40000, 8080);
    expect<ipv4, ipv4>({"RFC 3828 section 3.1: UDP-Lite 0 is illegal, and stays so",
                        with(bytes_of(illegal.in), {{26, be16(0)}}), with(bytes_of(illegal.out), {{26, be16(0)}})});

    auto sctp = to_the_pod4({.protocol = 132, .message = seed::sctp(counted(20), 1, 80)});
    sctp.out.message = seed::sctp(counted(20), 1, 8080);
    auto const flip = [](octets b) { return b[31] ^= std::byte{0x10}, b; };
    expect<ipv4, ipv4>({"a CRC is linear", flip(bytes_of(sctp.in)), flip(bytes_of(sctp.out))});
    expect<ipv4, ipv4>({"RFC 9653 section 5.2: SCTP 0 stays 0", with(bytes_of(sctp.in), {{28, seed::be32(0)}}),
                        with(bytes_of(sctp.out), {{28, seed::be32(0)}})});
    sctp.in.fragment = sctp.out.fragment = 0x2000;
    expect<ipv4, ipv4>({"and covers no other part, so that ports of a part may change",
                        with(bytes_of(sctp.in), {{28, seed::be32(0)}}),
                        with(bytes_of(sctp.out), {{28, seed::be32(0)}})});
    auto six = to_the_pod6({.protocol = 132, .message = seed::sctp(counted(20), 1, 80)});
    six.out.message = seed::sctp(counted(20), 1, 8080);
    expect<ipv6, ipv6>({"RFC 9653 over IPv6", with(bytes_of(six.in), {{48, seed::be32(0)}}),
                        with(bytes_of(six.out), {{48, seed::be32(0)}})});
}

/// Finds data for which UDP's sum is 0xffff, so that the checksum computes to 0 (RFC 768, RFC 8200 section 8.1).
TEST(rewrite, a_computed_zero_is_sent_as_ones) {
    for (auto const& [source, destination] : {std::pair{client4, pod4}, std::pair{client6, pod6}}) {
        packet p{.source = source, .destination = destination, .message = seed::udp(be16(0), 40000, 8080)};
        auto const checksum = [&] {
            auto const b = bytes_of(p);
            return octets(b.end() - 4, b.end() - 2);
        };
        p.message = seed::udp(checksum(), 40000, 8080); // the data cancels what is left of the sum
        ASSERT_EQ(checksum(), be16(0));
        auto const out = with(bytes_of(p), {{bytes_of(p).size() - 4, be16(0xffff)}});
        p.destination = source == client4 ? vip4 : vip6;
        if (source == client4)
            expect<ipv4, ipv4>({"IPv4", bytes_of(p), out});
        else
            expect<ipv6, ipv6>({"IPv6", bytes_of(p), out});
    }
}

/// The field holds the sum of the pseudo-header, which has no ports (virtio 1.2 section 5.1.6.2).
TEST(rewrite, a_partial_checksum_follows_the_addresses) {
    auto const partial = [](packet const& p, std::size_t at) {
        auto b = bytes_of(p);
        auto const source = build::address(p.source), destination = build::address(p.destination);
        auto const sum = seed::internet_checksum(
            seed::joined({source, destination, seed::be32(p.message.size()), seed::be32(p.protocol)}));
        b.at(b.size() - p.message.size() + at) = ~sum[0];
        b.at(b.size() - p.message.size() + at + 1) = ~sum[1];
        return b;
    };
    auto const data = counted(3000);
    auto udp = to_the_pod4({.message = seed::udp(data, 40000, 80)});
    udp.out.message = seed::udp(data, 40000, 8080);
    expect<ipv4, ipv4>({.rule = "UDP",
                        .in = partial(udp.in, 6),
                        .out = partial(udp.out, 6),
                        .state = checksum_state::partial,
                        .gso_size = 1400});
    auto tcp = to_the_pod6({.protocol = 6, .message = seed::tcp(data, 0x18, 40000, 80)});
    tcp.out.message = seed::tcp(data, 0x18, 40000, 8080);
    expect<ipv6, ipv6>({.rule = "TCP",
                        .in = partial(tcp.in, 16),
                        .out = partial(tcp.out, 16),
                        .state = checksum_state::partial,
                        .gso_size = 1400});
}

/// 100,000 random changes: what is carried over by RFC 1624 must be what a full recomputation finds.
TEST(rewrite, incremental_is_full) {
    std::mt19937 random{1624};
    auto const address4 = [&] {
        return std::to_string(random() % 256) + '.' + std::to_string(random() % 256) + ".0." +
               std::to_string(random() % 256);
    };
    auto const address6 = [&] {
        return "2001:" + std::to_string(random() % 9999) + "::" + std::to_string(random() % 9999);
    };
    unsigned checked = 0;
    for (unsigned i = 0; i < 50'000; ++i) {
        auto const size = random() % 40;
        auto const data = random() % 3 == 0 ? octets(size, std::byte{0}) : counted(size);
        auto const from = static_cast<unsigned>(random() % 65536), to = static_cast<unsigned>(random() % 65536);
        unsigned const protocol = std::array{6u, 17u, 33u, 132u, 136u}[random() % 5];
        auto const message =
            protocol == 6    ? seed::tcp(data, 0x10, from, to)
            : protocol == 17 ? seed::udp(data, from, to)
            : protocol == 33 ? seed::dccp(data, from, to)
            : protocol == 136
                ? seed::udp_lite(data, std::array{0u, 8u, 9u}[random() % 3] % (9 + static_cast<unsigned>(data.size())),
                                 from, to)
                : seed::sctp(data, from, to);
        auto const check = [&]<ip_version V>(auto const& address) {
            auto bytes =
                bytes_of({.source = address(), .destination = address(), .protocol = protocol, .message = message});
            auto shown =
                bytes_of({.source = address(), .destination = address(), .protocol = protocol, .message = message});
            span_packet p{bytes, 0};
            auto const headers = table::parsed_as<V>(bytes);
            auto after = tuple_of(table::parsed_as<V>(shown));
            after.source_port = static_cast<std::uint16_t>(random());
            after.destination_port = static_cast<std::uint16_t>(random());
            ASSERT_TRUE((rewriter<V, V>{}(p, headers, after, changes_of(tuple_of(headers), after)).done()));
            ASSERT_TRUE(build::transport_checksum_is_valid(p.bytes())) << hex::text_of(p.bytes());
            ASSERT_TRUE(build::header_checksum_is_valid(p.bytes())) << hex::text_of(p.bytes());
            ++checked;
        };
        check.template operator()<ipv4>(address4);
        check.template operator()<ipv6>(address6);
        if (HasFatalFailure()) return;
    }
    EXPECT_EQ(checked, 100'000u);
}

static_assert(rewriter<ipv4, ipv4>::headroom == 0 && rewriter<ipv6, ipv6>::headroom == 0);
static_assert(!rewriter<ipv6, ipv6>::changes_family && rewriter<ipv6, ipv4>::changes_family);

} // namespace
} // namespace kubeproxy::rewrite_tests
