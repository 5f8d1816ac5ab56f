#include "kubeproxy/control/kubernetes/reader.hpp"

#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Edits of a Service, of its slices and of ServiceCIDR objects beside flows that are alive: these keep their backend
// and source port, byte for byte, and no packet is rejected where no endpoint was removed.

namespace kubeproxy::service_edits_tests {
namespace {

using build::conversation;
using build::segment;
using testing_support::octets;
using testing_support::testbed;
using namespace std::chrono_literals;

/// The ports of a Service as JSON, each once for TCP and once for UDP: the name, and further fields as given.
struct port {
    std::string name;
    unsigned number;
    std::string more;
};

std::string ports_text(std::vector<port> const& ports) {
    std::string all;
    for (auto const& p : ports)
        for (std::string const protocol : {"TCP", "UDP"}) {
            auto const name = p.name.empty() && protocol == "UDP" ? "udp" : p.name + (protocol == "UDP" ? "-udp" : "");
            all += (all.empty() ? "" : ",") +
                   (R"({"name":")" + name + R"(","protocol":")" + protocol + R"(","port":)") +
                   std::to_string(p.number) + p.more + '}';
        }
    return all;
}
std::string service(std::vector<port> const& ports) {
    return R"({"kind":"Service","metadata":{"namespace":"ns","name":"web"},"spec":{"clusterIP":"10.96.0.1","ports":[)" +
           ports_text(ports) + "]}}\n";
}
/// \param pods addresses, or whole endpoints
std::string slice(std::string const& name, std::vector<std::string> const& pods, std::vector<port> const& ports) {
    std::string all;
    for (auto const& p : pods)
        all += (all.empty() ? "" : ",") + (p.front() == '{' ? p : R"({"addresses":[")" + p + R"("]})");
    return R"({"kind":"EndpointSlice","metadata":{"namespace":"ns","name":")" + name +
           R"(","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[)" + all +
           R"(],"ports":[)" + ports_text(ports) + "]}\n";
}
std::string gone(std::string const& object) { return R"({"type":"DELETED","object":)" + object + "}\n"; }

/// A node with clients of a service, whose flows it checks.
class clients {
  public:
    explicit clients(std::chrono::seconds drain = 0s,
                     std::vector<ip_prefix> service_ranges = {*parse_prefix("10.96.0.0/16")}) {
        node_configuration node{.name = "here",
                                .addresses = {*parse_address("192.0.2.10")},
                                .pod_ranges = {*parse_prefix("10.244.1.0/24")},
                                .service_ranges = std::move(service_ranges)};
        if (drain != 0s) node.drain = drain;
        EXPECT_FALSE(bed_.control().configuration().set_node(node));
    }
    void feed(std::string const& text) {
        for (auto const& refused : reader_.feed(text)) ADD_FAILURE() << refused.text();
    }
    /// Flows of TCP and UDP, from outside (masqueraded), and from pods that are backends themselves.
    void connect(unsigned service_port, std::vector<unsigned> const& protocols = {6, 17}) {
        for (auto const protocol : protocols)
            for (std::string const from : {"203.0.113.7", "10.244.1.1", "10.244.1.2", "10.244.1.9"})
                for (unsigned i = 0; i < 4; ++i) open({protocol, {from, next_port_++}, {"10.96.0.1", service_port}});
    }
    /// Every flow goes on as it did, in both directions; what no Service is asked for passes.
    void check(std::string const& when) {
        now_ += 1s;
        for (auto const& f : flows_) {
            EXPECT_EQ(sent(f.in), f.towards_backend) << when << ": " << f.in.text();
            EXPECT_EQ(sent(f.out.back()), f.towards_client) << when << ": " << f.out.back().text();
        }
        for (unsigned const protocol : {6u, 17u})
            for (auto const& c : {conversation{protocol, {"10.244.1.9", 555}, {"10.244.1.1", 8080}},
                                  conversation{protocol, {"10.244.1.1", 8080}, {"10.244.1.9", 555}},
                                  conversation{protocol, {"10.244.1.1", 556}, {"10.244.1.2", 8080}}})
                EXPECT_EQ(sent(c), packet_of(c, segment::data)) << when << ": a direct connection of a pod's";
    }
    /// Every flow has the place in the snapshot where it was counted when it began.
    void check_places(std::string const& when) {
        for (auto const& f : flows_)
            EXPECT_EQ(bed_.send(packet_of(f.in, segment::data), now_).what.backend, f.place)
                << when << ": " << f.in.text();
    }
    /// Where a new flow goes, or why it goes nowhere ("none": its packet passes).
    std::string first_packet(unsigned protocol, unsigned service_port, std::string const& address = "10.96.0.1") {
        conversation const c{protocol, {"203.0.113.8", next_port_++}, {address, service_port}};
        auto const got = bed_.send(packet_of(c, protocol == 6 ? segment::open : segment::data), now_);
        if (got.what.what.what() == action::forward) return build::read(got.bytes).destination.address;
        return std::string{name(got.what.what.why())};
    }
    /// New flows to a port are forwarded.
    void check_new_flows(unsigned service_port, std::string const& when) {
        for (unsigned i = 0; i < 8; ++i)
            for (unsigned const protocol : {6u, 17u})
                EXPECT_TRUE(first_packet(protocol, service_port).starts_with("10.244.1.")) << when;
    }
    void pass(std::chrono::seconds time) {
        now_ += time;
        bed_.control().tick(now_);
    }

