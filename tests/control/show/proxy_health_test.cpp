#include "kubeproxy/control/kubernetes/node.hpp"
#include "kubeproxy/control/show/proxy_health.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

// The reference is kube-proxy's pkg/proxy/healthcheck/proxy_health.go: fields, their order, and status codes.

namespace kubeproxy::proxy_health_tests {
namespace {

using namespace std::chrono_literals;
using wall_clock = std::chrono::system_clock;

// 2026-01-31 12:34:56 UTC is 1769862896 seconds after the epoch (date -u -d @1769862896).
constexpr wall_clock::time_point noon{1769862896s};

TEST(proxy_health, times_are_printed_as_rfc_3339_in_utc) {
    EXPECT_EQ(rfc3339_text(noon), "2026-01-31T12:34:56.000000000Z");
    EXPECT_EQ(rfc3339_text(noon + std::chrono::microseconds{7}), "2026-01-31T12:34:56.000007000Z");
    EXPECT_EQ(rfc3339_text(wall_clock::time_point{} - 1s), "1969-12-31T23:59:59.000000000Z");
}

TEST(proxy_health, a_healthy_proxy_is_as_recent_as_the_answer) {
    proxy_health const health{.last_updated = noon - 1h};
    auto const ready = healthz(health, noon, 0s);
    EXPECT_EQ(ready.status, 200u);
    EXPECT_EQ(ready.body, "{\"lastUpdated\":\"2026-01-31T12:34:56.000000000Z\","
                          "\"currentTime\":\"2026-01-31T12:34:56.000000000Z\",\"nodeEligible\":true,\"healthy\":true,"
                          "\"status\":{\"IPv4\":{\"lastUpdated\":\"2026-01-31T11:34:56.000000000Z\",\"healthy\":true},"
                          "\"IPv6\":{\"lastUpdated\":\"2026-01-31T11:34:56.000000000Z\",\"healthy\":true}}}\n");
    EXPECT_EQ(livez(health, noon, 0s).body.find("nodeEligible"), std::string::npos);
}

TEST(proxy_health, changes_may_wait_for_sixty_seconds) { // kube-proxy's healthTimeout
    proxy_health const health{.last_updated = noon - 1h, .waiting_since = 100s};
    EXPECT_TRUE(health.is_healthy(159s));
    EXPECT_FALSE(health.is_healthy(160s));
    EXPECT_EQ(healthz(health, noon, 159s).status, 200u);
    EXPECT_EQ(livez(health, noon, 159s).status, 200u);
    for (auto const& late : {healthz(health, noon, 160s), livez(health, noon, 160s)}) {
        EXPECT_EQ(late.status, 503u);
        EXPECT_TRUE(late.body.starts_with("{\"lastUpdated\":\"2026-01-31T11:34:56.000000000Z\"")) << late.body;
        EXPECT_NE(late.body.find("\"healthy\":false,\"status\":{\"IPv4\""), std::string::npos) << late.body;
    }
}

TEST(proxy_health, a_node_that_is_to_be_deleted_is_alive_but_not_healthy) { // kubernetes PR#116470
    proxy_health const health{.last_updated = noon, .is_node_eligible = false};
    auto const leaving = healthz(health, noon, 0s);
    EXPECT_EQ(leaving.status, 503u);
    EXPECT_NE(leaving.body.find("\"nodeEligible\":false,\"healthy\":true"), std::string::npos) << leaving.body;
    EXPECT_EQ(livez(health, noon, 0s).status, 200u);
}

TEST(node_eligibility, deletion_and_the_autoscalers_taint_count) {
    struct {
        bool is_eligible;
        char const* node;
    } const rows[]{
        {true, R"({"kind":"Node","metadata":{"name":"n"}})"},
        {true, R"({"kind":"Node","metadata":{"name":"n","deletionTimestamp":null},"spec":{"taints":null}})"},
        {true,
         R"({"kind":"Node","spec":{"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}]}})"},
        {true, R"({"kind":"Node","spec":{"taints":[{"key":"DeletionCandidateOfClusterAutoscaler"}]}})"},
        {true, R"({"name":"n","addresses":["192.0.2.1"]})"},
        {false, R"({"kind":"Node","metadata":{"name":"n","deletionTimestamp":"2026-01-31T12:34:56Z"}})"},
        {false,
         R"({"kind":"Node","spec":{"taints":[{"key":"a"},{"key":"ToBeDeletedByClusterAutoscaler","value":"1"}]}})"},
    };
    for (auto const& row : rows)
        EXPECT_EQ(is_node_eligible(boost::json::parse(row.node).as_object()), row.is_eligible) << row.node;
    EXPECT_THROW(static_cast<void>(is_node_eligible(boost::json::parse(R"({"spec":{"taints":1}})").as_object())),
                 field_error);
}

} // namespace
} // namespace kubeproxy::proxy_health_tests
