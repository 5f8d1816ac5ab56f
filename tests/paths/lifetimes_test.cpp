#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <string>

// How long a flow is known, as its packets show.

namespace kubeproxy::lifetimes_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::testbed;
using namespace std::chrono_literals;

constexpr auto service = "ku vip 90.0.0.1/32 port 80\nku pod 90.0.0.1/32 10.0.0.1\n";
constexpr unsigned fin = 0x11, syn = 0x02, rst = 0x04, ack = 0x10, syn_ack = 0x12;

octets from_client(unsigned flags) {
    return bytes_of({.destination = "90.0.0.1", .protocol = 6, .message = seed::tcp({}, flags, 4711, 80)});
}
octets from_pod(unsigned flags) {
    return bytes_of(
        {.source = "10.0.0.1", .destination = "192.0.2.1", .protocol = 6, .message = seed::tcp({}, flags, 80, 4711)});
}
octets request() { return bytes_of({.destination = "90.0.0.1", .message = seed::udp(octets(9), 4711, 80)}); }
octets reply() {
    return bytes_of({.source = "10.0.0.1", .destination = "192.0.2.1", .message = seed::udp(octets(9), 80, 4711)});
}

void open(testbed& bed, std::chrono::nanoseconds now) {
    EXPECT_EQ(bed.send(from_client(syn), now).what.relation, flow_relation::fresh);
    EXPECT_EQ(bed.send(from_pod(syn_ack), now).what.relation, flow_relation::reply);
    EXPECT_EQ(bed.send(from_client(ack), now).what.relation, flow_relation::original);
}

TEST(lifetimes, an_established_connection_may_be_silent_for_two_hours) { // RFC 5382 REQ-5: 2 h 4 min
    testbed bed{service};
    open(bed, 0s);
    EXPECT_EQ(bed.send(from_pod(ack), 7439s).what.relation, flow_relation::reply);
    EXPECT_EQ(bed.send(from_pod(ack), 7439s + 7441s).what.what, verdict::pass()) << "nobody knows it any more";
}

TEST(lifetimes, a_half_open_connection_for_four_minutes) { // RFC 5382 REQ-5
    testbed bed{service};
    (void)bed.send(from_client(syn), 0s);
    EXPECT_EQ(bed.send(from_pod(syn_ack), 239s).what.relation, flow_relation::reply);
    testbed other{service};
    (void)other.send(from_client(syn), 0s);
    EXPECT_EQ(other.send(from_pod(syn_ack), 241s).what.what, verdict::pass());
}

TEST(lifetimes, closed_both_ways_a_connection_is_soon_forgotten_and_a_syn_opens_a_new_one) {
    testbed bed{service};
    open(bed, 0s);
    (void)bed.send(from_client(fin), 1s);
    EXPECT_EQ(bed.send(from_pod(fin), 1s).what.relation, flow_relation::reply);
    EXPECT_EQ(bed.send(from_client(ack), 2s).what.relation, flow_relation::original) << "the last ACK";
    EXPECT_EQ(bed.send(from_client(syn), 3s).what.relation, flow_relation::fresh);
}

/// The RST may be forged, so the flow keeps its backend and source port.
TEST(lifetimes, after_a_reset_a_syn_opens_the_same_flow_again) {
    testbed bed{service};
    open(bed, 0s);
    (void)bed.send(from_pod(rst), 1s);
    EXPECT_EQ(bed.send(from_client(syn), 2s).what.relation, flow_relation::original);
    EXPECT_EQ(bed.send(from_pod(syn_ack), 2s).what.relation, flow_relation::reply);
}

TEST(lifetimes, a_packet_from_the_middle_of_a_connection_follows_the_ring) {
    testbed bed{service};
    auto const settled = bed.send(from_client(ack));
    EXPECT_EQ(settled.what.what, verdict::forward());
    EXPECT_EQ(bed.send(from_pod(ack)).what.relation, flow_relation::reply);
}

