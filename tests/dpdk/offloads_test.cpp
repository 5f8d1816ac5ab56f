#include "dpdk/mbufs.hpp"
#include "dpdk_forwarder/offloads.hpp"

#include "support/packet_builder.hpp"

#include <rte_ip.h>

#include <gtest/gtest.h>

#include <string>

// What a device would do with the orders is told by DPDK's own functions for the sum of the pseudo-header.

namespace dpdk {
namespace {

using testing::octets;
namespace build = kubeproxy::build;
namespace seed = kubeproxy::seed;

struct offload_case {
    std::string name, source, destination;
    unsigned protocol;
    octets const& link;
    std::uint64_t version_flag, checksum_flag, port_can;
};
void PrintTo(offload_case const& c, std::ostream* out) { *out << c.name; }

class offloads : public testing::mbufs, public ::testing::WithParamInterface<offload_case> {
  protected:
    static std::size_t network_size() { return GetParam().version_flag == RTE_MBUF_F_TX_IPV4 ? 20 : 40; }
    static std::size_t header_size() { return GetParam().protocol == 6 ? 20 : 8; }
    static std::size_t field() { return network_size() + (GetParam().protocol == 6 ? 16 : 6); }

    static octets whole(std::size_t data) {
        auto const& c = GetParam();
        return build::bytes_of(
            {.source = c.source,
             .destination = c.destination,
             .protocol = c.protocol,
             .message = c.protocol == 6 ? seed::tcp(seed::counted(data)) : seed::udp(seed::counted(data))});
    }
    /// The sum of the pseudo-header, as DPDK says that a device wants it, in network order.
    static octets pseudo_sum(octets packet, std::uint64_t flags) {
        void const* const header = packet.data();
        auto const sum = GetParam().version_flag == RTE_MBUF_F_TX_IPV4
                             ? rte_ipv4_phdr_cksum(static_cast<rte_ipv4_hdr const*>(header), flags)
                             : rte_ipv6_phdr_cksum(static_cast<rte_ipv6_hdr const*>(header), flags);
        octets bytes(2);
        std::memcpy(bytes.data(), &sum, 2);
        return bytes;
    }
    mbuf_packet partial(octets const& complete, octets const& behind = {}) {
        auto const sum = pseudo_sum(complete, 0);
        auto packet = packet_of(GetParam().link, seed::joined({seed::with(complete, {{field(), sum}}), behind}));
        packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
        return packet;
    }
};

TEST_P(offloads, a_complete_packet_orders_nothing) {
    auto const sent = whole(33);
    auto packet = packet_of(GetParam().link, sent);
    packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    EXPECT_TRUE(settle_offloads(packet, ~std::uint64_t{0}));
    EXPECT_EQ(bytes_of(packet), sent);
    EXPECT_EQ(packet.frame().ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK, 0u);
}

TEST_P(offloads, a_partial_checksum_is_completed_here_where_the_port_cannot) {
    for (std::size_t const data : {0u, 1u, 33u, 1000u}) {
        auto const sent = whole(data);
        auto const packet = partial(sent);
        EXPECT_TRUE(settle_offloads(packet, 0));
        EXPECT_EQ(bytes_of(packet), sent);
        EXPECT_EQ(packet.frame().ol_flags, 0u);
        release(packet.frame(), true);
    }
}

TEST_P(offloads, padding_is_no_part_of_the_checksum) {
    auto const sent = whole(5), padding = seed::of({1, 2, 3});
    auto const packet = partial(sent, padding);
    EXPECT_TRUE(settle_offloads(packet, 0));
    EXPECT_EQ(bytes_of(packet), seed::joined({sent, padding}));
}

TEST_P(offloads, a_partial_checksum_is_ordered_of_a_port_that_can) {
    auto const& c = GetParam();
    auto const sent = whole(33);
    auto const packet = partial(sent);
    EXPECT_TRUE(settle_offloads(packet, c.port_can));
    auto const& frame = packet.frame();
    EXPECT_EQ(frame.ol_flags, c.version_flag | c.checksum_flag);
    EXPECT_EQ(frame.l2_len, c.link.size());
    EXPECT_EQ(frame.l3_len, network_size());
    EXPECT_EQ(bytes_of(packet), seed::with(sent, {{field(), pseudo_sum(sent, frame.ol_flags)}}));
}

TEST_P(offloads, merged_segments_are_cut_again_by_a_port_that_can_and_refused_by_others) {
    auto const& c = GetParam();
    auto const sent = whole(1400);
    auto const packet = partial(sent);
    auto& frame = packet.frame();
    frame.ol_flags |= RTE_MBUF_F_RX_LRO;
    frame.tso_segsz = 500;
    EXPECT_FALSE(settle_offloads(packet, c.port_can));
    bool const can = settle_offloads(packet, c.port_can | RTE_ETH_TX_OFFLOAD_TCP_TSO);
    EXPECT_EQ(can, c.protocol == 6) << "DPDK 22.11 merges no UDP";
    if (!can) return;
    EXPECT_EQ(frame.ol_flags & RTE_MBUF_F_TX_TCP_SEG, RTE_MBUF_F_TX_TCP_SEG);
    EXPECT_EQ(frame.ol_flags & c.version_flag, c.version_flag);
    EXPECT_EQ(frame.tso_segsz, 500);
    EXPECT_EQ(frame.l2_len, c.link.size());
    EXPECT_EQ(frame.l3_len, network_size());
    EXPECT_EQ(frame.l4_len, header_size());
    auto expected = seed::with(sent, {{field(), pseudo_sum(sent, frame.ol_flags)}});
    if (network_size() == 20) {
        expected = seed::with(expected, {{10, seed::be16(0)}});
        EXPECT_NE(frame.ol_flags & RTE_MBUF_F_TX_IP_CKSUM, 0u) << "each segment has a header of its own";
    }
    EXPECT_EQ(bytes_of(packet), expected);
}

TEST_P(offloads, one_segment_is_not_cut) {
    auto const sent = whole(100);
    auto const packet = partial(sent);
    packet.frame().ol_flags |= RTE_MBUF_F_RX_LRO;
    packet.frame().tso_segsz = 1400;
    EXPECT_TRUE(settle_offloads(packet, 0));
    EXPECT_EQ(bytes_of(packet), sent);
}

TEST_P(offloads, nobody_completes_the_checksum_of_a_fragment_or_of_another_protocol) {
    auto const& c = GetParam();
    auto const echo = build::bytes_of({.source = c.source,
                                       .destination = c.destination,
                                       .protocol = network_size() == 20 ? 1u : 58u,
                                       .message = seed::icmp(network_size() == 20 ? 8 : 128, 0, 1, seed::counted(8))});
    auto const packet = packet_of(c.link, echo);
    packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
    EXPECT_FALSE(settle_offloads(packet, ~std::uint64_t{0}));
    auto const truncated = packet_of(c.link, seed::cut(whole(33), network_size() + 4));
    truncated.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
    EXPECT_FALSE(settle_offloads(truncated, ~std::uint64_t{0}));
    if (network_size() == 20) {
        auto const part = packet_of(c.link, seed::with(whole(32), {{6, seed::be16(0x2000)}}));
        part.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
        EXPECT_FALSE(settle_offloads(part, ~std::uint64_t{0}));
    }
}

/// With extension headers: those of IPv4 have at most 60 bytes, and can always be described.
class offloads_of_ipv6 : public offloads {};

TEST_P(offloads_of_ipv6, headers_too_long_to_describe_are_summed_here) {
    auto const& c = GetParam();
    auto const sent =
        build::bytes_of({.source = c.source,
                         .destination = c.destination,
                         .protocol = c.protocol,
                         .message = c.protocol == 6 ? seed::tcp(seed::counted(9)) : seed::udp(seed::counted(9)),
                         .extensions = {seed::options(60, 100)}});
    auto const at = field() + 808; // behind the extension header
    auto const length = sent.size() - 40 - 808;
    auto const header = seed::with(seed::cut(sent, 40), {{4, seed::be16(length)}, {6, seed::of({c.protocol})}});
    auto const packet = packet_of(c.link, seed::with(sent, {{at, pseudo_sum(header, 0)}}));
    packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
    EXPECT_TRUE(settle_offloads(packet, c.port_can));
    EXPECT_EQ(bytes_of(packet), sent);
}

constexpr auto name_of = [](auto const& row) { return row.param.name; };
offload_case const v6_tcp{"v6_TCP",
                          "2001:db8::1",
                          "2001:db8::2",
                          6,
                          testing::ethernet_ipv6,
                          RTE_MBUF_F_TX_IPV6,
                          RTE_MBUF_F_TX_TCP_CKSUM,
                          RTE_ETH_TX_OFFLOAD_TCP_CKSUM},
    v6_udp{"v6_UDP",
           "2001:db8::1",
           "2001:db8::2",
           17,
           testing::ethernet_ipv6,
           RTE_MBUF_F_TX_IPV6,
           RTE_MBUF_F_TX_UDP_CKSUM,
           RTE_ETH_TX_OFFLOAD_UDP_CKSUM};

INSTANTIATE_TEST_SUITE_P(
    table, offloads,
    ::testing::Values(offload_case{"v4_TCP", "192.0.2.1", "198.51.100.7", 6, testing::ethernet_ipv4, RTE_MBUF_F_TX_IPV4,
                                   RTE_MBUF_F_TX_TCP_CKSUM, RTE_ETH_TX_OFFLOAD_TCP_CKSUM},
                      offload_case{"v4_UDP_tagged", "192.0.2.1", "198.51.100.7", 17, testing::tagged_ipv4,
                                   RTE_MBUF_F_TX_IPV4, RTE_MBUF_F_TX_UDP_CKSUM, RTE_ETH_TX_OFFLOAD_UDP_CKSUM},
                      v6_tcp, v6_udp),
    name_of);
INSTANTIATE_TEST_SUITE_P(table, offloads_of_ipv6, ::testing::Values(v6_tcp, v6_udp), name_of);

using offloads_forgotten = testing::mbufs;

TEST_F(offloads_forgotten, a_udp_checksum_that_comes_out_as_0_is_sent_as_ffff) { // RFC 768
    auto sent = build::bytes_of({.message = seed::udp(octets(2))});
    // The data word that makes the sum over everything else and itself ffff: the checksum so far.
    sent = seed::with(sent, {{28, octets{sent[26], sent[27]}}, {26, seed::be16(0)}});
    void const* const header = sent.data();
    auto const pseudo = rte_ipv4_phdr_cksum(static_cast<rte_ipv4_hdr const*>(header), 0);
    octets sum(2);
    std::memcpy(sum.data(), &pseudo, 2);
    auto const packet = packet_of(testing::ethernet_ipv4, seed::with(sent, {{26, sum}}));
    packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
    EXPECT_TRUE(settle_offloads(packet, 0));
    EXPECT_EQ(bytes_of(packet), seed::with(sent, {{26, seed::be16(0xffff)}}));
}

TEST_F(offloads_forgotten, an_answer_is_complete_whatever_was_noted_of_the_packet_that_it_answers) {
    auto const packet = packet_of(testing::ethernet_ipv4, build::bytes_of({}));
    packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO;
    forget_offloads(packet);
    EXPECT_EQ(packet.transport_checksum(), kubeproxy::checksum_state::complete);
    EXPECT_EQ(packet.gso_size(), 0u);
}

} // namespace
} // namespace dpdk
