#include "kubeproxy/control/kubernetes/reader.hpp"

#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

// What happens to flows when their endpoints and services change: each change is in force with the next packet.

namespace kubeproxy::endpoint_lives_tests {
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
        if (!pass_on(client_, what)) return verdict_text();
        out_ = build::read(got_.bytes);
        return out_.destination.address;
    }
    /// The backend's answer to what was sent last.
    std::string answer(segment what = segment::data) {
        if (!pass_on(out_.back(), what)) return verdict_text();
        return build::read(got_.bytes).source.address;
    }
    /// How the client's last packet that was forwarded left.
    [[nodiscard]] conversation const& sent() const { return out_; }
    /// What came out last.
    [[nodiscard]] outcome const& last() const { return got_.what; }
    [[nodiscard]] build::octets const& bytes() const { return got_.bytes; }
    [[nodiscard]] unsigned flags() const { return std::to_integer<unsigned>(got_.bytes.at(33)); }
    [[nodiscard]] build::octets sequence() const { return four_at(got_.bytes, 24); }
    /// Of what went in last.
    [[nodiscard]] build::octets sequence_sent() const { return four_at(in_, 24); }
    [[nodiscard]] build::octets acknowledgment_sent() const { return four_at(in_, 28); }
    void to(std::string const& address) { client_.destination.address = address; }
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
    bool pass_on(conversation const& c, segment what) {
        in_ = packet_of(c, what);
        got_ = bed_.send(in_, now_);
        return got_.what.what == verdict::forward();
    }
    [[nodiscard]] std::string verdict_text() const {
        auto const v = got_.what.what;
        return std::string{name(v.what())} + ' ' + std::string{name(v.why())};
    }
    static build::octets four_at(build::octets const& b, std::ptrdiff_t at) {
        return {b.begin() + at, b.begin() + at + 4};
    }

    std::string protocol_;
    conversation client_, out_;
    build::octets in_;
    testing_support::settled got_;
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

TEST(endpoint_lives, a_tcp_connection_outlives_its_endpoint_as_behind_kube_proxy) {
    cluster c{"TCP"};
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    EXPECT_EQ(c.connect(), "10.244.0.1");
    auto const as_sent = c.sent();
    for (auto const* conditions : {not_ready, leaving, "{}", not_ready}) {
        c.feed(c.slice({{"10.244.0.1", conditions}, {"10.244.0.2"}}));
        EXPECT_EQ(c.send(), "10.244.0.1") << conditions;
    }
    auto const lives_on = [&](char const* after) {
        EXPECT_EQ(c.send(), "10.244.0.1") << after;
        EXPECT_EQ(c.sent(), as_sent) << after;
        EXPECT_EQ(c.answer(), "10.96.0.1") << after;
    };
    c.feed(c.slice({{"10.244.0.2"}}));
    lives_on("removed: a label was changed, or the pod was deleted");
    EXPECT_EQ(c.send(segment::open), "10.244.0.1") << "a bare SYN, which anybody can forge, moves no connection";
    c.feed(c.slice({}));
    lives_on("scaled to zero");
    c.feed(c.slice({{"10.244.0.1"}}));
    lives_on("the endpoint came back");
    c.feed(cluster::gone(c.service()));
    lives_on("the service was deleted");
    c.feed(c.service() + c.slice({{"10.244.0.2"}}));
    lives_on("and created again with other endpoints");
    EXPECT_EQ(c.send(segment::fin), "10.244.0.1");
    EXPECT_EQ(c.answer(segment::fin), "10.96.0.1");
    EXPECT_EQ(c.send(segment::open), "10.244.0.2") << "the next connection";
}

TEST(endpoint_lives, a_connection_that_is_not_answered_yet_looks_for_another_endpoint) {
    cluster c{"TCP"};
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    EXPECT_EQ(c.send(segment::open), "10.244.0.1");
    c.feed(c.slice({{"10.244.0.2"}}));
    EXPECT_EQ(c.send(segment::open), "10.244.0.2");
}

// Simultaneous open (RFC 9293 section 3.5): the backend's own SYN answers the client's, so the connection stays.
TEST(endpoint_lives, a_syn_from_the_backend_does_not_end_the_connection_that_it_answers) {
    cluster c{"TCP"};
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    EXPECT_EQ(c.send(segment::open), "10.244.0.1");
    c.feed(c.slice({{"10.244.0.2"}}));
    EXPECT_EQ(c.answer(segment::open), "10.96.0.1");
    EXPECT_EQ(c.send(segment::accept), "10.244.0.1");
    EXPECT_EQ(c.answer(segment::accept), "10.96.0.1");
    EXPECT_EQ(c.send(), "10.244.0.1");
}

