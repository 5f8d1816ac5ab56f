#include "kubeproxy/control/kubernetes/reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// Objects in, services in force and refusals out. Which endpoint a packet goes to is in paths/kube_proxy_conformance.

namespace kubeproxy::kubernetes_tests {
namespace {

using lines = std::vector<std::string>;

std::string service_text(std::string const& name, std::string const& spec, std::string const& more = "") {
    return R"({"apiVersion":"v1","kind":"Service","metadata":{"namespace":"default","name":")" + name +
           R"("},"spec":{)" + spec + "}" + more + "}\n";
}
/// TCP port 80, one address.
std::string web(std::string const& name, std::string const& ip) {
    return service_text(name, R"("clusterIP":")" + ip + R"(","ports":[{"port":80}])");
}
std::string slice_text(std::string const& name, std::string const& service, std::string const& endpoints,
                       std::string const& ports = R"({"name":"","port":8080})", std::string const& type = "IPv4") {
    return R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"namespace":"default","name":")" +
           name + R"(","labels":{"kubernetes.io/service-name":")" + service + R"("}},"addressType":")" + type +
           R"(","endpoints":[)" + endpoints + R"(],"ports":[)" + ports + "]}\n";
}
std::string pod(std::string const& address, std::string const& more = "") {
    return R"({"addresses":[")" + address + R"("])" + more + "}";
}
std::string event(std::string const& type, std::string const& object) {
    return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

/// A reader and what has come of it.
class cluster {
  public:
    cluster() {
        auto const wrong = control_.configuration().set_node({.name = "here", .zone = "east"});
        EXPECT_FALSE(wrong);
    }
    lines feed(std::string_view bytes) {
        lines refused;
        for (auto const& r : reader_.feed(bytes)) refused.push_back(r.text());
        return refused;
    }
    /// "default/web: 10.96.0.1 port 80 -> 10.244.0.1:8080 …", sorted; what flows can be sent to.
    [[nodiscard]] lines in_force() const {
        lines all;
        for (auto const& v : control_.views()) {
            auto line = v.name + ':';
            for (auto const& a : v.addresses) line += ' ' + to_text(a.where);
            line += " ->";
            for (auto const& e : v.endpoints)
                if (e.ring_entries != 0) line += ' ' + to_text(e.address, e.port);
            for (auto const& claim : v.lost) line += " (lost " + claim + ')';
            all.push_back(std::move(line));
        }
        std::ranges::sort(all);
        return all;
    }
    [[nodiscard]] service_configuration service(std::string const& name = "default/web") {
        auto const found = control_.configuration().find(name);
        EXPECT_NE(found, nullptr) << name;
        return found ? *found : configured_service{};
    }
    [[nodiscard]] std::uint64_t publications() const { return control_.current()->generation; }
    [[nodiscard]] kubernetes_reader& reader() { return reader_; }
    [[nodiscard]] controller& control() { return control_; }

  private:
    service_source source_;
    controller control_{source_};
    kubernetes_reader reader_{control_};
};

lines const one_service{"default/web:80: 10.96.0.1/32 -> 10.244.0.1:8080"};

TEST(kubernetes, services_and_slices_meet_in_any_order) {
    for (auto const& text : {web("web", "10.96.0.1") + slice_text("a", "web", pod("10.244.0.1")),
                             slice_text("a", "web", pod("10.244.0.1")) + web("web", "10.96.0.1")}) {
        cluster c;
        EXPECT_EQ(c.feed(text), lines{});
        EXPECT_EQ(c.in_force(), one_service);
    }
    cluster c;
    EXPECT_EQ(c.feed(slice_text("a", "web", pod("10.244.0.1"))), lines{});
    EXPECT_EQ(c.in_force(), lines{});
    EXPECT_EQ(c.feed(web("web", "10.96.0.1")), lines{}) << "in another chunk";
    EXPECT_EQ(c.in_force(), one_service);
}

TEST(kubernetes, every_form_that_kubectl_prints) {
    auto const service = web("web", "10.96.0.1"), slice = slice_text("a", "web", pod("10.244.0.1"));
    for (auto const& text :
         {R"({"apiVersion":"v1","items":[)" + service + ',' + slice + R"(],"kind":"List","metadata":{}})",
          '[' + service + ',' + slice + ']', service + slice,
          event("ADDED", service) + event("BOOKMARK", R"({"kind":"Service"})") + event("MODIFIED", slice),
          R"({"kind":"ServiceList","apiVersion":"v1","items":[)" +
              std::string{R"({"metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}]})"} +
              slice}) {
        cluster c;
        EXPECT_EQ(c.feed(text), lines{}) << text;
        EXPECT_EQ(c.in_force(), one_service) << text;
    }
}

