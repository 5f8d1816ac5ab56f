#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

// Several nodes behind one router that spreads flows by their hash (ECMP, RFC 2992). The nodes share a configuration
// and the ring's seed, and tell each other nothing.

namespace kubeproxy::many_nodes_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using testing_support::settled;
using testing_support::testbed;
using namespace std::chrono_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_instrumented = true;
#elif defined(__has_feature)
constexpr bool is_instrumented = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool is_instrumented = false;
#endif
constexpr std::size_t flow_count = is_instrumented ? 10'000 : 100'000;
constexpr std::size_t node_count = 5;
constexpr unsigned syn = 0x02, ack = 0x10;

std::string client_of(std::size_t flow) { return "198.51.100." + std::to_string(1 + flow % 250); }
unsigned port_of(std::size_t flow) { return 1024 + static_cast<unsigned>(flow / 250); }

/// The packets of all flows to 10.96.0.1:80, made once.
std::vector<octets> const& packets_with(unsigned flags) {
    auto const make = [](unsigned f) {
        std::vector<octets> all;
        for (std::size_t flow = 0; flow < flow_count; ++flow)
            all.push_back(bytes_of({.source = client_of(flow),
                                    .destination = "10.96.0.1",
                                    .protocol = 6,
                                    .message = seed::tcp({}, f, port_of(flow), 80)}));
        return all;
    };
    static auto const opening = make(syn), later = make(ack);
    return flags == syn ? opening : later;
}

/// `count` of the values, in an order that depends on the node.
template <class T>
std::vector<T> shuffled(std::vector<T> values, std::size_t node) {
    std::mt19937 random{static_cast<std::mt19937::result_type>(node)};
    std::ranges::shuffle(values, random);
    return values;
}

std::string pod(std::size_t i) { return "10.244." + std::to_string(i / 8) + '.' + std::to_string(1 + i % 8); }

/// Three services, the first of 50 pods; lines and pods in the node's own order.
std::string configuration_of(std::size_t node) {
    auto const service = [node](std::string const& vip, std::size_t first, std::size_t pods) {
        std::vector<std::string> names;
        for (std::size_t i = 0; i < pods; ++i) names.push_back(pod(first + i) + (i % 7 == 3 ? " weight 2" : ""));
        std::string text = "ku vip " + vip + " port 80 protocol tcp target_port 8080\n";
        for (auto const& name : shuffled(names, node))
            text.append("ku pod ").append(vip).append(" ").append(name) += '\n';
        return text;
    };
    std::string text;
    for (auto const& lines : shuffled<std::string>(
             {service("10.96.0.1/32", 0, 50), service("10.96.0.2/32", 60, 3), service("10.96.0.3/32", 0, 17)}, node))
        text += lines;
    return text;
}

std::unique_ptr<testbed> make_node(std::size_t node) {
    return std::make_unique<testbed>(configuration_of(node), proxy_settings{},
                                     flow_table_size{.narrow = 2 * flow_count, .wide = 64}, secret{1000 + node});
}

/// The IPv4 address that each entry of a service's ring leads to.
std::vector<ipv4::address> ring_of(testbed& node, std::string_view service) {
    auto const& services = *node.control().current();
    for (auto const& entry : services.services) {
        if (!entry.name || *entry.name != service) continue;
        std::vector<ipv4::address> ring;
        for (auto const position : *entry.everywhere->entries)
            ring.push_back(services.backend_at(entry.everywhere->backends[position]).address_as<ipv4>());
        return ring;
    }
    ADD_FAILURE() << "no service " << service;
    return {};
}

/// The share of entries that are not the same.
double difference(std::vector<ipv4::address> const& a, std::vector<ipv4::address> const& b) {
    EXPECT_EQ(a.size(), b.size());
    auto const same = std::transform_reduce(a.begin(), a.end(), b.begin(), std::size_t{0}, std::plus{},
                                            [](auto const& x, auto const& y) { return std::size_t{x == y}; });
    return 1 - static_cast<double>(same) / static_cast<double>(a.size());
}

