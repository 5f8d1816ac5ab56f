#include "kubeproxy/control/kubernetes/reader.hpp"
#include "kubeproxy/control/show/text.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The settings of a node file that kube-proxy's configuration (kubeproxy.config.k8s.io/v1alpha1) has, too.

namespace kubeproxy::node_settings_tests {
namespace {

std::string ranges_text(std::vector<ip_prefix> const& ranges) {
    std::string text;
    for (auto const& range : ranges) text += (text.empty() ? "" : " ") + to_text(range);
    return text;
}
/// How local pods are recognized: "10.244.0.0/16", "link cni0", "links cali*" or nothing.
std::string local_pods(node_configuration const& node) {
    if (!node.pod_links) return ranges_text(node.pod_ranges);
    return node.pod_links->is_prefix ? "links " + node.pod_links->name + '*' : "link " + node.pod_links->name;
}

struct detection_case {
    std::string name, file, local_pods;
};
void PrintTo(detection_case const& c, std::ostream* out) { *out << c.name; }

class local_detection : public testing::TestWithParam<detection_case> {};

TEST_P(local_detection, of_the_node_file) {
    node_configuration node{.pod_links = pod_link_names{"former", false}};
    auto const wrong = read_node(node, GetParam().file);
    ASSERT_FALSE(wrong) << wrong->text();
    EXPECT_EQ(local_pods(node), GetParam().local_pods);
}

INSTANTIATE_TEST_SUITE_P(
    table, local_detection,
    testing::Values(
        detection_case{"nothing_is_known", R"({})", ""},
        detection_case{"without_a_mode_by_podCIDRs", R"({"podCIDRs":["10.244.1.0/24"]})", "10.244.1.0/24"},
        detection_case{"without_a_mode_clusterCIDR_comes_first",
                       R"({"podCIDRs":["10.244.1.0/24"],"clusterCIDR":"10.244.0.0/16"})", "10.244.0.0/16"},
        detection_case{"empty_texts_are_unset", // the zero values of kube-proxy's configuration
                       R"({"podCIDRs":["10.244.1.0/24"],"clusterCIDR":"","detectLocalMode":""})", "10.244.1.0/24"},
        detection_case{
            "ClusterCIDR",
            R"({"podCIDRs":["10.244.1.0/24"],"clusterCIDR":"10.244.0.0/16","detectLocalMode":"ClusterCIDR"})",
            "10.244.0.0/16"},
        detection_case{"ClusterCIDR_of_both_families",
                       R"({"clusterCIDR":"10.244.0.0/16, fd00:244::/48","detectLocalMode":"ClusterCIDR"})",
                       "10.244.0.0/16 fd00:244::/48"},
        detection_case{"NodeCIDR",
                       R"({"podCIDRs":["10.244.1.0/24","fd00:244:1::/64"],"clusterCIDR":"10.244.0.0/16",
                           "detectLocalMode":"NodeCIDR"})",
                       "10.244.1.0/24 fd00:244:1::/64"},
        detection_case{"BridgeInterface",
                       R"({"podCIDRs":["10.244.1.0/24"],"detectLocalMode":"BridgeInterface",
                           "detectLocal":{"bridgeInterface":"cni0","interfaceNamePrefix":"veth"}})",
                       "link cni0"},
        detection_case{"InterfaceNamePrefix",
                       R"({"detectLocalMode":"InterfaceNamePrefix","detectLocal":{"bridgeInterface":"cni0",
                           "interfaceNamePrefix":"cali"}})",
                       "links cali*"},
        detection_case{"inside_a_larger_object",
                       R"({"steps":[],"other":1,"node":{"detectLocalMode":"BridgeInterface",
                           "detectLocal":{"bridgeInterface":"cni0"}}})",
                       "link cni0"}),
    [](auto const& tested) { return tested.param.name; });

TEST(node_settings, a_link_is_matched_by_its_whole_name_or_by_the_beginning) {
    pod_link_names const bridge{"cni0", false}, prefix{"cali", true};
    EXPECT_TRUE(bridge.contain("cni0"));
    for (auto const* other : {"cni", "cni01", "eth0", ""}) EXPECT_FALSE(bridge.contain(other)) << other;
    for (auto const* link : {"cali", "cali1234"}) EXPECT_TRUE(prefix.contain(link)) << link;
    for (auto const* other : {"cal", "xcali", "eth0", ""}) EXPECT_FALSE(prefix.contain(other)) << other;
}

TEST(node_settings, flags_have_the_defaults_of_kube_proxy_and_return_to_them) {
    node_configuration node;
    EXPECT_TRUE(node.external_ips && !node.localhost_node_ports);
    EXPECT_FALSE(read_node(node, R"({"externalIPs":false,"localhostNodePorts":true})"));
    EXPECT_TRUE(!node.external_ips && node.localhost_node_ports);
    EXPECT_FALSE(read_node(node, R"({"externalIPs":null})"));
    EXPECT_TRUE(node.external_ips && !node.localhost_node_ports);
}