TEST(lifetimes, a_datagram_flow_is_known_for_30_seconds_and_answered_for_5_minutes) { // RFC 4787 REQ-5
    testbed bed{service};
    (void)bed.send(request(), 0s);
    EXPECT_EQ(bed.send(request(), 29s).what.relation, flow_relation::original);
    EXPECT_EQ(bed.send(request(), 60s).what.relation, flow_relation::fresh);
    EXPECT_EQ(bed.send(reply(), 61s).what.relation, flow_relation::reply);
    EXPECT_EQ(bed.send(reply(), 61s + 299s).what.relation, flow_relation::reply);
    EXPECT_EQ(bed.send(reply(), 61s + 299s + 301s).what.what, verdict::pass());
}

TEST(lifetimes, the_timeout_of_the_configuration_counts) {
    testbed bed{service};
    bed.configure("ku conf timeout 40\n");
    (void)bed.send(request(), 0s);
    (void)bed.send(reply(), 1s);
    EXPECT_EQ(bed.send(reply(), 40s).what.relation, flow_relation::reply);
    EXPECT_EQ(bed.send(reply(), 81s).what.what, verdict::pass());
}

TEST(lifetimes, sctp_flows_live_by_their_chunks) { // RFC 9260 sections 5.1 and 9
    testbed bed{"ku vip 90.0.0.1/32 port 80 protocol sctp\nku pod 90.0.0.1/32 10.0.0.1\n"};
    auto const chunk = [](unsigned type) { return seed::of({type, 0, 0, 4}); };
    auto const out = [&](unsigned type) {
        return bytes_of({.destination = "90.0.0.1", .protocol = 132, .message = seed::sctp(chunk(type), 4711, 80)});
    };
    auto const back = [&](unsigned type) {
        return bytes_of({.source = "10.0.0.1",
                         .destination = "192.0.2.1",
                         .protocol = 132,
                         .message = seed::sctp(chunk(type), 80, 4711)});
    };
    EXPECT_EQ(bed.send(out(1)).what.relation, flow_relation::fresh); // INIT
    auto const answer = bed.send(back(2));                           // INIT ACK
    EXPECT_EQ(answer.what.relation, flow_relation::reply);
    EXPECT_TRUE(build::transport_checksum_is_valid(answer.bytes));
    EXPECT_EQ(octets(answer.bytes.begin() + 24, answer.bytes.begin() + 28), seed::be32(0x0badcafe))
        << "the verification tag is the peers' business";
    EXPECT_EQ(bed.send(back(6), 1s).what.relation, flow_relation::reply); // ABORT
    EXPECT_EQ(bed.send(out(1), 2s).what.relation, flow_relation::fresh);
}

TEST(lifetimes, echo_through_a_service_of_all_ports) { // RFC 5508: 60 s
    testbed bed{"ku vip 90.0.0.1/32\nku pod 90.0.0.1/32 10.0.0.1\n"};
    auto const ping =
        bytes_of({.destination = "90.0.0.1", .protocol = 1, .message = seed::icmp(8, 0, 0x1234'0001, octets(9))});
    EXPECT_EQ(
        bed.send(ping).bytes,
        bytes_of({.destination = "10.0.0.1", .protocol = 1, .message = seed::icmp(8, 0, 0x1234'0001, octets(9))}));
    auto const pong = bytes_of({.source = "10.0.0.1",
                                .destination = "192.0.2.1",
                                .protocol = 1,
                                .message = seed::icmp(0, 0, 0x1234'0001, octets(9))});
    EXPECT_EQ(bed.send(pong, 59s).bytes, bytes_of({.source = "90.0.0.1",
                                                   .destination = "192.0.2.1",
                                                   .protocol = 1,
                                                   .message = seed::icmp(0, 0, 0x1234'0001, octets(9))}));
    EXPECT_EQ(bed.send(pong, 120s).what.what, verdict::pass());
}

} // namespace
} // namespace kubeproxy::lifetimes_tests
