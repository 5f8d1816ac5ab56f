#include "dpdk/mbufs.hpp"
#include "dpdk_forwarder/addressing.hpp"
#include "dpdk_forwarder/clock.hpp"

#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/dataplane/proxy.hpp"

#include <rte_mbuf_dyn.h>

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <string>
#include <vector>

namespace dpdk {
namespace {

using kubeproxy::seed::joined;
using testing::octets;
namespace build = kubeproxy::build;
namespace seed = kubeproxy::seed;

class mbuf_packet_test : public testing::mbufs {};

TEST_F(mbuf_packet_test, a_packet_is_what_lies_behind_the_link_header) {
    auto const ip = build::bytes_of({});
    auto const packet = packet_of(testing::ethernet_ipv4, ip);
    EXPECT_EQ(bytes_of(packet), ip);
    EXPECT_EQ(link_of(packet), testing::ethernet_ipv4);
    EXPECT_EQ(packet.headroom(), std::size_t{RTE_PKTMBUF_HEADROOM});
}

TEST_F(mbuf_packet_test, the_link_header_moves_with_the_front_of_the_packet) {
    for (auto const& link : {testing::ethernet_ipv4, testing::tagged_ipv4}) {
        auto packet = packet_of(link, seed::counted(60));
        packet.grow_front(20);
        EXPECT_EQ(link_of(packet), link);
        EXPECT_EQ(packet.bytes().size(), 80u);
        EXPECT_EQ(packet.headroom(), RTE_PKTMBUF_HEADROOM - 20u);
        EXPECT_EQ(packet.frame().pkt_len, link.size() + 80);
        auto const grown = bytes_of(packet);
        EXPECT_EQ(octets(grown.begin() + 20, grown.end()), seed::counted(60));
        packet.shrink_front(40);
        EXPECT_EQ(link_of(packet), link);
        auto const whole = seed::counted(60);
        EXPECT_EQ(bytes_of(packet), octets(whole.begin() + 20, whole.end()));
        EXPECT_EQ(packet.frame().data_len, link.size() + 40);
    }
}

TEST_F(mbuf_packet_test, truncating_cuts_the_frame_behind_the_packet) {
    auto packet = packet_of(testing::ethernet_ipv4, seed::counted(60));
    packet.truncate(28);
    EXPECT_EQ(bytes_of(packet), seed::counted(28));
    EXPECT_EQ(packet.frame().data_len, 42);
    EXPECT_EQ(packet.frame().pkt_len, 42u);
}

TEST_F(mbuf_packet_test, every_translation_in_an_mbuf_gives_the_bytes_that_it_gives_elsewhere) {
    std::string const ku = "ku conf snat4 198.18.0.1 nat64_prefix 64:ff9b::/96\n"
                           "ku vip 90.0.0.0/8 port 53 target_port 5353 nat4\nku pod 90.0.0.0/8 10.0.0.1\n"
                           "ku vip 91.0.0.0/8 port 53 target_port 5353 nat6\nku pod 91.0.0.0/8 2002::1\n"
                           "ku vip 2001::/16 port 53 target_port 5353 nat4\nku pod 2001::/16 10.0.0.1\n"
                           "ku vip 2003::/16 port 53 target_port 5353 nat6\nku pod 2003::/16 2002::1\n";
    struct row {
        char const *source, *destination;
        octets const &link, &link_after;
    };
    std::array const rows{row{"192.0.2.1", "90.0.0.1", testing::ethernet_ipv4, testing::ethernet_ipv4},
                          row{"192.0.2.1", "91.0.0.1", testing::ethernet_ipv4, testing::ethernet_ipv6},
                          row{"2005::1", "2001::1", testing::ethernet_ipv6, testing::ethernet_ipv4},
                          row{"2005::1", "2003::1", testing::ethernet_ipv6, testing::ethernet_ipv6}};
    kubeproxy::testing_support::testbed elsewhere{ku};
    kubeproxy::service_source services;
    kubeproxy::controller control{services};
    ASSERT_TRUE(control.apply(ku).ok());
    kubeproxy::flow_table flows{{64, 64}, kubeproxy::secret{1}};
    kubeproxy::proxy<mbuf_packet> here{flows, services};
    for (auto const& row : rows) {
        auto const sent = build::bytes_of({.source = row.source, .destination = row.destination});
        auto const expected = elsewhere.send(sent);
        ASSERT_EQ(expected.what.what, kubeproxy::verdict::forward());
        auto packet = packet_of(row.link, joined({sent, octets(6)}));
        here.process(std::span{&packet, 1}, std::chrono::seconds{0}, [&](mbuf_packet& p, kubeproxy::outcome const& o) {
            EXPECT_EQ(o.what, kubeproxy::verdict::forward());
            close_frame(p);
        });
        EXPECT_EQ(bytes_of(packet), expected.bytes) << row.source << " to " << row.destination;
        EXPECT_EQ(link_of(packet), row.link_after) << row.source << " to " << row.destination;
    }
}

TEST_F(mbuf_packet_test, only_what_was_not_on_a_wire_has_a_partial_checksum) {
    auto packet = packet_of(testing::ethernet_ipv4, build::bytes_of({}));
    for (std::uint64_t const flag :
         {std::uint64_t{RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN}, std::uint64_t{RTE_MBUF_F_RX_L4_CKSUM_BAD}}) {
        packet.frame().ol_flags = flag | RTE_MBUF_F_RX_RSS_HASH;
        EXPECT_EQ(packet.transport_checksum(), kubeproxy::checksum_state::complete);
    }
    packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    EXPECT_EQ(packet.transport_checksum(), kubeproxy::checksum_state::verified);
    packet.frame().ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE;
    EXPECT_EQ(packet.transport_checksum(), kubeproxy::checksum_state::partial);
}

TEST_F(mbuf_packet_test, merged_segments_have_the_size_that_the_device_noted) {
    auto packet = packet_of(testing::ethernet_ipv4, build::bytes_of({}));
    packet.frame().tso_segsz = 1448;
    EXPECT_EQ(packet.gso_size(), 0u);
    packet.frame().ol_flags = RTE_MBUF_F_RX_LRO;
    EXPECT_EQ(packet.gso_size(), 1448u);
}

TEST_F(mbuf_packet_test, a_port_maps_returns_of_the_version_that_it_is_set_for) {
    auto v4 = packet_of(testing::ethernet_ipv4, build::bytes_of({}));
    auto v6 =
        packet_of(testing::ethernet_ipv6, build::bytes_of({.source = "2001:db8::1", .destination = "2001:db8::2"}));
    EXPECT_FALSE(v4.maps_stateless_replies());
    v4.set_stateless_replies_of({.ipv4 = 1, .ipv6 = 0});
    v6.set_stateless_replies_of({.ipv4 = 1, .ipv6 = 0});
    EXPECT_TRUE(v4.maps_stateless_replies());
    EXPECT_FALSE(v6.maps_stateless_replies());
}

TEST_F(mbuf_packet_test, a_spare_frame_has_the_link_header_of_its_model_and_room_for_every_translation) {
    auto const like = packet_of(testing::tagged_ipv4, build::bytes_of({}));
    auto* const frame = allocate_like(like, 1280);
    ASSERT_NE(frame, nullptr);
    mbuf_packet const spare{*frame, testing::tagged_ipv4.size()};
    EXPECT_EQ(spare.bytes().size(), 1280u);
    EXPECT_EQ(link_of(spare), testing::tagged_ipv4);
    EXPECT_GE(spare.headroom(), kubeproxy::proxy<mbuf_packet>::headroom);
    release(*frame, false);
}

TEST_F(mbuf_packet_test, there_is_no_spare_frame_where_the_pool_is_empty_or_its_buffers_are_too_small) {
    auto const like = packet_of(testing::ethernet_ipv4, build::bytes_of({}));
    EXPECT_EQ(allocate_like(like, RTE_MBUF_DEFAULT_DATAROOM), nullptr);
    std::vector<rte_mbuf*> all;
    while (auto* const frame = allocate_like(like, 60)) all.push_back(frame);
    EXPECT_EQ(all.size(), pool_size - 1);
    for (auto* const frame : all) release(*frame, false);
}

TEST_F(mbuf_packet_test, frames_are_addressed_as_the_next_hop_says) {
    auto const gateway = seed::of({2, 0, 0, 0, 1, 1}), own = seed::of({2, 0, 0, 0, 0, 0xfe}),
               client = seed::of({2, 0, 0, 0, 0, 1}), type = seed::of({8, 0});
    auto const addressed = [&](addressing how) {
        auto packet = packet_of(testing::ethernet_ipv4, build::bytes_of({}));
        next_hop hop{.how = how};
        std::memcpy(hop.gateway.addr_bytes, gateway.data(), gateway.size());
        std::memcpy(hop.own.addr_bytes, own.data(), own.size());
        address_frame(packet.frame(), hop);
        return link_of(packet);
    };
    EXPECT_EQ(addressed(addressing::keep), testing::ethernet_ipv4);
    EXPECT_EQ(addressed(addressing::swap), joined({client, own, type}));
    EXPECT_EQ(addressed(addressing::gateway), joined({gateway, own, type}));
}

TEST_F(mbuf_packet_test, packets_a_millisecond_apart_do_not_share_a_time) {
    int offset = -1;
    std::uint64_t flag = 0;
    ASSERT_EQ(rte_mbuf_dyn_rx_timestamp_register(&offset, &flag), 0);
    std::vector<mbuf_packet> packets;
    for (std::uint64_t const microseconds : {5'000'000u, 5'000'900u, 5'002'000u, 4'000'000u}) {
        auto& packet = packets.emplace_back(packet_of(testing::ethernet_ipv4, build::bytes_of({})));
        packet.frame().ol_flags |= flag;
        *RTE_MBUF_DYNFIELD(&packet.frame(), offset, rte_mbuf_timestamp_t*) = microseconds;
    }
    packet_clock clock{offset, flag};
    EXPECT_EQ(clock.same_time(packets).size(), 2u);
    EXPECT_EQ(clock.now(), std::chrono::seconds{5});
    EXPECT_EQ(clock.same_time(std::span{packets}.subspan(2)).size(), 2u) << "time does not go back";
    EXPECT_EQ(clock.now(), std::chrono::milliseconds{5002});
}

} // namespace
} // namespace dpdk
