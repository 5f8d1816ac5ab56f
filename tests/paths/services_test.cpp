#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

// Which service a packet belongs to, which of its pods a flow goes to, and that it stays there.

namespace kubeproxy::services_tests {
namespace {

using build::bytes_of;
using build::packet;
using testing_support::octets;
using testing_support::settled;
using testing_support::testbed;
using namespace std::chrono_literals;

octets udp_to(std::string const& vip, unsigned port, unsigned source_port = 4711) {
    return bytes_of({.destination = vip, .message = seed::udp(seed::counted(9), source_port, port)});
}
octets tcp_to(std::string const& vip, unsigned port, unsigned flags = 0x02, unsigned source_port = 4711) {
    return bytes_of(
        {.destination = vip, .protocol = 6, .message = seed::tcp(seed::counted(9), flags, source_port, port)});
}

/// The IPv4 destination of what came out, "-" for what did not go to a pod.
std::string pod_of(settled const& s) {
    if (s.what.what != verdict::forward()) return "-";
    std::string text;
    for (std::size_t i = 16; i < 20; ++i)
        text += (i == 16 ? "" : ".") + std::to_string(std::to_integer<unsigned>(s.bytes[i]));
    return text;
}

struct match_case {
    std::string name;
    octets packet;
    std::string pod;
};
void PrintTo(match_case const& c, std::ostream* out) { *out << c.name; }

constexpr auto overlapping = "ku vip 90.0.0.0/8 port 3306 target_port 3307 nat4\n"
                             "ku pod 90.0.0.0/8 10.0.0.1\n"
                             "ku vip 90.1.1.1/32 port 3306 protocol tcp\n"
                             "ku pod 90.1.1.1/32 10.0.0.2\n"
                             "ku vip 91.1.1.1/32 port 80 protocol tcp\n"
                             "ku pod 91.1.1.1/32 10.0.0.3\n"
                             "ku vip 92.1.1.1/32 port 53 protocol udp\n"
                             "ku vip 92.1.1.1/32 port 53 protocol tcp\n"
                             "ku pod 92.1.1.1/32 10.0.0.4\n" // of both
                             "ku vip 93.0.0.0/8\n"
                             "ku pod 93.0.0.0/8 10.0.0.6\n"
                             "ku vip 93.1.0.0/16 port 443\n"
                             "ku pod 93.1.0.0/16 10.0.0.7\n";

class service_match : public testing::TestWithParam<match_case> {};

TEST_P(service_match, goes_to_its_own_pod) {
    testbed bed{overlapping};
    EXPECT_EQ(pod_of(bed.send(GetParam().packet)), GetParam().pod);
}

INSTANTIATE_TEST_SUITE_P(
    table, service_match,
    testing::Values(match_case{"prefix", udp_to("90.2.3.4", 3306), "10.0.0.1"},
                    match_case{"address_inside_the_prefix", tcp_to("90.1.1.1", 3306), "10.0.0.2"},
                    match_case{"other_protocol_of_that_address_is_the_prefixs", udp_to("90.1.1.1", 3306), "10.0.0.1"},
                    match_case{"other_port_of_the_prefix", udp_to("90.2.3.4", 3305), "-"},
                    match_case{"tcp_service", tcp_to("91.1.1.1", 80), "10.0.0.3"},
                    match_case{"udp_to_a_tcp_service", udp_to("91.1.1.1", 80), "-"},
                    match_case{"both_protocols_on_one_port_tcp", tcp_to("92.1.1.1", 53), "10.0.0.4"},
                    match_case{"both_protocols_on_one_port_udp", udp_to("92.1.1.1", 53), "10.0.0.4"},
                    match_case{"all_ports", udp_to("93.9.9.9", 12345), "10.0.0.6"},
                    match_case{"all_protocols",
                               bytes_of({.destination = "93.9.9.9", .protocol = 47, .message = octets(8)}), "10.0.0.6"},
                    match_case{"port_in_a_longer_prefix", udp_to("93.1.2.3", 443), "10.0.0.7"},
                    match_case{"other_port_falls_to_the_shorter_prefix", udp_to("93.1.2.3", 444), "10.0.0.6"},
                    match_case{"no_service", udp_to("94.1.1.1", 3306), "-"}),
    [](auto const& one) { return one.param.name; });

TEST(services, all_ports_means_ports_are_kept) {
    testbed bed{overlapping};
    EXPECT_EQ(bed.send(udp_to("93.9.9.9", 12345)).bytes,
              bytes_of({.destination = "10.0.0.6", .message = seed::udp(seed::counted(9), 4711, 12345)}));
}

std::string ten_pods() {
    std::string text = "ku vip 90.0.0.0/8 port 80 nat4\n";
    for (int i = 0; i < 10; ++i) text += "ku pod 90.0.0.0/8 10.0.0." + std::to_string(i) + '\n';
    return text;
}

octets of_flow(unsigned flow) {
    return bytes_of({.source = "198.51.100." + std::to_string(flow % 200 + 1),
                     .destination = "90.0.0." + std::to_string(flow % 7),
                     .message = seed::udp(seed::counted(4), 1024 + flow / 8, 80)});
}

TEST(services, ten_thousand_flows_are_spread_evenly_and_stay) {
    testbed bed{ten_pods(), {}, {.narrow = 20000, .wide = 16}};
    std::map<std::string, unsigned> share;
    std::vector<std::string> pods;
    for (unsigned flow = 0; flow < 10000; ++flow) {
        pods.push_back(pod_of(bed.send(of_flow(flow))));
        ++share[pods.back()];
    }
    EXPECT_EQ(share.size(), 10u);
    for (auto const& [pod, count] : share) EXPECT_NEAR(count, 1000, 150) << pod; // 15 % of an equal share
    for (unsigned flow = 10000; flow-- > 0;) ASSERT_EQ(pod_of(bed.send(of_flow(flow), 1s)), pods[flow]) << flow;
}

TEST(services, packets_of_new_flows_that_come_together_go_where_each_would_alone) {
    testbed together{ten_pods()}, alone{ten_pods()};
    std::vector<octets> burst;
    for (unsigned i = 0; i < 32; ++i) burst.push_back(of_flow(i * 7 % 5));
    auto const sent = together.send(burst);
    ASSERT_EQ(sent.size(), burst.size());
    for (unsigned i = 0; i < burst.size(); ++i) {
        EXPECT_EQ(pod_of(sent[i]), pod_of(alone.send(burst[i]))) << i;
        EXPECT_EQ(sent[i].what.relation, i < 5 ? flow_relation::fresh : flow_relation::original) << i;
    }
    EXPECT_EQ(together.flows().counters().inserted, 5u);
    EXPECT_EQ(together.flows().counters().flows(), 5u);
}

TEST(services, a_deleted_pod_loses_its_flows_and_the_others_keep_theirs) {
    testbed bed{ten_pods()};
    std::vector<std::string> pods;
    for (unsigned flow = 0; flow < 1000; ++flow) pods.push_back(pod_of(bed.send(of_flow(flow))));
    bed.configure("ku pod 90.0.0.0/8 10.0.0.3 del\n");
    for (unsigned flow = 0; flow < 1000; ++flow) {
        auto const pod = pod_of(bed.send(of_flow(flow)));
        EXPECT_NE(pod, "10.0.0.3");
        EXPECT_NE(pod, "-");
        if (pods[flow] != "10.0.0.3") {
            EXPECT_EQ(pod, pods[flow]);
        }
    }
}

TEST(services, a_new_pod_in_the_place_of_a_deleted_one_does_not_inherit_its_flows) {
    testbed bed{"ku vip 90.0.0.0/8 port 80 nat4\nku pod 90.0.0.0/8 10.0.0.1\n"};
    ASSERT_EQ(pod_of(bed.send(tcp_to("90.0.0.1", 80))), "10.0.0.1");
    bed.configure("ku pod 90.0.0.0/8 10.0.0.1 del\nku pod 90.0.0.0/8 10.0.0.2\n");
    auto const old = bed.send(tcp_to("90.0.0.1", 80, 0x10)); // TCP cannot move to another pod
    EXPECT_EQ(pod_of(old), "10.0.0.1");
    EXPECT_EQ(old.what.backend, no_backend) << "it does not count for the new pod";
    EXPECT_EQ(pod_of(bed.send(tcp_to("90.0.0.1", 80, 0x02))), "10.0.0.2"); // but nothing was answered yet
}

TEST(services, a_datagram_flow_moves_at_once_when_its_pod_goes) {
    testbed bed{"ku vip 90.0.0.0/8 port 80 nat4\nku pod 90.0.0.0/8 10.0.0.1\n"};
    ASSERT_EQ(pod_of(bed.send(udp_to("90.0.0.1", 80))), "10.0.0.1");
    bed.configure("ku pod 90.0.0.0/8 10.0.0.1 del\nku pod 90.0.0.0/8 10.0.0.2\n");
    EXPECT_EQ(pod_of(bed.send(udp_to("90.0.0.1", 80))), "10.0.0.2");
    bed.configure("ku pod 90.0.0.0/8 10.0.0.2 del\n");
    EXPECT_EQ(bed.send(udp_to("90.0.0.1", 80)).what.what, verdict::reply(drop_reason::no_endpoints));
    bed.configure("ku vip 90.0.0.0/8 del\n");
    EXPECT_EQ(bed.send(udp_to("90.0.0.1", 80)).what.what, verdict::pass());
}

TEST(services, flows_to_two_services_with_one_pod_do_not_mix_their_replies) {
    testbed bed{"ku vip 90.0.0.1/32 port 80 target_port 8080\nku pod 90.0.0.1/32 10.0.0.1\n"
                "ku vip 90.0.0.2/32 port 81 target_port 8080\nku pod 90.0.0.2/32 10.0.0.1\n"};
    auto const first = bed.send(udp_to("90.0.0.1", 80)), second = bed.send(udp_to("90.0.0.2", 81));
    ASSERT_EQ(pod_of(first), "10.0.0.1");
    ASSERT_EQ(pod_of(second), "10.0.0.1");
    auto const port = [](settled const& s) {
        return std::to_integer<unsigned>(s.bytes[20]) << 8 | std::to_integer<unsigned>(s.bytes[21]);
    };
    EXPECT_EQ(port(first), 4711u);
    EXPECT_NE(port(second), 4711u) << "the pod could not tell the two flows apart";
    auto const reply_to = [&](settled const& request) {
        return bed.send(bytes_of({.source = "10.0.0.1",
                                  .destination = "192.0.2.1",
                                  .message = seed::udp(seed::counted(9), 8080, port(request))}));
    };
    EXPECT_EQ(
        reply_to(first).bytes,
        bytes_of({.source = "90.0.0.1", .destination = "192.0.2.1", .message = seed::udp(seed::counted(9), 80, 4711)}));
    EXPECT_EQ(
        reply_to(second).bytes,
        bytes_of({.source = "90.0.0.2", .destination = "192.0.2.1", .message = seed::udp(seed::counted(9), 81, 4711)}));
}

TEST(services, a_pod_that_reaches_itself_sees_another_source_and_its_replies_come_back) {
    testbed bed{"ku conf node 198.51.100.100\n"
                "ku vip 90.0.0.1/32 port 80 target_port 8080\nku pod 90.0.0.1/32 10.0.0.1\n"};
    auto const request = bed.send(
        bytes_of({.source = "10.0.0.1", .destination = "90.0.0.1", .message = seed::udp(seed::counted(9), 4711, 80)}));
    ASSERT_EQ(pod_of(request), "10.0.0.1");
    EXPECT_TRUE(request.what.masqueraded);
    auto const port = std::to_integer<unsigned>(request.bytes[20]) << 8 | std::to_integer<unsigned>(request.bytes[21]);
    EXPECT_EQ(request.bytes, bytes_of({.source = "198.51.100.100",
                                       .destination = "10.0.0.1",
                                       .message = seed::udp(seed::counted(9), port, 8080)}));
    auto const reply = bed.send(bytes_of(
        {.source = "10.0.0.1", .destination = "198.51.100.100", .message = seed::udp(seed::counted(9), 8080, port)}));
    EXPECT_EQ(
        reply.bytes,
        bytes_of({.source = "90.0.0.1", .destination = "10.0.0.1", .message = seed::udp(seed::counted(9), 80, 4711)}));
}

TEST(services, node_ports_are_served_on_the_nodes_addresses) {
    testbed bed{"ku conf node 198.51.100.100\n"
                "ku vip 90.0.0.1/32 port 80 target_port 8080 node_port 30080\nku pod 90.0.0.1/32 10.0.0.1\n"};
    auto const request = bed.send(udp_to("198.51.100.100", 30080));
    EXPECT_EQ(pod_of(request), "10.0.0.1");
    EXPECT_EQ(pod_of(bed.send(udp_to("198.51.100.101", 30080))), "-");
    EXPECT_EQ(pod_of(bed.send(udp_to("198.51.100.100", 30081))), "-");
}

} // namespace
} // namespace kubeproxy::services_tests
