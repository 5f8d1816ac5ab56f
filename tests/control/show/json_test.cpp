#include "kubeproxy/control/show/json.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <string>
#include <vector>

// Read again by another library's parser.

namespace kubeproxy::show_json_tests {
namespace {

namespace json = boost::json;

service_view web() {
    service_view v{.name = "default/web:\"http\"\n\x01\\é", .client_version = 4, .pod_version = 6, .ring_size = 10};
    v.addresses.push_back({*parse_prefix("10.96.0.1"), service_address_kind::cluster_ip});
    v.port = {.name = "http", .protocol = service_protocol::tcp, .port = 80, .target_port = 8080, .node_port = 30080};
    v.counted = {.packets = 18446744073709551615u, .bytes = 2, .flows = 3};
    endpoint_view e{.address = *parse_address("2001:db8::1"), .port = 8080, .ring_entries = 10};
    e.on_this_node = true;
    v.endpoints.push_back(e);
    return v;
}

TEST(show_json, services_with_their_endpoints) {
    auto const all = json::parse(services_json(std::vector{web(), web()})).as_array();
    ASSERT_EQ(all.size(), 2u);
    auto const& v = all[1].as_object();
    EXPECT_EQ(v.at("service").as_string(), "default/web:\"http\"\n\x01\\é");
    EXPECT_EQ(v.at("addresses"), json::parse(R"(["10.96.0.1/32"])"));
    EXPECT_EQ(v.at("packets").as_uint64(), 18446744073709551615u);
    EXPECT_EQ(v.at("node_port").as_int64(), 30080);
    auto const expected = json::parse(R"([{"address":"2001:db8::1","port":8080,"state":"ready","ready":true,
        "serving":true,"terminating":false,"local":true,"weight":1,"ring_entries":10,"ring_size":10,"packets":0,
        "bytes":0,"flows":0}])");
    EXPECT_EQ(v.at("endpoints"), expected);
    auto const only = json::parse(endpoints_json(std::vector{web()})).as_array();
    EXPECT_EQ(only.at(0).as_object().at("endpoints"), expected);
}

TEST(show_json, nothing_is_an_empty_list) {
    EXPECT_EQ(services_json({}), "[]\n");
    EXPECT_EQ(flows_json({}), "[]\n");
    EXPECT_EQ(affinity_json({}), "[]\n");
    EXPECT_EQ(counters_json({}), "{}\n");
}

TEST(show_json, flows_clients_and_counters) {
    flow_view const f{.service = "a/b:80",
                      .protocol = 17,
                      .client = {*parse_address("192.0.2.1"), 4711},
                      .spoken_to = {*parse_address("10.96.0.1"), 80},
                      .source = {*parse_address("2001:db8::9"), 2000},
                      .backend = {*parse_address("2001:db8::1"), 8080},
                      .masqueraded = true,
                      .state = "replied",
                      .idle = std::chrono::seconds{2},
                      .left = std::chrono::seconds{38},
                      .packets = 5};
    EXPECT_EQ(json::parse(flows_json(std::vector{f})), json::parse(R"([{"service":"a/b:80","protocol":17,
        "client":{"address":"192.0.2.1","port":4711},"spoken_to":{"address":"10.96.0.1","port":80},
        "source":{"address":"2001:db8::9","port":2000},"backend":{"address":"2001:db8::1","port":8080},
        "masqueraded":true,"state":"replied","idle":2,"left":38,"packets":5}])"));
    affinity_view const a{
        "a/b:80", *parse_address("192.0.2.1"), {*parse_address("10.244.0.1"), 8080}, std::chrono::seconds{7}};
    EXPECT_EQ(json::parse(affinity_json(std::vector{a})),
              json::parse(R"([{"service":"a/b:80","client":"192.0.2.1","backend":"10.244.0.1",
        "backend_port":8080,"left":7}])"));
    EXPECT_EQ(counters_json(std::vector{counter_view{"forward", 1}, counter_view{"drop", 2}}),
              "{\"forward\":1,\"drop\":2}\n");
}

} // namespace
} // namespace kubeproxy::show_json_tests
