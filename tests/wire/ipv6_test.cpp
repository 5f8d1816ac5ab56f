#include "kubeproxy/wire/ipv6.hpp"

#include "support/seed_packets.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::ipv6_tests {
namespace {

using seed::octets;

struct check_case {
    std::string_view rule;
    octets bytes;
    drop_reason expected;
};

octets header_of(unsigned first, std::size_t payload_length, std::size_t size) {
    octets bytes(size);
    return seed::with(bytes, {{0, seed::of({first})}, {4, seed::be16(payload_length)}});
}

TEST(ipv6, check_says_why_bytes_are_no_packet) {
    std::vector<check_case> const rows{
        {"nothing at all", {}, drop_reason::truncated},
        {"RFC 8200 section 3: one octet of a header", seed::of({0x60}), drop_reason::truncated},
        {"RFC 8200 section 3: 39 octets", header_of(0x60, 0, 39), drop_reason::truncated},
        {"RFC 8200 section 3: 40 octets are a packet", header_of(0x60, 0, 40), drop_reason::none},
        {"RFC 8200 section 3: version 4, before there is a header", seed::of({0x45}), drop_reason::bad_version},
        {"RFC 8200 section 3: version 4", header_of(0x40, 0, 40), drop_reason::bad_version},
        {"RFC 8200 section 3: version 7", header_of(0x70, 0, 40), drop_reason::bad_version},
        {"RFC 8200 section 3: version 0", header_of(0x06, 0, 40), drop_reason::bad_version},
        {"RFC 8200 section 3: the traffic class is no part of the version", header_of(0x6f, 0, 40), drop_reason::none},
        {"RFC 8200 section 3: one octet more than there is", header_of(0x60, 1, 40), drop_reason::bad_length},
        {"RFC 8200 section 3: the longest payload length", header_of(0x60, 65535, 40), drop_reason::bad_length},
        {"RFC 8200 section 3: the longest packet", header_of(0x60, 65535, 65575), drop_reason::none},
        {"RFC 8200 section 3: the longest packet less one", header_of(0x60, 65535, 65574), drop_reason::bad_length},
        {"RFC 2464 section 3: padding behind the packet", header_of(0x60, 0, 46), drop_reason::none},
    };
    for (auto const& row : rows) EXPECT_EQ(name(ipv6_view::check(row.bytes)), name(row.expected)) << row.rule;
}

TEST(ipv6, fields_stand_where_rfc_8200_section_3_draws_them) {
    auto const bytes = seed::bytes_of(seed::ipv6_packet{
        .traffic_class = 0xa5, .flow_label = 0xf'edcb, .hop_limit = 63, .protocol = 47, .payload = seed::counted(9)});
    ipv6_view const ip{bytes};
    EXPECT_EQ(ip.traffic_class(), 0xa5);
    EXPECT_EQ(ip.flow_label(), 0xf'edcbu);
    EXPECT_EQ(ip.payload_length(), 9);
    EXPECT_EQ(ip.next_header(), 47);
    EXPECT_EQ(ip.hop_limit(), 63);
    EXPECT_EQ(ip.source()[15], std::byte{1});
    EXPECT_EQ(ip.destination()[15], std::byte{7});
    EXPECT_EQ(octets(ip.payload().begin(), ip.payload().end()), seed::counted(9));
}

TEST(ipv6, traffic_class_and_flow_label_do_not_touch) { // RFC 8200 section 3: 4, 8 and 20 bits
    auto const only_class = seed::bytes_of(seed::ipv6_packet{.traffic_class = 0xff});
    EXPECT_EQ(ipv6_view{only_class}.traffic_class(), 0xff);
    EXPECT_EQ(ipv6_view{only_class}.flow_label(), 0u);
    auto const only_label = seed::bytes_of(seed::ipv6_packet{.flow_label = 0xf'ffff});
    EXPECT_EQ(ipv6_view{only_label}.traffic_class(), 0);
    EXPECT_EQ(ipv6_view{only_label}.flow_label(), 0xf'ffffu);
}

TEST(ipv6, the_payload_ends_where_its_length_says) {
    auto const bytes = seed::joined({seed::bytes_of(seed::ipv6_packet{.payload = seed::udp({})}), octets(6)});
    EXPECT_EQ(ipv6_view{bytes}.payload().size(), 8u);
}

TEST(ipv6, a_setter_changes_its_field_only) {
    auto const before = seed::bytes_of(seed::ipv6_packet{});
    auto bytes = before;
    ipv6_editor const ip{bytes};
    ip.set_hop_limit(9);
    EXPECT_EQ(bytes, seed::with(before, {{7, seed::of({9})}}));
    ipv6::address source{}, destination{};
    source.fill(std::byte{0xaa});
    destination.fill(std::byte{0xbb});
    ip.set_source(source);
    ip.set_destination(destination);
    EXPECT_EQ(
        bytes,
        seed::with(before, {{7, seed::of({9})}, {8, octets(16, std::byte{0xaa})}, {24, octets(16, std::byte{0xbb})}}));
}

TEST(ipv6, a_header_is_written) {
    auto const expected = seed::bytes_of(seed::ipv6_packet{
        .traffic_class = 0x5a, .flow_label = 0x1'2345, .hop_limit = 61, .protocol = 6, .payload = {}});
    ipv6_view const ip{expected};
    octets bytes(41, std::byte{0xee});
    write_header(bytes, ipv6_header{.traffic_class = 0x5a,
                                    .flow_label = 0xfff1'2345, // more than its 20 bits does not reach the traffic class
                                    .payload_length = 0,
                                    .next_header = 6,
                                    .hop_limit = 61,
                                    .source = ip.source(),
                                    .destination = ip.destination()});
    EXPECT_EQ(bytes, seed::joined({expected, seed::of({0xee})}));
}

struct fragment_case {
    std::string_view rule;
    std::size_t field;
    std::size_t offset;
    bool more;
};

TEST(ipv6, fragment_header) {
    std::vector<fragment_case> const rows{
        {"RFC 6946: an atomic fragment", 0x0000, 0, false},
        {"RFC 8200 section 4.5: M is the last bit", 0x0001, 0, true},
        {"RFC 8200 section 4.5: the reserved bits are neither", 0x0006, 0, false},
        {"RFC 8200 section 4.5: the offset counts 8 octets in the first 13 bits", 0x0008, 8, false},
        {"RFC 8200 section 4.5: the offset counts 8 octets, more follow", 0x05a9, 1448, true},
        {"RFC 8200 section 4.5: the largest offset", 0xfff8, 65528, false},
        {"RFC 8200 section 4.5: all bits", 0xffff, 65528, true},
    };
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        auto const bytes = seed::joined({seed::of({17, 0}), seed::be16(row.field), seed::be32(0xdeadbeef)});
        fragment_header_view const fragment{bytes};
        EXPECT_EQ(fragment.next_header(), 17);
        EXPECT_EQ(fragment.offset(), row.offset);
        EXPECT_EQ(fragment.more_fragments(), row.more);
        EXPECT_EQ(fragment.identification(), 0xdead'beefu);
    }
}

TEST(ipv6, a_fragment_header_is_written) { // RFC 8200 section 4.5
    octets bytes(9, std::byte{0xee});
    write_header(bytes, fragment_header{.next_header = 6, .offset_and_more = 1448 | 1, .identification = 0xdead'beef});
    EXPECT_EQ(bytes, seed::joined({seed::of({6, 0}), seed::be16(0x05a9), seed::be32(0xdeadbeef), seed::of({0xee})}));
}

} // namespace
} // namespace kubeproxy::ipv6_tests
