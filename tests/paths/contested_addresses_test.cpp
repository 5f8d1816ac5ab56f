#include "kubeproxy/control/kubernetes/reader.hpp"

#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

// Services that claim the same address and port, with flows that are alive meanwhile: whatever happens to the contested
// pair, no flow of another pair notices it, and its packets come out byte for byte as before.

namespace kubeproxy::contested_addresses_tests {
namespace {

using build::conversation;
using build::segment;
using testing_support::octets;
using testing_support::testbed;
using namespace std::chrono_literals;

std::string service(std::string const& name, std::string const& spec, std::string const& created = "2024-01-01") {
    return R"({"kind":"Service","metadata":{"namespace":"ns","name":")" + name + R"(","creationTimestamp":")" +
           created + R"(T00:00:00Z"},"spec":{)" + spec + "}}\n";
}
/// Two pods at all the ports' target, 8080.
std::string slice(std::string const& name, std::string const& net) {
    std::string endpoints, ports;
    for (auto const* host : {"1", "2"})
        endpoints += (endpoints.empty() ? "" : ",") + (R"({"addresses":["10.244.)" + net + '.' + host + R"("]})");
    for (auto const* port : {R"("http","protocol":"TCP")", R"("tls","protocol":"TCP")", R"("dns","protocol":"UDP")"})
        ports += (ports.empty() ? "" : ",") + (std::string{R"({"name":)"} + port + R"(,"port":8080})");
    return R"({"kind":"EndpointSlice","metadata":{"namespace":"ns","name":")" + name +
           R"(-1","labels":{"kubernetes.io/service-name":")" + name + R"("}},"addressType":"IPv4","endpoints":[)" +
           endpoints + R"(],"ports":[)" + ports + "]}\n";
}
std::string event(std::string const& type, std::string const& object) {
    return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

constexpr std::string_view http = R"({"name":"http","port":80,"nodePort":30080})";

std::string ports(std::string const& all) { return R"("ports":[)" + all + ']'; }

/// A node with two Services of two pods each: "first" (10.96.0.1, pods in 10.244.1.0/24) and "second" (10.96.0.2,
/// 10.244.2.0/24), in whatever way they claim the address 203.0.113.9.
class contested_addresses : public testing::Test {
  protected:
    contested_addresses() {
        node_configuration node{.addresses = {*parse_address("192.0.2.11")},
                                .pod_ranges = {*parse_prefix("10.244.9.0/24")},
                                .service_ranges = {*parse_prefix("10.96.0.0/16")}};
        EXPECT_FALSE(bed_.control().configuration().set_node(node));
        feed(slice("first", "1") + slice("second", "2"));
    }

    std::vector<std::string> feed(std::string const& text) {
        std::vector<std::string> lines;
        for (auto const& refused : reader_.feed(text)) lines.push_back(refused.text());
        return lines;
    }
    static std::string first(std::string const& more = R"("externalIPs":["203.0.113.9"],)") {
        return service("first", R"("type":"NodePort","clusterIP":"10.96.0.1",)" + more + ports(std::string{http}));
    }
    static std::string second(std::string const& more = R"("externalIPs":["203.0.113.9"],)") {
        return service("second",
                       R"("type":"NodePort","clusterIP":"10.96.0.2",)" + more +
                           ports(R"({"name":"http","port":80,"nodePort":30081},{"name":"tls","port":443},
                                    {"name":"dns","port":53,"protocol":"UDP"})"),
                       "2024-02-02");
    }

    /// The service whose pod a new connection to this address and port goes to.
    std::string server(std::string const& address, unsigned port, unsigned protocol = 6) {
        conversation const c{protocol, {"198.51.100.7", next_port_++}, {address, port}};
        auto const got = bed_.send(packet_of(c, protocol == 6 ? segment::open : segment::data), 1s);
        if (got.what.what != verdict::forward()) return std::string{name(got.what.what.what())};
        auto const pod = build::read(got.bytes).destination.address;
        return pod.starts_with("10.244.1.") ? "first" : pod.starts_with("10.244.2.") ? "second" : pod;
    }

    /// Opens flows from several clients, and remembers how their packets come out.
    void open_flows(std::string const& address, unsigned port, unsigned protocol = 6) {
        for (unsigned i = 0; i < 8; ++i) {
            conversation const c{protocol, {"198.51.100." + std::to_string(20 + i), next_port_++}, {address, port}};
            auto const out = bed_.send(packet_of(c, protocol == 6 ? segment::open : segment::data), 1s).bytes;
            auto const back = build::read(out).back();
            bed_.send(packet_of(back, protocol == 6 ? segment::accept : segment::data), 1s);
            alive_.push_back({packet_of(c, segment::data), bed_.send(packet_of(c, segment::data), 1s).bytes});
            alive_.push_back({packet_of(back, segment::data), bed_.send(packet_of(back, segment::data), 1s).bytes});
            EXPECT_NE(alive_[alive_.size() - 2].out, alive_[alive_.size() - 2].in) << address << ' ' << port;
        }
    }
    void expect_that_flows_are_as_before() {
        for (auto const& flow : alive_)
            EXPECT_EQ(bed_.send(flow.in, 1s).bytes, flow.out) << build::read(flow.in).text();
    }

    struct packet_of_flow {
        octets in, out;
    };
    testbed bed_{""};
    kubernetes_reader reader_{bed_.control()};
    std::vector<packet_of_flow> alive_;
    unsigned next_port_ = 20000;
};

using lines = std::vector<std::string>;
lines const second_loses{"Service ns/second: 203.0.113.9/32 port 80 tcp is served by ns/first"};

TEST_F(contested_addresses, a_service_that_wants_the_pair_ends_no_flow_of_the_one_that_has_it) {
    EXPECT_EQ(feed(first()), lines{});
    open_flows("10.96.0.1", 80);
    open_flows("203.0.113.9", 80);
    open_flows("192.0.2.11", 30080);
    EXPECT_EQ(feed(second()), second_loses);
    expect_that_flows_are_as_before();
    open_flows("10.96.0.2", 80);
    open_flows("203.0.113.9", 443);
    open_flows("203.0.113.9", 53, 17);
    open_flows("192.0.2.11", 30081);
    EXPECT_EQ(server("203.0.113.9", 80), "first");
    EXPECT_EQ(server("203.0.113.9", 443), "second");

    EXPECT_EQ(feed(event("DELETED", second())), lines{});
    EXPECT_EQ(server("203.0.113.9", 80), "first");
    EXPECT_EQ(server("203.0.113.9", 443), "pass");
    alive_.resize(3 * 16); // those of the first one
    expect_that_flows_are_as_before();
}

TEST_F(contested_addresses, the_pair_changes_hands_and_no_other_flow_notices) {
    EXPECT_EQ(feed(first() + second()), second_loses) << "the first one is older";
    open_flows("10.96.0.1", 80);
    open_flows("192.0.2.11", 30080);
    open_flows("10.96.0.2", 80);
    open_flows("10.96.0.2", 53, 17);
    open_flows("203.0.113.9", 443);
    open_flows("203.0.113.9", 53, 17);
    open_flows("192.0.2.11", 30081);
    auto const before = bed_.control().current()->generation;
    EXPECT_EQ(feed(event("MODIFIED", first(""))), lines{});
    EXPECT_EQ(bed_.control().current()->generation, before + 1);
    EXPECT_EQ(server("203.0.113.9", 80), "second") << "in the same publication";
    expect_that_flows_are_as_before();
    EXPECT_EQ(feed(event("MODIFIED", first())),
              lines{"Service ns/first: 203.0.113.9/32 port 80 tcp is served by ns/second"});
    EXPECT_EQ(server("203.0.113.9", 80), "second") << "who has it keeps it, though it is younger";
    expect_that_flows_are_as_before();
    EXPECT_EQ(feed(event("MODIFIED", second(""))), lines{});
    EXPECT_EQ(server("203.0.113.9", 80), "first");
    EXPECT_EQ(server("203.0.113.9", 443), "pass");
}

TEST_F(contested_addresses, a_service_that_becomes_headless_releases_the_pair) {
    EXPECT_EQ(feed(first() + second()), second_loses);
    open_flows("10.96.0.2", 80);
    open_flows("203.0.113.9", 443);
    EXPECT_EQ(feed(service("first", R"("clusterIP":"None",)" + ports(std::string{http}))), lines{});
    EXPECT_EQ(server("203.0.113.9", 80), "second");
    expect_that_flows_are_as_before();
}

// A tenant's external IP is the address of cluster DNS.
TEST_F(contested_addresses, cluster_dns_is_served_whatever_external_ips_there_are) {
    auto const tenant = service("first",
                                R"("clusterIP":"10.96.0.1","externalIPs":["10.96.0.2"],)" +
                                    ports(R"({"name":"http","port":80},{"name":"dns","port":53,"protocol":"UDP"},
                                                      {"name":"tls","port":53})"),
                                "2020-01-01");
    auto const dns =
        service("second", R"("clusterIP":"10.96.0.2",)" +
                              ports(R"({"name":"dns","port":53,"protocol":"UDP"},{"name":"tls","port":53})"));
    auto const expect_dns = [&](std::string const& when) {
        SCOPED_TRACE(when);
        EXPECT_EQ(server("10.96.0.2", 53, 17), "second");
        EXPECT_EQ(server("10.96.0.2", 53), "second");
        EXPECT_EQ(server("10.96.0.2", 80), "first") << "not a port of DNS";
        EXPECT_EQ(server("10.96.0.2", 81), "reply") << "nobody's port: rejected";
        EXPECT_EQ(server("10.96.0.1", 53, 17), "first");
    };
    lines const tenant_loses{"Service ns/first: 10.96.0.2/32 port 53 tcp is served by ns/second",
                             "Service ns/first: 10.96.0.2/32 port 53 udp is served by ns/second"};
    EXPECT_EQ(feed(tenant), lines{});
    EXPECT_EQ(server("10.96.0.2", 53, 17), "first") << "there is no DNS yet";
    open_flows("10.96.0.1", 53, 17);
    open_flows("10.96.0.2", 80);
    EXPECT_EQ(feed(dns), tenant_loses);
    expect_dns("DNS came later");
    expect_that_flows_are_as_before();
    open_flows("10.96.0.2", 53, 17);
    EXPECT_EQ(feed(event("DELETED", tenant)), lines{});
    EXPECT_EQ(feed(tenant), tenant_loses);
    expect_dns("DNS was there first");
    alive_.erase(alive_.begin(), alive_.begin() + 2 * 16); // the tenant's
    expect_that_flows_are_as_before();
}

TEST_F(contested_addresses, lines_of_ku_and_objects_do_not_end_each_others_flows) {
    bed_.configure(
        "ku vip 203.0.113.9/32 port 80 protocol tcp target_port 8080 nat4\nku pod 203.0.113.9/32 10.244.1.1");
    EXPECT_EQ(feed(second()),
              lines{"Service ns/second: 203.0.113.9/32 port 80 tcp is served by 203.0.113.9/32:80/tcp"});
    open_flows("203.0.113.9", 80);
    open_flows("203.0.113.9", 443);
    open_flows("10.96.0.2", 80);
    EXPECT_EQ(feed(slice("second", "2") + second()), lines{});
    bed_.configure("ku vip 198.51.100.3/32 port 81");
    expect_that_flows_are_as_before();
    auto const refused = bed_.control().apply("ku vip 203.0.113.9/32 port 443");
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error->reason, "duplicate VIP: 203.0.113.9/32 port 443 tcp is served by ns/second");
    expect_that_flows_are_as_before();
    bed_.configure("ku vip 203.0.113.9/32 port 80 del");
    EXPECT_EQ(server("203.0.113.9", 80), "second") << "in the same publication";
    alive_.erase(alive_.begin(), alive_.begin() + 16);
    expect_that_flows_are_as_before();
}