TEST(kubernetes, bytes_may_be_cut_anywhere) {
    auto const text = event("ADDED", web("web", "10.96.0.1")) + slice_text("a", "web", pod("10.244.0.1"));
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        cluster c;
        EXPECT_EQ(c.feed(std::string_view{text}.substr(0, cut)), lines{});
        EXPECT_EQ(c.feed(std::string_view{text}.substr(cut)), lines{});
        ASSERT_EQ(c.in_force(), one_service) << cut;
    }
}

TEST(kubernetes, a_chunk_is_one_publication_and_no_change_is_none) {
    cluster c;
    c.feed(web("web", "10.96.0.1") + web("other", "10.96.0.2") + slice_text("a", "web", pod("10.244.0.1")));
    EXPECT_EQ(c.publications(), 1u);
    c.feed(R"({"kind":"Pod","metadata":{"name":"x"}})");
    c.feed(event("BOOKMARK", "{}"));
    EXPECT_EQ(c.publications(), 1u);
    EXPECT_EQ(c.reader().counters().other_kinds, 1u);
    EXPECT_EQ(c.reader().counters().bookmarks, 1u);
    EXPECT_EQ(c.reader().counters().services, 2u);
    EXPECT_EQ(c.reader().counters().slices, 1u);
}

TEST(kubernetes, a_changed_slice_leaves_other_services_as_they_are) {
    cluster c;
    c.feed(web("web", "10.96.0.1") + web("other", "10.96.0.2") + slice_text("a", "web", pod("10.244.0.1")) +
           slice_text("b", "other", pod("10.244.0.2")));
    auto const other = c.control().configuration().find("default/other");
    c.feed(event("MODIFIED", slice_text("a", "web", pod("10.244.0.7"))));
    EXPECT_EQ(c.control().configuration().find("default/other"), other) << "the same object: it is not compiled again";
    EXPECT_EQ(c.in_force().back(), "default/web:80: 10.96.0.1/32 -> 10.244.0.7:8080");
}

TEST(kubernetes, deletion) {
    auto const service = web("web", "10.96.0.1"), slice = slice_text("a", "web", pod("10.244.0.1"));
    cluster c;
    c.feed(service + slice + slice_text("b", "web", pod("10.244.0.2")));
    c.feed(event("DELETED", slice_text("b", "web", "")));
    EXPECT_EQ(c.in_force(), one_service);
    c.feed(event("DELETED", service));
    EXPECT_EQ(c.in_force(), lines{});
    c.feed(event("ADDED", service));
    EXPECT_EQ(c.in_force(), one_service) << "the slice was not deleted";
    // Without labels, as `kubectl delete` names objects.
    c.feed(event("DELETED", R"({"kind":"EndpointSlice","metadata":{"namespace":"default","name":"a"}})"));
    EXPECT_EQ(c.in_force(), lines{"default/web:80: 10.96.0.1/32 ->"});
    c.feed(event("DELETED", service) + event("DELETED", service) + event("DELETED", slice));
    EXPECT_EQ(c.in_force(), lines{});
}

TEST(kubernetes, a_slice_may_go_to_another_service) {
    cluster c;
    c.feed(web("web", "10.96.0.1") + web("other", "10.96.0.2") + slice_text("a", "other", pod("10.244.0.1")));
    c.feed(event("MODIFIED", slice_text("a", "web", pod("10.244.0.1"))));
    EXPECT_EQ(c.in_force(), (lines{"default/other:80: 10.96.0.2/32 ->", one_service[0]}));
}

