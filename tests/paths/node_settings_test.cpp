#include "kubeproxy/control/kubernetes/reader.hpp"

#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// What the settings of the node file do to packets: which sources are masqueraded (kube-proxy's local traffic
// detectors), node ports on localhost, and external IPs.

namespace kubeproxy::node_settings_tests {
namespace {

using build::conversation;
using build::is_whole;
using build::packet_of;
using build::read;
using build::segment;
using testing_support::octets;
using namespace std::chrono_literals;

/// A packet of a host that knows by which link it arrived.
class link_packet : public testing_support::test_packet {
  public:
    link_packet(octets const& bytes, bool is_from_local_pod)
        : test_packet{bytes}, is_from_local_pod_{is_from_local_pod} {}
    [[nodiscard]] bool is_from_local_pod() const noexcept { return is_from_local_pod_; }

  private:
    bool is_from_local_pod_;
};

std::string service(std::string const& name, std::string const& number, std::string const& more = "") {
    auto const v4 = "\"10.96.0." + number + '"', v6 = "\"2001:db8:96::" + number + '"';
    return R"({"kind":"Service","metadata":{"namespace":"ns","name":")" + name +
           R"("},"spec":{"type":"LoadBalancer","clusterIP":)" + v4 + R"(,"clusterIPs":[)" + v4 + ',' + v6 +
           R"(],"externalIPs":["203.0.113.)" + number + R"("],"ports":[{"port":80,"nodePort":3008)" + number + "}]" +
           more + R"(},"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.10)" + number + "\"}]}}}\n";
}
/// A pod on another node.
std::string slice(std::string const& name, std::string const& family, std::string const& pod) {
    return R"({"kind":"EndpointSlice","metadata":{"namespace":"ns","name":")" + name +
           (family == "IPv4" ? "-4" : "-6") + R"(","labels":{"kubernetes.io/service-name":")" + name +
           R"("}},"addressType":")" + family + R"(","endpoints":[{"addresses":[")" + pod +
           R"("],"nodeName":"other"}],"ports":[{"port":8080}]})" + '\n';
}

/// The node 192.0.2.11, 2001:db8::11 with three Services: "plain" (1), "affine" with session affinity (2) and "local"
/// with externalTrafficPolicy Local (3). None has an endpoint on this node.
class node_with_settings {
  public:
    explicit node_with_settings(std::string const& settings) {
        node_configuration node;
        auto const wrong = read_node(node, R"({"name":"here","addresses":["192.0.2.11","2001:db8::11","127.0.0.1"])" +
                                               (settings.empty() ? "" : "," + settings) + '}');
        EXPECT_FALSE(wrong) << wrong->text();
        EXPECT_FALSE(control_.configuration().set_node(node));
        feed(service("plain", "1") + service("affine", "2", R"(,"sessionAffinity":"ClientIP")") +
             service("local", "3", R"(,"externalTrafficPolicy":"Local")"));
        for (auto const* name : {"plain", "affine", "local"})
            feed(slice(name, "IPv4", "10.244.7.5") + slice(name, "IPv6", "fd00:244:7::5"));
    }
    void feed(std::string const& objects) {
        for (auto const& refused : reader_.feed(objects)) ADD_FAILURE() << refused.text();
    }

    struct sent {
        outcome what;
        octets bytes;
    };
    sent send(octets const& bytes, bool is_from_local_pod = false) {
        link_packet packet{bytes, is_from_local_pod};
        sent result;
        path_.process(std::span{&packet, 1}, 0s, [&](link_packet&, outcome const& o) { result.what = o; });
        result.bytes.assign(packet.bytes().begin(), packet.bytes().end());
        return result;
    }
    /// What becomes of a new connection: "kept" or "masqueraded", or the action and reason of its verdict.
    std::string open(conversation const& c, bool is_from_local_pod) {
        auto const packet = packet_of(c, segment::open);
        auto const got = send(packet, is_from_local_pod);
        auto const verdict = got.what.what;
        if (verdict == verdict::pass()) return got.bytes == packet ? "passed" : "passed, but changed";
        if (verdict != verdict::forward()) return "dropped: " + std::string{name(verdict.why())};
        auto const out = read(got.bytes);
        if (!is_whole(got.bytes)) return "a wrong checksum";
        if (out.destination != build::side{c.source.is_ipv6() ? "fd00:244:7::5" : "10.244.7.5", 8080})
            return "sent to " + out.destination.text();
        if (out.source == c.source) return "kept";
        return out.source.address == (c.source.is_ipv6() ? "2001:db8::11" : "192.0.2.11") ? "masqueraded"
                                                                                          : out.source.text();
    }
    static std::string name(drop_reason why) { return std::string{kubeproxy::name(why)}; }

  private:
    service_source services_;
    controller control_{services_};
    kubernetes_reader reader_{control_};
    flow_table flows_{{64, 64}, secret{1}};
    proxy<link_packet> path_{flows_, services_};
};