/// What became of each flow's packet.
struct journey {
    std::vector<octets> pods; ///< where it went; empty: nowhere
    std::size_t unknown = 0;  ///< packets on nodes that had not seen their flow
};

class fleet {
  public:
    fleet() {
        for (std::size_t i = 0; i < node_count; ++i) nodes_.push_back(make_node(i));
    }
    void lose(std::size_t node) { nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(node)); }
    void add(std::unique_ptr<testbed> node) { nodes_.push_back(std::move(node)); }
    void configure(std::string const& ku) {
        for (auto const& node : nodes_) node->configure(ku);
    }
    testbed& node(std::size_t i) { return *nodes_[i]; }

    /// One packet of each flow, each to the node that the router chooses.
    journey send(unsigned flags) {
        journey all{.pods = std::vector<octets>(flow_count)};
        std::vector<std::vector<std::size_t>> flows_of(nodes_.size());
        for (std::size_t flow = 0; flow < flow_count; ++flow) flows_of[next_hop(flow)].push_back(flow);
        for (std::size_t i = 0; i < nodes_.size(); ++i) send(*nodes_[i], flows_of[i], flags, all);
        return all;
    }

  private:
    /// Modulo the nodes that are there: when one comes or goes most flows change their node.
    [[nodiscard]] std::size_t next_hop(std::size_t flow) const {
        return (flow * 0x9e3779b97f4a7c15u >> 32) % nodes_.size(); // Knuth, TAOCP volume 3, section 6.4
    }
    static void send(testbed& node, std::vector<std::size_t> const& flows, unsigned flags, journey& all) {
        std::vector<octets> packets;
        for (auto const flow : flows) packets.push_back(packets_with(flags)[flow]);
        auto const results = node.send(packets, 1s);
        ASSERT_EQ(results.size(), flows.size());
        for (std::size_t i = 0; i < flows.size(); ++i) {
            auto const& r = results[i];
            all.unknown += r.what.relation == flow_relation::fresh ? 1 : 0;
            if (r.what.what == verdict::forward())
                all.pods[flows[i]].assign(r.bytes.begin() + 16, r.bytes.begin() + 20);
        }
    }

    std::vector<std::unique_ptr<testbed>> nodes_;
};

/// Flows that reached a pod both times, and not the same one.
std::vector<std::size_t> moved(journey const& before, journey const& after) {
    std::vector<std::size_t> flows;
    for (std::size_t flow = 0; flow < flow_count; ++flow)
        if (!before.pods[flow].empty() && !after.pods[flow].empty() && before.pods[flow] != after.pods[flow])
            flows.push_back(flow);
    return flows;
}
double share_of(std::size_t flows) { return static_cast<double>(flows) / static_cast<double>(flow_count); }

/// Five standard deviations of a share of `flow_count` samples.
double tolerance(double share) { return 5 * std::sqrt(share * (1 - share) / static_cast<double>(flow_count)); }

/// Where the flows would go on a node that knows none of them.
journey by_the_ring(std::string const& ku) {
    fleet strangers;
    strangers.configure(ku);
    return strangers.send(ack);
}

TEST(many_nodes, hold_the_same_ring_whatever_the_order_of_their_configuration) {
    fleet nodes;
    for (std::string const service : {"10.96.0.1/32:80/tcp", "10.96.0.2/32:80/tcp", "10.96.0.3/32:80/tcp"}) {
        auto const first = ring_of(nodes.node(0), service);
        EXPECT_GE(first.size(), 257u);
        for (std::size_t i = 1; i < node_count; ++i) EXPECT_EQ(ring_of(nodes.node(i), service), first) << service;
    }
}

TEST(many_nodes, move_no_flow_when_one_disappears_or_joins) {
    fleet nodes;
    auto const opened = nodes.send(syn);
    EXPECT_EQ(opened.unknown, flow_count);
    EXPECT_EQ(std::ranges::count(opened.pods, octets{}), 0);

    nodes.lose(2);
    auto const with_four = nodes.send(ack);
    EXPECT_GT(with_four.unknown, flow_count * 7 / 10) << "modulo moves four in five flows to another node";
    EXPECT_EQ(with_four.pods, opened.pods);

    nodes.add(make_node(7));
    auto const with_five = nodes.send(ack);
    EXPECT_GT(with_five.unknown, flow_count / 10) << "the new node knows no flow";
    EXPECT_EQ(with_five.pods, opened.pods);
}

