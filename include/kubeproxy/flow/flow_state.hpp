#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

/// What a flow's packets have shown of its conversation so far.
namespace kubeproxy {
inline namespace v0_2 {

/// Each protocol has its own states, so a state also tells the kind of flow.
///
/// A flow is protected once its backend has taken part in more than one exchange. Until then a full table, or a source
/// address without free ports, may give it up: an attacker who forges source addresses can bring it about alone.
enum class flow_state : std::uint8_t {
    none,                ///< no flow
    tcp_syn_sent,        ///< half-open: SYN in the original direction
    tcp_syn_received,    ///< half-open: SYN both ways (RFC 9293 section 3.5), the last ACK is missing
    tcp_picked_up,       ///< joined in its middle, and no answer seen since
    tcp_refused,         ///< RST before the connection was open
    tcp_unconfirmed,     ///< the handshake is complete, and the backend has sent nothing since
    tcp_unconfirmed_fin, ///< the same, and FIN in the original direction
    tcp_answered,        ///< joined in its middle, and answered once
    tcp_answered_fin,    ///< the same, and the answer was FIN
    tcp_established,     ///< RFC 9293 section 3.3.2
    tcp_fin_original,    ///< half-closed by the original direction
    tcp_fin_reply,       ///< half-closed by the reply direction
    tcp_closed,          ///< FIN both ways, or both ends got a RST of this node's
    tcp_cut_original,    ///< this node made a packet of the original direction a RST; the client is yet to be told
    tcp_cut_reply,       ///< the same of the reply direction, and the backend
    // RST on an open connection, and which direction sent something else since. Both: the ends have ignored the RST.
    tcp_reset, ///< neither; the states from here to the last reset one are in the order that reset_state expects
    tcp_reset_original,
    tcp_reset_reply,
    tcp_fin_original_reset, ///< RST while half-closed by the original direction
    tcp_fin_original_reset_original,
    tcp_fin_original_reset_reply,
    tcp_fin_reply_reset, ///< RST while half-closed by the reply direction
    tcp_fin_reply_reset_original,
    tcp_fin_reply_reset_reply,
    udp_unreplied,
    udp_replied, ///< answered, but no second request was seen
    udp_assured, ///< a request after an answer
    icmp_unreplied,
    icmp_replied,
    icmp_assured,
    sctp_init,          ///< INIT in the original direction (RFC 9260 section 5.1)
    sctp_init_acked,    ///< INIT ACK came back
    sctp_cookie_echoed, ///< COOKIE ECHO in the original direction
    sctp_picked_up,     ///< joined in its middle, and no answer seen since
    sctp_answered,      ///< joined in its middle, and answered once
    sctp_established,
    sctp_shutdown, ///< SHUTDOWN seen (RFC 9260 section 9.2)
    sctp_closed,   ///< SHUTDOWN COMPLETE or ABORT seen
    other_unreplied,
    other_replied,
    other_assured,
    count_
};

/// Protocols that have states of their own; all others share one set.
enum class flow_kind : std::uint8_t { none, tcp, udp, icmp, sctp, other };

[[nodiscard]] constexpr flow_kind kind_of(flow_state s) noexcept {
    using enum flow_state;
    if (s == none) return flow_kind::none;
    if (s <= tcp_fin_reply_reset_reply) return flow_kind::tcp;
    if (s <= udp_assured) return flow_kind::udp;
    if (s <= icmp_assured) return flow_kind::icmp;
    return s <= sctp_closed ? flow_kind::sctp : flow_kind::other;
}

/// RST was seen on an open TCP connection, and its ends have not shown that they ignored it.
[[nodiscard]] constexpr bool is_tcp_reset(flow_state s) noexcept {
    return s >= flow_state::tcp_reset && s <= flow_state::tcp_fin_reply_reset_reply;
}

/// Both sides have closed the conversation: only stragglers are expected, and a packet that opens a conversation
/// starts a new flow. A reset one is not over: the RST may be forged.
[[nodiscard]] constexpr bool is_over(flow_state s) noexcept {
    return s == flow_state::tcp_closed || s == flow_state::sctp_closed;
}

/// It is over, or one end at least was sent a RST.
[[nodiscard]] constexpr bool has_ended_or_reset(flow_state s) noexcept {
    using enum flow_state;
    return is_over(s) || is_tcp_reset(s) || s == tcp_refused || s == tcp_cut_original || s == tcp_cut_reply;
}

/// Which flows make room for others first.
enum class flow_worth : std::uint8_t {
    half_open,       ///< a single packet can create it, or it is over: given up first
    single_exchange, ///< a request and its answer can create it
    assured,         ///< never given up
};

namespace detail {

constexpr flow_worth worth_by_rule(flow_state s) noexcept {
    using enum flow_state;
    constexpr std::array half_open{tcp_cut_original, tcp_cut_reply,  tcp_syn_sent,  tcp_syn_received, tcp_picked_up,
                                   tcp_refused,      tcp_closed,     udp_unreplied, icmp_unreplied,   sctp_init,
                                   sctp_init_acked,  sctp_picked_up, sctp_closed,   other_unreplied};
    constexpr std::array single_exchange{tcp_unconfirmed,    tcp_unconfirmed_fin, tcp_answered,
                                         tcp_answered_fin,   udp_replied,         icmp_replied,
                                         sctp_cookie_echoed, sctp_answered,       other_replied};
    if (std::ranges::find(half_open, s) != half_open.end()) return flow_worth::half_open;
    bool const is_single = std::ranges::find(single_exchange, s) != single_exchange.end();
    return is_single || is_tcp_reset(s) ? flow_worth::single_exchange : flow_worth::assured;
}
inline constexpr auto worths = [] {
    std::array<flow_worth, 128> all{};
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = worth_by_rule(static_cast<flow_state>(i));
    return all;
}();

} // namespace detail

[[nodiscard]] constexpr flow_worth worth_of(flow_state s) noexcept {
    return detail::worths[static_cast<std::size_t>(s) & 127];
}
/// What a full table, or a source address without free ports, may give up.
[[nodiscard]] constexpr bool is_evictable(flow_state s) noexcept { return worth_of(s) != flow_worth::assured; }

} // namespace v0_2
} // namespace kubeproxy