// An endpoint that comes back gets its place in the snapshot back, so that its flows are as they were.
TEST(endpoint_lives, an_endpoint_that_comes_back_counts_its_flows_again) {
    cluster c{"TCP"};
    c.feed(c.service() + c.slice({{"10.244.0.1"}, {"10.244.0.2"}}));
    auto const backend = c.connect();
    auto const place = c.last().backend;
    c.feed(c.slice({{backend == "10.244.0.1" ? "10.244.0.2" : "10.244.0.1"}}));
    EXPECT_EQ(c.send(), backend);
    EXPECT_EQ(c.last().backend, no_backend);
    EXPECT_EQ(c.last().service, no_service);
    c.feed(c.slice({{"10.244.0.1"}, {"10.244.0.2"}}));
    EXPECT_EQ(c.send(), backend);
    EXPECT_EQ(c.last().backend, place);
}

struct first_to_speak {
    char const* name;
    bool is_client;
};
class removed_reset : public testing::TestWithParam<first_to_speak> {};

// RFC 9293 section 3.10.7.4: a reset is accepted at the next sequence number that its receiver expects.
TEST_P(removed_reset, both_ends_are_told) {
    cluster c{"TCP"};
    EXPECT_TRUE(c.control().apply("ku conf removed reset").ok());
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    c.connect();
    c.feed(c.slice({{"10.244.0.2"}}));
    auto const speak = [&](bool as_client) { return as_client ? c.send() : c.answer(); };
    bool const first = GetParam().is_client;
    EXPECT_EQ(speak(first), first ? "10.244.0.1" : "10.96.0.1") << "it goes on to the other end";
    EXPECT_EQ(c.flags(), 0x14u) << "as a reset";
    EXPECT_EQ(c.sequence(), c.sequence_sent());
    EXPECT_TRUE(build::is_whole(c.bytes()));
    for (bool const is_client : {first, !first, first}) {
        EXPECT_EQ(speak(is_client), "reply backend_removed");
        EXPECT_EQ(c.flags(), 0x04u);
        EXPECT_EQ(c.sequence(), c.acknowledgment_sent());
        EXPECT_TRUE(build::is_whole(c.bytes()));
    }
    EXPECT_EQ(c.send(segment::open), "10.244.0.2");
}

INSTANTIATE_TEST_SUITE_P(endpoint_lives, removed_reset,
                         testing::Values(first_to_speak{"the_client", true}, first_to_speak{"the_backend", false}),
                         [](auto const& one) { return std::string{one.param.name}; });

TEST(endpoint_lives, removed_keep_takes_the_setting_back) {
    cluster c{"TCP"};
    EXPECT_TRUE(c.control().apply("ku conf removed reset").ok());
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    c.connect();
    EXPECT_TRUE(c.control().apply("ku conf removed keep").ok());
    c.feed(c.slice({}));
    EXPECT_EQ(c.send(), "10.244.0.1");
    EXPECT_EQ(c.flags(), 0x10u);
}

struct move_case {
    char const* name;
    std::string before, after; ///< `ku` lines
    char const* spoken_to;
    char const* backend_after; ///< of UDP
};
class moved_address : public testing::TestWithParam<move_case> {};

// An address, with its port, that belongs to another service now: datagrams follow, connections live on, and flows to
// the other address of the same service keep backend and source port.
TEST_P(moved_address, udp_follows_and_tcp_stays) {
    auto const& m = GetParam();
    testbed bed{"ku conf node 192.0.2.1\n" + m.before};
    conversation const udp{17, {"198.51.100.9", 4000}, {m.spoken_to, 80}}, tcp{6, udp.source, udp.destination},
        other{17, {"198.51.100.9", 4001}, {"90.7.9.9", 80}};
    auto const leaves = [&](conversation const& c, segment what = segment::data) {
        auto const got = bed.send(packet_of(c, what), 1s);
        return got.what.what == verdict::forward() ? build::read(got.bytes)
                                                   : conversation{0, {std::string{name(got.what.what.what())}, 0}, {}};
    };
    auto const udp_before = leaves(udp), other_before = leaves(other), tcp_before = leaves(tcp, segment::open);
    EXPECT_EQ(udp_before.destination.address, "10.0.0.1");
    EXPECT_EQ(other_before.destination.address, "10.0.0.1");
    EXPECT_EQ(leaves(tcp_before.back(), segment::accept), tcp.back());
    EXPECT_EQ(leaves(tcp), tcp_before);
    EXPECT_EQ(leaves(udp_before.back()), udp.back());
    bed.configure(m.after);
    EXPECT_EQ(leaves(udp_before.back()).source.address, "pass") << "the old backend's answer belongs to no flow";
    auto const udp_after = leaves(udp);
    EXPECT_EQ(udp_after.protocol == 0 ? udp_after.source.address : udp_after.destination.address, m.backend_after);
    EXPECT_EQ(leaves(tcp), tcp_before);
    EXPECT_EQ(leaves(tcp_before.back()), tcp.back());
    EXPECT_EQ(leaves(other), other_before);
    EXPECT_EQ(leaves(other_before.back()), other.back());
}

