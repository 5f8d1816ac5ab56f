#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/wire/packet.hpp"

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>

/// How far a flow's conversation is, and how long it may be silent.
namespace kubeproxy::inline v0_2 {

/// What a flow has shown so far. Each protocol has its own states, so a state also tells the kind of flow.
enum class flow_state : std::uint8_t {
    none,               ///< no flow
    tcp_syn_sent,       ///< half-open: SYN in the original direction
    tcp_syn_received,   ///< half-open: SYN both ways (RFC 9293 section 3.5), the last ACK is missing
    tcp_picked_up,      ///< joined in its middle, and no answer seen since
    tcp_established,    ///< RFC 9293 section 3.3.2
    tcp_fin_original,   ///< half-closed by the original direction
    tcp_fin_reply,      ///< half-closed by the reply direction
    tcp_closed,         ///< FIN both ways
    tcp_reset_original, ///< RST in the original direction
    tcp_reset_reply,    ///< RST in the reply direction
    udp_unreplied,
    udp_replied,
    icmp_unreplied,
    icmp_replied,
    sctp_init,          ///< INIT in the original direction (RFC 9260 section 5.1)
    sctp_init_acked,    ///< INIT ACK came back
    sctp_cookie_echoed, ///< COOKIE ECHO in the original direction
    sctp_picked_up,     ///< joined in its middle, and no answer seen since
    sctp_established,
    sctp_shutdown, ///< SHUTDOWN seen (RFC 9260 section 9.2)
    sctp_closed,   ///< SHUTDOWN COMPLETE or ABORT seen
    other_unreplied,
    other_replied,
    count_
};

/// What a packet means for its flow's state.
enum class transport_event : std::uint8_t {
    packet, ///< nothing but that there is one
    tcp_syn,
    tcp_syn_ack,
    tcp_fin,
    tcp_rst,
    sctp_init,
    sctp_init_ack,
    sctp_cookie_echo,
    sctp_cookie_ack,
    sctp_shutdown, ///< SHUTDOWN or SHUTDOWN ACK
    sctp_shutdown_complete,
    sctp_abort,
    count_
};

[[nodiscard]] constexpr transport_event tcp_event(std::uint8_t flags) noexcept {
    if ((flags & tcp_flag::rst) != 0) return transport_event::tcp_rst;
    if ((flags & tcp_flag::syn) != 0)
        return (flags & tcp_flag::ack) != 0 ? transport_event::tcp_syn_ack : transport_event::tcp_syn;
    return (flags & tcp_flag::fin) != 0 ? transport_event::tcp_fin : transport_event::packet;
}

/// Chunk types of RFC 9260 section 3.2. Only the first chunk is looked at: those that change a state stand
/// alone or first (RFC 9260 sections 3.3.2, 3.3.3, 3.3.11, 3.3.13 and 6.10).
[[nodiscard]] constexpr transport_event sctp_event(std::uint8_t first_chunk_type) noexcept {
    switch (first_chunk_type) {
    case 1: return transport_event::sctp_init;
    case 2: return transport_event::sctp_init_ack;
    case 6: return transport_event::sctp_abort;
    case 7:
    case 8: return transport_event::sctp_shutdown;
    case 10: return transport_event::sctp_cookie_echo;
    case 11: return transport_event::sctp_cookie_ack;
    case 14: return transport_event::sctp_shutdown_complete;
    default: return transport_event::packet;
    }
}

template <ip_version V>
[[nodiscard, gnu::always_inline]] inline transport_event event_of(parsed<V> const& p) noexcept {
    if (p.protocol == ip_protocol::udp || p.what != content::ports) return transport_event::packet;
    if (p.protocol == ip_protocol::tcp) return tcp_event(load_be<std::uint8_t>(p.payload(), tcp_at::flags));
    if (p.protocol == ip_protocol::sctp && p.payload().size() > sctp_at::first_chunk_type)
        return sctp_event(load_be<std::uint8_t>(p.payload(), sctp_at::first_chunk_type));
    return transport_event::packet;
}

/// The state of a flow that this packet, the first one seen, makes.
[[nodiscard]] constexpr flow_state initial_state(std::uint8_t protocol, transport_event event) noexcept {
    switch (protocol) {
    case ip_protocol::tcp:
        if (event == transport_event::tcp_syn) return flow_state::tcp_syn_sent;
        return event == transport_event::tcp_rst ? flow_state::tcp_reset_original : flow_state::tcp_picked_up;
    case ip_protocol::sctp:
        if (event == transport_event::sctp_init) return flow_state::sctp_init;
        return event == transport_event::sctp_abort ? flow_state::sctp_closed : flow_state::sctp_picked_up;
    case ip_protocol::udp: return flow_state::udp_unreplied;
    case ip_protocol::icmp:
    case ip_protocol::icmpv6: return flow_state::icmp_unreplied;
    default: return flow_state::other_unreplied;
    }
}

/// Starts a conversation: such a packet on a flow that is_closing() is a new flow.
[[nodiscard]] constexpr bool is_opening(transport_event event) noexcept {
    return event == transport_event::tcp_syn || event == transport_event::sctp_init;
}

/// The conversation is over: only stragglers are expected.
[[nodiscard]] constexpr bool is_closing(flow_state s) noexcept {
    return s == flow_state::tcp_closed || s == flow_state::tcp_reset_original || s == flow_state::tcp_reset_reply ||
           s == flow_state::sctp_closed;
}

namespace detail {
constexpr bool is_evictable_by_rule(flow_state s) noexcept {
    switch (s) {
    case flow_state::tcp_syn_sent:
    case flow_state::tcp_syn_received:
    case flow_state::tcp_picked_up:
    case flow_state::tcp_closed:
    case flow_state::tcp_reset_original:
    case flow_state::tcp_reset_reply:
    case flow_state::udp_unreplied:
    case flow_state::icmp_unreplied:
    case flow_state::sctp_init:
    case flow_state::sctp_init_acked:
    case flow_state::sctp_picked_up:
    case flow_state::sctp_closed:
    case flow_state::other_unreplied: return true;
    case flow_state::none:
    case flow_state::tcp_established:
    case flow_state::tcp_fin_original:
    case flow_state::tcp_fin_reply:
    case flow_state::udp_replied:
    case flow_state::icmp_replied:
    case flow_state::sctp_cookie_echoed:
    case flow_state::sctp_established:
    case flow_state::sctp_shutdown:
    case flow_state::other_replied:
    case flow_state::count_: return false;
    }
    return false;
}
inline constexpr auto evictable_states = [] {
    std::uint32_t set = 0;
    for (unsigned i = 0; i < static_cast<unsigned>(flow_state::count_); ++i)
        if (is_evictable_by_rule(static_cast<flow_state>(i))) set |= std::uint32_t{1} << i;
    return set;
}();
} // namespace detail

/// What a full table may give up: half-open, never answered, or over.
[[nodiscard]] constexpr bool is_evictable(flow_state s) noexcept {
    return (detail::evictable_states >> static_cast<unsigned>(s) & 1u) != 0;
}

/// How long flows may be silent.
struct timeouts {
    std::chrono::seconds tcp_established{7440}; ///< 2 h 4 min, RFC 5382 REQ-5
    std::chrono::seconds tcp_transitory{240};   ///< half-open and closing, RFC 5382 REQ-5
    std::chrono::seconds udp_replied{300};      ///< RFC 4787 REQ-5
    std::chrono::seconds udp_unreplied{30};
    std::chrono::seconds icmp{60}; ///< RFC 5508 REQ-2
    /// HB.interval * Path.Max.Retrans + RTO.Max (RFC 9260 section 16): a peer that is silent longer is dead.
    std::chrono::seconds sctp_established{210};
    /// Twice RTO.Max (RFC 9260 section 16): retransmissions are at most RTO.Max apart.
    std::chrono::seconds sctp_transitory{120};
    std::chrono::seconds other_replied{300}; ///< as UDP
    std::chrono::seconds other_unreplied{30};