// The rules are in contested_claims_test.cpp; here it is how the reader reports them.
TEST(kubernetes, a_service_loses_only_what_another_one_has) {
    auto const outer = [](std::string const& name, std::string const& ip, std::string const& port) {
        return service_text(name, R"("clusterIP":")" + ip + R"(","externalIPs":["203.0.113.9"],"ports":[{"port":)" +
                                      port + "}]");
    };
    cluster c;
    EXPECT_EQ(c.feed(outer("web", "10.96.0.1", "80") + slice_text("a", "web", pod("10.244.0.1"))), lines{});
    EXPECT_EQ(c.feed(outer("rival", "10.96.0.2", "80") + slice_text("b", "rival", pod("10.244.0.2"))),
              lines{"Service default/rival: 203.0.113.9/32 port 80 tcp is served by default/web"});
    EXPECT_EQ(c.reader().contested_services(), 1u);
    EXPECT_EQ(
        c.in_force(),
        (lines{"default/rival:80: 10.96.0.2/32 203.0.113.9/32 -> 10.244.0.2:8080 (lost 203.0.113.9/32 port 80 tcp)",
               "default/web:80: 10.96.0.1/32 203.0.113.9/32 -> 10.244.0.1:8080"}));
    EXPECT_EQ(c.feed(event("MODIFIED", slice_text("b", "rival", pod("10.244.0.3")))), lines{}) << "reported once";
    auto const before = c.publications();
    EXPECT_EQ(c.feed(event("MODIFIED", outer("rival", "10.96.0.2", "80"))), lines{});
    EXPECT_EQ(c.publications(), before) << "said again as it was";
    EXPECT_EQ(c.feed(event("DELETED", outer("web", "10.96.0.1", "80"))), lines{});
    EXPECT_EQ(c.publications(), before + 1) << "in the same publication";
    EXPECT_EQ(c.in_force(), lines{"default/rival:80: 10.96.0.2/32 203.0.113.9/32 -> 10.244.0.3:8080"});
    EXPECT_EQ(c.reader().contested_services(), 0u);
}

// metav1.Time is RFC 3339.
TEST(kubernetes, creation_times) {
    using namespace std::chrono;
    auto const created = [](std::string const& text) {
        cluster c;
        auto const object = R"({"kind":"Service","metadata":{"namespace":"default","name":"web","creationTimestamp":)" +
                            text + R"(},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}})";
        auto const wrong = c.feed(object);
        return wrong.empty() ? std::to_string(c.service().created.time_since_epoch().count()) : wrong.front();
    };
    EXPECT_EQ(created(R"("1970-01-01T00:00:00Z")"), "0");
    EXPECT_EQ(created(R"("2024-02-29T12:34:56Z")"), "1709210096"); // date -u -d 2024-02-29T12:34:56Z +%s
    EXPECT_EQ(created(R"("2024-02-29T14:34:56.789+02:00")"), "1709210096");
    EXPECT_EQ(created(R"("2024-02-29T07:04:56-05:30")"), "1709210096");
    EXPECT_EQ(created("null"), std::to_string(sys_seconds::max().time_since_epoch().count())) << "unknown: the newest";
    for (auto const* bad : {"2023-02-29T12:34:56Z", "2024-02-29 12:34:56Z", "2024-02-29T12:34:56",
                            "2024-02-29T24:00:00Z", "2024-02-29T12:34:5xZ", "2024-13-01T00:00:00Z", "yesterday", ""})
        EXPECT_EQ(created('"' + std::string{bad} + '"'), "Service default/web: metadata.creationTimestamp: \"" +
                                                             std::string{bad} +
                                                             "\": a time like 2024-05-31T12:00:00Z is wanted");
}

TEST(kubernetes, in_one_chunk_what_goes_makes_room_for_what_comes) {
    cluster c;
    c.feed(web("web", "10.96.0.1"));
    EXPECT_EQ(c.feed(event("ADDED", web("heir", "10.96.0.1")) + event("DELETED", web("web", "10.96.0.1"))), lines{});
    EXPECT_EQ(c.in_force(), lines{"default/heir:80: 10.96.0.1/32 ->"});
}

// As a list says it, which knows no order of events.
TEST(kubernetes, in_one_chunk_services_may_exchange_their_addresses) {
    cluster c;
    c.feed(web("a", "10.96.0.1") + web("b", "10.96.0.2") + web("c", "10.96.0.3"));
    EXPECT_EQ(c.feed(web("a", "10.96.0.2") + web("b", "10.96.0.4")), lines{}) << "one asks before the other one moves";
    EXPECT_EQ(c.feed(web("a", "10.96.0.3") + web("c", "10.96.0.2")), lines{}) << "each wants what the other one has";
    EXPECT_EQ(c.in_force(), (lines{"default/a:80: 10.96.0.3/32 ->", "default/b:80: 10.96.0.4/32 ->",
                                   "default/c:80: 10.96.0.2/32 ->"}));
    EXPECT_EQ(c.reader().contested_services(), 0u);
    EXPECT_EQ(c.feed(web("a", "10.96.0.4") + web("e", "10.96.0.3") + web("d", "10.96.0.3")),
              (lines{"Service default/a: 10.96.0.4/32 port 80 tcp is served by default/b",
                     "Service default/a: 10.96.0.4/32, all ports is served by default/b",
                     "Service default/e: 10.96.0.3/32 port 80 tcp is served by default/d",
                     "Service default/e: 10.96.0.3/32, all ports is served by default/d"}));
}

