#include "kubeproxy/wire/ipv4.hpp"

#include "support/seed_packets.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::ipv4_tests {
namespace {

using seed::octets;

struct check_case {
    std::string_view rule;
    octets bytes;
    drop_reason expected;
};

octets header_of(unsigned version_ihl, std::size_t total_length, std::size_t size) {
    octets bytes(size);
    return seed::with(bytes, {{0, seed::of({version_ihl})}, {2, seed::be16(total_length)}});
}

TEST(ipv4, check_says_why_bytes_are_no_packet) {
    std::vector<check_case> const rows{
        {"nothing at all", {}, drop_reason::truncated},
        {"RFC 791 section 3.1: one octet of a header", seed::of({0x45}), drop_reason::truncated},
        {"RFC 791 section 3.1: 19 octets", seed::cut(header_of(0x45, 19, 20), 19), drop_reason::truncated},
        {"RFC 791 section 3.1: 20 octets are a packet", header_of(0x45, 20, 20), drop_reason::none},
        {"RFC 791 section 3.1: version 6, before there is a header", seed::of({0x65}), drop_reason::bad_version},
        {"RFC 791 section 3.1: version 6", header_of(0x65, 20, 20), drop_reason::bad_version},
        {"RFC 791 section 3.1: version 0", header_of(0x05, 20, 20), drop_reason::bad_version},
        {"RFC 791 section 3.1: version 5", header_of(0x55, 20, 20), drop_reason::bad_version},
        {"RFC 791 section 3.1: version 15", header_of(0xf5, 20, 20), drop_reason::bad_version},
        {"RFC 791 section 3.1: IHL 0", header_of(0x40, 20, 20), drop_reason::bad_header_length},
        {"RFC 791 section 3.1: IHL 4, the minimum is 5", header_of(0x44, 20, 20), drop_reason::bad_header_length},
        {"RFC 791 section 3.1: IHL 6, but 20 octets", header_of(0x46, 24, 20), drop_reason::truncated},
        {"RFC 791 section 3.1: IHL 6, but 23 octets", header_of(0x46, 24, 23), drop_reason::truncated},
        {"RFC 791 section 3.1: IHL 6", header_of(0x46, 24, 24), drop_reason::none},
        {"RFC 791 section 3.1: IHL 15, but 59 octets", header_of(0x4f, 60, 59), drop_reason::truncated},
        {"RFC 791 section 3.1: IHL 15", header_of(0x4f, 60, 60), drop_reason::none},
        {"RFC 791 section 3.1: total length 0", header_of(0x45, 0, 40), drop_reason::bad_length},
        {"RFC 791 section 3.1: total length without its header", header_of(0x45, 19, 40), drop_reason::bad_length},
        {"RFC 791 section 3.1: total length without its options", header_of(0x46, 23, 40), drop_reason::bad_length},
        {"RFC 791 section 3.1: total length beyond the buffer", header_of(0x45, 41, 40), drop_reason::bad_length},
        {"RFC 791 section 3.1: the longest total length", header_of(0x45, 65535, 40), drop_reason::bad_length},
        {"RFC 791 section 3.1: the longest packet", header_of(0x45, 65535, 65535), drop_reason::none},
        {"RFC 894: link-layer padding behind the packet", header_of(0x45, 28, 46), drop_reason::none},
    };
    for (auto const& row : rows) EXPECT_EQ(name(ipv4_view::check(row.bytes)), name(row.expected)) << row.rule;
}

// RFC 791 appendix A, example 2: the first of two fragments. Its checksum is left open there.
TEST(ipv4, the_first_fragment_of_rfc_791_appendix_a) {
    auto const bytes =
        seed::joined({seed::of({0x45, 0}), seed::be16(276), seed::be16(111), seed::be16(0x2000), seed::of({119, 6}),
                      seed::be16(0), seed::of({192, 0, 2, 1, 198, 51, 100, 7}), seed::counted(256)});
    ipv4_view const ip{bytes};
    EXPECT_EQ(ip.header_length(), 20u);
    EXPECT_EQ(ip.total_length(), 276);
    EXPECT_EQ(ip.identification(), 111);
    EXPECT_FALSE(ip.dont_fragment());
    EXPECT_TRUE(ip.more_fragments());
    EXPECT_EQ(ip.fragment_offset(), 0u);
    EXPECT_EQ(ip.ttl(), 119);
    EXPECT_EQ(ip.protocol(), 6);
    EXPECT_EQ(ip.source(), ipv4_address(0xc000'0201));
    EXPECT_EQ(ip.destination(), ipv4_address(0xc633'6407));
    EXPECT_EQ(ip.payload().size(), 256u);
    EXPECT_EQ(octets(ip.payload().begin(), ip.payload().end()), seed::counted(256));
}

struct fragment_case {
    std::string_view rule;
    unsigned field;
    bool dont, more;
    std::size_t offset;
};

TEST(ipv4, flags_and_offset) {
    std::vector<fragment_case> const rows{
        {"RFC 791 section 3.1: may fragment, last", 0x0000, false, false, 0},
        {"RFC 791 section 3.1: don't fragment is bit 1", 0x4000, true, false, 0},
        {"RFC 791 section 3.1: more fragments is bit 2", 0x2000, false, true, 0},
        {"RFC 791 section 3.1: the reserved bit is none of them", 0x8000, false, false, 0},
        {"RFC 791 section 3.1: the offset counts 8 octets", 0x0001, false, false, 8},
        {"RFC 791 appendix A, example 2: the second fragment's offset is 32", 0x0020, false, false, 256},
        {"RFC 791 section 3.1: the largest offset", 0x1fff, false, false, 65528},
        {"RFC 791 section 3.1: all at once", 0xffff, true, true, 65528},
    };
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        auto const bytes = seed::bytes_of(seed::ipv4_packet{.fragment = row.field});
        ipv4_view const ip{bytes};
        EXPECT_EQ(ip.dont_fragment(), row.dont);
        EXPECT_EQ(ip.more_fragments(), row.more);
        EXPECT_EQ(ip.fragment_offset(), row.offset);
    }
}

TEST(ipv4, options_stand_between_the_fixed_header_and_the_payload) { // RFC 791 section 3.1
    for (std::size_t size = 0; size <= 40; size += 4) {
        auto const options = seed::counted(size);
        auto const bytes = seed::bytes_of(seed::ipv4_packet{.protocol = 47, .options = options, .payload = options});
        ASSERT_EQ(ipv4_view::check(bytes), drop_reason::none);
        ipv4_view const ip{bytes};
        EXPECT_EQ(ip.header_length(), 20 + size);
        EXPECT_EQ(octets(ip.options().begin(), ip.options().end()), options);
        EXPECT_EQ(octets(ip.payload().begin(), ip.payload().end()), options);
        EXPECT_EQ(ip.header().data(), bytes.data());
    }
}

TEST(ipv4, the_payload_ends_where_the_total_length_says) { // RFC 894: frames are padded to 46 octets
    auto const bytes = seed::joined({seed::bytes_of(seed::ipv4_packet{.payload = seed::udp({})}), octets(18)});
    EXPECT_EQ(bytes.size(), 46u);
    EXPECT_EQ(ipv4_view{bytes}.payload().size(), 8u);
}

TEST(ipv4, a_setter_changes_its_field_only) {
    auto const before = seed::bytes_of(seed::ipv4_packet{.options = octets(4, std::byte{1})});
    auto bytes = before;
    ipv4_editor const ip{bytes};
    ip.set_ttl(9);
    EXPECT_EQ(bytes, seed::with(before, {{8, seed::of({9})}}));
    ip.set_checksum(0xabcd);
    EXPECT_EQ(bytes, seed::with(before, {{8, seed::of({9})}, {10, seed::be16(0xabcd)}}));
    EXPECT_EQ(ip.checksum(), 0xabcd);
    ip.set_source(ipv4_address(0x0102'0304));
    ip.set_destination(ipv4_address(0x0506'0708));
    EXPECT_EQ(
        bytes,
        seed::with(before, {{8, seed::of({9})}, {10, seed::be16(0xabcd)}, {12, seed::of({1, 2, 3, 4, 5, 6, 7, 8})}}));
}

TEST(ipv4, a_header_is_written_with_its_checksum) { // RFC 791 section 3.1; the seed sums a word at a time
    auto const expected = seed::bytes_of(seed::ipv4_packet{
        .traffic_class = 0xb8, .identification = 0xbeef, .fragment = 0x4000, .ttl = 63, .protocol = 6, .payload = {}});
    octets bytes(24, std::byte{0xee});
    write_header(bytes, ipv4_header{.traffic_class = 0xb8,
                                    .total_length = 20,
                                    .identification = 0xbeef,
                                    .flags_and_offset = 0x4000,
                                    .ttl = 63,
                                    .protocol = 6,
                                    .source = ipv4_address(0xc000'0201),
                                    .destination = ipv4_address(0xc633'6407)});
    EXPECT_EQ(bytes, seed::joined({expected, octets(4, std::byte{0xee})}));
    EXPECT_EQ(ipv4_view{bytes}.traffic_class(), 0xb8);
}

} // namespace
} // namespace kubeproxy::ipv4_tests
