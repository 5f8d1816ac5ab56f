#include "kubeproxy/control/compile/compiler.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::compile_tests {
namespace {

constexpr std::uint8_t tcp = 6, udp = 17, sctp = 132;

service_address at(std::string_view where, service_address_kind kind = service_address_kind::cluster_ip) {
    return {*parse_prefix(where), kind};
}

endpoint pod(std::string_view address) { return {.address = *parse_address(address)}; }

service_configuration service(std::string name, std::vector<service_address> addresses,
                              std::vector<endpoint> endpoints) {
    service_configuration s{.name = std::move(name), .addresses = std::move(addresses)};
    s.ports.push_back({.name = "http", .protocol = service_protocol::tcp, .port = 80});
    s.slices.push_back(
        {.name = "s1", .ports = {{"http", service_protocol::tcp, 8080}}, .endpoints = std::move(endpoints)});
    return s;
}

/// A configuration, its compiler, and what was compiled last.
struct cluster {
    valid_configuration configuration;
    compiler compiled;
    std::unique_ptr<snapshot const> now;

    void put(service_configuration s) {
        auto const wrong = configuration.put(std::move(s));
        ASSERT_FALSE(wrong) << wrong->text();
    }
    void set_node(node_configuration node) {
        auto const wrong = configuration.set_node(std::move(node));
        ASSERT_FALSE(wrong) << wrong->text();
    }
    void compile() { now = compiled.compile(configuration); }

