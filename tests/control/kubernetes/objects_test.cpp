#include "kubeproxy/control/kubernetes/reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

// Objects of typical clusters, as kubectl printed them: objects/make.sh.

namespace kubeproxy::kubernetes_objects_tests {
namespace {

using lines = std::vector<std::string>;

std::string contents(std::string const& name) {
    std::ifstream in{std::filesystem::path{KUBEPROXY_SOURCE_DIR} / "tests/control/kubernetes/objects" / name,
                     std::ios::binary};
    EXPECT_TRUE(in.is_open()) << name;
    return {std::istreambuf_iterator<char>{in}, {}};
}

/// The forms in which kubectl prints several objects: one behind the other, a List, and watched.
std::vector<std::string> forms_of(std::string const& text) {
    std::string list = R"({"apiVersion":"v1","items":[)", events;
    json_stream{}.read(
        text,
        [&](boost::json::value const& object) {
            list += (list.back() == '[' ? "" : ",") + serialize(object);
            events += R"({"type":"ADDED","object":)" + serialize(object) + "}\n";
        },
        [](json_text_error const& wrong) { FAIL() << wrong.reason; });
    return {text, list + R"(],"kind":"List","metadata":{"resourceVersion":""}})", events};
}

/// On the node of node.yaml.
class cluster {
  public:
    explicit cluster(std::string const& text) {
        node_configuration node;
        EXPECT_FALSE(read_node(node, contents("node.json")));
        EXPECT_FALSE(control_.configuration().set_node(node));
        kubernetes_reader reader{control_};
        for (auto const& refused : reader.feed(text))
            if (refused.text().find("this kind is not read") == std::string::npos) ADD_FAILURE() << refused.text();
        reader.finish();
        EXPECT_TRUE(reader.flush().empty());
    }
    /// "shop/web:http 10.96.12.7/32 … tcp 80 -> 10.244.1.17:8080"; "*" marks those on this node.
    [[nodiscard]] lines in_force() const {
        lines all;
        for (auto const& v : control_.views()) {
            auto line = v.name;
            for (auto const& a : v.addresses) line += ' ' + to_text(a.where);
            line += ' ' + std::string{protocol_text(v.port)} + ' ' + std::to_string(v.port.port) + " ->";
            for (auto const& e : v.endpoints)
                if (e.ring_entries != 0) line += ' ' + to_text(e.address, e.port) + (e.on_this_node ? "*" : "");
            all.push_back(std::move(line));
        }
        std::ranges::sort(all);
        return all;
    }
    [[nodiscard]] service_configuration service(std::string const& name) const {
        auto const found = control_.configuration().find(name);
        EXPECT_NE(found, nullptr) << name;
        return found ? *found : configured_service{};
    }

  private:
    service_source source_;
    controller control_{source_};
};

TEST(kubernetes_objects, cluster_dns_with_named_target_ports_in_two_slices) {
    for (auto const& text : forms_of(contents("dns.json")))
        EXPECT_EQ(cluster{text}.in_force(),
                  (lines{"default/kubernetes:https 10.96.0.1/32 tcp 443 -> 192.0.2.10:6443",
                         "kube-system/kube-dns:dns 10.96.0.10/32 udp 53 -> 10.244.0.3:1053 10.244.0.4:53",
                         "kube-system/kube-dns:dns-tcp 10.96.0.10/32 tcp 53 -> 10.244.0.3:1053 10.244.0.4:53",
                         "kube-system/kube-dns:metrics 10.96.0.10/32 tcp 9153 -> 10.244.0.3:9153"}));
}

TEST(kubernetes_objects, dual_stack_load_balancer) {
    for (auto const& text : forms_of(contents("dual_stack.json"))) {
        cluster const c{text};
        EXPECT_EQ(
            c.in_force(),
            (lines{"shop/web:http 10.96.12.7/32 192.0.2.80/32 203.0.113.10/32 tcp 80 -> 10.244.1.17:8080*",
                   "shop/web:http fd00:10:96::c07/128 2001:db8:ff::10/128 tcp 80 -> [fd00:10:244:1::11]:8080*",
                   "shop/web:https 10.96.12.7/32 192.0.2.80/32 203.0.113.10/32 tcp 443 -> 10.244.1.17:8443*",
                   "shop/web:https fd00:10:96::c07/128 2001:db8:ff::10/128 tcp 443 -> [fd00:10:244:1::11]:8443*"}))
            << "hints keep IPv4 in zone-a";
        auto const web = c.service("shop/web");
        EXPECT_EQ(web.affinity_seconds, 600u);
        EXPECT_EQ(web.external_policy, traffic_policy::local);
        EXPECT_EQ(web.internal_policy, traffic_policy::cluster);
        EXPECT_EQ(web.health_check_node_port, 32123);
        EXPECT_EQ(web.ports[1].node_port, 30443);
        EXPECT_EQ(web.source_ranges.size(), 2u);
    }
}

TEST(kubernetes_objects, sctp_over_ipv6_and_what_is_none_of_ours) {
    for (auto const& text : forms_of(contents("voip.json"))) {
        cluster const c{text};
        EXPECT_EQ(c.in_force(), lines{"voip/sig:36412 fd00:10:96::51/128 sctp 36412 -> [fd00:10:244:1::51]:36413*"});
        EXPECT_EQ(c.service("voip/sig").internal_policy, traffic_policy::local);
        EXPECT_EQ(c.service("voip/sig").ports[0].node_port, 30412);
    }
}

// With what else there is in a namespace, and an empty slice of the other family.
TEST(kubernetes_objects, ingress_controller) {
    for (auto const& text : forms_of(contents("ingress.json"))) {
        cluster const c{text};
        EXPECT_EQ(c.in_force(),
                  (lines{"db/no-selector:pg 10.96.1.9/32 tcp 5432 ->", "db/no-selector:snmp 10.96.1.9/32 udp 161 ->",
                         "ingress-nginx/ingress-nginx-controller:http 10.96.44.5/32 203.0.113.70/32 tcp 80 -> "
                         "10.244.1.5:80*",
                         "ingress-nginx/ingress-nginx-controller:http fd00:10:96::44/128 tcp 80 ->",
                         "ingress-nginx/ingress-nginx-controller:https 10.96.44.5/32 203.0.113.70/32 tcp 443 -> "
                         "10.244.1.5:443*",
                         "ingress-nginx/ingress-nginx-controller:https fd00:10:96::44/128 tcp 443 ->"}));
        auto const controller = c.service("ingress-nginx/ingress-nginx-controller");
        EXPECT_EQ(controller.ports[0].node_port, 0) << "allocateLoadBalancerNodePorts is false";
        EXPECT_EQ(controller.health_check_node_port, 31777);
    }
}

// Before the API server has seen them only a Service that asks for its cluster IP has one.
TEST(kubernetes_objects, dry_run) {
    for (auto const& text : forms_of(contents("dry_run.json")))
        EXPECT_EQ(cluster{text}.in_force(), lines{"shop/fixed:80-8080 10.96.0.99/32 tcp 80 ->"});
}

} // namespace
} // namespace kubeproxy::kubernetes_objects_tests