TEST(kubernetes, lines_of_ku_are_left_alone) {
    cluster c;
    ASSERT_TRUE(c.control().apply("ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1\n").ok());
    c.feed(web("web", "10.96.0.1"));
    ASSERT_TRUE(c.control().apply("ku pod 90.0.0.0/8 10.0.0.1 del\n").ok());
    c.feed(slice_text("a", "web", pod("10.244.0.1")));
    EXPECT_EQ(c.in_force(), (lines{"90.0.0.0/8:80: 90.0.0.0/8 ->", one_service[0]}));
    EXPECT_EQ(c.feed(R"({"kind":"Service","metadata":{"namespace":"90.0.0.0","name":"8:80"},"spec":{}})"),
              lines{"Service 90.0.0.0/8:80: metadata.namespace: \"90.0.0.0\" is no name"});
}

TEST(kubernetes, broken_text_costs_the_object_that_it_is_in) {
    cluster c;
    EXPECT_EQ(c.feed("{\"kind\":\"Service\",}\n" + web("web", "10.96.0.1") + slice_text("a", "web", pod("10.244.0.1"))),
              lines{"at byte 18: syntax error"});
    EXPECT_EQ(c.in_force(), one_service);
}

struct refused_case {
    std::string_view name;
    std::string object;
    std::string why;
};
void PrintTo(refused_case const& c, std::ostream* out) { *out << c.name; }

class refused : public testing::TestWithParam<refused_case> {};

TEST_P(refused, tells_where_and_why_and_the_rest_goes_on) {
    cluster c;
    c.feed(web("web", "10.96.0.1") + slice_text("a", "web", pod("10.244.0.1")));
    auto const more = web("later", "10.96.0.8");
    EXPECT_EQ(c.feed(GetParam().object + '\n' + more), lines{GetParam().why});
    EXPECT_EQ(c.in_force(), (lines{"default/later:80: 10.96.0.8/32 ->", one_service[0]}));
    EXPECT_EQ(c.reader().counters().refused, 1u);
}

std::string spec(std::string const& more) {
    return service_text("web", R"("clusterIP":"10.96.0.1","ports":[{"port":80}],)" + more);
}
std::string ports(std::string const& all) {
    return service_text("web", R"("clusterIP":"10.96.0.1","ports":[)" + all + ']');
}