  private:
    struct flow {
        conversation in, out;
        octets towards_backend, towards_client; ///< whole packets
        decltype(outcome::backend) place;
    };
    octets sent(conversation const& c, segment what = segment::data) {
        return bed_.send(packet_of(c, what), now_).bytes;
    }
    void open(conversation const& in) {
        bool const is_tcp = in.protocol == 6;
        auto const out = build::read(sent(in, is_tcp ? segment::open : segment::data));
        ASSERT_TRUE(out.destination.address.starts_with("10.244.1.")) << out.text();
        if (is_tcp) sent(out.back(), segment::accept);
        auto const onwards = bed_.send(packet_of(in, segment::data), now_);
        flows_.push_back({in, out, onwards.bytes, sent(out.back()), onwards.what.backend});
    }

    testbed bed_{""};
    kubernetes_reader reader_{bed_.control()};
    std::vector<flow> flows_;
    unsigned next_port_ = 4000;
    std::chrono::nanoseconds now_ = 1s;
};

std::vector<std::string> const pods{"10.244.1.1", "10.244.1.2"};
constexpr char const* to_8080 = R"(,"targetPort":8080)";

struct edit_case {
    std::string_view name;
    std::string before;
    std::vector<std::string> events; ///< each is in force before the next
};
void PrintTo(edit_case const& c, std::ostream* out) { *out << c.name; }

class service_edits : public testing::TestWithParam<edit_case> {};

// A Service port is identified by its protocol and number (kubernetes PR#127318), and an endpoint is removed when no
// slice of its Service has its address and port.
TEST_P(service_edits, end_no_flow_and_reject_nothing) {
    clients c;
    c.feed(GetParam().before);
    c.connect(80);
    c.check("before");
    unsigned step = 0;
    for (auto const& event : GetParam().events) {
        c.feed(event);
        auto const when = "after event " + std::to_string(++step);
        c.check(when);
        c.check_new_flows(80, when);
    }
}

INSTANTIATE_TEST_SUITE_P(
    table, service_edits,
    testing::Values(
        edit_case{"the_first_port_gets_a_name_as_a_second_is_added",
                  service({{"", 80, ""}}) + slice("a", pods, {{"", 8080, ""}}),
                  {service({{"http", 80, ""}, {"https", 443, ""}}),
                   slice("a", pods, {{"http", 8080, ""}, {"https", 8443, ""}})}},
        edit_case{"the_second_port_goes_and_with_it_the_name",
                  service({{"http", 80, ""}, {"https", 443, ""}}) +
                      slice("a", pods, {{"http", 8080, ""}, {"https", 8443, ""}}),
                  {service({{"", 80, ""}}), slice("a", pods, {{"", 8080, ""}})}},
        edit_case{"a_port_is_renamed_twice_and_slices_follow_one_by_one",
                  service({{"a", 80, ""}}) + slice("a", {pods[0]}, {{"a", 8080, ""}}) +
                      slice("b", {pods[1]}, {{"a", 8080, ""}}),
                  {service({{"b", 80, ""}}), slice("a", {pods[0]}, {{"b", 8080, ""}}), service({{"c", 80, ""}}),
                   slice("b", {pods[1]}, {{"c", 8080, ""}}), slice("a", {pods[0]}, {{"c", 8080, ""}})}},
        edit_case{"slices_that_come_before_the_service", // in the other order of two watches
                  service({{"a", 80, ""}}) + slice("a", {pods[0]}, {{"a", 8080, ""}}) +
                      slice("b", {pods[1]}, {{"a", 8080, ""}}),
                  {slice("a", {pods[0]}, {{"b", 8080, ""}}), service({{"b", 80, ""}}),
                   slice("b", {pods[1]}, {{"b", 8080, ""}})}},
        edit_case{"reordered",
                  service({{"a", 80, ""}, {"b", 81, ""}}) + slice("a", pods, {{"a", 8080, ""}, {"b", 8081, ""}}),
                  {service({{"b", 81, ""}, {"a", 80, ""}}), slice("a", pods, {{"b", 8081, ""}, {"a", 8080, ""}})}},
        edit_case{"two_ports_exchange_their_names",
                  service({{"a", 80, to_8080}, {"b", 81, R"(,"targetPort":8081)"}}) +
                      slice("a", pods, {{"a", 8080, ""}, {"b", 8081, ""}}),
                  {service({{"b", 80, to_8080}, {"a", 81, R"(,"targetPort":8081)"}}),
                   slice("a", pods, {{"b", 8080, ""}, {"a", 8081, ""}})}},
        edit_case{"two_ports_of_named_targets_exchange_their_names",
                  service({{"a", 80, ""}, {"b", 81, ""}}) + slice("a", pods, {{"a", 8080, ""}, {"b", 8081, ""}}),
                  {service({{"b", 80, ""}, {"a", 81, ""}}), slice("a", pods, {{"b", 8080, ""}, {"a", 8081, ""}})}},
        edit_case{"the_target_port_gets_a_name",
                  service({{"", 80, to_8080}}) + slice("a", pods, {{"", 8080, ""}}),
                  {service({{"", 80, R"(,"targetPort":"web")"}}), slice("a", pods, {{"", 8080, ""}})}},
        edit_case{"a_node_port_and_a_policy_are_added",
                  service({{"", 80, ""}}) + slice("a", pods, {{"", 8080, ""}}),
                  {service({{"", 80, R"(,"nodePort":30080)"}})}},
        edit_case{"endpoints_move_to_another_slice",
                  service({{"", 80, ""}}) + slice("a", pods, {{"", 8080, ""}}),
                  {slice("b", pods, {{"", 8080, ""}}), slice("a", {}, {{"", 8080, ""}}),
                   gone(slice("a", {}, {{"", 8080, ""}}))}},
        edit_case{"endpoints_move_by_one_chunk",
                  service({{"", 80, ""}}) + slice("a", pods, {{"", 8080, ""}}),
                  {gone(slice("a", pods, {{"", 8080, ""}})) + slice("b", pods, {{"", 8080, ""}})}},
        edit_case{"a_slice_offers_the_endpoints_of_one_port_under_another",
                  service({{"a", 80, ""}, {"b", 81, ""}}) + slice("a", pods, {{"a", 8080, ""}, {"b", 8081, ""}}),
                  {slice("a", pods, {{"a", 8081, ""}, {"b", 8080, ""}})}},
        edit_case{"a_relist",
                  service({{"a", 80, ""}}) + slice("a", pods, {{"a", 8080, ""}}),
                  {service({{"b", 80, ""}}), slice("a", pods, {{"a", 8080, ""}}) + service({{"b", 80, ""}})}}),
    [](auto const& one) { return std::string{one.param.name}; });

TEST(service_ports, new_flows_go_to_the_port_s_own_endpoints_while_former_ones_keep_their_flows) {
    clients c;
    c.feed(service({{"a", 80, ""}}) + slice("a", pods, {{"a", 8080, ""}}));
    c.connect(80);
    c.feed(slice("a", pods, {{"other", 8080, ""}}) + slice("b", {"10.244.1.3"}, {{"a", 8080, ""}}));
    c.check("the endpoints are in a slice of the Service");
    EXPECT_EQ(c.first_packet(6, 80), "10.244.1.3");
    EXPECT_EQ(c.first_packet(17, 80), "10.244.1.3");
    c.feed(gone(slice("b", {"10.244.1.3"}, {{"a", 8080, ""}})));
    c.check("no endpoint is left for new flows");
    EXPECT_EQ(c.first_packet(6, 80), "no_endpoints");
    EXPECT_EQ(c.first_packet(17, 80), "no_endpoints");
}

TEST(service_ports, another_number_or_protocol_is_another_port) {
    clients c;
    c.feed(service({{"a", 80, ""}}) + slice("a", pods, {{"a", 8080, ""}}));
    c.feed(service({{"a", 81, ""}}));
    EXPECT_EQ(c.first_packet(6, 80), "no_endpoints") << "the cluster IP rejects what it does not serve";
    c.check_new_flows(81, "the name finds the slice's port");
}

// An endpoint that moves to another slice by two events is removed and added again: behind kube-proxy TCP connections
// outlive the removal, and here they belong to their endpoint again afterwards.
TEST(moves_in_two_events, tcp_flows_go_on_and_belong_to_their_endpoints_again) {
    clients c;
    auto const in = [](char const* name, std::vector<std::string> const& all) {
        return slice(name, all, {{"", 8080, ""}});
    };
    c.feed(service({{"", 80, ""}}) + in("a", pods));
    c.connect(80, {6});
    c.check("before");
    c.feed(in("a", {pods[1]}));
    c.check("the first endpoint is removed");
    EXPECT_EQ(c.first_packet(6, 80), pods[1]);
    c.feed(in("b", {pods[0]}));
    c.check("and is in another slice");
    c.check_places("it is in another slice");
    c.check_new_flows(80, "it is in another slice");
    c.feed(gone(in("a", {pods[1]})) + in("b", {}));
    c.check("none is left");
    EXPECT_EQ(c.first_packet(6, 80), "no_endpoints");
    c.feed(in("c", {pods[1]}));
    c.check("the second one is in a new slice");
    c.feed(in("d", {pods[0]}));
    c.check("both are");
    c.check_places("both are in new slices");
    c.check_new_flows(80, "both are in new slices");
}

std::string service_cidr(std::string const& name, std::string const& range) {
    return R"({"apiVersion":"networking.k8s.io/v1","kind":"ServiceCIDR","metadata":{"name":")" + name +
           R"("},"spec":{"cidrs":[")" + range + R"("]}})" + '\n';
}

