#include "support/flood.hpp"
#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

// Packets that an attacker forges without seeing any traffic: they cost no connection its flow, backend or port, and
// leave room for new clients.

namespace kubeproxy::attacks_tests {
namespace {

using build::bytes_of;
using flood::answer_to, flood::fast_bed, flood::segment, flood::slower;
using testing_support::octets;
using testing_support::testbed;
using namespace std::chrono_literals;
using enum flow_state;

constexpr unsigned fin = 0x11, syn = 0x02, rst = 0x04, ack = 0x10, syn_ack = 0x12;
constexpr auto plain_service = "ku vip 90.0.0.1/32\nku pod 90.0.0.1/32 10.0.0.1\n";

octets tcp_of_client(unsigned flags) {
    return bytes_of({.destination = "90.0.0.1", .protocol = 6, .message = seed::tcp({}, flags, 4711, 80)});
}
octets tcp_of_pod(unsigned flags) {
    return bytes_of(
        {.source = "10.0.0.1", .destination = "192.0.2.1", .protocol = 6, .message = seed::tcp({}, flags, 80, 4711)});
}
octets udp_of_client() { return bytes_of({.destination = "90.0.0.1", .message = seed::udp(octets(9), 4711, 80)}); }
octets udp_of_pod() {
    return bytes_of({.source = "10.0.0.1", .destination = "192.0.2.1", .message = seed::udp(octets(9), 80, 4711)});
}
octets echo(unsigned type) {
    bool const is_request = type == 8;
    return bytes_of({.source = is_request ? "192.0.2.1" : "10.0.0.1",
                     .destination = is_request ? "90.0.0.1" : "192.0.2.1",
                     .protocol = 1,
                     .message = seed::icmp(type, 0, 0x1234'0001, octets(8))});
}
/// \param chunk its type (RFC 9260 section 3.2)
octets sctp_of_client(unsigned chunk) {
    auto const chunks = seed::joined({seed::of({chunk, 0}), seed::be16(20), octets(16)});
    return bytes_of({.destination = "90.0.0.1", .protocol = 132, .message = seed::sctp(chunks, 4711, 80)});
}
octets sctp_of_pod(unsigned chunk) {
    auto const chunks = seed::joined({seed::of({chunk, 0}), seed::be16(20), octets(16)});
    return bytes_of(
        {.source = "10.0.0.1", .destination = "192.0.2.1", .protocol = 132, .message = seed::sctp(chunks, 80, 4711)});
}
/// The last octet of the message is damaged on its way.
octets damaged(octets packet) {
    packet.back() ^= std::byte{0x40};
    return packet;
}
octets damaged_checksum(octets packet) {
    packet.at(20 + 16) ^= std::byte{0x40};
    return packet;
}

flow_state only_state(testbed& bed) {
    auto state = none;
    bed.flows().for_each([&](flow_ref ref) { state = bed.flows().body(ref).state(); });
    return state;
}

struct forged_case {
    std::string name;
    std::vector<octets> before;
    octets intact, wrong;
    flow_state unchanged, changed;
};
void PrintTo(forged_case const& c, std::ostream* out) { *out << c.name; }

std::vector<octets> open_connection() {
    return {tcp_of_client(syn), tcp_of_pod(syn_ack), tcp_of_client(ack), tcp_of_pod(ack)};
}
std::vector<octets> open_association() {
    return {sctp_of_client(1), sctp_of_pod(2), sctp_of_client(10), sctp_of_pod(11)};
}

class wrong_checksum : public testing::TestWithParam<forged_case> {};

/// RFC 9293 section 3.1 (MUST-3), RFC 9260 section 6.8, RFC 768, RFC 792: its receiver discards such a packet.
TEST_P(wrong_checksum, changes_no_state_and_stays_wrong) {
    auto const& c = GetParam();
    testbed bed{plain_service};
    for (auto const& packet : c.before) ASSERT_EQ(bed.send(packet).what.what, verdict::forward());
    ASSERT_EQ(only_state(bed), c.unchanged);
    auto const forged = bed.send(c.wrong);
    EXPECT_EQ(forged.what.what, verdict::forward());
    EXPECT_FALSE(build::transport_checksum_is_valid(forged.bytes)) << "RFC 1624: wrong stays wrong";
    EXPECT_EQ(only_state(bed), c.unchanged);
    EXPECT_EQ(bed.flows().counters().flows(), c.before.empty() ? 0u : 1u);
    auto const right = bed.send(c.intact);
    EXPECT_TRUE(build::transport_checksum_is_valid(right.bytes));
    EXPECT_EQ(only_state(bed), c.changed) << "the same packet, intact";
}

std::vector<forged_case> forged_cases() {
    auto const tcp_case = [](std::string name, std::vector<octets> before, octets const& packet, flow_state unchanged,
                             flow_state changed) {
        return forged_case{std::move(name), std::move(before), packet, damaged_checksum(packet), unchanged, changed};
    };
    auto const closed = [] {
        auto all = open_connection();
        all.push_back(tcp_of_client(fin));
        all.push_back(tcp_of_pod(fin));
        return all;
    };
    return {
        tcp_case("RST of the client", open_connection(), tcp_of_client(rst), tcp_established, tcp_reset),
        tcp_case("RST of the backend", open_connection(), tcp_of_pod(rst), tcp_established, tcp_reset),
        tcp_case("FIN", open_connection(), tcp_of_client(fin), tcp_established, tcp_fin_original),
        tcp_case("SYN that opens a flow", {}, tcp_of_client(syn), none, tcp_syn_sent),
        tcp_case("SYN after the close", closed(), tcp_of_client(syn), tcp_closed, tcp_syn_sent),
        tcp_case("SYN ACK", {tcp_of_client(syn)}, tcp_of_pod(syn_ack), tcp_syn_sent, tcp_syn_received),
        tcp_case("the ACK that completes a handshake", {tcp_of_client(syn), tcp_of_pod(syn_ack)}, tcp_of_client(ack),
                 tcp_syn_received, tcp_unconfirmed),
        {"UDP that opens a flow", {}, udp_of_client(), damaged(udp_of_client()), none, udp_unreplied},
        {"a UDP answer", {udp_of_client()}, udp_of_pod(), damaged(udp_of_pod()), udp_unreplied, udp_replied},
        {"an echo request", {}, echo(8), damaged(echo(8)), none, icmp_unreplied},
        {"an echo reply", {echo(8)}, echo(0), damaged(echo(0)), icmp_unreplied, icmp_replied},
        {"SCTP INIT", {}, sctp_of_client(1), damaged(sctp_of_client(1)), none, sctp_init},
        {"SCTP ABORT", open_association(), sctp_of_client(6), damaged(sctp_of_client(6)), sctp_established,
         sctp_closed},
        {"SCTP SHUTDOWN", open_association(), sctp_of_pod(7), damaged(sctp_of_pod(7)), sctp_established, sctp_shutdown},
    };
}
INSTANTIATE_TEST_SUITE_P(table, wrong_checksum, testing::ValuesIn(forged_cases()));

TEST(attacks, a_damaged_packet_that_needs_state_is_dropped_and_counted) {
    testbed bed{"ku vip fd00::/64 port 80 nat4\nku pod fd00::/64 10.0.0.1\n"};
    auto packet = bytes_of(
        {.source = "2001:db8::1", .destination = "fd00::1", .protocol = 6, .message = seed::tcp({}, syn, 4711, 80)});
    packet.at(40 + 16) ^= std::byte{1};
    EXPECT_EQ(bed.send(packet).what.what, verdict::drop(drop_reason::bad_transport_checksum));
    EXPECT_EQ(bed.path().verdicts().dropped(drop_reason::bad_transport_checksum), 1u);
    EXPECT_EQ(bed.flows().counters().inserted, 0u);
}

TEST(attacks, udp_without_a_checksum_opens_a_flow) { // RFC 768
    testbed bed{plain_service};
    EXPECT_EQ(bed.send(seed::with(udp_of_client(), {{26, seed::be16(0)}})).what.relation, flow_relation::fresh);
}

/// The first part of a message says nothing of its checksum (RFC 791), so its flags end nothing.
TEST(attacks, a_fragment_with_rst_ends_nothing) {
    testbed bed{plain_service};
    for (auto const& packet : open_connection()) (void)bed.send(packet);
    auto const part = bytes_of({.destination = "90.0.0.1",
                                .protocol = 6,
                                .message = seed::tcp(octets(12), rst, 4711, 80),
                                .fragment = 0x2000});
    EXPECT_EQ(bed.send(part).what.relation, flow_relation::original);
    EXPECT_EQ(only_state(bed), tcp_established);
}

/// RFC 6146 section 3.5.2.2: full timeout once both ends have shown that they ignored the RST.
TEST(attacks, a_rst_that_both_ends_ignore_costs_nothing) {
    for (bool const by_client : {true, false})
        for (bool const pod_first : {true, false}) {
            testbed bed{plain_service};
            for (auto const& packet : open_connection()) (void)bed.send(packet);
            (void)bed.send(by_client ? tcp_of_client(rst) : tcp_of_pod(rst), 10s);
            (void)bed.send(pod_first ? tcp_of_pod(ack) : tcp_of_client(ack), 11s);
            (void)bed.send(pod_first ? tcp_of_client(ack) : tcp_of_pod(ack), 12s);
            EXPECT_EQ(bed.send(tcp_of_pod(ack), 7451s).what.relation, flow_relation::reply) << "2 h 4 min";
        }
}

TEST(attacks, data_in_flight_after_a_rst_is_no_sign_of_life) {
    testbed bed{plain_service};
    for (auto const& packet : open_connection()) (void)bed.send(packet);
    (void)bed.send(tcp_of_client(rst), 10s);
    for (int i = 0; i < 5; ++i) (void)bed.send(tcp_of_pod(ack), 11s);
    EXPECT_EQ(bed.send(tcp_of_pod(ack), 252s).what.what, verdict::pass()) << "4 minutes (RFC 5382 REQ-5)";
}

/// An SCTP packet with one chunk. \param tag verification tag \param flags of the chunk
octets sctp_packet(bool by_client, std::size_t tag, unsigned chunk, unsigned flags, std::size_t initiate_tag = 0) {
    auto const chunks = seed::joined({seed::of({chunk, flags}), seed::be16(20), seed::be32(initiate_tag), octets(12)});
    auto const message = by_client ? seed::sctp(chunks, 4711, 80) : seed::sctp(chunks, 80, 4711);
    return bytes_of({.source = by_client ? "192.0.2.1" : "10.0.0.1",
                     .destination = by_client ? "90.0.0.1" : "192.0.2.1",
                     .protocol = 132,
                     .message = seed::with(message, {{4, seed::be32(tag)}})});
}

struct tag_case {
    std::string name;
    bool by_client;
    std::size_t tag;
    unsigned chunk, flags;
    flow_state expected;
};
/// RFC 9260 section 8.5.1: ABORT and SHUTDOWN COMPLETE with a wrong verification tag are discarded.
TEST(attacks, only_the_right_verification_tag_ends_an_association) {
    constexpr std::size_t of_client = 0xc1c1'0001, of_pod = 0x9090'0002; // what each side's INIT or INIT ACK asks for
    constexpr unsigned abort = 6, shutdown_complete = 14, reflected = 1;
    for (auto const& c : std::vector<tag_case>{
             {"ABORT of the client, any tag", true, 0x1234'5678, abort, 0, sctp_established},
             {"ABORT of the client with its own tag", true, of_client, abort, 0, sctp_established},
             {"ABORT of the client with tag 0", true, 0, abort, 0, sctp_established},
             {"ABORT of the client", true, of_pod, abort, 0, sctp_closed},
             {"ABORT of the client, reflected", true, of_client, abort, reflected, sctp_closed},
             {"ABORT of the client, T bit and the other tag", true, of_pod, abort, reflected, sctp_established},
             {"ABORT of the pod, any tag", false, 0x1234'5678, abort, 0, sctp_established},
             {"ABORT of the pod", false, of_client, abort, 0, sctp_closed},
             {"ABORT of the pod, reflected", false, of_pod, abort, reflected, sctp_closed},
             {"SHUTDOWN COMPLETE, any tag", true, 0x1234'5678, shutdown_complete, 0, sctp_established},
             {"SHUTDOWN COMPLETE", true, of_pod, shutdown_complete, 0, sctp_closed},
             {"SHUTDOWN COMPLETE, reflected", false, of_pod, shutdown_complete, reflected, sctp_closed},
         }) {
        testbed bed{plain_service};
        (void)bed.send(sctp_packet(true, 0, 1, 0, of_client));
        (void)bed.send(sctp_packet(false, of_client, 2, 0, of_pod));
        (void)bed.send(sctp_packet(true, of_pod, 10, 0));
        (void)bed.send(sctp_packet(false, of_client, 11, 0));
        ASSERT_EQ(only_state(bed), sctp_established);
        EXPECT_EQ(bed.send(sctp_packet(c.by_client, c.tag, c.chunk, c.flags)).what.what, verdict::forward());
        EXPECT_EQ(only_state(bed), c.expected) << c.name;
    }
}

/// A forged INIT inside an association (RFC 9260 section 5.2.2) does not replace what INIT ACK has confirmed.
TEST(attacks, an_init_inside_an_association_changes_no_tags) {
    testbed bed{plain_service};
    (void)bed.send(sctp_packet(true, 0, 1, 0, 7));
    (void)bed.send(sctp_packet(false, 7, 2, 0, 8));
    (void)bed.send(sctp_packet(true, 8, 10, 0));
    (void)bed.send(sctp_packet(false, 7, 11, 0));
    (void)bed.send(sctp_packet(true, 0, 1, 0, 99));
    (void)bed.send(sctp_packet(false, 99, 6, 0));
    EXPECT_EQ(only_state(bed), sctp_established);
    (void)bed.send(sctp_packet(false, 7, 6, 0));
    EXPECT_EQ(only_state(bed), sctp_closed);
}

TEST(attacks, where_tags_are_unknown_an_abort_ends_the_association) {
    testbed bed{plain_service};
    (void)bed.send(sctp_packet(true, 8, 0, 0));
    (void)bed.send(sctp_packet(false, 7, 3, 0));
    (void)bed.send(sctp_packet(true, 8, 0, 0));
    ASSERT_EQ(only_state(bed), sctp_established);
    (void)bed.send(sctp_packet(true, 5, 6, 0));
    EXPECT_EQ(only_state(bed), sctp_closed);
}

constexpr auto masqueraded_service = "ku conf snat4 198.18.0.1\nku vip fd00::/64 port 80 target_port 8080 nat4\n"
                                     "ku pod fd00::/64 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4\n";

octets tcp_of_ipv6_client(unsigned flags, unsigned port = 4711, std::string const& client = "2001:db8::1") {
    return bytes_of(
        {.source = client, .destination = "fd00::1", .protocol = 6, .message = seed::tcp({}, flags, port, 80)});
}
/// Of a packet to an IPv4 pod: what identifies the connection to it.
octets ends_of(octets const& packet) { return {packet.begin() + 12, packet.begin() + 24}; }

/// Both forged: the pod answers the SYN with a challenge ACK (RFC 5961 section 4.2).
TEST(attacks, a_rst_and_a_syn_do_not_move_a_masqueraded_connection) {
    for (bool const by_client : {true, false}) {
        testbed bed{masqueraded_service};
        auto const first = bed.send(tcp_of_ipv6_client(syn)).bytes;
        auto const ends = ends_of(first);
        (void)bed.send(answer_to(first, syn_ack));
        (void)bed.send(tcp_of_ipv6_client(ack));
        (void)bed.send(answer_to(first, ack));
        (void)bed.send(by_client ? tcp_of_ipv6_client(rst) : answer_to(first, rst), 1s);
        auto const again = bed.send(tcp_of_ipv6_client(syn), 2s);
        EXPECT_EQ(ends_of(again.bytes), ends);
        EXPECT_EQ(again.what.relation, flow_relation::original);
        EXPECT_EQ(bed.send(answer_to(first, ack), 2s).what.relation, flow_relation::reply);
        EXPECT_EQ(ends_of(bed.send(tcp_of_ipv6_client(ack), 3s).bytes), ends);
        EXPECT_EQ(ends_of(bed.send(tcp_of_ipv6_client(ack), 7000s).bytes), ends) << "with its full timeout";
        EXPECT_EQ(bed.flows().counters().inserted, 1u);
    }
}

TEST(attacks, a_client_that_was_refused_and_tries_again_keeps_its_port) {
    testbed bed{masqueraded_service};
    auto const first = bed.send(tcp_of_ipv6_client(syn)).bytes;
    (void)bed.send(answer_to(first, rst | ack));
    EXPECT_EQ(ends_of(bed.send(tcp_of_ipv6_client(syn), 1s).bytes), ends_of(first));
    (void)bed.send(answer_to(first, syn_ack), 1s);
    (void)bed.send(tcp_of_ipv6_client(ack), 1s);
    EXPECT_EQ(bed.send(answer_to(first, ack), 2s).what.relation, flow_relation::reply);
    EXPECT_EQ(bed.send(answer_to(first, ack), 7000s).what.relation, flow_relation::reply);
}

std::string ipv6_client(unsigned number) { return "2001:db8:1::" + std::to_string(number); }

/// RFC 6146 section 3.5.2.3: a port is worth more to a client than to a half-open connection.
TEST(attacks, half_open_connections_leave_ports_to_new_clients) {
    constexpr unsigned assured = 500, flood = 70'000, clients = 1000;
    fast_bed bed{"ku conf snat4 198.18.0.1\nku vip fd00::/64 port 80 target_port 8080 nat4\n"
                 "ku pod fd00::/64 10.0.0.1\n",
                 {.narrow = 16, .wide = 1'048'576}};
    auto const connect = [&](std::string const& client, unsigned port) {
        auto first = tcp_of_ipv6_client(syn, port, client);
        EXPECT_EQ(bed.send(first, 0s).what, verdict::forward()) << client << ' ' << port;
        if (first.size() != 40) return octets{};
        auto reply = answer_to(first, syn_ack), request = tcp_of_ipv6_client(ack, port, client);
        EXPECT_EQ(bed.send(reply, 0s).relation, flow_relation::reply);
        EXPECT_EQ(bed.send(request, 0s).relation, flow_relation::original);
        auto data = answer_to(first, ack);
        EXPECT_EQ(bed.send(data, 0s).relation, flow_relation::reply);
        return ends_of(first);
    };
    std::vector<octets> kept;
    for (unsigned i = 0; i < assured; ++i) kept.push_back(connect(ipv6_client(1), 1024 + i));
    auto const forged = tcp_of_ipv6_client(syn, 0, "2001:db8:2::");
    std::size_t dropped = 0;
    for (unsigned i = 0; i < flood; ++i) {
        auto packet = forged;
        flood::change(packet, 56, 22, i >> 10);
        flood::change(packet, 56, 40, 1024 + (i & 1023));
        dropped += bed.send(packet, 1s).what != verdict::forward();
    }
    EXPECT_EQ(dropped, 0u);
    for (unsigned i = 0; i < clients; ++i) (void)connect(ipv6_client(2 + i % 9), 10'000 + i);
    for (unsigned i = 0; i < assured; ++i) {
        auto data = tcp_of_ipv6_client(ack, 1024 + i, ipv6_client(1));
        EXPECT_EQ(bed.send(data, 2s).relation, flow_relation::original);
        EXPECT_EQ(ends_of(data), kept[i]);
    }
    EXPECT_EQ(bed.verdicts().dropped(drop_reason::ports_exhausted), 0u);
}

/// A table of 65,536 flows, with assured ones side by side at its front.
class full_table : public testing::Test {
  protected:
    static constexpr unsigned assured = 20'000 / slower, clients = 1000 / slower;
    static constexpr std::uint32_t old_client = 0xc633'6401, attacker = 0x0b00'0000, new_client = 0xc000'0201;

    void SetUp() override {
        for (unsigned i = 0; i < assured; ++i) connect(old_client, 1024 + i);
        ASSERT_EQ(bed_.flows().counters().flows(), assured);
    }
    outcome send(octets packet) { return bed_.send(packet, now_); }
    /// A whole handshake, and an answer.
    void connect(std::uint32_t client, unsigned port) {
        auto first = segment(syn, client, port);
        auto const opened = bed_.send(first, now_);
        EXPECT_EQ(opened.relation, flow_relation::fresh) << "port " << port << ": served, and remembered";
        EXPECT_EQ(send(answer_to(first, syn_ack)).relation, flow_relation::reply);
        EXPECT_EQ(send(segment(ack, client, port)).relation, flow_relation::original);
        EXPECT_EQ(send(answer_to(first, ack)).relation, flow_relation::reply);
    }
    void expect_room_and_no_loss() {
        for (unsigned i = 0; i < clients; ++i) connect(new_client, 1024 + i);
        unsigned kept = 0, served = 0;
        for (unsigned i = 0; i < assured; ++i)
            kept += send(segment(ack, old_client, 1024 + i)).relation == flow_relation::original;
        for (unsigned i = 0; i < clients; ++i)
            served += send(segment(ack, new_client, 1024 + i)).relation == flow_relation::original;
        EXPECT_EQ(kept, assured) << "no assured flow may end";
        EXPECT_EQ(served, clients);
    }
    std::chrono::nanoseconds now_{};
    fast_bed bed_{"ku vip 90.0.0.0/8\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.2\n",
                  {.narrow = static_cast<std::uint32_t>(65'536 / slower), .wide = 16}};
};

TEST_F(full_table, of_forged_handshakes_serves_new_clients) {
    for (std::size_t i = 0; i < 140'000 / slower; ++i) {
        now_ += 10us;
        auto first = segment(syn, attacker + static_cast<std::uint32_t>(i), 4711);
        (void)bed_.send(first, now_);
        (void)send(answer_to(first, syn_ack)); // the pod answers a client that did not ask
        (void)send(segment(ack, attacker + static_cast<std::uint32_t>(i), 4711));
    }
    expect_room_and_no_loss();
}

TEST_F(full_table, of_udp_requests_answered_once_serves_new_clients) {
    auto const plain = bytes_of({.destination = "90.0.0.1", .message = seed::udp(octets(8), 4711, 53)});
    for (std::size_t i = 0; i < 70'000 / slower; ++i) {
        now_ += 10us;
        auto request = plain;
        flood::change(request, 26, 12, 0x0b00u + static_cast<unsigned>(i >> 16));
        flood::change(request, 26, 14, i & 0xffff);
        (void)bed_.send(request, now_);
        (void)send(answer_to(request));
    }
    expect_room_and_no_loss();
}

TEST_F(full_table, of_half_open_connections_keeps_what_had_a_single_exchange) {
    auto const request = bytes_of({.destination = "90.0.0.1", .message = seed::udp(octets(8), 4711, 53)});
    auto first = request;
    (void)bed_.send(first, now_);
    (void)send(answer_to(first));
    for (std::size_t i = 0; i < 140'000 / slower; ++i) {
        now_ += 10us;
        (void)send(segment(syn, attacker + static_cast<std::uint32_t>(i), 4711));
    }
    EXPECT_EQ(send(request).relation, flow_relation::original);
    expect_room_and_no_loss();
}

} // namespace
} // namespace kubeproxy::attacks_tests