INSTANTIATE_TEST_SUITE_P(
    table, refused,
    testing::Values(
        refused_case{"no_kind", R"({"metadata":{"name":"web"},"spec":{}})", "object web: kind: is missing"},
        refused_case{"no_name", R"({"kind":"Service","metadata":{},"spec":{}})", "Service: metadata.name: is missing"},
        refused_case{"no_metadata", R"({"kind":"Service"})", "Service: metadata: is missing"},
        refused_case{"no_spec", R"({"kind":"Service","metadata":{"name":"web"}})", "Service web: spec: is missing"},
        refused_case{"spec_is_text", R"({"kind":"Service","metadata":{"namespace":"default","name":"web"},"spec":"x"})",
                     "Service default/web: spec: an object is wanted"},
        refused_case{"port_0", ports(R"({"port":80},{"name":"b","port":0})"),
                     "Service default/web: spec.ports[1].port: 0: a number from 1 to 65535 is wanted"},
        refused_case{"port_text", ports(R"({"port":"80"})"),
                     "Service default/web: spec.ports[0].port: \"80\": a number from 1 to 65535 is wanted"},
        refused_case{"port_too_large", ports(R"({"port":1e30})"),
                     "Service default/web: spec.ports[0].port: 1E30: a number from 1 to 65535 is wanted"},
        refused_case{"port_missing", ports("{}"), "Service default/web: spec.ports[0].port: is missing"},
        refused_case{"protocol", ports(R"({"port":80,"protocol":"tcp"})"),
                     "Service default/web: spec.ports[0].protocol: \"tcp\": TCP, UDP or SCTP is wanted"},
        refused_case{"two_ports_of_one_name", ports(R"({"port":80},{"port":81})"),
                     "Service default/web: two ports are named \"\""},
        refused_case{"no_ports", service_text("new", R"("clusterIP":"10.96.0.4")"),
                     "Service default/new: it has no port"},
        refused_case{"cluster_ip", service_text("new", R"("clusterIP":"10.96.0.256","ports":[{"port":80}])"),
                     "Service default/new: spec.clusterIP: \"10.96.0.256\" is no address"},
        refused_case{"cluster_ips", spec(R"("clusterIPs":["10.96.0.1",7])"),
                     "Service default/web: spec.clusterIPs[1]: a string is wanted"},
        refused_case{"external_ips", spec(R"("externalIPs":"192.0.2.1")"),
                     "Service default/web: spec.externalIPs: an array is wanted"},
        refused_case{"source_range", spec(R"("loadBalancerSourceRanges":["10.0.0.0/33"])"),
                     "Service default/web: spec.loadBalancerSourceRanges[0]: \"10.0.0.0/33\" is no prefix"},
        refused_case{"affinity", spec(R"("sessionAffinity":"ClientIp")"),
                     "Service default/web: spec.sessionAffinity: \"ClientIp\": None or ClientIP is wanted"},
        refused_case{"affinity_timeout",
                     spec(R"("sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":0}})"),
                     "Service default/web: spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0: a number from 1 to "
                     "86400 is wanted"},
        refused_case{"policy", spec(R"("internalTrafficPolicy":"local")"),
                     "Service default/web: spec.internalTrafficPolicy: \"local\": Cluster or Local is wanted"},
        refused_case{"ingress",
                     service_text("web", R"("clusterIP":"10.96.0.1","ports":[{"port":80}])",
                                  R"(,"status":{"loadBalancer":{"ingress":[{"ip":"x"}]}})"),
                     "Service default/web: status.loadBalancer.ingress[0].ip: \"x\" is no address"},
        refused_case{"address_type", slice_text("a", "web", "", "", "IPv5"),
                     "EndpointSlice default/a: addressType: \"IPv5\": IPv4, IPv6 or FQDN is wanted"},
        refused_case{"slice_port", slice_text("a", "web", pod("10.244.0.2"), R"({"port":65536})"),
                     "EndpointSlice default/a: ports[0].port: 65536: a number from 0 to 65535 is wanted"},
        refused_case{"event", R"({"type":"SEEN","object":{"kind":"Service"}})", "watch: type: \"SEEN\" is no event"},
        refused_case{"server_error", R"({"type":"ERROR","object":{"kind":"Status","message":"too old\n"}})",
                     "watch: the API server reports an error: \"too old?\""},
        refused_case{"no_object", "[4711]", "value: an object is wanted"},
        refused_case{"items", R"({"kind":"List","items":{}})", "List: items: an array is wanted"}),
    [](auto const& one) { return std::string{one.param.name}; });

struct ignored_case {
    std::string_view name;
    std::string object;
};
void PrintTo(ignored_case const& c, std::ostream* out) { *out << c.name; }

class ignored : public testing::TestWithParam<ignored_case> {};

// kube-proxy leaves these alone; what they were before is no longer served.
TEST_P(ignored, is_not_served) {
    cluster c;
    c.feed(web("web", "10.96.0.1") + slice_text("a", "web", pod("10.244.0.1")));
    EXPECT_EQ(c.feed(GetParam().object), lines{});
    EXPECT_EQ(std::ranges::count(c.in_force(), one_service[0]), 0);
}

INSTANTIATE_TEST_SUITE_P(
    table, ignored,
    testing::Values(
        ignored_case{"headless",
                     service_text("web", R"("clusterIP":"None","clusterIPs":["None"],"ports":[{"port":80}])")},
        ignored_case{"external_name", service_text("web", R"("type":"ExternalName","externalName":"example.org")")},
        ignored_case{"no_cluster_ip_yet", service_text("web", R"("ports":[{"port":80}])")},
        ignored_case{
            "for_another_proxy",
            R"({"kind":"Service","metadata":{"name":"web","labels":{"service.kubernetes.io/service-proxy-name":""}},
                        "spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}})"},
        ignored_case{"slice_for_another_proxy",
                     R"({"kind":"EndpointSlice","metadata":{"name":"a","labels":{"kubernetes.io/service-name":"web",
                        "service.kubernetes.io/service-proxy-name":"x"}},"addressType":"IPv4","endpoints":[]})"},
        ignored_case{"slice_of_a_headless_service",
                     R"({"kind":"EndpointSlice","metadata":{"name":"a","labels":{"kubernetes.io/service-name":"web",
                        "service.kubernetes.io/headless":""}},"addressType":"IPv4","endpoints":[]})"},
        ignored_case{"slice_of_names", slice_text("a", "web", pod("example.org"), "", "FQDN")},
        ignored_case{"slice_without_a_service",
                     R"({"kind":"EndpointSlice","metadata":{"name":"a"},"addressType":"IPv4","endpoints":[]})"}),
    [](auto const& one) { return std::string{one.param.name}; });