struct setting_case {
    std::string name, settings;
    build::side source, destination;
    std::string expected;
    bool is_from_local_pod = false;
};
void PrintTo(setting_case const& c, std::ostream* out) { *out << c.name; }

class node_settings : public testing::TestWithParam<setting_case> {};

TEST_P(node_settings, decide_about_a_new_connection) {
    auto const& c = GetParam();
    node_with_settings node{c.settings};
    EXPECT_EQ(node.open({6, c.source, c.destination}, c.is_from_local_pod), c.expected);
}

build::side const web{"10.96.0.1", 80}, web6{"2001:db8:96::1", 80}, affine{"10.96.0.2", 80};
build::side const client{"198.51.100.7", 4000}, client6{"2001:db8:7::7", 4000}, here{"192.0.2.11", 4000};
build::side const own_pod{"10.244.1.9", 4000}, other_pod{"10.244.9.9", 4000}, own_pod6{"fd00:244:1::9", 4000};
std::string const of_cluster = R"("detectLocalMode":"ClusterCIDR","clusterCIDR":"10.244.0.0/16")";
std::string const of_both = R"("clusterCIDR":"10.244.0.0/16,fd00:244::/32")";
std::string const of_node =
    R"("detectLocalMode":"NodeCIDR","podCIDRs":["10.244.1.0/24"],"clusterCIDR":"10.244.0.0/16")";
std::string const of_bridge =
    R"("detectLocalMode":"BridgeInterface","detectLocal":{"bridgeInterface":"cni0"},"podCIDRs":["10.244.1.0/24"])";
std::string const of_prefix = R"("detectLocalMode":"InterfaceNamePrefix","detectLocal":{"interfaceNamePrefix":"cali"})";
constexpr bool by_pod_link = true;

// A cluster IP: what no local pod sent is masqueraded, if local pods are known (kube-proxy's --detect-local-mode).
INSTANTIATE_TEST_SUITE_P(
    masquerade, node_settings,
    testing::Values(setting_case{"unknown_pods_nothing_is_masqueraded", "", client, web, "kept"},
                    setting_case{"ClusterCIDR_pod_of_this_node", of_cluster, own_pod, web, "kept"},
                    setting_case{"ClusterCIDR_pod_of_another_node", of_cluster, other_pod, web, "kept"},
                    setting_case{"ClusterCIDR_client", of_cluster, client, web, "masqueraded"},
                    setting_case{"ClusterCIDR_this_node", of_cluster, here, web, "masqueraded"},
                    setting_case{"ClusterCIDR_does_not_ask_for_links", of_cluster, client, web, "masqueraded",
                                 by_pod_link},
                    setting_case{"ClusterCIDR_of_IPv4_says_nothing_of_IPv6", of_cluster, client6, web6, "kept"},
                    setting_case{"clusterCIDR_of_both_IPv6_pod", of_both, own_pod6, web6, "kept"},
                    setting_case{"clusterCIDR_of_both_IPv6_client", of_both, client6, web6, "masqueraded"},
                    setting_case{"NodeCIDR_pod_of_this_node", of_node, own_pod, web, "kept"},
                    setting_case{"NodeCIDR_pod_of_another_node", of_node, other_pod, web, "masqueraded"},
                    setting_case{"NodeCIDR_client", of_node, client, web, "masqueraded"},
                    setting_case{"BridgeInterface_by_the_bridge", of_bridge, client, web, "kept", by_pod_link},
                    setting_case{"BridgeInterface_by_another_link", of_bridge, own_pod, web, "masqueraded"},
                    setting_case{"BridgeInterface_IPv6_by_the_bridge", of_bridge, client6, web6, "kept", by_pod_link},
                    setting_case{"BridgeInterface_IPv6_by_another_link", of_bridge, own_pod6, web6, "masqueraded"},
                    setting_case{"InterfaceNamePrefix_by_such_a_link", of_prefix, own_pod, web, "kept", by_pod_link},
                    setting_case{"InterfaceNamePrefix_by_another_link", of_prefix, own_pod, web, "masqueraded"},
                    setting_case{"with_affinity_by_such_a_link", of_prefix, own_pod, affine, "kept", by_pod_link},
                    setting_case{"with_affinity_by_another_link", of_prefix, own_pod, affine, "masqueraded"},
                    setting_case{"masqueradeAll_is_stronger", of_prefix + R"(,"masqueradeAll":true)", own_pod, web,
                                 "masqueraded", by_pod_link}),
    [](auto const& tested) { return tested.param.name; });

