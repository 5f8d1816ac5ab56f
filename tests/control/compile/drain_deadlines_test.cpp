#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/control/kubernetes/node.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kubeproxy::drain_tests {
namespace {

using namespace std::chrono_literals;
using places = std::vector<std::uint32_t>;

snapshot with(std::vector<backend_status> status, std::uint64_t generation) {
    snapshot s;
    s.status = std::move(status);
    s.generation = generation;
    return s;
}
backend_status leaving(std::uint16_t generation = 0) {
    return {.generation = static_cast<std::uint16_t>(generation << 8), .in_use = true, .terminating = true};
}
constexpr backend_status staying{.generation = 0, .in_use = true, .terminating = false};

TEST(drain_deadlines, each_endpoint_has_its_own_time_and_ends_once) {
    drain_deadlines drains;
    EXPECT_EQ(drains.due(with({leaving(), staying}, 1), 100s, 30s), places{});
    EXPECT_EQ(drains.due(with({leaving(), leaving()}, 2), 110s, 30s), places{});
    auto const now = with({leaving(), leaving()}, 2);
    EXPECT_EQ(drains.due(now, 130s - 1ns, 30s), places{});
    EXPECT_EQ(drains.due(now, 130s, 30s), places{0});
    EXPECT_EQ(drains.due(with({leaving(1), leaving()}, 3), 139s, 30s), places{}) << "ended: of another generation";
    EXPECT_EQ(drains.due(with({leaving(1), leaving()}, 3), 200s, 30s), places{1});
    EXPECT_EQ(drains.due(with({leaving(1), leaving(1)}, 4), 900s, 30s), places{});
}

TEST(drain_deadlines, who_comes_back_or_takes_over_a_place_begins_anew) {
    drain_deadlines drains;
    EXPECT_EQ(drains.due(with({leaving(), leaving()}, 1), 100s, 30s), places{});
    EXPECT_EQ(drains.due(with({staying, leaving(5)}, 2), 120s, 30s), places{});
    EXPECT_EQ(drains.due(with({leaving(), leaving(5)}, 3), 140s, 30s), places{});
    EXPECT_EQ(drains.due(with({leaving(), leaving(5)}, 3), 150s, 30s), places{1});
    EXPECT_EQ(drains.due(with({leaving(), leaving(6)}, 4), 170s, 30s), places{0});
}

TEST(drain_deadlines, without_a_drain_time_nothing_ends) {
    drain_deadlines drains;
    EXPECT_EQ(drains.due(with({leaving()}, 1), 100s, std::nullopt), places{});
    EXPECT_EQ(drains.due(with({leaving()}, 1), 1000s, 30s), places{}) << "its time runs from now";
    EXPECT_EQ(drains.due(with({leaving()}, 1), 1030s, 30s), places{0});
}

TEST(removed_endpoints, are_kept_or_reset_as_a_line_says) {
    service_source source;
    controller control{source};
    ASSERT_TRUE(control.apply("ku vip 10.96.0.1/32 port 80\n").ok());
    EXPECT_FALSE(control.current()->resets_removed) << "as behind kube-proxy";
    ASSERT_TRUE(control.apply("ku conf removed reset\n").ok());
    EXPECT_TRUE(control.current()->resets_removed);
    EXPECT_NE(config_text(control.configuration()).find("ku conf removed reset\n"), std::string::npos);
    EXPECT_NE(control.execute("show ku").text.find("removed"), std::string::npos);
    ASSERT_TRUE(control.apply("ku conf removed keep\n").ok());
    EXPECT_FALSE(control.current()->resets_removed);
    EXPECT_EQ(config_text(control.configuration()).find("removed"), std::string::npos);
    for (auto const* bad : {"ku conf removed\n", "ku conf removed drop\n", "ku conf removed keep removed reset\n"})
        EXPECT_FALSE(control.apply(bad).ok()) << bad;
}

TEST(removed_endpoints, are_kept_or_reset_as_the_node_file_says) {
    node_configuration node;
    EXPECT_EQ(read_node(node, R"({"removedEndpoints":"reset"})"), std::nullopt);
    EXPECT_EQ(node.removed, removed_endpoints::reset);
    EXPECT_EQ(read_node(node, R"({"name":"n1"})"), std::nullopt);
    EXPECT_EQ(node.removed, removed_endpoints::reset) << "what it does not say stays";
    EXPECT_EQ(read_node(node, R"({"removedEndpoints":"keep"})"), std::nullopt);
    EXPECT_EQ(node.removed, removed_endpoints::keep);
    for (auto const* bad : {R"({"removedEndpoints":"silent"})", R"({"removedEndpoints":1})"})
        EXPECT_NE(read_node(node, bad), std::nullopt) << bad;
}

TEST(drain, is_set_by_a_line_and_taken_back_by_0) {
    service_source source;
    controller control{source};
    ASSERT_TRUE(control.apply("ku conf drain 90\n").ok());
    EXPECT_EQ(control.configuration().node().drain, 90s);
    EXPECT_NE(control.apply("show ku\n").text.find("90 s"), std::string::npos);
    ASSERT_TRUE(control.apply("ku conf drain 0\n").ok());
    EXPECT_EQ(control.configuration().node().drain, std::nullopt);
    EXPECT_FALSE(control.apply("ku conf drain never\n").ok());
    auto node = control.configuration().node();
    node.drain = 0s;
    EXPECT_EQ(control.configuration().set_node(node)->rule, "drain 0 (1..2147483 seconds)");
}

TEST(drain, a_tick_without_anything_due_publishes_nothing) {
    service_source source;
    controller control{source};
    EXPECT_FALSE(control.tick(1s)) << "nothing was ever published";
    ASSERT_TRUE(control.apply("ku conf drain 90\nku vip 10.96.0.1/32 port 80\nku pod 10.96.0.1/32 10.244.0.1\n").ok());
    auto const before = control.current();
    EXPECT_FALSE(control.tick(1s));
    EXPECT_FALSE(control.tick(1000s));
    EXPECT_EQ(control.current(), before);
}

} // namespace
} // namespace kubeproxy::drain_tests