TEST(kubernetes, others_kinds_of_the_same_name_are_others) {
    cluster c;
    c.feed(web("web", "10.96.0.1") + slice_text("a", "web", pod("10.244.0.1")));
    EXPECT_EQ(c.feed(R"({"apiVersion":"serving.knative.dev/v1","kind":"Service","metadata":{"name":"web"},"spec":{}})"),
              lines{"Service (serving.knative.dev/v1): 1 object ignored: this kind is not read"});
    EXPECT_EQ(c.in_force(), one_service);
    EXPECT_EQ(c.reader().counters().other_kinds, 1u);
}

// Of other kinds there may be anything: a CustomResourceDefinition holds a schema.
TEST(kubernetes, objects_of_other_kinds_may_be_deep) {
    std::string deep;
    for (int i = 0; i < 200; ++i) deep += R"({"properties":)";
    deep += "{}" + std::string(200, '}');
    cluster c;
    EXPECT_EQ(c.feed(R"({"kind":"CustomResourceDefinition","spec":)" + deep + "}\n" + web("web", "10.96.0.1") +
                     slice_text("a", "web", pod("10.244.0.1"))),
              lines{"CustomResourceDefinition: 1 object ignored: this kind is not read"});
    EXPECT_EQ(c.in_force(), one_service);
}

TEST(kubernetes, a_whole_service) {
    cluster c;
    EXPECT_EQ(c.feed(service_text("web", R"("type":"LoadBalancer","clusterIP":"10.96.0.1",
        "clusterIPs":["10.96.0.1","2001:db8:96::1"],"ipFamilies":["IPv4","IPv6"],"externalIPs":["203.0.113.9"],
        "ports":[{"name":"http","port":80,"targetPort":"web","nodePort":30080},
                 {"name":"dns","protocol":"UDP","port":53,"targetPort":5353},
                 {"name":"s","protocol":"SCTP","port":53}],
        "sessionAffinity":"ClientIP","internalTrafficPolicy":"Local","externalTrafficPolicy":"Local",
        "healthCheckNodePort":32000,"loadBalancerSourceRanges":[" 10.0.0.0/8 ","2001:db8::/32"])",
                                  R"(,"status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.1","ipMode":"VIP"},
        {"ip":"198.51.100.2","ipMode":"Proxy"},{"hostname":"lb.example.org"},{"ip":"203.0.113.9"}]}})")),
              lines{});
    auto const s = c.service();
    using enum service_address_kind;
    EXPECT_EQ(s.addresses, (std::vector<service_address>{{*parse_prefix("10.96.0.1"), cluster_ip},
                                                         {*parse_prefix("2001:db8:96::1"), cluster_ip},
                                                         {*parse_prefix("203.0.113.9"), load_balancer_ip},
                                                         {*parse_prefix("198.51.100.1"), load_balancer_ip}}));
    EXPECT_EQ(s.ports, (std::vector<service_port>{{"http", service_protocol::tcp, 80, 0, 30080},
                                                  {"dns", service_protocol::udp, 53, 5353, 0},
                                                  {"s", service_protocol::sctp, 53, 0, 0}}));
    EXPECT_EQ(s.affinity_seconds, 10800u) << "the default, three hours";
    EXPECT_EQ(s.internal_policy, traffic_policy::local);
    EXPECT_EQ(s.external_policy, traffic_policy::local);
    EXPECT_EQ(s.health_check_node_port, 32000);
    EXPECT_EQ(s.source_ranges, (std::vector{*parse_prefix("10.0.0.0/8"), *parse_prefix("2001:db8::/32")}));
}