TEST(many_nodes, move_at_most_what_the_ring_moves_while_a_backend_is_drained) {
    auto const drain = "ku pod 10.96.0.1/32 " + pod(11) + " weight 0\n";
    fleet nodes;
    auto const opened = nodes.send(syn);
    auto const ring_before = ring_of(nodes.node(0), "10.96.0.1/32:80/tcp");
    nodes.configure(drain);
    auto const ring_share = difference(ring_before, ring_of(nodes.node(0), "10.96.0.1/32:80/tcp"));
    EXPECT_GE(ring_share, 1.0 / 57) << "50 pods, of which seven weigh twice";

    auto const at_home = nodes.send(ack);
    EXPECT_EQ(at_home.unknown, 0u);
    EXPECT_EQ(at_home.pods, opened.pods) << "a node that knows the flow keeps its pod";

    nodes.lose(2);
    auto const elsewhere = nodes.send(ack);
    auto const changed = moved(opened, elsewhere);
    auto const by_ring = by_the_ring(drain);
    for (auto const flow : changed) ASSERT_EQ(elsewhere.pods[flow], by_ring.pods[flow]) << "by the ring alone";
    EXPECT_LE(share_of(changed.size()), ring_share + tolerance(ring_share));
    EXPECT_NEAR(share_of(moved(opened, by_ring).size()), ring_share, tolerance(ring_share) + 0.0002);
    std::cout << "drained 1 of 50 pods and lost 1 of 5 nodes: " << 100 * share_of(changed.size())
              << " % of flows moved; the ring's entries: " << 100 * ring_share << " %\n";
}

TEST(many_nodes, keep_the_connections_of_a_removed_backend_and_move_at_most_what_the_ring_moves) {
    auto const remove = "ku pod 10.96.0.1/32 " + pod(11) + " del\n";
    fleet nodes;
    auto const opened = nodes.send(syn);
    auto const ring_before = ring_of(nodes.node(0), "10.96.0.1/32:80/tcp");
    nodes.configure(remove);
    auto const ring_share = difference(ring_before, ring_of(nodes.node(0), "10.96.0.1/32:80/tcp"));

    auto const at_home = nodes.send(ack);
    EXPECT_EQ(at_home.pods, opened.pods) << "a node that knows the flow keeps its pod";

    nodes.lose(2);
    auto const elsewhere = nodes.send(ack);
    auto const changed = moved(opened, elsewhere);
    EXPECT_LE(share_of(changed.size()), ring_share + tolerance(ring_share));
    auto const by_ring = by_the_ring(remove);
    for (auto const flow : changed) ASSERT_EQ(elsewhere.pods[flow], by_ring.pods[flow]) << "by the ring alone";
    std::cout << "removed 1 of 50 pods and lost 1 of 5 nodes: " << 100 * share_of(changed.size())
              << " % of flows moved; the ring's entries: " << 100 * ring_share << " %\n";
}

/// A service, and the packet of its answer that some router on the way to the client could not carry.
struct error_case {
    std::string name;
    std::string ku;
    std::string client, vip, router;
    bool ring_can_tell;
};
void PrintTo(error_case const& c, std::ostream* out) { *out << c.name; }

/// RFC 792 Destination Unreachable, Fragmentation Needed; RFC 4443 Packet Too Big. About an answer of the VIP's.
octets too_big(error_case const& c, unsigned client_port) {
    auto const answer = bytes_of({.source = c.vip,
                                  .destination = c.client,
                                  .protocol = 6,
                                  .message = seed::tcp(seed::counted(64), ack, 80, client_port)});
    bool const is_ipv4 = c.vip.find(':') == std::string::npos;
    return bytes_of({.source = c.router,
                     .destination = c.vip,
                     .protocol = is_ipv4 ? 1u : 58u,
                     .message = is_ipv4 ? seed::icmp(3, 4, 1400, answer) : seed::icmp(2, 0, 1400, answer)});
}