// externalTrafficPolicy Local restricts traffic from outside only: local pods reach all endpoints.
build::side const local_ip{"203.0.113.3", 80};
INSTANTIATE_TEST_SUITE_P(
    external_policy, node_settings,
    testing::Values(setting_case{"local_pod_by_its_link", of_bridge, client, local_ip, "kept", by_pod_link},
                    setting_case{"by_another_link", of_bridge, own_pod, local_ip, "dropped: no_local_endpoint"},
                    setting_case{"local_pod_by_its_address", of_cluster, own_pod, local_ip, "kept"},
                    setting_case{"client", of_cluster, client, local_ip, "dropped: no_local_endpoint"},
                    setting_case{"this_node", of_cluster, here, local_ip, "masqueraded"}),
    [](auto const& tested) { return tested.param.name; });

// kube-proxy's --iptables-localhost-nodeports: 127.0.0.0/8 serves node ports, masqueraded, because a pod cannot answer
// to a loopback address.
build::side const localhost{"127.0.0.1", 4000}, node_port{"127.0.0.1", 30081}, another{"127.9.8.7", 30081};
std::string const on_localhost = R"("localhostNodePorts":true)";
INSTANTIATE_TEST_SUITE_P(
    localhost, node_settings,
    testing::Values(
        setting_case{"off_by_default", "", localhost, node_port, "passed"},
        setting_case{"on", on_localhost, localhost, node_port, "masqueraded"},
        setting_case{"on_for_the_whole_network", on_localhost, localhost, another, "masqueraded"},
        setting_case{"no_other_port", on_localhost, localhost, {"127.0.0.1", 80}, "passed"},
        setting_case{"not_on_the_IPv6_one", on_localhost, {"::1", 4000}, {"::1", 30081}, "passed"},
        setting_case{"the_nodes_address_still_serves", on_localhost, client, {"192.0.2.11", 30081}, "masqueraded"},
        setting_case{"with_pods_known", on_localhost + ',' + of_bridge, localhost, node_port, "masqueraded"},
        setting_case{"nodePortAddresses_without_loopback", on_localhost + R"(,"nodePortAddresses":["192.0.2.0/24"])",
                     localhost, node_port, "passed"},
        setting_case{"nodePortAddresses_with_one_loopback_address",
                     on_localhost + R"(,"nodePortAddresses":["127.0.0.1/32"])", localhost, node_port, "masqueraded"},
        setting_case{"nodePortAddresses_without_the_other_one",
                     on_localhost + R"(,"nodePortAddresses":["127.0.0.1/32"])", localhost, another, "passed"},
        // The node itself reaches all endpoints of a Service with externalTrafficPolicy Local.
        setting_case{"external_policy_Local", on_localhost, localhost, {"127.0.0.1", 30083}, "masqueraded"}),
    [](auto const& tested) { return tested.param.name; });

// Feature gate AllowServiceExternalIPs.
std::string const no_external_ips = R"("externalIPs":false)";
INSTANTIATE_TEST_SUITE_P(
    external_ips, node_settings,
    testing::Values(
        setting_case{"on_by_default", "", client, {"203.0.113.1", 80}, "masqueraded"},
        setting_case{"off", no_external_ips, client, {"203.0.113.1", 80}, "passed"},
        setting_case{"off_the_cluster_ip_works", no_external_ips, client, web, "kept"},
        setting_case{"off_the_load_balancer_ip_works", no_external_ips, client, {"203.0.113.101", 80}, "masqueraded"},
        setting_case{"off_the_node_port_works", no_external_ips, client, {"192.0.2.11", 30081}, "masqueraded"}),
    [](auto const& tested) { return tested.param.name; });

TEST(local_pods_trait, is_that_of_the_packet_or_false) {
    auto const bytes = packet_of({6, client, web}, segment::open);
    EXPECT_TRUE(is_from_local_pod_of(link_packet{bytes, true}));
    EXPECT_FALSE(is_from_local_pod_of(link_packet{bytes, false}));
    EXPECT_FALSE(is_from_local_pod_of(testing_support::test_packet{bytes})) << "a host that knows no links";
}

TEST(localhost_node_ports, replies_come_back_to_localhost) {
    node_with_settings node{on_localhost};
    conversation const c{6, localhost, node_port};
    auto const out = node.send(packet_of(c, segment::open)).bytes;
    auto const reply = node.send(packet_of(read(out).back(), segment::accept));
    ASSERT_EQ(reply.what.what, verdict::forward());
    EXPECT_EQ(read(reply.bytes), c.back());
    EXPECT_TRUE(is_whole(reply.bytes));
}

TEST(localhost_node_ports, end_with_their_service) {
    node_with_settings node{on_localhost};
    auto const deleted = R"({"type":"DELETED","object":)" + service("plain", "1") + "}\n";
    conversation const c{6, localhost, node_port};
    node.feed(deleted);
    EXPECT_EQ(node.open(c, false), "passed");
    node.feed(service("plain", "1") + slice("plain", "IPv4", "10.244.7.5"));
    EXPECT_EQ(node.open(c, false), "masqueraded");
}

} // namespace
} // namespace kubeproxy::node_settings_tests