TEST(kubernetes, what_is_only_for_other_types_of_service) {
    cluster c;
    c.feed(spec(R"("externalTrafficPolicy":"Local","healthCheckNodePort":32000,"externalIPs":[])"));
    EXPECT_EQ(c.service().external_policy, traffic_policy::cluster) << "nothing outside can come in";
    EXPECT_EQ(c.service().health_check_node_port, 0);
    c.feed(spec(R"("externalTrafficPolicy":"Local","externalIPs":["192.0.2.1"])"));
    EXPECT_EQ(c.service().external_policy, traffic_policy::local);
    c.feed(spec(R"("type":"LoadBalancer","externalIPs":["2001:db8::9"])"));
    EXPECT_EQ(c.service().addresses.size(), 1u) << "of IPv6 there is no cluster IP";
}

TEST(kubernetes, endpoint_conditions_place_and_hints) {
    cluster c;
    auto const hints = R"(,"hints":{"forZones":[{"name":"west"},{"name":"east"}],"forNodes":[{"name":"there"}]})";
    c.feed(web("web", "10.96.0.1") +
           slice_text("a", "web",
                      pod("10.244.0.1") + ',' + pod("10.244.0.2", R"(,"nodeName":"here","conditions":{})") + ',' +
                          pod("10.244.0.3", R"(,"nodeName":"there","conditions":{"ready":false,"terminating":true})") +
                          ',' + pod("10.244.0.4", R"(,"conditions":{"ready":null,"serving":false})") + ',' +
                          pod("10.244.0.5", hints) + ',' +
                          R"({"addresses":["10.244.0.6","10.244.0.7"],"nodeName":null,"hints":null})"));
    auto const slices = c.service().slices;
    ASSERT_EQ(slices.size(), 1u);
    auto const ip = [](std::string_view text) { return *parse_address(text); };
    std::vector<endpoint> const expected{
        {.address = ip("10.244.0.1")},
        {.address = ip("10.244.0.2"), .topology = shared_topology{{.node = "here"}}},
        {.address = ip("10.244.0.3"),
         .ready = false,
         .terminating = true,
         .topology = shared_topology{{.node = "there"}}},
        {.address = ip("10.244.0.4"), .serving = false},
        {.address = ip("10.244.0.5"),
         .topology = shared_topology{{.for_zones = {"east", "west"}, .for_nodes = {"there"}}}},
        {.address = ip("10.244.0.6")}};
    EXPECT_EQ(slices[0].endpoints, expected);
}

TEST(kubernetes, target_ports_are_those_that_slices_give_to_the_names) {
    cluster c;
    c.feed(service_text("web", R"("clusterIP":"10.96.0.1","ports":[{"name":"http","port":80,"targetPort":"web"},
                                  {"name":"dns","port":53,"protocol":"UDP","targetPort":"dns"}])") +
           slice_text("a", "web", pod("10.244.0.1"), R"({"name":"http","port":8080},{"name":"dns","port":5353})") +
           slice_text("b", "web", pod("10.244.0.2"), R"({"name":"http","port":9090},{"name":"dns","port":null})") +
           slice_text("c", "web", pod("10.244.0.3"), "") +
           slice_text("d", "web", pod("10.244.0.4"), R"({"name":"dns","port":7,"protocol":"UDP"})"));
    EXPECT_EQ(c.in_force(), (lines{"default/web:dns: 10.96.0.1/32 -> 10.244.0.4:7",
                                   "default/web:http: 10.96.0.1/32 -> 10.244.0.1:8080 10.244.0.2:9090"}));
}

// The same objects in any order, some of them several times: the same services.
TEST(kubernetes, order_does_not_matter) {
    std::vector<std::string> objects{web("web", "10.96.0.1"),
                                     web("other", "10.96.0.2"),
                                     slice_text("a", "web", pod("10.244.0.1")),
                                     slice_text("b", "web", pod("10.244.0.2")),
                                     slice_text("c", "other", pod("10.244.0.3")),
                                     R"({"kind":"Pod"})"};
    cluster first;
    for (auto const& o : objects) first.feed(o);
    std::mt19937 random{1};
    for (int i = 0; i < 50; ++i) {
        std::ranges::shuffle(objects, random);
        cluster c;
        for (auto const& o : objects) c.feed(o);
        c.feed(objects[0]);
        ASSERT_EQ(c.in_force(), first.in_force());
        ASSERT_EQ(c.service().slices[0].name, "a") << "slices in the order of their names, on every node alike";
    }
}

