#include "kubeproxy/control/health.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace kubeproxy {
namespace {

endpoint at(std::string_view address, bool here, bool ready = true) {
    endpoint e{.address = *parse_address(address)};
    e.on_this_node = here;
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

// kube-proxy, pkg/proxy/healthcheck: 200 with the number of local ready endpoints, 503 where it is 0.
TEST(health, counts_ready_endpoints_of_this_node_once) {
    auto terminating = at("10.244.0.3", true, false);
    terminating.terminating = true;
    valid_configuration all;
    ASSERT_FALSE(all.put(service("a/two", "10.96.0.1", 32001,
                                 {{"1", {}, {at("10.244.0.1", true), at("10.244.0.2", false), terminating}},
                                  {"2", {}, {at("10.244.0.1", true), at("10.244.0.4", true)}}})));
    ASSERT_FALSE(all.put(service("a/none", "10.96.0.2", 32002, {{"1", {}, {terminating, at("10.244.0.2", false)}}})));
    ASSERT_FALSE(all.put(service("a/not-asked", "10.96.0.3", 0, {{"1", {}, {at("10.244.0.1", true)}}})));
    auto const answers = health_answers(all);
    EXPECT_EQ(answers, (std::vector<health_answer>{{32001, "a/two", 2}, {32002, "a/none", 0}}));
    EXPECT_EQ(answers[0].status(), 200u);
    EXPECT_EQ(answers[1].status(), 503u);
    EXPECT_EQ(
        answers[1].body(),
        "{\"service\":{\"namespace\":\"a\",\"name\":\"none\"},\"localEndpoints\":0,\"serviceProxyHealthy\":true}\n");
    all.remove("a/two");
    EXPECT_EQ(health_answers(all).size(), 1u);
}

} // namespace
} // namespace kubeproxy
