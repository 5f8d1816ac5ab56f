#include "tap_forwarder/link/packet_offloads.hpp"
#include "tap_forwarder/link/segmentation.hpp"
#include "tap_forwarder/router/ipv4_fragments.hpp"

#include "support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

// What a device leaves to the next one, and what is done where no device can do it.

namespace examples::packet_offloads_tests {
namespace {

using kubeproxy::checksum_state, kubeproxy::ipv4, kubeproxy::ipv6, kubeproxy::build::bytes_of;
using kubeproxy::seed::octets;
namespace seed = kubeproxy::seed;

struct super_packet {
    std::string name;
    kubeproxy::build::packet packet;
    std::size_t gso_size;
    std::size_t transport_header;
};
void PrintTo(super_packet const& p, std::ostream* out) { *out << p.name; }

std::size_t ip_header(octets const& packet) { return std::to_integer<unsigned>(packet[0]) >> 4 == 4 ? 20 : 40; }
std::uint8_t gso_type_of(octets const& packet, unsigned protocol) {
    if (protocol == 17) return vnet_header::gso_udp;
    return ip_header(packet) == 20 ? vnet_header::gso_tcpv4 : vnet_header::gso_tcpv6;
}
octets octets_of(tap_packet& p) { return {p.bytes().begin(), p.bytes().end()}; }

class offload : public testing::Test {
  protected:
    tap_packet of(octets const& bytes) {
        auto packet = pool_.take(bytes.size(), 0, packet_origin::link);
        kubeproxy::copy_bytes(packet.bytes(), bytes);
        return packet;
    }
    template <class V>
    static bool adopt(tap_packet& packet, vnet_header const& h) {
        return adopt_offloads(packet, kubeproxy::parse_as<V>(packet.bytes()), h);
    }
    packet_pool pool_{128};
};

class segmenting : public offload, public testing::WithParamInterface<super_packet> {
  protected:
    vnet_header header(octets const& bytes) const {
        auto const& p = GetParam();
        auto const start = ethernet_header::size + ip_header(bytes);
        return {.flags = vnet_header::needs_checksum,
                .gso_type = gso_type_of(bytes, p.packet.protocol),
                .header_length = static_cast<std::uint16_t>(start + p.transport_header),
                .gso_size = static_cast<std::uint16_t>(p.gso_size),
                .checksum_start = static_cast<std::uint16_t>(start),
                .checksum_offset = static_cast<std::uint16_t>(p.packet.protocol == 6 ? 16 : 6)};
    }
    template <class V>
    void run() {
        auto const bytes = bytes_of(GetParam().packet);
        auto whole = of(bytes);
        ASSERT_TRUE(adopt<V>(whole, header(bytes)));
        auto const headers = ip_header(bytes) + GetParam().transport_header;
        auto const plan = plan_segments<V>(whole);
        ASSERT_EQ(plan.headers, headers);
        octets data;
        for (std::size_t i = 0; i < plan.count; ++i) {
            auto one = pool_.take(segment_size(whole, plan, i), 0, packet_origin::link);
            write_segment<V>(whole, plan, i, one);
            check(octets_of(one), i, plan);
            data.insert(data.end(), one.bytes().begin() + static_cast<std::ptrdiff_t>(headers), one.bytes().end());
        }
        EXPECT_EQ(data, octets(bytes.begin() + static_cast<std::ptrdiff_t>(headers), bytes.end()));
    }
    void check(octets const& segment, std::size_t i, segment_plan const& plan) const {
        SCOPED_TRACE("segment " + std::to_string(i));
        EXPECT_TRUE(kubeproxy::build::header_checksum_is_valid(segment));
        EXPECT_TRUE(kubeproxy::build::transport_checksum_is_valid(segment));
        EXPECT_LE(segment.size(), plan.headers + GetParam().gso_size);
        if (GetParam().packet.protocol != 6) return;
        auto const number = kubeproxy::load_be<std::uint32_t>(segment, ip_header(segment) + 4);
        auto const first = kubeproxy::load_be<std::uint32_t>(bytes_of(GetParam().packet), ip_header(segment) + 4);
        EXPECT_EQ(number, first + i * GetParam().gso_size);
        auto const flags = kubeproxy::load_be<std::uint8_t>(segment, ip_header(segment) + 13);
        unsigned expected = 0x10;                  // ACK
        if (i == 0) expected |= 0x80;              // CWR, RFC 3168 section 6.1.2
        if (i + 1 == plan.count) expected |= 0x09; // FIN and PSH
        EXPECT_EQ(flags, expected);
    }
};

TEST_P(segmenting, makes_the_packets_that_the_device_would_make) {
    ip_header(bytes_of(GetParam().packet)) == 20 ? run<ipv4>() : run<ipv6>();
}

octets tcp_with_options(octets const& data) {
    auto message = seed::tcp(data, 0x99);
    message.insert(message.begin() + 20, 12, std::byte{1}); // no-operations
    message[12] = std::byte{8 << 4};
    return message;
}

INSTANTIATE_TEST_SUITE_P(
    table, segmenting,
    testing::Values(
        super_packet{"tcp4", {.protocol = 6, .message = seed::tcp(seed::counted(60'000), 0x99)}, 1460, 20},
        super_packet{"tcp4_with_options", {.protocol = 6, .message = tcp_with_options(seed::counted(4000))}, 1448, 32},
        super_packet{"tcp4_whole_segments", {.protocol = 6, .message = seed::tcp(seed::counted(3000), 0x99)}, 1000, 20},
        super_packet{"tcp4_odd", {.protocol = 6, .message = seed::tcp(seed::counted(1001), 0x99)}, 333, 20},
        super_packet{"tcp6",
                     {.source = "2001:db8::1",
                      .destination = "fd00:244::7",
                      .protocol = 6,
                      .message = seed::tcp(seed::counted(50'000), 0x99)},
                     1440,
                     20},
        super_packet{"udp4", {.message = seed::udp(seed::counted(9000))}, 1200, 8},
        super_packet{"udp6",
                     {.source = "2001:db8::1", .destination = "fd00:244::7", .message = seed::udp(seed::counted(9001))},
                     1200,
                     8}),
    [](auto const& one) { return one.param.name; });

TEST_F(offload, identifications_count_up_so_that_fragments_of_segments_are_told_apart) {
    auto const bytes = bytes_of({.protocol = 6, .message = seed::tcp(seed::counted(300)), .identification = 0xffff});
    auto whole = of(bytes);
    ASSERT_TRUE(adopt<ipv4>(whole, {.gso_type = vnet_header::gso_tcpv4, .gso_size = 100}));
    auto const plan = plan_segments<ipv4>(whole);
    for (std::size_t i = 0; i < 3; ++i) {
        auto one = pool_.take(segment_size(whole, plan, i), 0, packet_origin::link);
        write_segment<ipv4>(whole, plan, i, one);
        EXPECT_EQ(kubeproxy::load_be<std::uint16_t>(one.bytes(), 4), static_cast<std::uint16_t>(0xffff + i));
    }
}

TEST_F(offload, a_partial_checksum_is_completed_right) {
    for (std::size_t const size : {0u, 1u, 2u, 1301u}) {
        auto const right = bytes_of({.message = seed::udp(seed::counted(size))});
        auto packet = of(right);
        auto const p = kubeproxy::parse_ipv4(packet.bytes());
        kubeproxy::store_be(packet.bytes(), 26, pseudo_sum(p, p.payload().size()));
        ASSERT_TRUE(adopt<ipv4>(packet, {.flags = 1, .checksum_start = 34, .checksum_offset = 6}));
        EXPECT_EQ(packet.transport_checksum(), checksum_state::partial);
        complete_checksum(packet, p);
        EXPECT_EQ(packet.transport_checksum(), checksum_state::complete);
        EXPECT_EQ(octets_of(packet), right);
    }
}

TEST_F(offload, a_checksum_of_what_the_router_does_not_know_is_completed_at_once) {
    auto packet = of(bytes_of({.protocol = 47, .message = seed::counted(40)})); // GRE, a checksum in its middle
    kubeproxy::store_be(packet.bytes(), 20 + 10, std::uint16_t{0x1234});
    ASSERT_TRUE(adopt<ipv4>(packet, {.flags = 1, .checksum_start = 14 + 20 + 4, .checksum_offset = 6}));
    EXPECT_EQ(packet.transport_checksum(), checksum_state::complete);
    auto covered = octets_of(packet);
    covered.erase(covered.begin(), covered.begin() + 24);
    auto const written = octets(covered.begin() + 6, covered.begin() + 8);
    EXPECT_EQ(written, seed::internet_checksum(seed::with(covered, {{6, seed::be16(0x1234)}})));
}

TEST_F(offload, a_header_that_does_not_fit_the_packet_is_refused) {
    auto const tcp = bytes_of({.protocol = 6, .message = seed::tcp(seed::counted(4000))});
    auto const udp = bytes_of({.message = seed::udp(seed::counted(4000))});
    auto const part = bytes_of({.message = seed::udp(seed::counted(4000)), .fragment = 0x2000});
    struct {
        std::string what;
        octets packet;
        vnet_header header;
    } const rows[]{
        {"a GSO size of 0", tcp, {.flags = 1, .gso_type = 1, .checksum_start = 34, .checksum_offset = 16}},
        {"TCP segments of UDP", udp, {.flags = 1, .gso_type = 1, .gso_size = 100}},
        {"UDP segments of TCP", tcp, {.flags = 1, .gso_type = 5, .gso_size = 100}},
        {"IPv6 segments of IPv4", tcp, {.flags = 1, .gso_type = 4, .gso_size = 100}},
        {"segments of a fragment", part, {.flags = 1, .gso_type = 5, .gso_size = 100}},
        {"an unknown kind", tcp, {.flags = 1, .gso_type = 77, .gso_size = 100}},
        {"a checksum in the Ethernet header", udp, {.flags = 1, .checksum_start = 3, .checksum_offset = 6}},
        {"a checksum behind the end", udp, {.flags = 1, .checksum_start = 34, .checksum_offset = 0xffff}},
        {"a start behind the end", udp, {.flags = 1, .checksum_start = 0xffff, .checksum_offset = 0}},
        {"half a checksum", udp, {.flags = 1, .checksum_start = 34, .checksum_offset = 4007}},
        {"segments whose checksum is elsewhere",
         tcp,
         {.flags = 1, .gso_type = 1, .gso_size = 100, .checksum_start = 36, .checksum_offset = 16}},
    };
    for (auto const& row : rows) {
        auto packet = of(row.packet);
        EXPECT_FALSE(adopt<ipv4>(packet, row.header)) << row.what;
    }
}

TEST_F(offload, a_tcp_header_that_overruns_its_packet_is_refused) {
    auto tcp = bytes_of({.protocol = 6, .message = seed::tcp(seed::counted(10))});
    for (unsigned const words : {0u, 4u, 15u}) {
        auto packet = of(seed::with(tcp, {{20 + 12, seed::of({words << 4})}}));
        EXPECT_FALSE(adopt<ipv4>(packet, {.gso_type = vnet_header::gso_tcpv4, .gso_size = 4})) << words;
    }
}

TEST_F(offload, any_header_before_any_packet_is_taken_or_refused) {
    std::mt19937 random{4711};
    for (int i = 0; i < 20'000; ++i) {
        auto bytes = bytes_of({.protocol = random() % 2 == 0 ? 6u : 17u, .message = seed::tcp(seed::counted(200))});
        for (auto n = random() % 4; n > 0; --n) bytes[20 + random() % 40] = static_cast<std::byte>(random());
        vnet_header h{};
        h.flags = static_cast<std::uint8_t>(random() % 4);
        h.gso_type = static_cast<std::uint8_t>(random() % 8);
        h.gso_size = static_cast<std::uint16_t>(random() % 300);
        h.checksum_start = static_cast<std::uint16_t>(random() % 300);
        h.checksum_offset = static_cast<std::uint16_t>(random() % 300);
        auto packet = of(bytes);
        if (!adopt<ipv4>(packet, h) || packet.gso_size() == 0) continue;
        auto const plan = plan_segments<ipv4>(packet);
        ASSERT_GE(plan.count, 2u);
        auto last = pool_.take(segment_size(packet, plan, plan.count - 1), 0, packet_origin::link);
        write_segment<ipv4>(packet, plan, plan.count - 1, last);
        EXPECT_TRUE(kubeproxy::build::transport_checksum_is_valid(octets_of(last)));
    }
}

TEST_F(offload, what_leaves_says_what_came_in_where_the_packet_is_the_same) {
    auto const bytes = bytes_of({.protocol = 6, .message = seed::tcp(seed::counted(4000))});
    auto packet = of(bytes);
    vnet_header const came{.flags = 1,
                           .gso_type = vnet_header::gso_tcpv4 | vnet_header::gso_ecn,
                           .header_length = 54,
                           .gso_size = 1460,
                           .checksum_start = 34,
                           .checksum_offset = 16};
    ASSERT_TRUE(adopt<ipv4>(packet, came));
    std::array<std::byte, vnet_header::size> before{}, after{};
    write_vnet(before, came);
    write_vnet(after, described<ipv4>(packet));
    EXPECT_EQ(after, before);
    EXPECT_EQ(max_packet_size<ipv4>(packet), 20u + 20 + 1460);
}

TEST(vnet_header, is_little_endian) { // OASIS virtio 1.2 section 5.1.6.1
    std::array<std::byte, vnet_header::size> bytes{};
    write_vnet(bytes, {.flags = 1,
                       .gso_type = 4,
                       .header_length = 0x0102,
                       .gso_size = 0x0304,
                       .checksum_start = 0x0506,
                       .checksum_offset = 0x0708});
    EXPECT_EQ(octets(bytes.begin(), bytes.end()), seed::of({1, 4, 2, 1, 4, 3, 6, 5, 8, 7}));
    EXPECT_EQ(read_vnet(bytes).checksum_start, 0x0506);
}

octets options_with_and_without_copied_flag() { // RFC 791: security 130 is copied, record route 7 is not
    return seed::of({130, 3, 0, 7, 4, 4, 0, 1});
}

TEST(ipv4_fragments, fit_the_link_and_are_the_packet_again_when_put_together) {
    for (std::size_t const size : {1281u, 1481u, 1500u, 4000u, 65'000u}) {
        auto const packet = bytes_of({.message = seed::udp(seed::counted(size)), .fragment = 0});
        auto const plan = plan_fragments(packet, 1280);
        std::vector<octets> pieces;
        for (std::size_t i = 0; i < plan.count; ++i) {
            octets piece(fragment_size(packet, plan, i));
            write_fragment(packet, plan, i, piece);
            EXPECT_LE(piece.size(), 1280u);
            EXPECT_TRUE(kubeproxy::build::header_checksum_is_valid(piece));
            pieces.push_back(piece);
        }
        octets data;
        for (auto const& piece : pieces) {
            EXPECT_EQ(kubeproxy::ipv4_view{piece}.fragment_offset(), data.size());
            EXPECT_EQ(kubeproxy::ipv4_view{piece}.more_fragments(), &piece != &pieces.back());
            data.insert(data.end(), piece.begin() + 20, piece.end());
        }
        EXPECT_EQ(data, octets(packet.begin() + 20, packet.end()));
    }
}

TEST(ipv4_fragments, a_fragment_that_is_cut_keeps_its_place) {
    auto const packet = bytes_of({.message = seed::counted(1472), .fragment = 0x2000 | 185});
    auto const plan = plan_fragments(packet, 1280);
    ASSERT_EQ(plan.count, 2u);
    octets second(fragment_size(packet, plan, 1));
    write_fragment(packet, plan, 1, second);
    EXPECT_EQ(kubeproxy::ipv4_view{second}.fragment_offset(), 185 * 8 + plan.size);
    EXPECT_TRUE(kubeproxy::ipv4_view{second}.more_fragments()) << "its message goes on behind it";
}

TEST(ipv4_fragments, options_without_the_copied_flag_stay_with_the_first) { // RFC 791 section 3.1
    auto const packet = bytes_of(
        {.message = seed::udp(seed::counted(2000)), .fragment = 0, .options = options_with_and_without_copied_flag()});
    auto const plan = plan_fragments(packet, 1280);
    octets first(fragment_size(packet, plan, 0)), second(fragment_size(packet, plan, 1));
    write_fragment(packet, plan, 0, first);
    write_fragment(packet, plan, 1, second);
    EXPECT_EQ(octets(first.begin() + 20, first.begin() + 28), options_with_and_without_copied_flag());
    EXPECT_EQ(octets(second.begin() + 20, second.begin() + 28), seed::of({130, 3, 0, 1, 1, 1, 1, 1}));
    EXPECT_TRUE(kubeproxy::build::header_checksum_is_valid(second));
}

} // namespace
} // namespace examples::packet_offloads_tests