TEST(node_settings, bad_values_are_rejected_by_name_and_change_nothing) {
    std::pair<std::string_view, std::string_view> const rows[]{
        {R"({"externalIPs":"false"})", "externalIPs: true or false is wanted"},
        {R"({"localhostNodePorts":1})", "localhostNodePorts: true or false is wanted"},
        {R"({"detectLocalMode":"Interface"})",
         R"(detectLocalMode: "Interface": ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix is wanted)"},
        {R"({"detectLocalMode":"clustercidr","clusterCIDR":"10.0.0.0/8"})",
         R"(detectLocalMode: "clustercidr": ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix is wanted)"},
        {R"({"detectLocalMode":true})", "detectLocalMode: a string is wanted"},
        {R"({"detectLocalMode":"ClusterCIDR","podCIDRs":["10.244.1.0/24"]})",
         "clusterCIDR: is missing: detectLocalMode ClusterCIDR needs it"},
        {R"({"detectLocalMode":"NodeCIDR","clusterCIDR":"10.244.0.0/16"})",
         "podCIDRs: is missing: detectLocalMode NodeCIDR needs it"},
        {R"({"detectLocalMode":"BridgeInterface"})",
         "detectLocal.bridgeInterface: is missing: this detectLocalMode needs it"},
        {R"({"detectLocalMode":"BridgeInterface","detectLocal":{"interfaceNamePrefix":"cali"}})",
         "detectLocal.bridgeInterface: is missing: this detectLocalMode needs it"},
        {R"({"detectLocalMode":"InterfaceNamePrefix","detectLocal":{"interfaceNamePrefix":""}})",
         "detectLocal.interfaceNamePrefix: is missing: this detectLocalMode needs it"},
        {R"({"detectLocalMode":"BridgeInterface","detectLocal":{"bridgeInterface":"sixteen-letters0"}})",
         R"(detectLocal.bridgeInterface: "sixteen-letters0": the name of a link has at most 15 characters)"},
        {R"({"detectLocalMode":"BridgeInterface","detectLocal":{"bridgeInterface":7}})",
         "detectLocal.bridgeInterface: a string is wanted"},
        {R"({"detectLocal":"cni0"})", "detectLocal: an object is wanted"},
        {R"({"clusterCIDR":"10.244.0.0"})", R"(clusterCIDR: "10.244.0.0" is no prefix)"},
        {R"({"clusterCIDR":"10.244.0.0/16,"})", R"(clusterCIDR: "" is no prefix)"},
        {R"({"clusterCIDR":["10.244.0.0/16"]})", "clusterCIDR: a string is wanted"},
        {R"({"clusterCIDR":"10.244.0.0/16,10.245.0.0/16"})",
         R"(clusterCIDR: "10.244.0.0/16,10.245.0.0/16": one prefix, or one of each IP family, is wanted)"},
        {R"({"clusterCIDR":"10.244.0.0/16,fd00::/48,fd01::/48"})",
         R"(clusterCIDR: "10.244.0.0/16,fd00::/48,fd01::/48": one prefix, or one of each IP family, is wanted)"},
        {R"({"name":"n","colour":"red"})", R"("colour" is no field of the node file)"},
        {R"({"podCidrs":[]})", R"("podCidrs" is no field of the node file; it is spelled podCIDRs)"},
        {R"({"externalIps":false})", R"("externalIps" is no field of the node file; it is spelled externalIPs)"},
        {R"({"detectLocal":{"bridgeinterface":"cni0"}})",
         R"(detectLocal: "bridgeinterface" is no field of the node file; it is spelled bridgeInterface)"},
        {R"({"steps":[],"node":{"nodeports":1}})", R"(node: "nodeports" is no field of the node file)"},
        {"{\"a\\nb\":1}", R"("a?b" is no field of the node file)"},
        {R"({"kind":"Pod","metadata":{"name":"n"}})", R"("kind" is no field of the node file)"}};
    for (auto const& [file, reason] : rows) {
        node_configuration node{.name = "before",
                                .pod_ranges = {*parse_prefix("10.9.0.0/16")},
                                .external_ips = false,
                                .localhost_node_ports = true};
        auto const wrong = read_node(node, file);
        ASSERT_TRUE(wrong) << file;
        EXPECT_EQ(wrong->text(), "node: " + std::string{reason});
        EXPECT_EQ(node.name + ' ' + local_pods(node), "before 10.9.0.0/16") << file;
        EXPECT_TRUE(!node.external_ips && node.localhost_node_ports) << file;
    }
}

TEST(node_settings, a_node_object_of_the_cluster_has_many_other_fields) {
    node_configuration node{.external_ips = false};
    EXPECT_FALSE(read_node(node, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n","uid":"1"},"colour":"red",
        "spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"],"providerID":"x"},"status":{"images":[]}})"));
    EXPECT_EQ(local_pods(node), "10.244.1.0/24");
    EXPECT_FALSE(node.external_ips) << "it says nothing about settings";
}

