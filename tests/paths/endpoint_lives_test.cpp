#include "kubeproxy/control/kubernetes.hpp"

#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

// What happens to flows when their endpoints and services change: each change is in force with the next packet.

namespace kubeproxy {
namespace {

using build::conversation;
using build::segment;
using testing_support::testbed;
using namespace std::chrono_literals;

struct pod {
    std::string address;
    std::string conditions = "{}";
};
constexpr char const* leaving = R"({"ready":false,"serving":true,"terminating":true})";
constexpr char const* not_ready = R"({"ready":false,"serving":false})";

class cluster {
  public:
    explicit cluster(std::string const& protocol, unsigned drain_seconds = 0)
        : protocol_{protocol}, client_{build::number_of(protocol), {"192.0.2.9", 4000}, {"10.96.0.1", 80}} {
        node_configuration node{.service_ranges = {*parse_prefix("10.96.0.0/16")}};
        if (drain_seconds != 0) node.drain = std::chrono::seconds{drain_seconds};
        EXPECT_FALSE(bed_.control().configuration().set_node(node));
    }

    [[nodiscard]] std::string service(std::string const& ip = "10.96.0.1", std::string const& more = "") const {
        return R"({"kind":"Service","metadata":{"namespace":"ns","name":"web"},"spec":{"clusterIP":")" + ip +
               R"(","ports":[{"port":80,"protocol":")" + protocol_ + R"("}])" + more + "}}";
    }
    [[nodiscard]] std::string slice(std::vector<pod> const& pods) const {
        std::string all;
        for (auto const& p : pods)
            all += (all.empty() ? "" : ",") + (R"({"addresses":[")" + p.address + R"("],"conditions":)") +
                   p.conditions + '}';
        return R"({"kind":"EndpointSlice","metadata":{"namespace":"ns","name":"web-1","labels":
            {"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[)" +
               all + R"(],"ports":[{"name":"","port":8080,"protocol":")" + protocol_ + R"("}]})";
    }
    [[nodiscard]] static std::string gone(std::string const& object) {
        return R"({"type":"DELETED","object":)" + object + '}';
    }
    void feed(std::string const& text) {
        for (auto const& refused : reader_.feed(text)) ADD_FAILURE() << refused.text();
    }

    /// Where the client's packet goes, or what else becomes of it: "10.244.0.1", "drop unallocated_address", …
    std::string send(segment what = segment::data) {
        auto const got = bed_.send(packet_of(client_, what), now_);
        if (got.what.what.what() == action::forward) {
            out_ = build::read(got.bytes);
            return out_.destination.address;
        }
        return std::string{name(got.what.what.what())} + ' ' + std::string{name(got.what.what.why())};
    }
    /// The backend's answer to what was sent last.
    std::string answer(segment what = segment::data) {
        auto const got = bed_.send(packet_of(out_.back(), what), now_);
        if (got.what.what.what() == action::forward) return build::read(got.bytes).source.address;
        return std::string{name(got.what.what.what())} + ' ' + std::string{name(got.what.what.why())};
    }
    /// A connection that is established. \return its backend
    std::string connect() {
        auto const backend = send(segment::open);
        EXPECT_EQ(answer(segment::accept), "10.96.0.1");
        EXPECT_EQ(send(), backend);
        return backend;
    }
    void other_client() { ++client_.source.port; }
    bool pass(std::chrono::seconds time) {
        now_ += time;
        return bed_.control().tick(now_);
    }
    controller& control() { return bed_.control(); }
    kubernetes_reader& reader() { return reader_; }

  private:
    std::string protocol_;
    conversation client_, out_;
    testbed bed_{""};
    kubernetes_reader reader_{bed_.control()};
    std::chrono::nanoseconds now_ = 1s;
};

