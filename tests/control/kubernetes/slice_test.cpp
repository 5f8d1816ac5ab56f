#include "kubeproxy/control/kubernetes/node.hpp"
#include "kubeproxy/control/kubernetes/reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

// Endpoints of EndpointSlices that are old, unusual or wrong, and what a Service's ports have to do with slices.

namespace kubeproxy::kubernetes_slices_tests {
namespace {

using lines = std::vector<std::string>;

std::string service_text(std::string const& ports, std::string const& more = R"("clusterIP":"10.96.0.1")") {
    return R"({"kind":"Service","metadata":{"namespace":"default","name":"web"},"spec":{"ports":[)" + ports + "]," +
           more + "}}\n";
}
std::string slice_text(std::string const& endpoints, std::string const& ports = R"({"name":"","port":8080})",
                       std::string const& type = "IPv4", std::string const& name = "a") {
    return R"({"kind":"EndpointSlice","metadata":{"namespace":"default","name":")" + name +
           R"(","labels":{"kubernetes.io/service-name":"web"}},"addressType":")" + type + R"(","endpoints":[)" +
           endpoints + R"(],"ports":[)" + ports + "]}\n";
}
std::string pod(std::string const& address, std::string const& more = "") {
    return R"({"addresses":[")" + address + R"("])" + more + "}";
}

class cluster {
  public:
    cluster() { EXPECT_FALSE(control_.configuration().set_node({.name = "here"})); }

    lines feed(std::string_view bytes) {
        lines refused;
        for (auto const& r : reader_.feed(bytes)) refused.push_back(r.text());
        return refused;
    }
    /// Where new flows go: "80: 10.244.0.1:8080 …"
    [[nodiscard]] lines in_force() const {
        lines all;
        for (auto const& v : control_.views()) {
            auto line = std::to_string(v.port.port) + ':';
            for (auto const& e : v.endpoints)
                if (e.ring_entries != 0) line += ' ' + to_text(e.address, e.port);
            all.push_back(std::move(line));
        }
        return all;
    }
    [[nodiscard]] service_configuration service() {
        auto const found = control_.configuration().find("default/web");
        EXPECT_NE(found, nullptr);
        return found ? *found : configured_service{};
    }
    [[nodiscard]] std::uint64_t publications() const { return control_.current()->generation; }
    [[nodiscard]] controller& control() { return control_; }

  private:
    service_source source_;
    controller control_{source_};
    kubernetes_reader reader_{control_};
};

struct skipped_case {
    std::string_view name;
    std::string endpoint, message;
    std::string type = "IPv4";
};
void PrintTo(skipped_case const& c, std::ostream* out) { *out << c.name; }

class skipped : public testing::TestWithParam<skipped_case> {};

// kube-proxy ignores such an endpoint, and logs it (endpointslicecache.go, addEndpoints); the others serve.
TEST_P(skipped, endpoint_leaves_the_others_in_force) {
    auto const& c = GetParam();
    bool const is_ipv6 = c.type == "IPv6";
    auto const good = [&](char const* n) { return pod((is_ipv6 ? "fd00:244::" : "10.244.0.") + std::string{n}); };
    auto const ip = is_ipv6 ? R"("clusterIP":"fd00:96::1")" : R"("clusterIP":"10.96.0.1")";
    auto const slice = slice_text(good("1") + ',' + c.endpoint + ',' + good("2"), R"({"name":"","port":8080})", c.type);
    lines const expected{is_ipv6 ? "80: [fd00:244::1]:8080 [fd00:244::2]:8080" : "80: 10.244.0.1:8080 10.244.0.2:8080"};
    cluster reader;
    EXPECT_EQ(reader.feed(service_text(R"({"port":80})", ip) + slice),
              lines{"EndpointSlice default/a: endpoints[1]" + c.message + "; this endpoint is skipped"});
    EXPECT_EQ(reader.in_force(), expected);
    EXPECT_EQ(reader.feed(service_text(R"({"port":80},{"port":81,"name":"b"})", ip)), lines{}) << "once for each event";
}

