#include "kubeproxy/control/show/health.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace kubeproxy::health_tests {
namespace {

endpoint at(std::string_view address, bool here, bool ready = true) {
    endpoint e{.address = *parse_address(address)};
    if (here) e.topology = shared_topology{{.node = "here"}};
    e.ready = ready;
    return e;
}

service_configuration service(std::string name, std::string_view ip, std::uint16_t health_port,
                              std::vector<endpoint_slice> slices) {
    service_configuration s{.name = std::move(name), .slices = std::move(slices)};
    s.addresses.push_back({*parse_prefix(ip), service_address_kind::cluster_ip});
    s.ports.push_back({.protocol = service_protocol::tcp, .port = 80});
    s.health_check_node_port = health_port;
    return s;
}

// kube-proxy, pkg/proxy/healthcheck/service_health.go: 200 with the number of local ready endpoints, 503 where it is 0.
TEST(health, counts_ready_endpoints_of_this_node_once) {
    auto terminating = at("10.244.0.3", true, false);
    terminating.terminating = true;
    valid_configuration all;
    ASSERT_FALSE(all.set_node({.name = "here"}));
    ASSERT_FALSE(all.put(service("a/two", "10.96.0.1", 32001,
                                 {{"1", {}, {at("10.244.0.1", true), at("10.244.0.2", false), terminating}},
                                  {"2", {}, {at("10.244.0.1", true), at("10.244.0.4", true)}}})));
    ASSERT_FALSE(all.put(service("a/none", "10.96.0.2", 32002, {{"1", {}, {terminating, at("10.244.0.2", false)}}})));
    ASSERT_FALSE(all.put(service("a/not-asked", "10.96.0.3", 0, {{"1", {}, {at("10.244.0.1", true)}}})));
    auto const answers = health_answers(all);
    EXPECT_EQ(answers, (std::vector<health_answer>{{32001, "a/two", 2}, {32002, "a/none", 0}}));
    EXPECT_EQ(answers[0].status(), 200u);
    EXPECT_EQ(answers[0].weight(), "2");
    EXPECT_EQ(answers[1].status(), 503u);
    EXPECT_EQ(answers[1].weight(), "0");
    EXPECT_EQ(
        answers[1].body(),
        "{\"service\":{\"namespace\":\"a\",\"name\":\"none\"},\"localEndpoints\":0,\"serviceProxyHealthy\":true}\n");
    all.remove("a/two");
    EXPECT_EQ(health_answers(all).size(), 1u);
}

// The status also needs a healthy proxy, and the weight does not (service_health.go, ServeHTTP).
TEST(health, an_unhealthy_proxy_answers_503_with_the_number_of_endpoints) {
    health_answer const answer{.port = 32001, .service = "a/web", .local_endpoints = 3, .is_proxy_healthy = false};
    EXPECT_EQ(answer.status(), 503u);
    EXPECT_EQ(answer.weight(), "3");
    EXPECT_EQ(
        answer.body(),
        "{\"service\":{\"namespace\":\"a\",\"name\":\"web\"},\"localEndpoints\":3,\"serviceProxyHealthy\":false}\n");
}

// Kubernetes PR#137370: the IPv4 and the IPv6 proxier each answer at sockets of their own family with the endpoints of
// that family, so that the two addresses of one pod are never added up.
TEST(health, a_dual_stack_service_has_an_answer_for_each_family) {
    auto dual = service("a/dual", "10.96.0.1", 32001,
                        {{"v4", {}, {at("10.244.0.1", true), at("10.244.0.2", true)}},
                         {"v6", {}, {at("fd00:244::1", true), at("fd00:244::2", true, false)}}});
    dual.addresses.push_back({*parse_prefix("fd00:96::1"), service_address_kind::cluster_ip});
    auto single = service("a/single", "fd00:96::2", 32002, {{"v6", {}, {at("fd00:244::1", true)}}});
    single.addresses.push_back({*parse_prefix("192.0.2.9"), service_address_kind::external_ip}); // no family of it
    valid_configuration all;
    ASSERT_FALSE(all.set_node({.name = "here"}));
    ASSERT_FALSE(all.put(dual));
    ASSERT_FALSE(all.put(single));
    EXPECT_EQ(health_answers(all), (std::vector<health_answer>{
                                       {32001, "a/dual", 2, 4}, {32001, "a/dual", 1, 6}, {32002, "a/single", 1, 6}}));
}

// Kubernetes#135266: of two entries of one address, the one that is not terminating counts, wherever it stands.
TEST(health, a_pod_whose_address_is_reused_counts_as_its_better_entry) {
    auto old_pod = at("10.244.0.1", true, false);
    old_pod.terminating = true;
    auto const count = [&](endpoint const& one, endpoint const& other) {
        return local_endpoints(service("a/web", "10.96.0.1", 32001, {{"1", {}, {one}}, {"2", {}, {other}}}), 4,
                               {.name = "here"});
    };
    auto const new_pod = at("10.244.0.1", true), elsewhere = at("10.244.0.1", false);
    EXPECT_EQ(count(old_pod, new_pod), 1u);
    EXPECT_EQ(count(new_pod, old_pod), 1u);
    EXPECT_EQ(count(old_pod, elsewhere), 0u);
    EXPECT_EQ(count(elsewhere, old_pod), 0u);
}

} // namespace
} // namespace kubeproxy::health_tests