    template <ip_version V>
    [[nodiscard]] frontend<V> const* find(std::string_view address, std::uint16_t port, std::uint8_t protocol) const {
        return now->frontends<V>().find(*parse_address<V>(address), port, protocol);
    }
    /// \pre there is a service there
    [[nodiscard]] service_entry const& entry(std::string_view address, std::uint16_t port = 80) const {
        return now->service_at(find<ipv4>(address, port, tcp)->service);
    }
};

std::vector<std::string> backends_of(snapshot const& s, std::shared_ptr<endpoint_ring const> const& ring) {
    std::vector<std::string> names;
    if (ring)
        for (auto const place : ring->backends)
            names.push_back(to_text(ip_address{s.backend_at(place).address_as<ipv4>()}, s.backend_at(place).port));
    std::ranges::sort(names);
    return names;
}

using names = std::vector<std::string>;

TEST(compile, frontends_of_a_service_from_kubernetes) { // DESIGN section 4, "Services" and "Policy"
    cluster c;
    c.set_node({.addresses = {*parse_address("127.0.0.1"), *parse_address("192.0.2.1"), *parse_address("192.0.2.2")},
                .service_ranges = {*parse_prefix("10.96.0.0/16")}});
    auto s = service("default/web",
                     {at("10.96.0.1"), at("198.51.100.1", service_address_kind::load_balancer_ip),
                      at("203.0.113.1", service_address_kind::external_ip)},
                     {pod("10.244.0.1")});
    s.ports[0].node_port = 30080;
    c.put(s);
    c.compile();

    using enum frontend_kind;
    struct row {
        std::string_view to;
        std::uint16_t port;
        std::uint8_t protocol;
        frontend_kind kind;
    };
    for (auto const& r : {row{"10.96.0.1", 80, tcp, cluster_ip}, row{"198.51.100.1", 80, tcp, external},
                          row{"203.0.113.1", 80, tcp, external}, row{"192.0.2.1", 30080, tcp, external},
                          row{"10.96.0.1", 81, tcp, reject_others}, row{"10.96.0.1", 80, udp, reject_others},
                          row{"10.96.0.2", 80, tcp, drop_others}}) {
        auto const* found = c.find<ipv4>(r.to, r.port, r.protocol);
        ASSERT_NE(found, nullptr) << r.to << ' ' << r.port;
        EXPECT_EQ(found->kind, r.kind) << r.to << ' ' << r.port;
        if (r.kind == cluster_ip || r.kind == external)
            EXPECT_EQ(*c.now->service_at(found->service).name, "default/web:http");
        else
            EXPECT_EQ(found->service, no_service);
    }
    EXPECT_EQ(c.find<ipv4>("192.0.2.2", 30080, tcp), nullptr) << "node ports are on the primary address by default";
    EXPECT_EQ(c.find<ipv4>("127.0.0.1", 30080, tcp), nullptr);
    EXPECT_EQ(c.find<ipv4>("192.0.2.1", 80, tcp), nullptr);
    EXPECT_EQ(c.find<ipv4>("198.51.100.1", 81, tcp), nullptr) << "only cluster IPs reject other ports";
}

TEST(compile, node_ports_are_where_the_node_says) {
    cluster c;
    node_configuration node{.addresses = {*parse_address("192.0.2.1"), *parse_address("198.51.100.1"),
                                          *parse_address("127.0.0.1"), *parse_address("2001:db8::1")}};
    node.node_port_addresses = std::vector{*parse_prefix("198.51.100.0/24"), *parse_prefix("127.0.0.0/8")};
    c.set_node(node);
    auto s = service("default/web", {at("10.96.0.1"), at("2001:db8:96::1")}, {});
    s.ports[0].node_port = 30080;
    c.put(s);
    c.compile();
    EXPECT_EQ(c.find<ipv4>("192.0.2.1", 30080, tcp), nullptr);
    EXPECT_NE(c.find<ipv4>("198.51.100.1", 30080, tcp), nullptr);
    EXPECT_EQ(c.find<ipv4>("127.0.0.1", 30080, tcp), nullptr) << "kube-proxy's nftables mode: never on loopback";
    EXPECT_NE(c.find<ipv6>("2001:db8::1", 30080, tcp), nullptr) << "no IPv6 range is named: kube-proxy takes ::/0";

    node.node_port_addresses.reset();
    c.set_node(node);
    c.compile();
    EXPECT_NE(c.find<ipv4>("192.0.2.1", 30080, tcp), nullptr) << "a changed node is compiled";
    EXPECT_NE(c.find<ipv6>("2001:db8::1", 30080, tcp), nullptr);
    EXPECT_EQ(c.now->excluded_ports_first, 30080);
    EXPECT_EQ(c.now->excluded_ports_last, 30080);
}

TEST(compile, a_vip_rejects_and_drops_nothing_beside_its_ports) { // DESIGN section 5
    cluster c;
    auto s = service("90.0.0.0/8:80", {at("90.0.0.0/8", service_address_kind::vip)}, {});
    c.put(s);
    c.compile();
    EXPECT_EQ(c.find<ipv4>("90.1.2.3", 80, tcp)->kind, frontend_kind::cluster_ip);
    EXPECT_EQ(c.find<ipv4>("90.1.2.3", 81, tcp), nullptr);
    EXPECT_EQ(c.find<ipv4>("90.1.2.3", 80, udp), nullptr);
}

TEST(compile, a_port_without_protocol_serves_tcp_and_udp_and_no_port_everything) { // DESIGN section 5
    cluster c;
    auto s = service("a", {at("90.0.0.0/8", service_address_kind::vip)}, {});
    s.ports[0] = {.protocol = service_protocol::any, .port = 80};
    c.put(s);
    s.name = "b";
    s.addresses = {at("91.0.0.0/8", service_address_kind::vip)};
    s.ports[0] = {};
    c.put(s);
    c.compile();
    EXPECT_NE(c.find<ipv4>("90.0.0.1", 80, tcp), nullptr);
    EXPECT_EQ(c.find<ipv4>("90.0.0.1", 80, tcp)->service, c.find<ipv4>("90.0.0.1", 80, udp)->service);
    EXPECT_EQ(c.find<ipv4>("90.0.0.1", 80, sctp), nullptr);
    for (std::uint8_t const protocol : {tcp, udp, sctp, std::uint8_t{1}, std::uint8_t{47}})
        EXPECT_NE(c.find<ipv4>("91.0.0.1", 7, protocol), nullptr) << int{protocol};
}

TEST(compile, source_ranges_guard_load_balancer_ips_only) { // conformance: load-balancer-source-ranges.json
    cluster c;
    c.set_node({.addresses = {*parse_address("192.0.2.1")}});
    auto s = service("default/web",
                     {at("10.96.0.1"), at("198.51.100.1", service_address_kind::load_balancer_ip),
                      at("203.0.113.1", service_address_kind::external_ip)},
                     {pod("10.244.0.1")});
    s.ports[0].node_port = 30080;
    s.source_ranges = {*parse_prefix("203.0.113.0/25"), *parse_prefix("2001:db8::/32")};
    c.put(s);
    c.compile();
    EXPECT_EQ(c.entry("198.51.100.1").sources->of_ipv4, std::vector{*parse_prefix<ipv4>("203.0.113.0/25")});
    EXPECT_EQ(c.entry("198.51.100.1").sources->of_ipv6, std::vector{*parse_prefix<ipv6>("2001:db8::/32")});
    c.set_node({.addresses = {*parse_address("203.0.113.7")}});
    c.compile();
    EXPECT_EQ(c.entry("198.51.100.1").sources->of_ipv4,
              (std::vector{*parse_prefix<ipv4>("203.0.113.0/25"), *parse_prefix<ipv4>("198.51.100.1")}))
        << "a node that may come in may do so from the address itself";
    c.set_node({.addresses = {*parse_address("192.0.2.1")}});
    c.compile();
    auto const& guarded = c.entry("198.51.100.1");
    for (auto const* open : {&c.entry("10.96.0.1"), &c.entry("203.0.113.1"), &c.entry("192.0.2.1", 30080)}) {
        EXPECT_EQ(open->sources, nullptr);
        EXPECT_EQ(open->everywhere, guarded.everywhere);
        EXPECT_EQ(open->affinity_group, guarded.affinity_group);
        EXPECT_EQ(*open->name, *guarded.name);
    }
    s.source_ranges.clear();
    c.put(s);
    c.compile();
    EXPECT_EQ(&c.entry("198.51.100.1"), &c.entry("10.96.0.1"));
}

TEST(compile, clients_of_each_version_meet_their_own_endpoints) {
    cluster c;
    c.put(service("default/web", {at("10.96.0.1"), at("2001:db8:96::1")}, {pod("10.244.0.1"), pod("2001:db8:244::1")}));
    c.compile();
    auto const& for4 = c.entry("10.96.0.1");
    auto const& for6 = c.now->service_at(c.find<ipv6>("2001:db8:96::1", 80, tcp)->service);
    EXPECT_EQ(for4.pod_version, 4);
    EXPECT_EQ(for6.pod_version, 6);
    EXPECT_EQ(backends_of(*c.now, for4.everywhere), (names{"10.244.0.1:8080"}));
    ASSERT_EQ(for6.everywhere->backends.size(), 1u);
    EXPECT_EQ(c.now->backend_at(for6.everywhere->backends[0]).address, parse_address<ipv6>("2001:db8:244::1"));
}

TEST(compile, target_ports_by_name_and_protocol_slice_by_slice) {
    cluster c;
    auto s = service("default/dns", {at("10.96.0.10")}, {pod("10.244.0.1")});
    s.ports = {{.name = "dns", .protocol = service_protocol::udp, .port = 53},
               {.name = "dns-tcp", .protocol = service_protocol::tcp, .port = 53}};
    s.slices = {{.name = "a",
                 .ports = {{"dns", service_protocol::udp, 5353}, {"dns-tcp", service_protocol::tcp, 5354}},
                 .endpoints = {pod("10.244.0.1")}},
                {.name = "b", .ports = {{"dns-tcp", service_protocol::tcp, 6354}}, .endpoints = {pod("10.244.0.2")}},
                {.name = "c", .ports = {{"dns", service_protocol::tcp, 7}}, .endpoints = {pod("10.244.0.3")}}};
    c.put(s);
    c.compile();
    EXPECT_EQ(backends_of(*c.now, c.entry("10.96.0.10", 53).everywhere), (names{"10.244.0.1:5354", "10.244.0.2:6354"}));
    auto const& over_udp = c.now->service_at(c.find<ipv4>("10.96.0.10", 53, udp)->service);
    EXPECT_EQ(backends_of(*c.now, over_udp.everywhere), (names{"10.244.0.1:5353"}));
}

endpoint in_state(std::string_view address, bool ready, bool serving, bool terminating, bool here = false) {
    auto e = pod(address);
    e.ready = ready;
    e.serving = serving;
    e.terminating = terminating;
    if (here) e.topology = shared_topology{{.node = "here"}};
    return e;
}

TEST(compile, usable_are_ready_endpoints_else_those_that_serve_while_they_terminate) { // KEP-1669
    cluster c;
    c.set_node({.name = "here"});
    auto const ready = in_state("10.244.0.1", true, true, false);
    auto const leaving = in_state("10.244.0.2", false, true, true, true);
    auto const gone = in_state("10.244.0.3", false, false, true);
    auto const starting = in_state("10.244.0.4", false, false, false);
    c.put(service("all", {at("10.96.0.1")}, {ready, leaving, gone, starting}));
    c.put(service("none ready", {at("10.96.0.2")}, {leaving, gone, starting}));
    c.put(service("none usable", {at("10.96.0.3")}, {gone, starting}));
    c.compile();
    EXPECT_EQ(backends_of(*c.now, c.entry("10.96.0.1").everywhere), (names{"10.244.0.1:8080"}));
    EXPECT_EQ(backends_of(*c.now, c.entry("10.96.0.1").local), (names{"10.244.0.2:8080"}));
    EXPECT_EQ(backends_of(*c.now, c.entry("10.96.0.2").everywhere), (names{"10.244.0.2:8080"}));
    EXPECT_EQ(c.entry("10.96.0.3").everywhere, nullptr);
    EXPECT_EQ(c.entry("10.96.0.3").local, nullptr);
    // Known flows keep endpoints that new ones may not use.
    EXPECT_EQ(std::ranges::count_if(c.now->status, &backend_status::in_use), 9);
    EXPECT_EQ(std::ranges::count_if(c.now->status, &backend_status::terminating), 5);
}

TEST(compile, one_ring_where_all_endpoints_are_here_and_one_for_equal_endpoints) {
    cluster c;
    c.set_node({.name = "here"});
    c.put(service("a", {at("10.96.0.1")}, {in_state("10.244.0.1", true, true, false, true), pod("10.244.0.2")}));
    c.put(service("b", {at("10.96.0.2")}, {pod("10.244.0.2"), pod("10.244.0.1")}));
    c.put(service("c", {at("10.96.0.3")}, {in_state("10.244.0.1", true, true, false, true)}));
    c.compile();
    EXPECT_EQ(c.entry("10.96.0.1").everywhere->entries, c.entry("10.96.0.2").everywhere->entries);
    EXPECT_EQ(c.entry("10.96.0.3").everywhere, c.entry("10.96.0.3").local);
    EXPECT_EQ(c.entry("10.96.0.1").local->entries, c.entry("10.96.0.3").local->entries);
    EXPECT_EQ(c.compiled.rings().alive(), 2u);
}

TEST(compile, weights_share_the_ring_and_weight_0_has_no_part) {
    cluster c;
    auto heavy = pod("10.244.0.1"), light = pod("10.244.0.2"), drained = pod("10.244.0.3");
    heavy.weight = 3;
    drained.weight = 0;
    c.put(service("a", {at("10.96.0.1")}, {heavy, light, drained}));
    c.put(service("b", {at("10.96.0.2")}, {drained}));
    c.compile();
    auto const& ring = *c.entry("10.96.0.1").everywhere;
    std::map<std::string, double> share;
    for (auto const position : *ring.entries)
        share[to_text(ip_address{c.now->backend_at(ring.backends[position]).address_as<ipv4>()})] +=
            1.0 / static_cast<double>(ring.entries->size());
    EXPECT_NEAR(share["10.244.0.1"], 0.75, 0.01);
    EXPECT_NEAR(share["10.244.0.2"], 0.25, 0.01);
    EXPECT_EQ(share.size(), 2u);
    EXPECT_EQ(c.entry("10.96.0.2").everywhere, nullptr);
    EXPECT_EQ(std::ranges::count_if(c.now->status, &backend_status::in_use), 4) << "drained ones keep their flows";
}

TEST(compile, ring_size_is_at_least_what_is_asked_for) {
    cluster c;
    auto s = service("a", {at("10.96.0.1")}, {pod("10.244.0.1"), pod("10.244.0.2")});
    c.put(s);
    c.compile();
    EXPECT_EQ(c.entry("10.96.0.1").everywhere->entries->size(), 257u);
    s.ring_size = 1024;
    c.put(s);
    c.compile();
    EXPECT_EQ(c.entry("10.96.0.1").everywhere->entries->size(), 1031u);
}

TEST(compile, the_ring_is_the_same_on_every_node_and_another_with_another_seed) {
    std::vector<endpoint> endpoints;
    for (int i = 1; i <= 10; ++i) endpoints.push_back(pod("10.244.0." + std::to_string(i)));
    auto const chosen = [](std::vector<endpoint> const& all, std::uint64_t seed) {
        cluster c{.configuration = {}, .compiled = compiler{seed}, .now = {}};
        c.put(service("other", {at("10.96.0.2")}, {pod("10.244.9.9")}));
        c.put(service("a", {at("10.96.0.1")}, all));
        c.compile();
        auto const& ring = *c.entry("10.96.0.1").everywhere;
        std::vector<std::string> result;
        for (auto const position : *ring.entries)
            result.push_back(to_text(ip_address{c.now->backend_at(ring.backends[position]).address_as<ipv4>()}));
        return result;
    };
    auto const expected = chosen(endpoints, 1);
    std::ranges::reverse(endpoints);
    EXPECT_EQ(chosen(endpoints, 1), expected);
    EXPECT_NE(chosen(endpoints, 2), expected);
}

TEST(compile, sources_of_translated_flows) { // DESIGN section 5
    struct row {
        std::string_view name;
        node_configuration node;
        std::string_view first4, last4, source6;
    };
    node_configuration const with_addresses{.addresses = {*parse_address("127.0.0.1"), *parse_address("192.0.2.7"),
                                                          *parse_address("192.0.2.8"), *parse_address("::1"),
                                                          *parse_address("2001:db8::7")}};
    auto with_pool = with_addresses;
    with_pool.snat4 = ipv4_range{*parse_address<ipv4>("198.51.100.1"), *parse_address<ipv4>("198.51.100.9")};
    with_pool.snat6 = parse_address<ipv6>("2001:db8::99");
    node_configuration other_prefix;
    other_prefix.nat64_prefix = *parse_prefix<ipv6>("64:ff9b::/96");
    for (auto const& r : {row{"nothing is known", {}, "198.18.0.1", "198.18.0.1", "64:ff9b:1::c612:1"},
                          row{"another prefix", other_prefix, "198.18.0.1", "198.18.0.1", "64:ff9b::c612:1"},
                          row{"the node's", with_addresses, "192.0.2.7", "192.0.2.7", "2001:db8::7"},
                          row{"a pool", with_pool, "198.51.100.1", "198.51.100.9", "2001:db8::99"}}) {
        cluster c;
        c.set_node(r.node);
        c.compile();
        EXPECT_EQ(c.now->node4.pool_first, parse_address<ipv4>(r.first4)) << r.name;
        EXPECT_EQ(c.now->node4.pool_last, parse_address<ipv4>(r.last4)) << r.name;
        EXPECT_EQ(c.now->node6.pool_first, parse_address<ipv6>(r.source6)) << r.name;
        EXPECT_EQ(c.now->node6.pool_last, parse_address<ipv6>(r.source6)) << r.name;
        EXPECT_EQ(c.now->nat64_prefix, r.node.nat64_prefix) << r.name;
    }
}

TEST(compile, affinity_and_policies_reach_every_port_of_a_service) {
    cluster c;
    auto s = service("default/web", {at("10.96.0.1")}, {pod("10.244.0.1")});
    s.ports.push_back({.name = "https", .protocol = service_protocol::tcp, .port = 443});
    s.affinity_seconds = 10800;
    s.external_policy = traffic_policy::local;
    s.lifetimes.emplace().icmp = std::chrono::seconds{7};
    c.put(s);
    c.put(service("default/other", {at("10.96.0.2")}, {}));
    c.compile();
    for (auto const port : {std::uint16_t{80}, std::uint16_t{443}}) {
        auto const& entry = c.entry("10.96.0.1", port);
        EXPECT_EQ(entry.affinity_seconds, 10800u);
        EXPECT_EQ(entry.affinity_group, c.entry("10.96.0.1").affinity_group);
        EXPECT_EQ(entry.internal, traffic_policy::cluster);
        EXPECT_EQ(entry.external, traffic_policy::local);
        EXPECT_EQ(entry.lifetimes->icmp, std::chrono::seconds{7});
        EXPECT_EQ(c.now->lifetimes_of(c.find<ipv4>("10.96.0.1", 80, tcp)->service).icmp, std::chrono::seconds{7});
    }
    EXPECT_NE(c.entry("10.96.0.2").affinity_group, c.entry("10.96.0.1").affinity_group);
    EXPECT_EQ(c.entry("10.96.0.2").lifetimes, nullptr);
}

/// Place and generation by endpoint, of one service.
std::map<std::string, std::pair<std::uint32_t, std::uint16_t>> places(snapshot const& s, std::uint32_t service) {
    std::map<std::string, std::pair<std::uint32_t, std::uint16_t>> found;
    for (std::uint32_t i = 0; i < s.backends.size(); ++i)
        if (s.status_of(i).in_use && s.backend_at(i).service == service)
            found[to_text(ip_address{s.backend_at(i).address_as<ipv4>()}, s.backend_at(i).port)] = {
                i, s.status_of(i).generation};
    return found;
}

TEST(compile, endpoints_keep_their_places_while_others_come_and_go) {
    cluster c;
    c.put(service("a", {at("10.96.0.1")}, {pod("10.244.0.1"), pod("10.244.0.2"), pod("10.244.0.3")}));
    c.compile();
    auto const first = std::move(c.now);
    auto const index = first->frontends4.find(*parse_address<ipv4>("10.96.0.1"), 80, tcp)->service;
    auto const before = places(*first, index);

    c.put(service("a", {at("10.96.0.1")}, {pod("10.244.0.4"), pod("10.244.0.3"), pod("10.244.0.1")}));
    c.compile();
    EXPECT_EQ(c.find<ipv4>("10.96.0.1", 80, tcp)->service, index);
    auto const after = places(*c.now, index);
    EXPECT_EQ(after.at("10.244.0.1:8080"), before.at("10.244.0.1:8080"));
    EXPECT_EQ(after.at("10.244.0.3:8080"), before.at("10.244.0.3:8080"));
    auto const [gone, generation] = before.at("10.244.0.2:8080");
    EXPECT_FALSE(c.now->is_current(gone, generation));
    EXPECT_NE(after.at("10.244.0.4:8080").first, gone) << "not in the snapshot that takes it away";
    EXPECT_TRUE(first->is_current(gone, generation)) << "a snapshot does not change";

    c.put(service("a", {at("10.96.0.1")}, {in_state("10.244.0.1", false, true, true)}));
    c.compile();
    EXPECT_EQ(places(*c.now, index).at("10.244.0.1:8080"), before.at("10.244.0.1:8080")) << "readiness moves nothing";
    EXPECT_TRUE(c.now->status_of(before.at("10.244.0.1:8080").first).terminating);
    c.put(service("a", {at("10.96.0.1")}, {pod("10.244.0.2"), pod("10.244.0.3")}));
    c.compile();
    auto const [back, generation_back] = places(*c.now, index).at("10.244.0.2:8080");
    EXPECT_EQ(back, before.at("10.244.0.2:8080").first) << "it came back in time";
    EXPECT_EQ(generation_back >> 8, generation >> 8) << "the same life: only asked where it belongs once more";
}

TEST(compile, a_service_that_comes_back_has_other_backends) {
    cluster c;
    c.put(service("a", {at("10.96.0.1")}, {pod("10.244.0.1")}));
    c.compile();
    auto const [place, generation] = places(*c.now, c.find<ipv4>("10.96.0.1", 80, tcp)->service).begin()->second;
    c.configuration.remove("a");
    c.compile();
    EXPECT_EQ(c.find<ipv4>("10.96.0.1", 80, tcp), nullptr);
    EXPECT_FALSE(c.now->is_current(place, generation));
    c.put(service("a", {at("10.96.0.1")}, {pod("10.244.0.1")}));
    c.compile();
    EXPECT_FALSE(c.now->is_current(place, generation));
    EXPECT_EQ(backends_of(*c.now, c.entry("10.96.0.1").everywhere), (names{"10.244.0.1:8080"}));
}

// Cluster IPs do not change; a Service with another one was deleted and created again (core/v1 ServiceSpec).
TEST(compile, a_service_with_another_cluster_ip_has_other_backends) {
    cluster c;
    auto const place = [&](std::string_view address) { return c.entry(address).everywhere->backends.at(0); };
    c.put(service("default/web", {at("10.96.0.1"), at("fd00:96::1")}, {pod("10.244.0.1")}));
    c.compile();
    auto const first = place("10.96.0.1");
    c.put(service("default/web", {at("10.96.0.1"), at("203.0.113.1", service_address_kind::external_ip)},
                  {pod("10.244.0.1")}));
    c.compile();
    EXPECT_EQ(place("10.96.0.1"), first) << "what else it has does not matter";
    c.put(service("default/web", {at("10.96.0.2")}, {pod("10.244.0.1")}));
    c.compile();
    EXPECT_NE(place("10.96.0.2"), first);
}

TEST(compile, a_freed_slot_with_another_service_shares_nothing_with_the_former) {
    cluster c;
    c.put(service("a", {at("10.96.0.1")}, {pod("10.244.0.1")}));
    c.compile();
    auto const [place, generation] = places(*c.now, c.find<ipv4>("10.96.0.1", 80, tcp)->service).begin()->second;
    auto const group = c.entry("10.96.0.1").affinity_group;
    c.configuration.remove("a");
    c.put(service("b", {at("10.96.0.1")}, {pod("10.244.0.1")}));
    c.compile();
    EXPECT_FALSE(c.now->is_current(place, generation));
    EXPECT_NE(c.entry("10.96.0.1").affinity_group, group);
}

TEST(compile, what_does_not_change_is_not_compiled) {
    cluster c;
    c.put(service("a", {at("10.96.0.1")}, {pod("10.244.0.1")}));
    c.put(service("b", {at("10.96.0.2")}, {pod("10.244.0.2")}));
    c.compile();
    auto const first = std::move(c.now);
    c.put(service("b", {at("10.96.0.2")}, {pod("10.244.0.2"), pod("10.244.0.3")}));
    c.compile();
    EXPECT_EQ(c.now->generation, first->generation + 1);
    auto const index = c.find<ipv4>("10.96.0.1", 80, tcp)->service;
    EXPECT_EQ(c.now->service_at(index).everywhere, first->service_at(index).everywhere);
    EXPECT_EQ(c.now->service_at(index).name, first->service_at(index).name);
}

/// Random changes. After each, what is in use is exactly what is configured, every endpoint that stays keeps its place
/// and generation, and no place has a generation that it had with another owner.
TEST(compile, random_histories_keep_places_apart) {
    std::mt19937 random{20};
    cluster c;
    std::map<std::pair<std::uint32_t, std::uint16_t>, std::string> owner_ever; // by place and generation
    std::map<std::string, std::pair<std::uint32_t, std::uint16_t>> before;
    for (int step = 0; step < 3000; ++step) {
        auto const number = std::to_string(random() % 5 + 1);
        if (random() % 8 == 0) {
            c.configuration.remove("s" + number);
        } else {
            std::vector<endpoint> endpoints;
            for (int i = 1; i <= 6; ++i)
                if (random() % 2 == 0) endpoints.push_back(pod("10.244." + number + '.' + std::to_string(i)));
            c.put(service("s" + number, {at("10.96.0." + number)}, std::move(endpoints)));
        }
        c.compile();
        std::map<std::string, std::pair<std::uint32_t, std::uint16_t>> after;
        for (auto const& s : c.configuration.services()) {
            if (!s) continue;
            auto const& where = std::get<prefix<ipv4>>(s->addresses[0].where).address;
            auto const index = c.now->frontends4.find(where, 80, tcp)->service;
            auto const found = places(*c.now, index);
            ASSERT_EQ(found.size(), s->slices[0].endpoints.size());
            for (auto const& e : s->slices[0].endpoints) {
                auto const name = to_text(e.address, 8080);
                ASSERT_TRUE(found.contains(name));
                after[name] = found.at(name);
                auto const [known, is_new] = owner_ever.try_emplace(found.at(name), name);
                ASSERT_EQ(known->second, name) << "a flow of the former owner would go to the new one";
                if (auto const had = before.find(name); had != before.end()) {
                    ASSERT_EQ(had->second, found.at(name));
                }
            }
        }
        ASSERT_EQ(static_cast<std::size_t>(std::ranges::count_if(c.now->status, &backend_status::in_use)),
                  after.size());
        before = std::move(after);
    }
    EXPECT_LT(c.now->backends.size(), 512u) << "places are used again";
}

} // namespace
} // namespace kubeproxy::compile_tests