INSTANTIATE_TEST_SUITE_P(
    table, skipped,
    testing::Values(
        skipped_case{"other_family", pod("fd00::1"), ".addresses[0]: \"fd00::1\" is no IPv4 address"},
        skipped_case{"other_family_ipv6", pod("10.0.0.1"), ".addresses[0]: \"10.0.0.1\" is no IPv6 address", "IPv6"},
        skipped_case{"mapped", pod("::ffff:10.0.0.1"), ".addresses[0]: \"::ffff:10.0.0.1\" is no IPv6 address", "IPv6"},
        skipped_case{"no_address", R"({"addresses":[]})", ".addresses: there is none"},
        skipped_case{"no_addresses", R"({"conditions":{}})", ".addresses: there is none"},
        skipped_case{"null_addresses", R"({"addresses":null})", ".addresses: there is none"},
        skipped_case{"garbage", pod("pod-7"), ".addresses[0]: \"pod-7\" is no address"},
        skipped_case{"empty", pod(""), ".addresses[0]: \"\" is no address"},
        skipped_case{"number", R"({"addresses":[7]})", ".addresses[0]: a string is wanted"},
        skipped_case{"addresses_as_text", R"({"addresses":"10.0.0.1"})", ".addresses: an array is wanted"},
        skipped_case{"text", R"("10.0.0.1")", ": an object is wanted"},
        skipped_case{"null", "null", ": an object is wanted"},
        skipped_case{"condition", pod("10.0.0.1", R"(,"conditions":{"ready":"yes"})"),
                     ".conditions.ready: true or false is wanted"},
        skipped_case{"node_name", pod("10.0.0.1", R"(,"nodeName":7)"), ".nodeName: a string is wanted"},
        skipped_case{"hints", pod("10.0.0.1", R"(,"hints":{"forZones":[7]})"),
                     ".hints.forZones[0]: an object is wanted"},
        // The API's ValidateEndpointIP, and what is not one host.
        skipped_case{"multicast", pod("224.0.0.1"),
                     ".addresses[0]: 224.0.0.1 is no address of an endpoint: it is multicast"},
        skipped_case{"multicast_ipv6", pod("ff02::1"),
                     ".addresses[0]: ff02::1 is no address of an endpoint: it is multicast", "IPv6"},
        skipped_case{"unspecified", pod("0.0.0.0"),
                     ".addresses[0]: 0.0.0.0 is no address of an endpoint: it is unspecified"},
        skipped_case{"unspecified_ipv6", pod("::"), ".addresses[0]: :: is no address of an endpoint: it is unspecified",
                     "IPv6"},
        skipped_case{"loopback", pod("127.0.0.1"),
                     ".addresses[0]: 127.0.0.1 is no address of an endpoint: it is loopback"},
        skipped_case{"loopback_ipv6", pod("::1"), ".addresses[0]: ::1 is no address of an endpoint: it is loopback",
                     "IPv6"},
        skipped_case{"link_local", pod("169.254.0.7"),
                     ".addresses[0]: 169.254.0.7 is no address of an endpoint: it is link-local"},
        skipped_case{"link_local_ipv6", pod("fe80::7"),
                     ".addresses[0]: fe80::7 is no address of an endpoint: it is link-local", "IPv6"},
        skipped_case{"broadcast", pod("255.255.255.255"),
                     ".addresses[0]: 255.255.255.255 is no address of an endpoint: it is broadcast"}),
    [](auto const& one) { return std::string{one.param.name}; });

TEST(kubernetes_slices, many_unusable_endpoints_are_one_message) {
    cluster c;
    EXPECT_EQ(c.feed(service_text(R"({"port":80})") +
                     slice_text(pod("x") + ',' + pod("10.244.0.1") + ',' + pod("y") + ',' + pod("fd00::1"))),
              lines{"EndpointSlice default/a: endpoints[0].addresses[0]: \"x\" is no address; this endpoint and 2 more "
                    "are skipped"});
    EXPECT_EQ(c.in_force(), lines{"80: 10.244.0.1:8080"});
}

