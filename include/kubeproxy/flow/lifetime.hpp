#pragma once

#include "kubeproxy/flow/flow_state.hpp"
#include "kubeproxy/wire/packet.hpp"

#include <chrono>
#include <cstdint>

/// What packets mean for the state of their flow, and how long a flow may be silent in each state.
namespace kubeproxy {
inline namespace v0_2 {

/// What a packet means for its flow's state.
enum class transport_event : std::uint8_t {
    packet, ///< nothing but that there is one
    tcp_syn,
    tcp_syn_ack,
    tcp_fin,
    tcp_rst,
    tcp_cut, ///< this node has made the packet a RST
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
        return event == transport_event::tcp_rst ? flow_state::tcp_refused : flow_state::tcp_picked_up;
    case ip_protocol::sctp:
        if (event == transport_event::sctp_init) return flow_state::sctp_init;
        return event == transport_event::sctp_abort ? flow_state::sctp_closed : flow_state::sctp_picked_up;
    case ip_protocol::udp: return flow_state::udp_unreplied;
    case ip_protocol::icmp:
    case ip_protocol::icmpv6: return flow_state::icmp_unreplied;
    default: return flow_state::other_unreplied;
    }
}

/// Starts a conversation: such a packet on a flow that is_over() is a new flow.
[[nodiscard]] constexpr bool is_opening(transport_event event) noexcept {
    return event == transport_event::tcp_syn || event == transport_event::sctp_init;
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
    using enum flow_state;
    switch (kind_of(s)) {
    case flow_kind::none: return {};
    case flow_kind::tcp: return s >= tcp_unconfirmed && s <= tcp_fin_reply ? t.tcp_established : t.tcp_transitory;
    case flow_kind::udp: return s == udp_unreplied ? t.udp_unreplied : t.udp_replied;
    case flow_kind::icmp: return t.icmp;
    case flow_kind::sctp: return s == sctp_answered || s == sctp_established ? t.sctp_established : t.sctp_transitory;
    case flow_kind::other: return s == other_unreplied ? t.other_unreplied : t.other_replied;
    }
    return {};
}

} // namespace v0_2
} // namespace kubeproxy
