#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <string>

// What a client is told when its packet goes no further.

namespace kubeproxy::rejects_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::testbed;
using namespace std::chrono_literals;

constexpr auto empty_service = "ku vip 90.0.0.1/32 port 80\n";
constexpr unsigned syn = 0x02, ack = 0x10, rst_ack = 0x14;

octets segment(unsigned flags) {
    return bytes_of({.destination = "90.0.0.1", .protocol = 6, .message = seed::tcp({}, flags, 4711, 80)});
}
octets datagram(std::string const& source = "192.0.2.1") {
    return bytes_of({.source = source, .destination = "90.0.0.1", .message = seed::udp(octets(9), 4711, 80)});
}
std::byte protocol_of(octets const& packet) { return packet[9]; }

TEST(rejects, icmp_by_default_and_a_reset_where_the_setting_says_so) {
    testbed icmp{empty_service};
    EXPECT_EQ(protocol_of(icmp.send(segment(syn)).bytes), std::byte{1});
    testbed reset{empty_service, {.rejects = {.no_endpoints = tcp_rejection::reset}}};
    auto const answer = reset.send(segment(syn));
    EXPECT_EQ(answer.what.what, verdict::reply(drop_reason::no_endpoints));
    EXPECT_EQ(protocol_of(answer.bytes), std::byte{6});
    EXPECT_EQ(answer.bytes[33], std::byte{rst_ack}); // RFC 9293 section 3.10.7.1
    EXPECT_TRUE(build::transport_checksum_is_valid(answer.bytes));
    EXPECT_EQ(protocol_of(reset.send(datagram()).bytes), std::byte{1}) << "UDP knows no reset";
}

TEST(rejects, silence_is_a_drop_with_the_reason) {
    testbed bed{empty_service, {.rejects = {.no_endpoints = tcp_rejection::silence}}};
    EXPECT_EQ(bed.send(segment(syn)).what.what, verdict::drop(drop_reason::no_endpoints));
}

TEST(rejects, no_more_than_the_rate_allows) {
    testbed bed{empty_service, {.rejects = {.rate = {.per_second = 10, .burst = 2}}}};
    EXPECT_EQ(bed.send(datagram()).what.what, verdict::reply(drop_reason::no_endpoints));
    EXPECT_EQ(bed.send(datagram()).what.what, verdict::reply(drop_reason::no_endpoints));
    EXPECT_EQ(bed.send(datagram()).what.what, verdict::drop(drop_reason::reject_rate_limited));
    EXPECT_EQ(bed.path().verdicts().dropped(drop_reason::reject_rate_limited), 1u);
    EXPECT_EQ(bed.send(datagram(), 100ms).what.what, verdict::reply(drop_reason::no_endpoints));
}

TEST(rejects, nothing_is_said_to_a_source_that_is_no_single_host) { // RFC 1122 section 3.2.2
    testbed bed{empty_service};
    EXPECT_EQ(bed.send(datagram("224.0.0.9")).what.what, verdict::drop(drop_reason::reject_forbidden));
    EXPECT_EQ(bed.send(datagram("0.0.0.0")).what.what, verdict::drop(drop_reason::reject_forbidden));
}

TEST(rejects, a_connection_whose_backend_is_gone_is_reset_where_the_configuration_says_so) {
    testbed bed{"ku conf removed reset\nku vip 90.0.0.1/32 port 80\nku pod 90.0.0.1/32 10.0.0.1\n"};
    ASSERT_EQ(bed.send(segment(syn)).what.what, verdict::forward());
    bed.configure("ku pod 90.0.0.1/32 10.0.0.1 del\n");
    ASSERT_EQ(bed.send(segment(ack)).what.what, verdict::forward()) << "as a reset of the backend";
    auto const answer = bed.send(segment(ack));
    EXPECT_EQ(answer.what.what, verdict::reply(drop_reason::backend_removed));
    EXPECT_EQ(protocol_of(answer.bytes), std::byte{6});
}

} // namespace
} // namespace kubeproxy::rejects_tests