// kube-proxy's iptables mode: --iptables-localhost-nodeports counts if no --nodeport-addresses exclude loopback
// (NodePortAddresses.ContainsIPv4Loopback); IPv6 never serves node ports on ::1.
TEST(node_settings, node_ports_on_localhost) {
    std::pair<std::string_view, std::string_view> const rows[]{
        {"", "192.0.2.11/32"},
        {R"(,"localhostNodePorts":false)", "192.0.2.11/32"},
        {R"(,"localhostNodePorts":true)", "127.0.0.0/8 192.0.2.11/32"},
        {R"(,"localhostNodePorts":true,"nodePortAddresses":[])", "127.0.0.0/8 192.0.2.11/32"},
        {R"(,"localhostNodePorts":true,"nodePortAddresses":["192.0.2.0/24"])", "192.0.2.11/32"},
        {R"(,"localhostNodePorts":true,"nodePortAddresses":["0.0.0.0/0"])", "127.0.0.0/8 192.0.2.11/32"},
        {R"(,"localhostNodePorts":true,"nodePortAddresses":["126.0.0.0/7"])", "127.0.0.0/8"},
        {R"(,"localhostNodePorts":true,"nodePortAddresses":["192.0.2.0/24","127.0.0.1/32"])",
         "127.0.0.1/32 192.0.2.11/32"},
        {R"(,"localhostNodePorts":true,"nodePortAddresses":["127.0.0.0/8","0.0.0.0/0"])", "127.0.0.0/8 192.0.2.11/32"},
        {R"(,"localhostNodePorts":true,"nodePortAddresses":["2001:db8::/64"])", "127.0.0.0/8 192.0.2.11/32"},
        {R"(,"nodePortAddresses":["127.0.0.0/8"])", ""}};
    for (auto const& [settings, served] : rows) {
        node_configuration node;
        auto const wrong = read_node(node, R"({"addresses":["127.0.0.1","192.0.2.11","::1","2001:db8::11"])" +
                                               std::string{settings} + '}');
        ASSERT_FALSE(wrong) << wrong->text();
        auto const all = node_port_destinations<ipv4>(node);
        EXPECT_EQ(ranges_text({all.begin(), all.end()}), served) << settings;
        EXPECT_EQ(node_port_destinations<ipv6>(node),
                  std::vector{prefix<ipv6>::of(std::get<ipv6::address>(*parse_address("2001:db8::11")), 128)});
    }
}

// Feature gate AllowServiceExternalIPs: without it, kube-proxy ignores spec.externalIPs and nothing else.
TEST(node_settings, external_ips_are_left_out_where_they_are_not_allowed) {
    auto const addresses = [](std::string_view file, std::string_view spec, std::string_view status) {
        service_source source;
        controller control{source};
        node_configuration node;
        EXPECT_FALSE(read_node(node, file));
        EXPECT_FALSE(control.configuration().set_node(std::move(node)));
        kubernetes_reader reader{control};
        auto const refused =
            reader.feed(R"({"kind":"Service","metadata":{"namespace":"ns","name":"web"},"spec":{)" + std::string{spec} +
                        R"(,"ports":[{"port":80}]},"status":{)" + std::string{status} + "}}");
        for (auto const& r : refused) ADD_FAILURE() << r.text();
        std::vector<ip_prefix> all;
        if (auto const web = control.configuration().find("ns/web"))
            for (auto const& a : web->addresses) all.push_back(a.where);
        return ranges_text(all);
    };
    constexpr std::string_view off = R"({"externalIPs":false})", spec =
                                                                     R"("clusterIP":"10.96.0.1","type":"LoadBalancer",
                                                                        "externalIPs":["203.0.113.9","203.0.113.8"])";
    constexpr std::string_view status = R"("loadBalancer":{"ingress":[{"ip":"203.0.113.8"}]})";
    EXPECT_EQ(addresses("{}", spec, status), "10.96.0.1/32 203.0.113.9/32 203.0.113.8/32");
    EXPECT_EQ(addresses(off, spec, status), "10.96.0.1/32 203.0.113.8/32") << "it is a load-balancer IP, too";
    EXPECT_EQ(addresses(off, R"("clusterIP":"10.96.0.1","externalIPs":["10.96.0.1","203.0.113.9"])", ""),
              "10.96.0.1/32");
}

TEST(node_settings, are_shown_where_they_are_not_the_default) {
    node_configuration node;
    EXPECT_EQ(overview_text(node, {}).find("local pods"), std::string::npos);
    ASSERT_FALSE(read_node(node, R"({"externalIPs":false,"localhostNodePorts":true,
        "detectLocalMode":"InterfaceNamePrefix","detectLocal":{"interfaceNamePrefix":"cali"}})"));
    auto const shown = overview_text(node, {});
    for (std::string_view const row :
         {"local pods    links cali*\n", "external IPs  ignored\n", "node ports    also on localhost\n"})
        EXPECT_NE(shown.find(row), std::string::npos) << shown;
}

} // namespace
} // namespace kubeproxy::node_settings_tests