TEST(kubernetes_node, from_its_own_form_and_from_the_clusters) {
    node_configuration node;
    EXPECT_FALSE(read_node(node, R"({"name":"n","zone":"z","addresses":["192.0.2.1","2001:db8::1"],
        "nodePortAddresses":["192.0.2.0/24"],"podCIDRs":["10.0.0.0/8"],"serviceCIDRs":null,"masqueradeAll":true})"));
    EXPECT_EQ(node.name + ' ' + node.zone, "n z");
    EXPECT_EQ(node.addresses.size(), 2u);
    EXPECT_EQ(node.node_port_addresses, std::vector{*parse_prefix("192.0.2.0/24")});
    EXPECT_EQ(node.pod_ranges, std::vector{*parse_prefix("10.0.0.0/8")});
    EXPECT_TRUE(node.service_ranges.empty());
    EXPECT_TRUE(node.masquerade_all);
    EXPECT_FALSE(read_node(node, R"({"steps":[],"node":{"name":"m","addresses":[],"nodePortAddresses":["primary"]}})"));
    EXPECT_EQ(node.name, "m");
    EXPECT_FALSE(node.node_port_addresses);
    EXPECT_TRUE(node.addresses.empty() && node.pod_ranges.empty() && !node.masquerade_all);
    EXPECT_FALSE(read_node(node, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"w1",
        "labels":{"topology.kubernetes.io/zone":"east"}},"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]},
        "status":{"addresses":[{"type":"InternalIP","address":"192.0.2.7"},{"type":"Hostname","address":"w1"}]}})"));
    EXPECT_EQ(node.name + ' ' + node.zone, "w1 east");
    EXPECT_EQ(node.addresses, std::vector{*parse_address("192.0.2.7")});
    EXPECT_EQ(node.pod_ranges, std::vector{*parse_prefix("10.244.1.0/24")});
}

// kube-proxy's GetNodeHostIPs: the order in status.addresses decides only among addresses of one type.
TEST(kubernetes_node, internal_addresses_precede_external_ones) {
    auto const primary = [](std::string const& addresses) {
        node_configuration node;
        EXPECT_FALSE(
            read_node(node, R"({"kind":"Node","metadata":{"name":"n"},"status":{"addresses":[)" + addresses + "]}}"));
        auto const v4 = primary_address<ipv4>(node);
        auto const v6 = primary_address<ipv6>(node);
        return (v4 ? to_text(*v4) : "none") + ' ' + (v6 ? to_text(*v6) : "none");
    };
    auto const address = [](std::string const& type, std::string const& text) {
        return R"({"type":")" + type + R"(","address":")" + text + R"("})";
    };
    auto const out4 = address("ExternalIP", "198.51.100.7"), out6 = address("ExternalIP", "2001:db8:f::7");
    auto const in4 = address("InternalIP", "192.0.2.7"), in6 = address("InternalIP", "2001:db8::7");
    EXPECT_EQ(primary(out4 + ',' + in4), "192.0.2.7 none");
    EXPECT_EQ(primary(in4 + ',' + address("InternalIP", "192.0.2.8") + ',' + out4), "192.0.2.7 none") << "the first";
    EXPECT_EQ(primary(out6 + ',' + out4 + ',' + in6 + ',' + in4), "192.0.2.7 2001:db8::7");
    EXPECT_EQ(primary(out6 + ',' + in4), "192.0.2.7 2001:db8:f::7") << "a family with an ExternalIP only uses it";
    EXPECT_EQ(primary(out4), "198.51.100.7 none");
    EXPECT_EQ(primary(address("Hostname", "n") + ',' + address("ExternalDNS", "n.example.org")), "none none");
}

TEST(kubernetes_node, refusals_change_nothing) {
    node_configuration node{.name = "before"};
    EXPECT_EQ(read_node(node, R"({"name":"n","addresses":["192.0.2.1","x"]})")->text(),
              "node: addresses[1]: \"x\" is no address");
    EXPECT_EQ(read_node(node, R"({"node":{"podCIDRs":"10.0.0.0/8"}})")->text(),
              "node: node.podCIDRs: an array is wanted");
    EXPECT_EQ(read_node(node, R"({"name":)")->text(), "node: is no JSON: incomplete JSON");
    EXPECT_EQ(read_node(node, "[]")->text(), "node: an object is wanted");
    EXPECT_EQ(node.name, "before");
}

} // namespace
} // namespace kubeproxy::kubernetes_tests
