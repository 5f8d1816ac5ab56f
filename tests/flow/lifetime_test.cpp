#include "kubeproxy/flow/lifetime.hpp"
#include "kubeproxy/flow/state_transitions.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

namespace kubeproxy::lifetime_tests {
namespace {
using enum flow_state;
using e = transport_event;
using namespace std::chrono_literals;

struct seen {
    flow_direction direction;
    transport_event event;
};
constexpr seen original(transport_event event = e::packet) { return {flow_direction::original, event}; }
constexpr seen reply(transport_event event = e::packet) { return {flow_direction::reply, event}; }

/// The first packet is of the original direction.
struct conversation {
    std::string name;
    std::uint8_t protocol;
    std::vector<seen> packets;
    flow_state expected;
};

class flow_life : public testing::TestWithParam<conversation> {};

TEST_P(flow_life, ends_in_the_expected_state) {
    auto const& c = GetParam();
    auto state = initial_state(c.protocol, c.packets.at(0).event);
    for (std::size_t i = 1; i < c.packets.size(); ++i)
        state = advance(state, c.packets[i].direction, c.packets[i].event);
    EXPECT_EQ(state, c.expected) << c.name;
}

std::vector<seen> handshake_and(std::vector<seen> more) {
    std::vector<seen> all{original(e::tcp_syn), reply(e::tcp_syn_ack), original()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}
/// A handshake and an answer of the backend.
std::vector<seen> connection_and(std::vector<seen> more) {
    std::vector<seen> all = handshake_and({reply()});
    all.insert(all.end(), more.begin(), more.end());
    return all;
}
std::vector<seen> association_and(std::vector<seen> more) {
    std::vector<seen> all{original(e::sctp_init), reply(e::sctp_init_ack), original(e::sctp_cookie_echo),
                          reply(e::sctp_cookie_ack)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}
constexpr auto tcp = ip_protocol::tcp, udp = ip_protocol::udp, sctp = ip_protocol::sctp;

// Sections are of RFC 9293 (TCP), RFC 9260 (SCTP).
INSTANTIATE_TEST_SUITE_P(
    tcp, flow_life,
    testing::Values(
        conversation{"a SYN is half-open (3.5)", tcp, {original(e::tcp_syn)}, tcp_syn_sent},
        conversation{"a SYN again is the same", tcp, {original(e::tcp_syn), original(e::tcp_syn)}, tcp_syn_sent},
        conversation{
            "SYN ACK leaves it half-open", tcp, {original(e::tcp_syn), reply(e::tcp_syn_ack)}, tcp_syn_received},
        conversation{"three packets are a handshake, which forged SYNs and ACKs look like", tcp, handshake_and({}),
                     tcp_unconfirmed},
        conversation{"the client alone confirms nothing", tcp, handshake_and({original(), original()}),
                     tcp_unconfirmed},
        conversation{"a SYN ACK repeated confirms nothing", tcp, handshake_and({reply(e::tcp_syn_ack)}),
                     tcp_unconfirmed},
        conversation{"the backend's answer establishes (3.5, figure 6)", tcp, connection_and({}), tcp_established},
        conversation{"the backend resets what it never acknowledged (3.10.7.4)", tcp,
                     handshake_and({reply(e::tcp_rst)}), tcp_reset},
        conversation{"simultaneous open (3.5, figure 7)",
                     tcp,
                     {original(e::tcp_syn), reply(e::tcp_syn), original(e::tcp_syn_ack), reply()},
                     tcp_established},
        conversation{"a SYN both ways is half-open", tcp, {original(e::tcp_syn), reply(e::tcp_syn)}, tcp_syn_received},
        conversation{"a SYN repeated after SYN ACK establishes nothing",
                     tcp,
                     {original(e::tcp_syn), reply(e::tcp_syn_ack), original(e::tcp_syn)},
                     tcp_syn_received},
        conversation{"what a refused client sends on its own establishes nothing",
                     tcp,
                     {original(e::tcp_syn), original(), original()},
                     tcp_syn_sent},
        conversation{
            "a refused connection is over (3.10.7.1)", tcp, {original(e::tcp_syn), reply(e::tcp_rst)}, tcp_refused},
        conversation{"a refused client that tries again keeps its flow",
                     tcp,
                     {original(e::tcp_syn), reply(e::tcp_rst), original(e::tcp_syn)},
                     tcp_syn_sent},
        conversation{"the ACK may bring the FIN",
                     tcp,
                     {original(e::tcp_syn), reply(e::tcp_syn_ack), original(e::tcp_fin)},
                     tcp_unconfirmed_fin},
        conversation{"and the backend may answer it",
                     tcp,
                     {original(e::tcp_syn), reply(e::tcp_syn_ack), original(e::tcp_fin), reply()},
                     tcp_fin_original},
        conversation{"or close, too",
                     tcp,
                     {original(e::tcp_syn), reply(e::tcp_syn_ack), original(e::tcp_fin), reply(e::tcp_fin)},
                     tcp_closed},
        conversation{"the backend's first word may be its FIN", tcp, handshake_and({reply(e::tcp_fin)}), tcp_fin_reply},
        conversation{"half-closed by the client (3.6)", tcp, connection_and({original(e::tcp_fin), reply()}),
                     tcp_fin_original},
        conversation{"half-closed by the backend (3.6)", tcp, connection_and({reply(e::tcp_fin), original()}),
                     tcp_fin_reply},
        conversation{"a FIN repeated closes one side only", tcp,
                     connection_and({original(e::tcp_fin), original(e::tcp_fin)}), tcp_fin_original},
        conversation{"FIN both ways closes (3.6, figure 12)", tcp,
                     connection_and({original(e::tcp_fin), reply(e::tcp_fin), original()}), tcp_closed},
        conversation{"FIN both ways, backend first", tcp, connection_and({reply(e::tcp_fin), original(e::tcp_fin)}),
                     tcp_closed},
        conversation{"a RST changes nothing of what is closed", tcp,
                     connection_and({reply(e::tcp_fin), original(e::tcp_fin), reply(e::tcp_rst), original(), reply()}),
                     tcp_closed},
        conversation{"mid-stream is picked up", tcp, {original(), original()}, tcp_picked_up},
        conversation{"mid-stream with an answer", tcp, {original(), reply()}, tcp_answered},
        conversation{"mid-stream that goes on after an answer is established",
                     tcp,
                     {original(), reply(), original()},
                     tcp_established},
        conversation{"mid-stream, answered by RST", tcp, {original(), reply(e::tcp_rst)}, tcp_refused},
        conversation{"mid-stream, answered by FIN", tcp, {original(e::tcp_fin), reply(e::tcp_fin)}, tcp_answered_fin},
        conversation{"and acknowledged", tcp, {original(), reply(e::tcp_fin), original()}, tcp_fin_reply},
        conversation{"and closed", tcp, {original(), reply(e::tcp_fin), original(e::tcp_fin)}, tcp_closed},
        conversation{"a stray RST is no connection", tcp, {original(e::tcp_rst)}, tcp_refused}));

// RFC 6146 section 3.5.2.2, state TRANS: a packet other than RST shows that the RST was ignored (RFC 5961 section 3.2).
// Here it takes one of each direction.
INSTANTIATE_TEST_SUITE_P(
    tcp_reset, flow_life,
    testing::Values(
        conversation{"RST of the client", tcp, connection_and({original(e::tcp_rst)}), tcp_reset},
        conversation{"RST of the backend", tcp, connection_and({reply(e::tcp_rst)}), tcp_reset},
        conversation{"the backend's data in flight revives nothing", tcp,
                     connection_and({original(e::tcp_rst), reply(), reply()}), tcp_reset_reply},
        conversation{"the client's data in flight revives nothing", tcp,
                     connection_and({reply(e::tcp_rst), original(), original()}), tcp_reset_original},
        conversation{"nor if RST answers it (RFC 9293 section 3.10.7.1)", tcp,
                     connection_and({reply(e::tcp_rst), original(), reply(e::tcp_rst)}), tcp_reset},
        conversation{"a second RST starts the count again", tcp,
                     connection_and({original(e::tcp_rst), reply(), original(e::tcp_rst), original()}),
                     tcp_reset_original},
        conversation{"ignored: backend, then client", tcp, connection_and({original(e::tcp_rst), reply(), original()}),
                     tcp_established},
        conversation{"ignored: client, then backend", tcp, connection_and({original(e::tcp_rst), original(), reply()}),
                     tcp_established},
        conversation{"forged for the backend, ignored", tcp, connection_and({reply(e::tcp_rst), reply(), original()}),
                     tcp_established},
        conversation{"ignored right after the handshake", tcp,
                     handshake_and({original(e::tcp_rst), original(), reply()}), tcp_established},
        conversation{"half-closed, ignored", tcp,
                     connection_and({original(e::tcp_fin), original(e::tcp_rst), reply(), original()}),
                     tcp_fin_original},
        conversation{"half-closed by the backend, ignored", tcp,
                     connection_and({reply(e::tcp_fin), original(e::tcp_rst), original(), reply()}), tcp_fin_reply},
        conversation{"RST while half-closed", tcp, connection_and({original(e::tcp_fin), reply(e::tcp_rst)}),
                     tcp_fin_original_reset},
        conversation{"a FIN in flight is remembered", tcp,
                     connection_and({original(e::tcp_rst), reply(e::tcp_fin), original()}), tcp_fin_reply},
        conversation{"FIN both ways closes after RST, too", tcp,
                     connection_and({original(e::tcp_fin), original(e::tcp_rst), reply(e::tcp_fin)}), tcp_closed},
        conversation{"cut by this node: nothing else is expected", tcp,
                     connection_and({original(e::tcp_cut), reply(), original(), reply(e::tcp_rst)}), tcp_cut_original},
        conversation{"cut in the reply direction", tcp, connection_and({reply(e::tcp_cut)}), tcp_cut_reply},
        conversation{"a SYN ends nothing: it may be forged like the RST", tcp,
                     connection_and({original(e::tcp_rst), original(e::tcp_syn), reply(), original()}),
                     tcp_established},
        conversation{"a SYN that is acknowledged is a new connection", tcp,
                     connection_and({original(e::tcp_rst), original(e::tcp_syn), reply(e::tcp_syn_ack)}),
                     tcp_syn_received},
        conversation{"SYN, RST, data do not look established",
                     tcp,
                     {original(e::tcp_syn), original(e::tcp_rst), original()},
                     tcp_picked_up},
        conversation{"SYN, RST, late SYN ACK, ACK do not look established",
                     tcp,
                     {original(e::tcp_syn), original(e::tcp_rst), reply(e::tcp_syn_ack), original()},
                     tcp_unconfirmed}));

INSTANTIATE_TEST_SUITE_P(
    sctp, flow_life,
    testing::Values(
        conversation{"INIT (5.1)", sctp, {original(e::sctp_init)}, sctp_init},
        conversation{"INIT ACK costs the server nothing, so it proves nothing (5.1.3)",
                     sctp,
                     {original(e::sctp_init), reply(e::sctp_init_ack)},
                     sctp_init_acked},
        conversation{"COOKIE ECHO (5.1)",
                     sctp,
                     {original(e::sctp_init), reply(e::sctp_init_ack), original(e::sctp_cookie_echo)},
                     sctp_cookie_echoed},
        conversation{"COOKIE ACK establishes (5.1)", sctp, association_and({}), sctp_established},
        conversation{"data keep it", sctp, association_and({original(), reply()}), sctp_established},
        conversation{"SHUTDOWN (9.2)", sctp, association_and({reply(e::sctp_shutdown)}), sctp_shutdown},
        conversation{
            "SHUTDOWN COMPLETE ends (9.2)", sctp,
            association_and({original(e::sctp_shutdown), reply(e::sctp_shutdown), original(e::sctp_shutdown_complete)}),
            sctp_closed},
        conversation{"ABORT ends (9.1)", sctp, association_and({original(e::sctp_abort), original()}), sctp_closed},
        conversation{"mid-stream is picked up", sctp, {original(), original()}, sctp_picked_up},
        conversation{"mid-stream with an answer", sctp, {original(), reply()}, sctp_answered},
        conversation{"mid-stream that goes on", sctp, {original(), reply(), original()}, sctp_established}));

INSTANTIATE_TEST_SUITE_P(
    others, flow_life,
    testing::Values(conversation{"UDP one way", udp, {original(), original()}, udp_unreplied},
                    conversation{"a request and its answers", udp, {original(), reply(), reply()}, udp_replied},
                    conversation{"two requests and an answer", udp, {original(), original(), reply()}, udp_replied},
                    conversation{"a request after an answer", udp, {original(), reply(), original()}, udp_assured},
                    conversation{"echo request", ip_protocol::icmp, {original()}, icmp_unreplied},
                    conversation{"echo reply", ip_protocol::icmpv6, {original(), reply()}, icmp_replied},
                    conversation{"echo again", ip_protocol::icmp, {original(), reply(), original()}, icmp_assured},
                    conversation{"GRE one way", 47, {original()}, other_unreplied},
                    conversation{"GRE both ways", 47, {original(), reply()}, other_replied},
                    conversation{"GRE goes on", 47, {original(), reply(), original()}, other_assured}));

std::vector<flow_state> const all_states = [] {
    std::vector<flow_state> all;
    for (unsigned i = 1; i < static_cast<unsigned>(flow_state::count_); ++i) all.push_back(static_cast<flow_state>(i));
    return all;
}();

TEST(lifetime, defaults_satisfy_the_rfcs) {
    timeouts const t;
    EXPECT_GE(timeout_of(tcp_established, t), 2h + 4min) << "RFC 5382 REQ-5";
    EXPECT_GE(timeout_of(tcp_fin_reply, t), 2h + 4min) << "a half-closed connection may be used for long";
    for (auto const s :
         {tcp_syn_sent, tcp_syn_received, tcp_picked_up, tcp_refused, tcp_closed, tcp_reset, tcp_reset_original})
        EXPECT_GE(timeout_of(s, t), 4min) << "RFC 5382 REQ-5";
    EXPECT_GE(timeout_of(udp_replied, t), 2min) << "RFC 4787 REQ-5";
    EXPECT_GE(timeout_of(icmp_unreplied, t), 60s) << "RFC 5508 REQ-2";
    EXPECT_GT(timeout_of(sctp_init, t), 60s) << "RFC 9260 section 16, RTO.Max: the next INIT may come that late";
}

TEST(lifetime, each_setting_governs_its_states) {
    timeouts const t{.tcp_established = 1s,
                     .tcp_transitory = 2s,
                     .udp_replied = 3s,
                     .udp_unreplied = 4s,
                     .icmp = 5s,
                     .sctp_established = 6s,
                     .sctp_transitory = 7s,
                     .other_replied = 8s,
                     .other_unreplied = 9s};
    // In the order of flow_state: TCP, of which nine reset states, UDP, ICMP, SCTP, others.
    std::vector<int> const expected{2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2,
                                    2, 2, 2, 4, 3, 3, 5, 5, 5, 7, 7, 7, 7, 6, 6, 7, 7, 9, 8, 8};
    ASSERT_EQ(expected.size(), all_states.size());
    for (std::size_t i = 0; i < all_states.size(); ++i)
        EXPECT_EQ(timeout_of(all_states[i], t).count(), expected[i]) << "state " << static_cast<int>(all_states[i]);
}

TEST(lifetime, nothing_that_is_assured_is_evictable) {
    for (auto const s : {tcp_established, tcp_fin_original, tcp_fin_reply, udp_assured, icmp_assured, sctp_established,
                         sctp_shutdown, other_assured})
        EXPECT_EQ(worth_of(s), flow_worth::assured) << static_cast<int>(s);
    for (auto const s : {tcp_syn_sent, tcp_syn_received, tcp_picked_up, tcp_refused, tcp_closed, udp_unreplied,
                         icmp_unreplied, sctp_init, sctp_init_acked, other_unreplied})
        EXPECT_EQ(worth_of(s), flow_worth::half_open) << static_cast<int>(s);
    for (auto const s : {tcp_unconfirmed, tcp_unconfirmed_fin, tcp_answered, tcp_reset, tcp_fin_reply_reset_reply,
                         udp_replied, icmp_replied, sctp_cookie_echoed, sctp_answered, other_replied})
        EXPECT_EQ(worth_of(s), flow_worth::single_exchange) << static_cast<int>(s);
}

/// Packets that an attacker sends in the name of clients, and one answer of the backend for each of them but the last.
TEST(lifetime, one_exchange_assures_nothing) {
    for (auto const protocol :
         {ip_protocol::tcp, ip_protocol::udp, ip_protocol::icmp, ip_protocol::sctp, std::uint8_t{47}})
        for (std::uint8_t first = 0; first < static_cast<std::uint8_t>(e::count_); ++first)
            for (std::uint8_t answer = 0; answer < static_cast<std::uint8_t>(e::count_); ++answer) {
                auto const state = initial_state(protocol, static_cast<e>(first));
                EXPECT_TRUE(is_evictable(advance(state, flow_direction::reply, static_cast<e>(answer))))
                    << "protocol " << int{protocol} << ", events " << int{first} << ", " << int{answer};
            }
}

TEST(lifetime, the_client_alone_assures_nothing) {
    for (auto const s : all_states) {
        bool const is_answered = s == udp_replied || s == icmp_replied || s == other_replied || s == tcp_answered ||
                                 s == tcp_answered_fin || s == sctp_answered || is_tcp_reset(s);
        if (!is_evictable(s) || is_answered) continue;
        for (std::uint8_t event = 0; event < static_cast<std::uint8_t>(e::count_); ++event)
            EXPECT_TRUE(is_evictable(advance(s, flow_direction::original, static_cast<e>(event))))
                << "state " << static_cast<int>(s) << ", event " << static_cast<int>(event);
    }
}

TEST(lifetime, a_state_never_leaves_its_protocol) {
    for (auto const s : all_states)
        for (auto const d : {flow_direction::original, flow_direction::reply})
            for (std::uint8_t event = 0; event < static_cast<std::uint8_t>(e::count_); ++event) {
                auto const next = advance(s, d, static_cast<e>(event));
                EXPECT_NE(next, none);
                EXPECT_EQ(kind_of(next), kind_of(s));
            }
    EXPECT_EQ(advance(none, flow_direction::reply, e::tcp_syn), none);
}

TEST(lifetime, tcp_flags_by_precedence) {
    EXPECT_EQ(tcp_event(tcp_flag::syn), e::tcp_syn);
    EXPECT_EQ(tcp_event(tcp_flag::syn | tcp_flag::ack), e::tcp_syn_ack);
    EXPECT_EQ(tcp_event(tcp_flag::ack), e::packet);
    EXPECT_EQ(tcp_event(tcp_flag::fin | tcp_flag::ack), e::tcp_fin);
    EXPECT_EQ(tcp_event(tcp_flag::rst | tcp_flag::ack), e::tcp_rst);
    EXPECT_EQ(tcp_event(0xff), e::tcp_rst) << "RFC 9293 section 3.10.7: RST is looked at before SYN";
}

TEST(lifetime, events_are_read_from_packets) {
    std::array<std::byte, 40> bytes{};
    bytes[0] = std::byte{0x45};
    bytes[3] = std::byte{40};
    bytes[9] = std::byte{ip_protocol::tcp};
    bytes[20 + tcp_at::flags] = std::byte{tcp_flag::syn};
    EXPECT_EQ(event_of(parse_ipv4(bytes)), e::tcp_syn);
    bytes[9] = std::byte{ip_protocol::udp};
    EXPECT_EQ(event_of(parse_ipv4(bytes)), e::packet);
    bytes[9] = std::byte{ip_protocol::sctp};
    bytes[20 + sctp_at::first_chunk_type] = std::byte{1}; // INIT, RFC 9260 section 3.2
    EXPECT_EQ(event_of(parse_ipv4(bytes)), e::sctp_init);
    bytes[6] = std::byte{0x20}; // more fragments follow: still the first one
    EXPECT_EQ(event_of(parse_ipv4(bytes)), e::sctp_init);
    bytes[7] = std::byte{1}; // a later fragment: its payload is no header
    EXPECT_EQ(event_of(parse_ipv4(bytes)), e::packet);
}

} // namespace
} // namespace kubeproxy::lifetime_tests
