#include "kubeproxy/control/config/valid_configuration.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <gtest/gtest.h>

namespace kubeproxy::valid_tests {
namespace {

service_address at(std::string_view where, service_address_kind kind = service_address_kind::cluster_ip) {
    return {*parse_prefix(where), kind};
}

/// A legal Service; rows break one thing.
service_configuration web(std::string name = "default/web", std::string_view address = "10.96.0.1") {
    service_configuration s{.name = std::move(name)};
    s.addresses.push_back(at(address));
    s.ports.push_back({.name = "http", .protocol = service_protocol::tcp, .port = 80});
    s.slices.push_back({.name = "web-1",
                        .ports = {{"http", service_protocol::tcp, 8080}},
                        .endpoints = {{.address = *parse_address("10.244.0.1")}}});
    return s;
}

struct broken_case {
    std::string_view name;
    std::function<void(service_configuration&)> breaks;
    std::string_view subject;
    std::string_view rule;
};

class broken_service : public testing::TestWithParam<broken_case> {};

TEST_P(broken_service, is_refused_with_its_name_and_the_rule) {
    auto service = web();
    GetParam().breaks(service);
    valid_configuration configuration;
    auto const wrong = configuration.put(service);
    ASSERT_TRUE(wrong.has_value());
    EXPECT_EQ(wrong->subject, GetParam().subject);
    EXPECT_NE(wrong->rule.find(GetParam().rule), std::string::npos) << wrong->rule;
    EXPECT_EQ(configuration.service_count(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    table, broken_service,
    testing::Values(
        broken_case{"no_name", [](auto& s) { s.name.clear(); }, "a service", "no name"},
        broken_case{"no_address", [](auto& s) { s.addresses.clear(); }, "default/web", "no address"},
        broken_case{"no_port", [](auto& s) { s.ports.clear(); }, "default/web", "no port"},
        broken_case{"port_0", [](auto& s) { s.ports[0].port = 0; }, "default/web:http",
                    "port 0 (a Service port is 1..65535)"},
        broken_case{"cluster_ip_range", [](auto& s) { s.addresses[0] = at("10.96.0.0/24"); }, "default/web",
                    "10.96.0.0/24 is no single address"},
        broken_case{"two_ports_of_a_name", [](auto& s) { s.ports.push_back(s.ports[0]); }, "default/web:http",
                    "two ports"},
        broken_case{"two_ports_of_a_number_and_protocol",
                    [](auto& s) { s.ports.push_back({.name = "b", .protocol = service_protocol::tcp, .port = 80}); },
                    "default/web", "two ports have the number 80 and the same protocol"},
        broken_case{"two_ports_of_a_node_port_and_protocol",
                    [](auto& s) {
                        s.ports[0].node_port = 30080;
                        s.ports.push_back(
                            {.name = "b", .protocol = service_protocol::tcp, .port = 81, .node_port = 30080});
                    },
                    "default/web", "two ports have the node port 30080 and the same protocol"},
        broken_case{"an_address_twice",
                    [](auto& s) { s.addresses.push_back(at("10.96.0.1", service_address_kind::external_ip)); },
                    "default/web", "it has the address 10.96.0.1/32 twice"},
        broken_case{"target_without_port",
                    [](auto& s) {
                        s.addresses[0].kind = service_address_kind::vip;
                        s.ports[0] = {.name = {}, .target_port = 8080};
                    },
                    "default/web", "target_port without port"},
        broken_case{"node_port_without_port",
                    [](auto& s) {
                        s.addresses[0].kind = service_address_kind::vip;
                        s.ports[0] = {.name = {}, .node_port = 30080};
                    },
                    "default/web", "node_port without port"},
        broken_case{"pod_of_another_family",
                    [](auto& s) {
                        s.pods = pod_family::ipv4;
                        s.slices[0].endpoints[0].address = *parse_address("2001:db8::1");
                    },
                    "default/web", "2001:db8::1 is of the other family"},
        broken_case{"unspecified_pod", [](auto& s) { s.slices[0].endpoints[0].address = *parse_address("::"); },
                    "default/web", ":: is no address of a host"},
        broken_case{"multicast_pod", [](auto& s) { s.slices[0].endpoints[0].address = *parse_address("224.0.0.1"); },
                    "default/web", "224.0.0.1 is no address of a host"},
        broken_case{"endpoint_port_0", [](auto& s) { s.slices[0].ports[0].port = 0; }, "default/web",
                    "port \"http\" is 0"},
        broken_case{"ring_too_large", [](auto& s) { s.ring_size = 655374; }, "default/web", "at most 655373"},
        broken_case{"too_many_endpoints",
                    [](auto& s) { s.slices[0].endpoints.resize(65536, s.slices[0].endpoints[0]); }, "default/web",
                    "at most 65535"},
        broken_case{"affinity_beyond_a_day", [](auto& s) { s.affinity_seconds = 86401; }, "default/web",
                    "at most 86400"},
        broken_case{"timeout_0",
                    [](auto& s) {
                        s.lifetimes.emplace();
                        s.lifetimes->icmp = {};
                    },
                    "default/web", "timeout 0"}),
    [](auto const& row) { return std::string{row.param.name}; });

struct broken_node_case {
    std::string_view name;
    std::function<void(node_configuration&)> breaks;
    std::string_view rule;
};

class broken_node : public testing::TestWithParam<broken_node_case> {};

TEST_P(broken_node, is_refused_and_the_former_stays) {
    valid_configuration configuration;
    node_configuration good{.name = "node-1"};
    ASSERT_FALSE(configuration.set_node(good));
    auto bad = good;
    bad.name = "node-2";
    GetParam().breaks(bad);
    auto const wrong = configuration.set_node(bad);
    ASSERT_TRUE(wrong.has_value());
    EXPECT_EQ(wrong->subject, "node");
    EXPECT_NE(wrong->rule.find(GetParam().rule), std::string::npos) << wrong->rule;
    EXPECT_EQ(configuration.node().name, "node-1");
}

INSTANTIATE_TEST_SUITE_P(
    table, broken_node,
    testing::Values(
        broken_node_case{"nat64_prefix_length", [](auto& n) { n.nat64_prefix.length = 64; }, "must be 96"},
        broken_node_case{"nat64_prefix_reserved_octet", // RFC 6052 section 2.2
                         [](auto& n) { n.nat64_prefix = *parse_prefix<ipv6>("1:2:3:4:500::/96"); }, "bits 64 to 71"},
        broken_node_case{"pool_backwards",
                         [](auto& n) {
                             n.snat4 = ipv4_range{ipv4_address(2), ipv4_address(1)};
                         },
                         "ends before"},
        broken_node_case{"pool_unspecified", [](auto& n) { n.snat4.emplace(); }, "snat4 0.0.0.0"},
        broken_node_case{"snat6_multicast", [](auto& n) { n.snat6 = *parse_address<ipv6>("ff02::1"); },
                         "snat6 ff02::1"},
        broken_node_case{"node_address", [](auto& n) { n.addresses = {*parse_address("0.0.0.0")}; }, "0.0.0.0"},
        broken_node_case{"no_buckets", [](auto& n) { n.buckets = 0u; }, "buckets 0"},
        broken_node_case{"node_ports",
                         [](auto& n) {
                             n.node_ports = port_range{2, 1};
                         },
                         "ends before"}),
    [](auto const& row) { return std::string{row.param.name}; });

std::string lost_claims(valid_configuration& configuration) {
    std::string all;
    for (auto const& lost : configuration.take_lost_claims()) all += lost.text() + '\n';
    return all;
}

TEST(valid_configuration, of_two_services_that_claim_the_same_one_serves_it) {
    valid_configuration configuration;
    ASSERT_FALSE(configuration.put(web("default/a")));
    ASSERT_FALSE(configuration.put(web("default/b")));
    EXPECT_EQ(lost_claims(configuration), "default/b: 10.96.0.1/32 port 80 tcp is served by default/a\n"
                                          "default/b: 10.96.0.1/32, all ports is served by default/a\n");
    EXPECT_EQ(configuration.service_count(), 2u);
    EXPECT_EQ(configuration.contested_services(), 1u);
    auto const a = configuration.find("default/a"), b = configuration.find("default/b");
    EXPECT_TRUE(a->lost.empty());
    EXPECT_FALSE(b->lost.empty());

    EXPECT_TRUE(configuration.remove("default/a"));
    EXPECT_FALSE(configuration.remove("default/a"));
    EXPECT_NE(configuration.find("default/b"), b) << "another object, so that it is compiled again";
    EXPECT_TRUE(configuration.find("default/b")->lost.empty());
    EXPECT_EQ(configuration.contested_services(), 0u);
    EXPECT_EQ(lost_claims(configuration), "");
}

TEST(valid_configuration, what_is_lost_and_got_back_before_anybody_asks_is_not_reported) {
    valid_configuration configuration;
    ASSERT_FALSE(configuration.put(web("default/a")));
    ASSERT_FALSE(configuration.put(web("default/b")));
    ASSERT_FALSE(configuration.put(web("default/a", "10.96.0.2")));
    EXPECT_EQ(lost_claims(configuration), "");
}

TEST(valid_configuration, node_ports_are_one_space_for_all_services) {
    valid_configuration configuration;
    auto a = web("default/a", "10.96.0.1"), b = web("default/b", "10.96.0.2"), c = web("default/c", "2001:db8::3");
    a.ports[0].node_port = b.ports[0].node_port = c.ports[0].node_port = 30080;
    ASSERT_FALSE(configuration.put(a));
    ASSERT_FALSE(configuration.put(c)) << "of the other version";
    EXPECT_EQ(lost_claims(configuration), "");
    ASSERT_FALSE(configuration.put(b));
    EXPECT_EQ(lost_claims(configuration), "default/b: node port 30080 tcp is served by default/a\n");
    b.ports[0].protocol = service_protocol::udp;
    ASSERT_FALSE(configuration.put(b)) << "of another protocol";
    EXPECT_EQ(configuration.contested_services(), 0u);
}

TEST(valid_configuration, a_change_that_is_rejected_changes_nothing) {
    valid_configuration configuration;
    auto const vip = [](std::string name, std::string_view address) {
        auto s = web(std::move(name), address);
        s.addresses[0].kind = service_address_kind::vip;
        return s;
    };
    ASSERT_FALSE(configuration.put(web("default/a", "10.96.0.1")));
    ASSERT_FALSE(configuration.put(vip("b", "10.96.0.2")));
    auto const before = configuration.find("b");
    auto const wrong = configuration.put(vip("b", "10.96.0.1"));
    ASSERT_TRUE(wrong.has_value()) << "of the ku language";
    EXPECT_EQ(wrong->text(), "b: duplicate VIP: 10.96.0.1/32 port 80 tcp is served by default/a");
    EXPECT_EQ(configuration.find("b"), before);
    EXPECT_TRUE(configuration.put(vip("c", "10.96.0.2")).has_value()) << "it still has what it had";
    EXPECT_FALSE(configuration.put(vip("c", "10.96.0.3")));
}

TEST(valid_configuration, a_service_keeps_its_slot) {
    valid_configuration configuration;
    for (auto const* name : {"a", "b", "c"})
        ASSERT_FALSE(configuration.put(web(name, "10.96.0." + std::to_string(int{name[0]}))));
    configuration.remove("b");
    ASSERT_FALSE(configuration.put(web("c", "10.96.1.1")));
    EXPECT_EQ(configuration.services()[0]->name, "a");
    EXPECT_EQ(configuration.services()[1], nullptr);
    EXPECT_EQ(configuration.services()[2]->name, "c");
    ASSERT_FALSE(configuration.put(web("d", "10.96.1.2")));
    EXPECT_EQ(configuration.services()[1]->name, "d");
}

TEST(valid_configuration, is_made_from_a_whole_configuration_or_says_why_not) {
    auto made = valid_configuration::from({.node = {.name = "n"}, .services = {web("a"), web("b", "10.96.0.2")}});
    ASSERT_TRUE(std::holds_alternative<valid_configuration>(made));
    EXPECT_EQ(std::get<valid_configuration>(made).service_count(), 2u);
    EXPECT_EQ(std::get<valid_configuration>(made).node().name, "n");

    made = valid_configuration::from({.services = {web("a"), web("a", "10.96.0.2")}});
    EXPECT_EQ(std::get<config_error>(made).text(), "a: there are two of this name");
    made = valid_configuration::from({.node = {.buckets = 0u}});
    EXPECT_EQ(std::get<config_error>(made).subject, "node");
}

} // namespace
} // namespace kubeproxy::valid_tests