TEST(kubernetes_slices, an_invalid_slice_leaves_its_service_and_the_other_slices) {
    cluster c;
    auto const good = slice_text(pod("10.244.0.1"), R"({"name":"","port":8080})", "IPv4", "b");
    EXPECT_EQ(c.feed(service_text(R"({"port":80})") + good + slice_text(pod("10.244.0.2"), R"({"port":65536})")),
              lines{"EndpointSlice default/a: ports[0].port: 65536: a number from 0 to 65535 is wanted"});
    EXPECT_EQ(c.in_force(), lines{"80: 10.244.0.1:8080"});
}

// kube-proxy's ParseIPSloppy and ParseCIDRSloppy: decimal, wherever an object has an address.
TEST(kubernetes_slices, leading_zeros_in_every_field) {
    cluster c;
    EXPECT_EQ(c.feed(R"({"kind":"Service","metadata":{"namespace":"default","name":"web"},"spec":{"type":"LoadBalancer",
        "clusterIP":"010.096.000.001","clusterIPs":["010.096.000.001","fd00:00096::0001"],"ports":[{"port":80}],
        "externalIPs":["203.000.113.009"],"loadBalancerSourceRanges":["010.0.0.0/08","::ffff:192.0.02.0/0120"]},
        "status":{"loadBalancer":{"ingress":[{"ip":"198.051.100.001"}]}}})" +
                     slice_text(pod("010.244.00.08") + ',' + pod("::ffff:010.244.000.011")) +
                     slice_text(pod("fd00:0244::0010"), R"({"name":"","port":8080})", "IPv6", "b")),
              lines{});
    using enum service_address_kind;
    EXPECT_EQ(c.service().addresses, (std::vector<service_address>{{*parse_prefix("10.96.0.1"), cluster_ip},
                                                                   {*parse_prefix("fd00:96::1"), cluster_ip},
                                                                   {*parse_prefix("203.0.113.9"), external_ip},
                                                                   {*parse_prefix("198.51.100.1"), load_balancer_ip}}));
    EXPECT_EQ(c.service().source_ranges, (std::vector{*parse_prefix("10.0.0.0/8"), *parse_prefix("192.0.2.0/24")}));
    EXPECT_EQ(c.in_force(), (lines{"80: 10.244.0.8:8080 10.244.0.11:8080", "80: [fd00:244::10]:8080"}));
    node_configuration node;
    EXPECT_FALSE(read_node(node, R"({"kind":"Node","metadata":{"name":"n"},"spec":{"podCIDRs":["010.244.001.0/24"]},
        "status":{"addresses":[{"type":"InternalIP","address":"192.000.002.010"}]}})"));
    EXPECT_EQ(node.pod_ranges, std::vector{*parse_prefix("10.244.1.0/24")});
    EXPECT_EQ(node.addresses, std::vector{*parse_address("192.0.2.10")});
}

TEST(kubernetes_slices, what_is_no_address_with_or_without_zeros) {
    for (auto const* text : {"10.96.0.0x1", "10.96.0.0256", "10.96.0.", "010.96.0", "10.96.0.1.0", "fd00::00g", ""}) {
        cluster c;
        EXPECT_EQ(c.feed(service_text(R"({"port":80})",
                                      R"("clusterIPs":["10.96.0.1"],"externalIPs":[")" + std::string{text} + R"("])")),
                  lines{"Service default/web: spec.externalIPs[0]: \"" + std::string{text} + "\" is no address"});
    }
    service_source source;
    controller control{source};
    EXPECT_FALSE(control.apply("ku vip 010.0.0.1").ok()) << "`ku` lines: some programs read such a number as octal";
    EXPECT_FALSE(control.apply("ku vip 10.0.0.0/08").ok());
    EXPECT_FALSE(control.apply("ku vip ::ffff:010.0.0.1").ok());
}

