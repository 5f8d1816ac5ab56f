#include "kubeproxy/control/kubernetes/reader.hpp"

#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

// What a host's operator sees of a proxy that runs.

namespace kubeproxy::show_tests {
namespace {

using testing_support::test_packet;
using namespace std::chrono_literals;

constexpr auto objects = R"(
{"kind":"Service","metadata":{"namespace":"shop","name":"web"},"spec":{"type":"NodePort","clusterIP":"10.96.0.1",
 "sessionAffinity":"ClientIP","ports":[{"name":"http","port":80,"nodePort":30080},{"name":"dns","port":53,"protocol":"UDP"}]}}
{"kind":"Service","metadata":{"namespace":"shop","name":"webcam"},"spec":{"clusterIP":"10.96.0.2","ports":[{"port":80}]}}
{"kind":"EndpointSlice","metadata":{"namespace":"shop","name":"web-1","labels":{"kubernetes.io/service-name":"web"}},
 "addressType":"IPv4","ports":[{"name":"http","port":8080},{"name":"dns","port":5353,"protocol":"UDP"}],
 "endpoints":[{"addresses":["10.244.0.1"],"nodeName":"n1"},
              {"addresses":["10.244.0.2"],"conditions":{"ready":false,"serving":true,"terminating":true}}]}
)";

class shown : public testing::Test {
  protected:
    shown() {
        static_cast<void>(
            control_.configuration().set_node({.name = "n1", .addresses = {*parse_address("192.0.2.1")}}));
        kubernetes_reader reader{control_};
        EXPECT_TRUE(reader.feed(objects).empty());
        send({.source = "198.51.100.1",
              .destination = "192.0.2.1",
              .protocol = 6,
              .message = seed::tcp({}, 0x02, 4711, 30080)});
    }
    void send(build::packet const& p) {
        test_packet one{build::bytes_of(p)};
        proxy_.process(std::span{&one, 1}, now_, [](test_packet&, outcome const& o) {
            EXPECT_EQ(o.what, verdict::forward()) << name(o.what.why());
        });
    }
    std::string show(std::string const& what) {
        auto const result = control_.execute("show " + what);
        EXPECT_TRUE(result.ok()) << result.error->reason;
        return result.text;
    }
    boost::json::value json(std::string const& what) { return boost::json::parse(show(what + " json")); }

    std::chrono::nanoseconds now_ = 100s;
    service_source source_;
    flow_table flows_{{64, 64}, secret{1}};
    affinity_table clients_{64, secret{1}};
    proxy<test_packet> proxy_{flows_, clients_, source_};
    controller control_{source_,
                        {.hooks = {.flows = [this] { return flows_of(flows_, now_, control_.current()); },
                                   .clients = [this] { return clients_of(clients_, at(now_), control_.current()); },
                                   .counters = [this] { return counted(); },
                                   .flush = {}}}};

  private:
    static flow_time at(std::chrono::nanoseconds now) {
        return flow_time{std::chrono::duration_cast<std::chrono::milliseconds>(now)};
    }
    std::vector<counter_view> counted() const { return {{"forward", proxy_.verdicts().packets(action::forward)}}; }
};

TEST_F(shown, services) {
    EXPECT_EQ(show("services"),
              "service         protocol  port  target  node port  kind   pods  ring  packets  flows\n"
              "shop/web:http   tcp         80    same      30080  NAT44     2   257        1      1\n"
              "shop/web:dns    udp         53    same          -  NAT44     2   257        0      0\n"
              "shop/webcam:80  tcp         80    same          -  NAT44     0     0        0      0\n");
    EXPECT_EQ(json("services").as_array().size(), 3u);
}

TEST_F(shown, endpoints_of_all_of_one_and_of_one_port) {
    EXPECT_EQ(show("endpoints shop/web:http"),
              "service        endpoint         state                 node     weight    share  packets  flows\n"
              "shop/web:http  10.244.0.1:8080  ready                 this          1  100.0 %        1      1\n"
              "shop/web:http  10.244.0.2:8080  terminating, serving  another       1    0.0 %        0      0\n");
    EXPECT_EQ(json("endpoints").as_array().size(), 3u);
    EXPECT_EQ(json("endpoints shop/web").as_array().size(), 2u);
    EXPECT_EQ(json("endpoints shop/web:http").as_array().size(), 1u);
    EXPECT_EQ(json("endpoints shop/we").as_array().size(), 0u);
}

TEST_F(shown, flows) {
    now_ += 5s;
    auto const all = json("flows").as_array();
    ASSERT_EQ(all.size(), 1u);
    auto const& f = all[0].as_object();
    EXPECT_EQ(f.at("service").as_string(), "shop/web:http");
    EXPECT_EQ(serialize(f.at("client")), R"({"address":"198.51.100.1","port":4711})");
    EXPECT_EQ(serialize(f.at("spoken_to")), R"({"address":"192.0.2.1","port":30080})");
    EXPECT_EQ(serialize(f.at("backend")), R"({"address":"10.244.0.1","port":8080})");
    EXPECT_EQ(f.at("source").as_object().at("address").as_string(), "192.0.2.1");
    EXPECT_TRUE(f.at("masqueraded").as_bool());
    EXPECT_EQ(f.at("state").as_string(), "syn sent");
    EXPECT_EQ(f.at("idle").as_int64(), 5);
    EXPECT_EQ(f.at("packets").as_int64(), 1);
    EXPECT_NE(show("flows").find("198.51.100.1:4711"), std::string::npos);
    flows_.flush();
    EXPECT_EQ(show("ku flows json"), "[]\n");
}

TEST_F(shown, clients_that_affinity_remembers) {
    now_ += 800s;
    EXPECT_EQ(show("affinity"), "service        client        backend             left\n"
                                "shop/web:http  198.51.100.1  10.244.0.1:8080  10000 s\n");
    now_ += 10000s;
    EXPECT_EQ(show("affinity json"), "[]\n") << "three hours";
}

TEST_F(shown, counters_and_overview) {
    EXPECT_EQ(show("counters"), "counter  value\nforward      1\n");
    EXPECT_EQ(show("ku counters json"), "{\"forward\":1}\n");
    auto const all = json("ku").as_object();
    EXPECT_EQ(all.at("node").as_string(), "n1");
    EXPECT_EQ(all.at("services").as_int64(), 3);
    EXPECT_EQ(all.at("packets").as_int64(), 1);
    EXPECT_NE(show("ku").find("192.0.2.1"), std::string::npos);
}

} // namespace
} // namespace kubeproxy::show_tests
