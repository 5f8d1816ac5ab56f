#include "kubeproxy/control/kubernetes/reader.hpp"

#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <vector>

// Session affinity ClientIP, as kube-proxy has it: each Service port remembers endpoints, address and port, for itself
// (kubernetes#103000); a port that remembers nothing of a client follows the Service's other ports.

namespace kubeproxy::affinity_tests {
namespace {

using build::conversation;
using build::segment;
using build::side;
using namespace std::chrono_literals;

struct offer {
    std::string ports; ///< of an EndpointSlice
    std::vector<std::string> pods;
};

class sticky {
  public:
    /// \param ports of the Service
    sticky(std::string const& ports, std::vector<offer> const& offers) { feed(ports, offers); }

    void feed(std::string const& ports, std::vector<offer> const& offers) {
        std::string text = R"({"kind":"Service","metadata":{"namespace":"ns","name":"web"},"spec":{"clusterIP":
            "10.96.0.1","sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":100}},
            "ports":[)" + ports +
                           "]}}";
        for (std::size_t i = 0; i < offers.size(); ++i) {
            std::string pods;
            for (auto const& p : offers[i].pods)
                pods += (pods.empty() ? "" : ",") + (R"({"addresses":[")" + p + "\"]}");
            text += R"({"kind":"EndpointSlice","metadata":{"namespace":"ns","name":"web-)" + std::to_string(i) +
                    R"(","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[)" + pods +
                    R"(],"ports":[)" + offers[i].ports + "]}";
        }
        for (auto const& refused : reader_.feed(text)) ADD_FAILURE() << refused.text();
    }
    /// A new connection. \return its endpoint
    side connect(unsigned client, unsigned port, unsigned protocol = 6) {
        conversation const c{protocol, {"192.0.2." + std::to_string(client), ++last_port_}, {"10.96.0.1", port}};
        auto const got = bed_.send(packet_of(c, protocol == 6 ? segment::open : segment::data), now);
        EXPECT_EQ(got.what.what, verdict::forward());
        return build::read(got.bytes).destination;
    }

    std::chrono::nanoseconds now = 1s;

  private:
    unsigned last_port_ = 10'000;
    testing_support::testbed bed_{""};
    kubernetes_reader reader_{bed_.control()};
};

constexpr char const* rpc_and_ws = R"({"name":"rpc","port":8545},{"name":"ws","port":8546})";
constexpr char const* rpc = R"({"name":"rpc","port":8545})";
constexpr char const* ws = R"({"name":"ws","port":9546})";

TEST(affinity_paths, ports_with_different_pods_keep_a_client_each) {
    sticky s{rpc_and_ws, {{rpc, {"10.244.0.1", "10.244.0.2"}}, {ws, {"10.244.0.3", "10.244.0.4", "10.244.0.5"}}}};
    for (unsigned client = 1; client <= 20; ++client) {
        auto const first = s.connect(client, 8545), second = s.connect(client, 8546);
        for (int again = 0; again < 5; ++again) {
            EXPECT_EQ(s.connect(client, 8545), first) << client;
            EXPECT_EQ(s.connect(client, 8546), second) << client;
        }
    }
}

TEST(affinity_paths, ports_with_the_same_pods_bring_a_client_to_one_pod) {
    std::vector<std::string> const pods{"10.244.0.1", "10.244.0.2", "10.244.0.3"};
    sticky s{rpc_and_ws, {{std::string{rpc} + "," + ws, pods}}};
    std::set<std::string> met;
    for (unsigned client = 1; client <= 30; ++client) {
        auto const first = s.connect(client, client % 2 == 0 ? 8545 : 8546);
        auto const second = s.connect(client, client % 2 == 0 ? 8546 : 8545);
        EXPECT_EQ(first.address, second.address) << client;
        EXPECT_NE(first.port, second.port);
        met.insert(first.address);
    }
    EXPECT_EQ(met.size(), 3u);
}