// PR#117245: the zone label of the node may come after the slices.
TEST(kubernetes_slices, a_zone_or_a_name_of_the_node_that_comes_late_is_in_force_at_once) {
    cluster c;
    auto const set_node = [&](node_configuration node) {
        ASSERT_FALSE(c.control().configuration().set_node(std::move(node)));
        c.control().publish();
    };
    c.feed(service_text(R"({"port":80})") +
           slice_text(pod("10.244.0.1", R"(,"nodeName":"n1","hints":{"forZones":[{"name":"z1"}]})") + ',' +
                      pod("10.244.0.2", R"(,"nodeName":"n2","hints":{"forZones":[{"name":"z2"}]})")));
    EXPECT_EQ(c.in_force(), lines{"80: 10.244.0.1:8080 10.244.0.2:8080"});
    set_node({.name = "n1", .zone = "z2"});
    EXPECT_EQ(c.in_force(), lines{"80: 10.244.0.2:8080"});
    EXPECT_TRUE(c.control().views().at(0).endpoints.at(0).on_this_node);
    set_node({.name = "n2", .zone = "z1"});
    EXPECT_EQ(c.in_force(), lines{"80: 10.244.0.1:8080"});
    EXPECT_FALSE(c.control().views().at(0).endpoints.at(0).on_this_node);
}

TEST(kubernetes_slices, follow_a_change_of_port_names_one_by_one) {
    cluster c;
    auto const slice = [](char const* name, char const* port) {
        return slice_text(pod(std::string{"10.244.0."} + (name[0] == 'a' ? "1" : "2")),
                          R"({"name":")" + std::string{port} + R"(","port":8080})", "IPv4", name);
    };
    lines const both{"80: 10.244.0.1:8080 10.244.0.2:8080"};
    c.feed(service_text(R"({"port":80})") + slice("a", "") + slice("b", ""));
    EXPECT_EQ(c.in_force(), both);
    c.feed(service_text(R"({"port":80,"name":"http"})"));
    EXPECT_EQ(c.in_force(), both) << "both slices have the former name";
    auto const before = c.publications();
    c.feed(service_text(R"({"port":80,"name":"http"})"));
    EXPECT_EQ(c.publications(), before) << "the same Service again is no change";
    c.feed(service_text(R"({"port":80,"name":"http"})", R"("clusterIP":"10.96.0.1","sessionAffinity":"ClientIP")"));
    EXPECT_EQ(c.in_force(), both) << "another change of the Service";
    c.feed(slice("a", "http"));
    EXPECT_EQ(c.in_force(), both);
    c.feed(slice("b", ""));
    EXPECT_EQ(c.in_force(), both) << "an event of the slice from before the controller saw the Service";
    c.feed(service_text(R"({"port":80,"name":"web"})"));
    EXPECT_EQ(c.in_force(), both) << "three names at once";
    c.feed(slice("b", "web"));
    c.feed(slice("a", "web"));
    EXPECT_EQ(c.in_force(), both);
    EXPECT_TRUE(c.service().former_ports.empty());
    c.feed(slice("a", "http"));
    EXPECT_EQ(c.in_force(), lines{"80: 10.244.0.2:8080"}) << "a name that no port has";
}

// A list has its objects in any order.
TEST(kubernetes_slices, a_former_name_counts_wherever_its_slice_stands_in_what_is_read_together) {
    auto const slice = [](char const* name, char const* pod_address, char const* port) {
        return slice_text(pod(pod_address), R"({"name":")" + std::string{port} + R"(","port":8080})", "IPv4", name);
    };
    auto const first = slice("a", "10.244.0.1", "http"), second = slice("b", "10.244.0.2", "web");
    auto const back = service_text(R"({"port":80,"name":"http"})");
    for (auto const& list : {back + first + second, back + second + first, second + back + first}) {
        cluster c;
        c.feed(back + first);
        c.feed(service_text(R"({"port":80,"name":"web"})"));
        c.feed(list);
        EXPECT_EQ(c.in_force(), lines{"80: 10.244.0.1:8080 10.244.0.2:8080"});
    }
}

} // namespace
} // namespace kubeproxy::kubernetes_slices_tests