struct range_step {
    std::string event, low, high, next; ///< what becomes of packets to three addresses that no Service has
};

// networking.k8s.io/v1 ServiceCIDR, KEP-1880: packets to unallocated addresses of the ranges there are now are dropped
// (kube-proxy, nftables mode); flows to Services do not depend on the ranges.
TEST(service_cidrs, come_and_go_beside_flows_that_go_on) {
    clients c{0s, {}};
    c.feed(service({{"", 80, ""}}) + slice("a", pods, {{"", 8080, ""}}));
    c.connect(80);
    std::string const passes = "none", drops = "unallocated_address";
    for (auto const& step : std::vector<range_step>{
             {"", passes, passes, passes},
             {service_cidr("kubernetes", "10.96.0.0/16"), drops, drops, passes},
             {service_cidr("more", "10.97.0.0/16"), drops, drops, drops},
             {service_cidr("more", "10.96.0.0/24"), drops, drops, passes},
             {gone(service_cidr("kubernetes", "10.96.0.0/16")), drops, passes, passes},
             {gone(service_cidr("more", "10.96.0.0/24")), passes, passes, passes},
             {service_cidr("all", "10.96.0.0/12") + service_cidr("none", "10.1.0.0/16"), drops, drops, drops},
             {gone(service_cidr("all", "10.96.0.0/12")) + service_cidr("more", "10.97.0.0/16"), passes, passes, drops},
         }) {
        c.feed(step.event);
        auto const when = "after " + step.event;
        c.check(when);
        c.check_places(when);
        c.check_new_flows(80, when);
        for (unsigned const protocol : {6u, 17u}) {
            EXPECT_EQ(c.first_packet(protocol, 80, "10.96.0.99"), step.low) << when;
            EXPECT_EQ(c.first_packet(protocol, 80, "10.96.1.1"), step.high) << when;
            EXPECT_EQ(c.first_packet(protocol, 80, "10.97.0.1"), step.next) << when;
            EXPECT_EQ(c.first_packet(protocol, 81), "no_endpoints") << when << ": a port that the Service lacks";
        }
    }
}