class error_on_another_node : public testing::TestWithParam<error_case> {};

TEST_P(error_on_another_node, is_translated_where_the_ring_can_tell) {
    auto const& c = GetParam();
    testbed right{c.ku}, wrong{c.ku, {}, {4096, 4096}, secret{2}};
    for (unsigned port = 2000; port < 2200; ++port) {
        auto const opened = right.send(bytes_of(
            {.source = c.client, .destination = c.vip, .protocol = 6, .message = seed::tcp({}, syn, port, 80)}));
        ASSERT_EQ(opened.what.what, verdict::forward());
        auto const error = too_big(c, port);
        auto const there = wrong.send(error);
        if (c.ring_can_tell) {
            ASSERT_EQ(there.what.what, verdict::forward());
            ASSERT_EQ(there.what.relation, flow_relation::related);
            ASSERT_EQ(there.bytes, right.send(error).bytes) << "as the node that knows the flow";
            ASSERT_TRUE(build::transport_checksum_is_valid(there.bytes));
        } else {
            ASSERT_EQ(there.what.what, verdict::pass());
            ASSERT_EQ(there.bytes, error) << "untouched";
            ASSERT_EQ(right.send(error).what.what, verdict::forward());
        }
    }
    EXPECT_EQ(wrong.flows().counters().inserted, 0u) << "an error is no flow";
}

constexpr auto pods4 = " 10.244.1.7 10.244.1.8 10.244.2.9 10.244.3.4 10.244.3.5\n";
constexpr auto pods6 = " 2001:db8:1::7 2001:db8:1::8 2001:db8:2::9 2001:db8:3::4 2001:db8:3::5\n";

std::vector<error_case> const error_cases{
    {.name = "nat44",
     .ku = std::string{"ku vip 10.96.0.1/32 port 80 target_port 8080\nku pod 10.96.0.1/32"} + pods4,
     .client = "198.51.100.7",
     .vip = "10.96.0.1",
     .router = "203.0.113.1",
     .ring_can_tell = true},
    {.name = "nat66",
     .ku = std::string{"ku vip 2001:db8:96::1/128 port 80 target_port 8080\nku pod 2001:db8:96::1/128"} + pods6,
     .client = "2001:db8:c::7",
     .vip = "2001:db8:96::1",
     .router = "2001:db8:f::1",
     .ring_can_tell = true},
    {.name = "nat46",
     .ku = std::string{"ku vip 10.96.0.1/32 port 80 target_port 8080 nat6\nku pod 10.96.0.1/32"} + pods6,
     .client = "198.51.100.7",
     .vip = "10.96.0.1",
     .router = "203.0.113.1",
     .ring_can_tell = true},
    {.name = "nat64_whose_source_only_its_node_knows",
     .ku = std::string{"ku conf snat4 192.0.2.1\nku vip 2001:db8:96::1/128 port 80 target_port 8080 nat4\n"
                       "ku pod 2001:db8:96::1/128"} +
           pods4,
     .client = "2001:db8:c::7",
     .vip = "2001:db8:96::1",
     .router = "2001:db8:f::1",
     .ring_can_tell = false}};

INSTANTIATE_TEST_SUITE_P(table, error_on_another_node, testing::ValuesIn(error_cases),
                         [](auto const& one) { return one.param.name; });

// An error from the pods' side quotes the pod's address, of which the ring says nothing.
TEST(many_nodes, pass_an_error_from_the_pods_side_about_a_flow_of_another_node) {
    auto const& c = error_cases.front();
    testbed wrong{c.ku};
    auto const request = bytes_of(
        {.source = c.client, .destination = "10.244.1.7", .protocol = 6, .message = seed::tcp({}, ack, 2000, 8080)});
    auto const error = bytes_of(
        {.source = "10.244.0.1", .destination = c.client, .protocol = 1, .message = seed::icmp(3, 4, 1400, request)});
    auto const there = wrong.send(error);
    EXPECT_EQ(there.what.what, verdict::pass());
    EXPECT_EQ(there.bytes, error);
}

} // namespace
} // namespace kubeproxy::many_nodes_tests