TEST(endpoint_lives, a_steady_udp_flow_follows_every_change_with_its_next_packet) {
    cluster c{"UDP"};
    c.feed(c.service() + c.slice({{"10.244.0.1"}, {"10.244.0.2"}}));
    auto const first = c.send();
    std::string const second = first == "10.244.0.1" ? "10.244.0.2" : "10.244.0.1";
    EXPECT_EQ(c.answer(), "10.96.0.1");
    c.feed(c.slice({{second}}));
    EXPECT_EQ(c.send(), second) << "its backend was removed";
    EXPECT_EQ(c.answer(), "10.96.0.1");
    c.feed(c.slice({}));
    EXPECT_EQ(c.send(), "reply no_endpoints") << "scaled to zero";
    EXPECT_EQ(c.answer(), "pass none") << "nobody hears the removed pod as the service";
    c.feed(c.slice({{"10.244.0.3"}}));
    EXPECT_EQ(c.send(), "10.244.0.3") << "and up again";
    c.feed(cluster::gone(c.service()));
    EXPECT_EQ(c.send(), "drop unallocated_address") << "the service was deleted";
    c.feed(c.service());
    EXPECT_EQ(c.send(), "10.244.0.3") << "and created again";
    c.feed(cluster::gone(c.service()) + c.service("10.96.0.7"));
    EXPECT_EQ(c.send(), "drop unallocated_address") << "created again with another cluster IP, in one chunk";
    c.feed(c.service("10.96.0.1"));
    EXPECT_EQ(c.send(), "10.244.0.3");
    c.feed(c.service("10.96.0.1", R"(,"type":"ExternalName","externalName":"example.org")"));
    EXPECT_EQ(c.send(), "drop unallocated_address");
}

TEST(endpoint_lives, a_tcp_connection_stays_while_its_endpoint_is_there_and_ends_with_it) {
    cluster c{"TCP"};
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    EXPECT_EQ(c.connect(), "10.244.0.1");
    for (auto const* conditions : {not_ready, leaving, "{}", not_ready}) {
        c.feed(c.slice({{"10.244.0.1", conditions}, {"10.244.0.2"}}));
        EXPECT_EQ(c.send(), "10.244.0.1") << conditions;
    }
    c.feed(c.slice({{"10.244.0.2"}}));
    EXPECT_EQ(c.send(), "drop backend_removed");
    EXPECT_EQ(c.answer(), "drop backend_removed");
    c.feed(c.slice({{"10.244.0.1"}}));
    EXPECT_EQ(c.send(), "drop backend_removed") << "a pod that comes back knows nothing of it";
    EXPECT_EQ(c.send(segment::open), "10.244.0.1");
}

TEST(endpoint_lives, terminating_endpoints_get_no_new_connections_while_others_are_ready) {
    cluster c{"TCP"};
    c.feed(c.service() + c.slice({{"10.244.0.1", leaving}, {"10.244.0.2"}}));
    for (int i = 0; i < 32; ++i) {
        c.other_client();
        EXPECT_EQ(c.send(segment::open), "10.244.0.2");
    }
    c.feed(c.slice({{"10.244.0.1", leaving}, {"10.244.0.2", not_ready}}));
    c.other_client();
    EXPECT_EQ(c.send(segment::open), "10.244.0.1") << "until nobody else is left (KEP-1669)";
}

TEST(endpoint_lives, without_a_drain_time_a_terminating_endpoint_keeps_its_connections) {
    cluster c{"TCP"};
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    c.connect();
    c.feed(c.slice({{"10.244.0.1", leaving}, {"10.244.0.2"}}));
    EXPECT_FALSE(c.pass(0s));
    EXPECT_FALSE(c.pass(7200s));
    EXPECT_EQ(c.send(), "10.244.0.1");
}