/// An endpoint with conditions.
std::string pod_in(std::string const& address, std::string const& conditions, std::string const& node) {
    return R"({"addresses":[")" + address + R"("],"conditions":)" + conditions + R"(,"nodeName":")" + node + R"("})";
}
auto const running = pod_in("10.244.1.1", R"({"ready":true,"serving":true,"terminating":false})", "there");
auto const ghost = pod_in("10.244.1.1", R"({"ready":false,"serving":false,"terminating":true})", "here");

// kubernetes#135266, PR#135593: the address of a pod that still terminates is used again.
TEST(duplicate_endpoints, flows_to_the_running_pod_go_on_wherever_the_former_pod_is_listed) {
    clients c{30s};
    auto const in = [](char const* name, std::vector<std::string> const& all) {
        return slice(name, all, {{"", 8080, ""}});
    };
    c.feed(service({{"", 80, ""}}) + in("b", {running}));
    c.connect(80);
    unsigned step = 0;
    for (auto const& event :
         {in("b", {ghost, running}), in("b", {running, ghost}), in("b", {running}) + in("a", {ghost}),
          in("c", {ghost, ghost}), in("b", {ghost}) + in("a", {running}), in("b", {}) + in("c", {})}) {
        c.feed(event);
        auto const when = "after event " + std::to_string(++step);
        c.check(when);
        c.check_new_flows(80, when);
        c.pass(25s);
        c.pass(10s);
        c.check(when + ", the drain time is not the running pod's");
    }
    c.feed(in("a", {ghost, running}));
    c.feed(in("a", {ghost}));
    c.check("the running pod has left the slice, the other one is still there");
    EXPECT_EQ(c.first_packet(6, 80), "no_endpoints") << "and counts again: it does not serve";
    EXPECT_EQ(c.first_packet(17, 80), "no_endpoints");
    c.feed(in("a", {ghost, running}));
    c.check("and back");
    c.check_new_flows(80, "and back");
}

} // namespace
} // namespace kubeproxy::service_edits_tests
