#include "kubeproxy/control/compile/endpoints.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kubeproxy::endpoints_tests {
namespace {

endpoint pod(std::string_view address, std::string node = "") {
    return {.address = *parse_address(address), .topology = shared_topology{{.node = std::move(node)}}};
}
endpoint in_state(bool ready, bool serving, bool terminating, std::string node) {
    auto e = pod("10.244.0.1", std::move(node));
    e.ready = ready;
    e.serving = serving;
    e.terminating = terminating;
    return e;
}
endpoint_slice slice_of(std::string name, std::vector<endpoint> endpoints) {
    return {
        .name = std::move(name), .ports = {{"http", service_protocol::tcp, 8080}}, .endpoints = std::move(endpoints)};
}
service_configuration service_of(std::vector<endpoint_slice> slices) {
    service_configuration s{.name = "default/web", .slices = std::move(slices)};
    s.ports.push_back({.name = "http", .protocol = service_protocol::tcp, .port = 80});
    return s;
}

struct duplicate_case {
    std::string_view name;
    endpoint winner, loser; ///< on nodes "winner" and "loser"
};
void PrintTo(duplicate_case const& c, std::ostream* out) { *out << c.name; }

class duplicate_endpoints : public testing::TestWithParam<duplicate_case> {};

// kubernetes#135266, PR#135593: whatever the order of slices and of entries in them, and whoever is on this node.
TEST_P(duplicate_endpoints, the_same_entry_counts_in_every_order) {
    auto const& [name, winner, loser] = GetParam();
    for (auto const& here : {"winner", "loser", ""}) {
        node_configuration const node{.name = here};
        for (auto const& s :
             {service_of({slice_of("a", {winner, loser})}), service_of({slice_of("a", {loser, winner})}),
              service_of({slice_of("a", {winner}), slice_of("b", {loser})}),
              service_of({slice_of("a", {loser}), slice_of("b", {winner})}),
              service_of({slice_of("a", {loser, loser}), slice_of("b", {winner, loser})})}) {
            auto const all = targets_of(s, s.ports[0], 4, node);
            ASSERT_EQ(all.size(), 1u);
            EXPECT_EQ(*all[0].is, winner);
            EXPECT_EQ(all[0].on_this_node, node.name == "winner");
        }
        auto const alone = service_of({slice_of("a", {loser})});
        EXPECT_EQ(*targets_of(alone, alone.ports[0], 4, node).at(0).is, loser) << "it counts again on its own";
    }
}

INSTANTIATE_TEST_SUITE_P(
    table, duplicate_endpoints,
    testing::Values(duplicate_case{"ready_before_terminating", in_state(true, true, false, "winner"),
                                   in_state(false, false, true, "loser")},
                    duplicate_case{"ready_before_serving_and_terminating", in_state(true, true, false, "winner"),
                                   in_state(false, true, true, "loser")},
                    duplicate_case{"ready_before_ready_and_terminating", // publishNotReadyAddresses
                                   in_state(true, true, false, "winner"), in_state(true, true, true, "loser")},
                    duplicate_case{"starting_before_terminating", in_state(false, false, false, "winner"),
                                   in_state(false, true, true, "loser")},
                    duplicate_case{"ready_before_starting", in_state(true, true, false, "winner"),
                                   in_state(false, false, false, "loser")},
                    duplicate_case{"serving_before_not_serving_while_both_terminate",
                                   in_state(false, true, true, "winner"), in_state(false, false, true, "loser")}),
    [](auto const& one) { return std::string{one.param.name}; });

TEST(targets, entries_that_are_alike_have_one_order_of_their_own) {
    auto const first = in_state(true, true, false, "a"), second = in_state(true, true, false, "b");
    for (auto const& s :
         {service_of({slice_of("a", {first}), slice_of("b", {second})}), service_of({slice_of("a", {second, first})})})
        EXPECT_EQ(targets_of(s, s.ports[0], 4, {}).at(0).is->topology->node, "a");
}

TEST(targets, one_address_with_two_ports_is_two_targets) { // kubernetes PR#101935
    auto s = service_of({slice_of("a", {pod("10.244.0.1")}), slice_of("b", {pod("10.244.0.1")})});
    s.slices[1].ports[0].port = 8081;
    EXPECT_EQ(targets_of(s, s.ports[0], 4, {}).size(), 2u);
}

using texts = std::vector<std::string>;

struct hinted {
    texts for_zones{}, for_nodes{};
    bool ready = true;
    bool terminating = false;
};
struct hint_case {
    std::string_view name;
    std::vector<hinted> endpoints;
    std::vector<std::uint32_t> usable; ///< positions
    std::string node = "n1", zone = "z1";
};
void PrintTo(hint_case const& c, std::ostream* out) { *out << c.name; }

class topology_hints : public testing::TestWithParam<hint_case> {};

// kube-proxy's CategorizeEndpoints; KEP-2433, KEP-3015, kubernetes#123401 and PR#130844.
TEST_P(topology_hints, choose_among_ready_endpoints) {
    auto const& c = GetParam();
    std::vector<endpoint> all;
    for (auto const& h : c.endpoints) {
        auto e = pod("10.244.0." + std::to_string(1 + all.size()));
        e.topology = shared_topology{{.for_zones = h.for_zones, .for_nodes = h.for_nodes}};
        e.ready = h.ready;
        e.terminating = h.terminating;
        all.push_back(e);
    }
    auto const s = service_of({slice_of("a", all)});
    auto const targets = targets_of(s, s.ports[0], 4, {.name = c.node, .zone = c.zone});
    EXPECT_EQ(usable(targets, endpoint_scope::everywhere), c.usable);
}

INSTANTIATE_TEST_SUITE_P(
    table, topology_hints,
    testing::Values(
        hint_case{"no_hints", {{}, {}}, {0, 1}}, hint_case{"zone_of_this_node", {{{"z1"}}, {{"z2"}}}, {0}},
        hint_case{"several_zones", {{{"z2", "z1"}}, {{"z2"}}, {{"z1"}}}, {0, 2}},
        hint_case{"one_ready_endpoint_without_a_zone", {{{"z1"}}, {}}, {0, 1}},
        hint_case{"no_endpoint_for_this_zone", {{{"z2"}}, {{"z3"}}}, {0, 1}},
        hint_case{"zone_of_the_node_is_unknown", {{{"z1"}}, {{"z2"}}}, {0, 1}, "n1", ""},
        hint_case{"node_before_zone", {{{"z1"}, {"n1"}}, {{"z1"}, {"n2"}}}, {0}},
        hint_case{"no_endpoint_for_this_node", {{{"z1"}, {"n2"}}, {{"z2"}, {"n3"}}}, {0}},
        hint_case{"one_ready_endpoint_without_a_node", {{{"z1"}, {"n1"}}, {{"z1"}}, {{"z2"}, {"n2"}}}, {0, 1}},
        hint_case{"node_without_a_name", {{{"z1"}, {"n1"}}, {{"z1"}, {"n2"}}, {{"z2"}, {"n2"}}}, {0, 1}, ""},
        hint_case{"only_ready_endpoints_count", {{{"z1"}}, {{"z2"}}, {{}, {}, false}}, {0}},
        hint_case{"an_endpoint_for_here_that_is_not_ready", {{{"z1"}, {}, false}, {{"z2"}}, {{"z2"}}}, {1, 2}},
        hint_case{"terminating_ones_are_used_whatever_their_hints",
                  {{{"z1"}, {}, false, true}, {{"z2"}, {}, false, true}},
                  {0, 1}}),
    [](auto const& one) { return std::string{one.param.name}; });

TEST(topology_hints_of_the_local_policy, do_not_count) { // CategorizeEndpoints: the local list has no topology
    auto e = pod("10.244.0.1");
    e.topology = shared_topology{{.node = "n1", .for_zones = {"z2"}}};
    auto other = e;
    other.address = *parse_address("10.244.0.2");
    other.topology = shared_topology{{.node = "n1", .for_zones = {"z1"}}};
    auto const s = service_of({slice_of("a", {e, other})});
    auto const targets = targets_of(s, s.ports[0], 4, {.name = "n1", .zone = "z1"});
    EXPECT_EQ(usable(targets, endpoint_scope::this_node).size(), 2u);
}

using ports = std::vector<service_port>;
using offered_ports = std::vector<endpoint_port>;
constexpr auto tcp = service_protocol::tcp, udp = service_protocol::udp;

struct name_case {
    std::string_view name;
    ports now;
    std::vector<ports> former; ///< newest first
    offered_ports slice;
    std::vector<std::optional<unsigned>> targets; ///< of the present ports
    bool is_followed = false;                     ///< the slice follows the present ports
};
void PrintTo(name_case const& c, std::ostream* out) { *out << c.name; }

class port_names : public testing::TestWithParam<name_case> {};

TEST_P(port_names, find_the_port_of_a_slice) {
    auto const& c = GetParam();
    auto s = service_of({{.name = "a", .ports = c.slice, .endpoints = {}}});
    s.ports = c.now;
    s.former_ports = c.former;
    for (std::size_t i = 0; i < c.now.size(); ++i)
        EXPECT_EQ(target_port(s, s.ports[i], s.slices[0]), c.targets[i]) << i;
    forget_unused_former_ports(s);
    EXPECT_EQ(s.former_ports.empty(), c.is_followed);
}

INSTANTIATE_TEST_SUITE_P(
    table, port_names,
    testing::Values(
        name_case{"the_first_port_gets_a_name_as_a_second_is_added",
                  {{"http", tcp, 80, 8080}, {"https", tcp, 443, 8443}},
                  {{{"", tcp, 80, 8080}}},
                  {{"", tcp, 8080}},
                  {8080, std::nullopt}},
        name_case{"its_slice_follows",
                  {{"http", tcp, 80, 8080}, {"https", tcp, 443, 8443}},
                  {{{"", tcp, 80, 8080}}},
                  {{"http", tcp, 8080}, {"https", tcp, 8443}},
                  {8080, 8443},
                  true},
        name_case{"renamed_twice", {{"c", tcp, 80}}, {{{"b", tcp, 80}}, {{"a", tcp, 80}}}, {{"a", tcp, 8080}}, {8080}},
        name_case{"renamed_while_another_port_is_removed",
                  {{"web", tcp, 80}},
                  {{{"http", tcp, 80}, {"https", tcp, 443}}},
                  {{"http", tcp, 8080}, {"https", tcp, 8443}},
                  {8080}},
        name_case{"renamed_while_a_removed_port_that_slices_still_have_is_back",
                  {{"web", tcp, 80}, {"https", tcp, 443}},
                  {{{"http", tcp, 80}}},
                  {{"http", tcp, 8080}, {"https", tcp, 8443}},
                  {8080, 8443}},
        name_case{"the_slice_follows_and_still_has_ports_that_were_removed",
                  {{"web", tcp, 80}},
                  {{{"http", tcp, 80}, {"dns", udp, 53}, {"log", udp, 514}}},
                  {{"web", tcp, 8080}, {"dns", udp, 5353}, {"log", udp, 5140}},
                  {8080}},
        name_case{"the_slice_has_a_port_of_no_service",
                  {{"web", tcp, 80}},
                  {{{"http", tcp, 80}}},
                  {{"http", tcp, 8080}, {"metrics", tcp, 9090}},
                  {8080}},
        name_case{"a_former_name_is_now_another_port's",
                  {{"c", tcp, 80}, {"b", tcp, 81}},
                  {{{"b", tcp, 80}, {"a", tcp, 81}}},
                  {{"b", tcp, 8080}, {"a", tcp, 8081}},
                  {8080, 8081}},
        name_case{"exchanged_names_by_the_numbers_of_the_targets",
                  {{"b", tcp, 80, 8080}, {"a", tcp, 81, 8081}},
                  {{{"a", tcp, 80, 8080}, {"b", tcp, 81, 8081}}},
                  {{"a", tcp, 8080}, {"b", tcp, 8081}},
                  {8080, 8081}},
        name_case{"exchanged_names_and_the_slice_follows",
                  {{"b", tcp, 80, 8080}, {"a", tcp, 81, 8081}},
                  {{{"a", tcp, 80, 8080}, {"b", tcp, 81, 8081}}},
                  {{"b", tcp, 8080}, {"a", tcp, 8081}},
                  {8080, 8081},
                  true},
        name_case{"exchanged_names_of_named_targets_reject_nothing",
                  {{"b", tcp, 80}, {"a", tcp, 81}},
                  {{{"a", tcp, 80}, {"b", tcp, 81}}},
                  {{"a", tcp, 8080}, {"b", tcp, 8081}},
                  {8081, 8080},
                  true},
        name_case{"protocols_are_apart",
                  {{"dns", udp, 53}, {"dns-tcp", tcp, 53}},
                  {{{"a", udp, 53}, {"b", tcp, 53}}},
                  {{"a", udp, 5353}, {"b", tcp, 5354}},
                  {5353, 5354}},
        name_case{"a_slice_of_pods_without_the_port_lends_it_no_other",
                  {{"c", tcp, 80, 8080}, {"b", tcp, 81, 8081}},
                  {{{"b", tcp, 80, 8080}}},
                  {{"b", tcp, 8081}},
                  {std::nullopt, 8081},
                  true}),
    [](auto const& one) {
        std::string name{one.param.name};
        std::erase(name, '\'');
        return name;
    });

TEST(former_ports, are_remembered_when_a_name_changes_and_then_only) {
    service_configuration before;
    before.ports = {{"a", tcp, 80, 8080}, {"b", tcp, 81}};
    EXPECT_TRUE(former_ports_after(before, {{"b", tcp, 81}, {"a", tcp, 80, 9090}, {"c", udp, 80}}).empty());
    ports const renamed{{"x", tcp, 80, 8080}, {"b", tcp, 81}};
    before.former_ports = former_ports_after(before, renamed);
    EXPECT_EQ(before.former_ports, (std::vector<ports>{before.ports}));
    before.ports = renamed;
    EXPECT_EQ(former_ports_after(before, renamed), before.former_ports) << "another change of the Service forgets none";
    for (int i = 0; i < 20; ++i) {
        ports const next{{"n" + std::to_string(i), tcp, 80}};
        before.former_ports = former_ports_after(before, next);
        before.ports = next;
    }
    EXPECT_EQ(before.former_ports.size(), max_former_ports);
}

TEST(topology_pool, gives_equal_ones_the_same_memory_and_forgets_those_of_nobody) {
    topology_pool pool;
    endpoint_topology const on_a{.node = "a", .for_zones = {"z1"}};
    auto const one = pool.find_or_add(on_a);
    EXPECT_EQ(pool.find_or_add(on_a).operator->(), one.operator->());
    EXPECT_EQ(one, shared_topology{on_a}) << "compared by value";
    EXPECT_EQ(pool.find_or_add({}), shared_topology{});
    for (int i = 0; i < 10'000; ++i) static_cast<void>(pool.find_or_add({.node = "n" + std::to_string(i)}));
    EXPECT_LE(pool.size(), 128u);
    EXPECT_EQ(pool.find_or_add(on_a).operator->(), one.operator->());
    EXPECT_LE(sizeof(endpoint), 32u) << "a cluster has 100,000 of them";
}

} // namespace
} // namespace kubeproxy::endpoints_tests
