#include "support/interrupted_workers.hpp"
#include "support/packet_builder.hpp"
#include "support/seed_packets.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <span>

namespace kubeproxy::bind_race_tests {
namespace {
using namespace std::chrono_literals;
using testing_support::interrupted_workers, testing_support::octets, testing_support::test_packet;

/// Two workers receive packets of one new flow at the same moment, which happens while a host changes the distribution
/// of flows over its queues. The one that loses the race follows the flow of the other, with the same source port.
TEST(bind_race, a_flow_that_another_worker_enters_meanwhile_is_followed) {
    using table_type = basic_flow_table<interrupted_workers, standard_memory>;
    using proxy_type = proxy<test_packet, table_type>;
    service_source services;
    table_type flows{{4096, 64}, secret{1}, services};
    proxy_type::affinity_type clients{64, secret{1}};
    controller control{services};
    ASSERT_TRUE(control.apply("ku vip 90.0.0.1 port 80 target_port 8080\nku pod 90.0.0.1 10.0.0.1\n").ok());
    auto node = control.configuration().node();
    node.masquerade_all = true;
    ASSERT_FALSE(control.configuration().set_node(node));
    control.publish();
    proxy_type first{flows, clients, services, {.share = {0, 2}}}, second{flows, clients, services, {.share = {1, 2}}};

    auto const datagram = build::bytes_of(
        {.source = "198.51.100.1", .destination = "90.0.0.1", .message = seed::udp(octets(8), 4711, 80)});
    test_packet one{datagram}, other{datagram};
    outcome of_one, of_other;
    interrupted_workers::interrupt(8, 0, [&] {
        second.process(std::span{&other, 1}, 0s, [&](test_packet&, outcome const& o) { of_other = o; });
    });
    first.process(std::span{&one, 1}, 0s, [&](test_packet&, outcome const& o) { of_one = o; });
    ASSERT_FALSE(interrupted_workers::meanwhile) << "the other worker had its turn";
    EXPECT_EQ(of_other.what, verdict::forward());
    EXPECT_EQ(of_other.relation, flow_relation::fresh);
    EXPECT_TRUE(of_other.masqueraded);
    EXPECT_EQ(of_one.what, verdict::forward()) << "not dropped as if the table were full";
    EXPECT_EQ(of_one.relation, flow_relation::original);
    EXPECT_TRUE(of_one.masqueraded);
    EXPECT_EQ(octets(one.bytes().begin(), one.bytes().end()), octets(other.bytes().begin(), other.bytes().end()));
    EXPECT_EQ(flows.counters().flows(), 1u);
}

} // namespace
} // namespace kubeproxy::bind_race_tests