TEST(endpoint_lives, the_drain_time_ends_connections_of_terminating_endpoints) {
    cluster c{"TCP", 60};
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    c.connect();
    EXPECT_FALSE(c.pass(1000s)) << "it does not terminate";
    c.feed(c.slice({{"10.244.0.1", leaving}, {"10.244.0.2"}}));
    EXPECT_FALSE(c.pass(0s));
    EXPECT_FALSE(c.pass(59s));
    EXPECT_EQ(c.send(), "10.244.0.1");
    EXPECT_TRUE(c.pass(1s));
    EXPECT_EQ(c.send(), "drop backend_removed");
    EXPECT_EQ(c.answer(), "drop backend_removed");
    EXPECT_EQ(c.send(segment::open), "10.244.0.2");
    EXPECT_FALSE(c.pass(600s)) << "once";
    c.feed(c.slice({{"10.244.0.1", leaving}}));
    c.other_client();
    EXPECT_EQ(c.send(segment::open), "10.244.0.1") << "still of use where there is nobody else";
    EXPECT_FALSE(c.pass(600s));
    EXPECT_EQ(c.send(), "10.244.0.1") << "who came after the end knew what it came to";
}

TEST(endpoint_lives, the_drain_time_lets_udp_look_for_another_endpoint) {
    cluster c{"UDP", 60};
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    EXPECT_EQ(c.send(), "10.244.0.1");
    c.feed(c.slice({{"10.244.0.1", leaving}, {"10.244.0.2"}}));
    EXPECT_FALSE(c.pass(0s));
    EXPECT_FALSE(c.pass(25s));
    EXPECT_EQ(c.send(), "10.244.0.1");
    EXPECT_FALSE(c.pass(25s));
    EXPECT_EQ(c.send(), "10.244.0.1");
    EXPECT_TRUE(c.pass(10s));
    EXPECT_EQ(c.send(), "10.244.0.2");
}

TEST(endpoint_lives, a_relist_moves_no_connection) {
    cluster c{"TCP"};
    auto const slice = c.slice({{"10.244.0.1"}, {"10.244.0.2"}});
    c.feed(c.service() + slice);
    auto const backend = c.connect();
    c.reader().begin_relist();
    EXPECT_EQ(c.send(), backend);
    c.feed(slice);
    EXPECT_EQ(c.send(), backend) << "the service has not been named yet";
    c.feed(c.service());
    c.reader().end_relist();
    c.feed("");
    EXPECT_EQ(c.send(), backend);
    c.reader().begin_relist();
    c.reader().end_relist();
    c.feed("");
    EXPECT_EQ(c.send(), "drop backend_removed") << "nothing was named: everything is gone";
}

// One pod's port behind two services: each client hears from the service that it spoke to.
TEST(endpoint_lives, two_services_of_one_pod_do_not_mix_their_replies) {
    cluster const c{"UDP"};
    auto other = c.service("10.96.0.2");
    other.replace(other.find("web"), 3, "api");
    auto slice = c.slice({{"10.244.0.1"}}), of_other = slice;
    for (int i = 0; i < 2; ++i) of_other.replace(of_other.rfind("web"), 3, "api");
    testbed bed{""};
    conversation const first{17, {"192.0.2.9", 4000}, {"10.96.0.1", 80}},
        second{17, {"192.0.2.9", 4000}, {"10.96.0.2", 80}};
    kubernetes_reader reader{bed.control()};
    EXPECT_TRUE(reader.feed(c.service() + slice + other + of_other).empty());
    auto const out1 = build::read(bed.send(packet_of(first, segment::data), 1s).bytes);
    auto const out2 = build::read(bed.send(packet_of(second, segment::data), 1s).bytes);
    EXPECT_EQ(out1.destination, out2.destination);
    EXPECT_NE(out1.source, out2.source);
    EXPECT_EQ(build::read(bed.send(packet_of(out1.back(), segment::data), 1s).bytes), first.back());
    EXPECT_EQ(build::read(bed.send(packet_of(out2.back(), segment::data), 1s).bytes), second.back());
}

} // namespace
} // namespace kubeproxy