TEST(affinity_paths, one_port_never_changes_what_another_remembers) {
    sticky s{rpc_and_ws, {{rpc, {"10.244.0.1", "10.244.0.2"}}, {ws, {"10.244.0.2", "10.244.0.3"}}}};
    bool differed = false;
    for (unsigned client = 1; client <= 40; ++client) {
        auto const first = s.connect(client, 8545), second = s.connect(client, 8546);
        if (first.address == "10.244.0.2") {
            EXPECT_EQ(second.address, "10.244.0.2") << "it has the pod, too";
        }
        differed = differed || first.address != second.address;
        EXPECT_EQ(s.connect(client, 8545), first) << client;
        EXPECT_EQ(s.connect(client, 8546), second) << client;
    }
    EXPECT_TRUE(differed);
}

TEST(affinity_paths, the_latest_pod_that_this_port_has_is_followed) {
    constexpr char const* third = R"({"name":"p2p","port":30303})";
    sticky s{std::string{rpc_and_ws} + R"(,{"name":"p2p","port":30303})",
             {{rpc, {"10.244.0.1"}}, {ws, {"10.244.0.2"}}, {third, {"10.244.0.1", "10.244.0.2", "10.244.0.3"}}}};
    for (unsigned client = 1; client <= 20; ++client) {
        s.connect(client, client % 2 == 0 ? 8545 : 8546);
        s.now += 1s;
        auto const latest = s.connect(client, client % 2 == 0 ? 8546 : 8545);
        EXPECT_EQ(s.connect(client, 30303).address, latest.address);
    }
}

TEST(affinity_paths, an_endpoint_is_an_address_and_a_port) { // two processes in one network namespace
    sticky s{R"({"name":"rpc","port":8545})",
             {{rpc, {"10.244.0.1"}}, {R"({"name":"rpc","port":8645})", {"10.244.0.1"}}}};
    std::set<unsigned> met;
    for (unsigned client = 1; client <= 20; ++client) {
        auto const first = s.connect(client, 8545);
        for (int again = 0; again < 5; ++again) EXPECT_EQ(s.connect(client, 8545), first) << client;
        met.insert(first.port);
    }
    EXPECT_EQ(met, (std::set<unsigned>{8545, 8645}));
}

TEST(affinity_paths, tcp_and_udp_of_one_number_are_two_ports) {
    sticky s{R"({"name":"a","port":53,"protocol":"TCP"},{"name":"b","port":53,"protocol":"UDP"})",
             {{R"({"name":"a","port":53,"protocol":"TCP"})", {"10.244.0.1", "10.244.0.2"}},
              {R"({"name":"b","port":53,"protocol":"UDP"})", {"10.244.0.3", "10.244.0.4"}}}};
    for (unsigned client = 1; client <= 20; ++client) {
        auto const tcp = s.connect(client, 53, 6), udp = s.connect(client, 53, 17);
        EXPECT_EQ(s.connect(client, 53, 6), tcp);
        EXPECT_EQ(s.connect(client, 53, 17), udp);
    }
}

TEST(affinity_paths, what_is_forgotten_at_one_port_is_found_at_another) {
    std::vector<std::string> const pods{"10.244.0.1", "10.244.0.2", "10.244.0.3", "10.244.0.4"};
    sticky s{rpc_and_ws, {{std::string{rpc} + "," + ws, pods}}};
    for (unsigned client = 1; client <= 20; ++client) {
        auto const first = s.connect(client, 8545);
        s.now += 60s;
        EXPECT_EQ(s.connect(client, 8546).address, first.address);
        s.now += 60s; // the first port's memory is 120 s old, the second one's 60 s
        EXPECT_EQ(s.connect(client, 8545), first) << client;
    }
}

TEST(affinity_paths, an_endpoint_that_is_gone_binds_nobody) {
    sticky s{rpc_and_ws, {{rpc, {"10.244.0.1"}}, {ws, {"10.244.0.2", "10.244.0.3"}}}};
    s.connect(1, 8545);
    auto const second = s.connect(1, 8546);
    s.feed(rpc_and_ws, {{rpc, {"10.244.0.2", "10.244.0.3"}}, {ws, {"10.244.0.2", "10.244.0.3"}}});
    EXPECT_EQ(s.connect(1, 8545).address, second.address) << "the other port's pod";
}

} // namespace
} // namespace kubeproxy::affinity_tests