std::string const first_service = "ku vip 90.0.0.0/8 port 80 node_port 30080\nku pod 90.0.0.0/8 10.0.0.1\n";
INSTANTIATE_TEST_SUITE_P(
    endpoint_lives, moved_address,
    testing::Values(move_case{"a_longer_prefix_covers_it", first_service,
                              "ku vip 90.0.0.0/16 port 80\nku pod 90.0.0.0/16 10.0.0.2\n", "90.0.1.1", "10.0.0.2"},
                    move_case{"an_address_covers_it", first_service,
                              "ku vip 90.0.1.1/32 port 80\nku pod 90.0.1.1/32 10.0.0.2\n", "90.0.1.1", "10.0.0.2"},
                    move_case{"a_service_without_pods_covers_it", first_service, "ku vip 90.0.1.1/32 port 80\n",
                              "90.0.1.1", "reply"},
                    move_case{"a_port_of_its_prefix_gets_its_own_service",
                              "ku vip 90.0.0.0/8\nku pod 90.0.0.0/8 10.0.0.1\nku vip 90.7.9.0/24 port 80\n"
                              "ku pod 90.7.9.0/24 10.0.0.1\n",
                              "ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.2 port 80\n", "90.0.1.1",
                              "10.0.0.2"},
                    move_case{"and_back_again",
                              first_service + "ku vip 91.0.0.0/8 port 80\nku pod 91.0.0.0/8 10.0.0.3\n",
                              "ku vip 90.0.1.0/24 port 80\nku pod 90.0.1.0/24 10.0.0.2\n", "90.0.1.1", "10.0.0.2"}),
    [](auto const& one) { return std::string{one.param.name}; });

// core/v1 ServiceSpec: LoadBalancer addresses, external IPs and node ports may be taken from a Service while it stays.
TEST(endpoint_lives, udp_leaves_an_external_address_that_the_service_gave_up) {
    cluster c{"UDP"};
    c.feed(c.service("10.96.0.1", R"(,"externalIPs":["203.0.113.7"])") + c.slice({{"10.244.0.1"}, {"10.244.0.2"}}));
    auto const backend = c.send();
    auto const as_sent = c.sent();
    c.to("203.0.113.7");
    c.send();
    EXPECT_EQ(c.answer(), "203.0.113.7");
    c.feed(c.service());
    EXPECT_EQ(c.send(), "pass none");
    c.to("10.96.0.1");
    EXPECT_EQ(c.send(), backend) << "the other address's flow stays";
    EXPECT_EQ(c.sent(), as_sent);
    c.feed(c.service("10.96.0.1", R"(,"externalIPs":["203.0.113.7"])"));
    EXPECT_EQ(c.send(), backend);
    EXPECT_EQ(c.sent(), as_sent);
}

// The port has no backends at the moment in which it loses the address.
TEST(endpoint_lives, udp_leaves_an_address_given_up_while_its_endpoint_was_gone) {
    cluster c{"UDP"};
    auto const outer = c.service("10.96.0.1", R"(,"externalIPs":["203.0.113.9"])");
    c.feed(outer + c.slice({{"10.244.0.1"}}));
    c.to("203.0.113.9");
    ASSERT_EQ(c.send(), "10.244.0.1");
    EXPECT_EQ(c.answer(), "203.0.113.9");
    c.feed(c.slice({}));
    c.feed(c.service() + c.slice({{"10.244.0.1"}}));
    EXPECT_EQ(c.answer(), "pass none");
    EXPECT_EQ(c.send(), "pass none");
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
    EXPECT_EQ(c.send(), "10.244.0.1");
    EXPECT_EQ(c.flags(), 0x14u) << "a reset of the endpoint";
    EXPECT_EQ(c.send(), "reply backend_removed") << "and of the client";
    EXPECT_EQ(c.answer(), "reply backend_removed");
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
    EXPECT_EQ(c.send(), backend) << "nothing was named, and everything is gone but the connection";
    c.other_client();
    EXPECT_NE(c.send(segment::open), backend);
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
} // namespace kubeproxy::endpoint_lives_tests