    [[nodiscard]] friend bool operator==(timeouts const&, timeouts const&) = default;
};

[[nodiscard]] constexpr std::chrono::seconds timeout_of(flow_state s, timeouts const& t) noexcept {
    switch (s) {
    case flow_state::tcp_established:
    case flow_state::tcp_fin_original:
    case flow_state::tcp_fin_reply: return t.tcp_established;
    case flow_state::tcp_syn_sent:
    case flow_state::tcp_syn_received:
    case flow_state::tcp_picked_up:
    case flow_state::tcp_closed:
    case flow_state::tcp_reset_original:
    case flow_state::tcp_reset_reply: return t.tcp_transitory;
    case flow_state::udp_unreplied: return t.udp_unreplied;
    case flow_state::udp_replied: return t.udp_replied;
    case flow_state::icmp_unreplied:
    case flow_state::icmp_replied: return t.icmp;
    case flow_state::sctp_established: return t.sctp_established;
    case flow_state::sctp_init:
    case flow_state::sctp_init_acked:
    case flow_state::sctp_cookie_echoed:
    case flow_state::sctp_picked_up:
    case flow_state::sctp_shutdown:
    case flow_state::sctp_closed: return t.sctp_transitory;
    case flow_state::other_unreplied: return t.other_unreplied;
    case flow_state::other_replied: return t.other_replied;
    case flow_state::none:
    case flow_state::count_: return {};
    }
    return {};
}

namespace detail {

constexpr flow_state tcp_reset_by(flow_direction d) noexcept {
    return d == flow_direction::original ? flow_state::tcp_reset_original : flow_state::tcp_reset_reply;
}
constexpr flow_state tcp_fin_by(flow_direction d) noexcept {
    return d == flow_direction::original ? flow_state::tcp_fin_original : flow_state::tcp_fin_reply;
}

/// Established at least, and perhaps closing by this very packet.
constexpr flow_state tcp_open(flow_direction d, transport_event event) noexcept {
    return event == transport_event::tcp_fin ? tcp_fin_by(d) : flow_state::tcp_established;
}

/// RFC 6146 section 3.5.2.2, but for two things. A SYN from the backend leaves the flow half-open until the
/// client's ACK, or a flood of SYNs that a backend answers would look established. And after a RST only
/// the side that sent it can revive the flow, and not beyond picked_up: what the other had in flight does not.
constexpr flow_state tcp_advance(flow_state s, flow_direction d, transport_event event) noexcept {
    using enum flow_state;
    bool const original = d == flow_direction::original;
    bool const syn = event == transport_event::tcp_syn || event == transport_event::tcp_syn_ack;
    if (event == transport_event::tcp_rst) return is_closing(s) ? s : tcp_reset_by(d);
    if (s == tcp_syn_sent) return !original && syn ? tcp_syn_received : s;
    if (s == tcp_syn_received) return original && event != transport_event::tcp_syn ? tcp_open(d, event) : s;
    if (syn) return s;
    if (s == tcp_picked_up) return original ? s : tcp_open(d, event);
    if (s == tcp_established) return tcp_open(d, event);
    if (s == tcp_fin_original || s == tcp_fin_reply)
        return event == transport_event::tcp_fin && s != tcp_fin_by(d) ? tcp_closed : s;
    return s == tcp_reset_by(d) ? tcp_picked_up : s;
}

/// RFC 9260 sections 5.1 and 9.
constexpr flow_state sctp_advance(flow_state s, flow_direction d, transport_event event) noexcept {
    using enum flow_state;
    bool const original = d == flow_direction::original;
    if (s == sctp_closed) return s;
    if (event == transport_event::sctp_abort || event == transport_event::sctp_shutdown_complete) return sctp_closed;
    if (s == sctp_shutdown) return s;
    if (s == sctp_init) return !original && event == transport_event::sctp_init_ack ? sctp_init_acked : s;
    if (s == sctp_init_acked) return original && event == transport_event::sctp_cookie_echo ? sctp_cookie_echoed : s;
    if (s == sctp_established) return event == transport_event::sctp_shutdown ? sctp_shutdown : s;
    if (s == sctp_cookie_echoed) return !original && event == transport_event::sctp_cookie_ack ? sctp_established : s;
    return original ? s : sctp_established;
}

constexpr flow_state advance_by_rule(flow_state s, flow_direction d, transport_event event) noexcept {
    using enum flow_state;
    if (s >= tcp_syn_sent && s <= tcp_reset_reply) return tcp_advance(s, d, event);
    if (s >= sctp_init && s <= sctp_closed) return sctp_advance(s, d, event);
    if (d == flow_direction::original) return s;
    if (s == udp_unreplied) return udp_replied;
    if (s == icmp_unreplied) return icmp_replied;
    return s == other_unreplied ? other_replied : s;
}

inline constexpr auto states = static_cast<std::size_t>(flow_state::count_);
/// A power of two, so that a place in the table is found without a multiplication.
inline constexpr auto events = std::bit_ceil(static_cast<std::size_t>(transport_event::count_));
inline constexpr auto transitions = [] {
    std::array<flow_state, states * events * 2> next{};
    for (std::size_t i = 0; i < next.size(); ++i)
        next[i] = advance_by_rule(static_cast<flow_state>(i / events / 2), static_cast<flow_direction>(i / events % 2),
                                  static_cast<transport_event>(i % events));
    return next;
}();

} // namespace detail

/// The state after a packet. One load: this runs for every packet of every flow.
[[nodiscard]] constexpr flow_state advance(flow_state s, flow_direction d, transport_event event) noexcept {
    return detail::transitions[(static_cast<std::size_t>(s) * 2 + number(d)) * detail::events +
                               static_cast<std::size_t>(event)];
}

} // namespace kubeproxy::inline v0_2