TEST_F(contested_addresses, a_node_port_is_served_whatever_external_ips_there_are) {
    auto const tenant = service("second", R"("clusterIP":"10.96.0.2","externalIPs":["192.0.2.11"],)" +
                                              ports(R"({"name":"http","port":30080},{"name":"tls","port":443})"));
    EXPECT_EQ(feed(tenant), lines{});
    EXPECT_EQ(server("192.0.2.11", 30080), "second");
    open_flows("192.0.2.11", 443);
    open_flows("10.96.0.2", 30080);
    EXPECT_EQ(feed(first()), lines{"Service ns/second: 192.0.2.11/32 port 30080 tcp is served by ns/first"});
    EXPECT_EQ(server("192.0.2.11", 30080), "first");
    expect_that_flows_are_as_before();
    open_flows("192.0.2.11", 30080);
    EXPECT_EQ(feed(event("MODIFIED", tenant)), lines{}) << "reported once";
    expect_that_flows_are_as_before();
    EXPECT_EQ(feed(event("DELETED", first())), lines{});
    EXPECT_EQ(server("192.0.2.11", 30080), "second");
}

TEST_F(contested_addresses, show_tells_what_others_serve) {
    EXPECT_EQ(feed(first() + second()), second_loses);
    auto const text = bed_.control().apply("show ku vip verbose").text;
    EXPECT_NE(text.find("another service serves 203.0.113.9/32 port 80 tcp\n"), std::string::npos) << text;
    auto const json = bed_.control().apply("show services json").text;
    EXPECT_NE(json.find(R"("served_by_others":["203.0.113.9/32 port 80 tcp"])"), std::string::npos) << json;
    EXPECT_EQ(text.find("serves", text.find("serves") + 1), std::string::npos) << "of one port only";
}

} // namespace
} // namespace kubeproxy::contested_addresses_tests
