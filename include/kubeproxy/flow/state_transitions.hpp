#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/lifetime.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

/// The state of a flow after each of its packets.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

constexpr flow_state tcp_fin_by(flow_direction d) noexcept {
    return d == flow_direction::original ? flow_state::tcp_fin_original : flow_state::tcp_fin_reply;
}

constexpr flow_state tcp_cut_by(flow_direction d) noexcept {
    return d == flow_direction::original ? flow_state::tcp_cut_original : flow_state::tcp_cut_reply;
}

/// The connection was open, and has gone on since: whether this packet closes it further.
constexpr flow_state tcp_go_on(flow_state s, flow_direction d, transport_event event) noexcept {
    if (event != transport_event::tcp_fin || s == tcp_fin_by(d)) return s;
    return s == flow_state::tcp_established ? tcp_fin_by(d) : flow_state::tcp_closed;
}

/// Takes the reset states apart and puts them together: how the connection stood when RST came (0 open, 1 half-closed
/// by the original direction, 2 by the reply direction), and which direction sent something else since (0, 1, 2 alike).
struct tcp_reset_parts {
    unsigned stood, since;
    static constexpr unsigned first = static_cast<unsigned>(flow_state::tcp_reset);

    [[nodiscard]] static constexpr tcp_reset_parts of(flow_state s) noexcept {
        auto const offset = static_cast<unsigned>(s) - first;
        return {offset / 3, offset % 3};
    }
    [[nodiscard]] constexpr flow_state state() const noexcept {
        return static_cast<flow_state>(first + 3 * stood + since);
    }
    /// Of the connection as it was before.
    [[nodiscard]] constexpr flow_state before() const noexcept {
        constexpr std::array all{flow_state::tcp_established, flow_state::tcp_fin_original, flow_state::tcp_fin_reply};
        return all[stood];
    }
    [[nodiscard]] static constexpr unsigned stood_in(flow_state open) noexcept {
        return open == flow_state::tcp_fin_original ? 1 : open == flow_state::tcp_fin_reply ? 2 : 0;
    }
};

/// RST ends nothing at once, for its receiver may ignore it (RFC 5961 section 3.2).
constexpr flow_state tcp_after_reset(flow_state s) noexcept {
    using enum flow_state;
    if (s == tcp_closed) return s;
    if (s < tcp_unconfirmed) return tcp_refused;
    if (s == tcp_unconfirmed_fin || s == tcp_fin_original) return tcp_fin_original_reset;
    if (s == tcp_answered_fin || s == tcp_fin_reply) return tcp_fin_reply_reset;
    return is_tcp_reset(s) ? tcp_reset_parts{tcp_reset_parts::of(s).stood, 0}.state() : tcp_reset;
}

/// A RST that both ends ignored costs nothing: when each direction has sent something else since, the connection is as
/// before (RFC 6146 section 3.5.2.2, state TRANS). After a RST that was obeyed, only packets that one side had in
/// flight arrive, all of one direction, and perhaps another RST, which starts the count again. A SYN leaves the flow
/// its backend and source port; the SYN ACK that answers it shows a new connection.
constexpr flow_state tcp_advance_reset(flow_state s, flow_direction d, transport_event event) noexcept {
    bool const original = d == flow_direction::original;
    if (event == transport_event::tcp_syn) return s;
    if (event == transport_event::tcp_syn_ack) return original ? s : flow_state::tcp_syn_received;
    auto parts = tcp_reset_parts::of(s);
    auto const stood = tcp_go_on(parts.before(), d, event);
    if (stood == flow_state::tcp_closed) return stood;
    unsigned const sender = original ? 1 : 2;
    if (parts.since != 0 && parts.since != sender) return stood;
    return tcp_reset_parts{tcp_reset_parts::stood_in(stood), sender}.state();
}

/// Until a connection is open. A SYN from the backend leaves the flow half-open until the client's ACK, and that needs
/// an answer: a flood of SYNs, or of SYNs and ACKs, that a backend answers would look established.
constexpr flow_state tcp_advance_opening(flow_state s, flow_direction d, transport_event event) noexcept {
    using enum flow_state;
    bool const original = d == flow_direction::original, is_fin = event == transport_event::tcp_fin;
    bool const is_syn = event == transport_event::tcp_syn || event == transport_event::tcp_syn_ack;
    if (s == tcp_syn_sent) return !original && is_syn ? tcp_syn_received : s;
    if (s == tcp_syn_received) {
        if (!original || event == transport_event::tcp_syn) return s;
        return is_fin ? tcp_unconfirmed_fin : tcp_unconfirmed;
    }
    if (s == tcp_refused) {
        if (original) return event == transport_event::tcp_syn ? tcp_syn_sent : is_syn ? s : tcp_picked_up;
        return event == transport_event::tcp_syn_ack ? tcp_syn_received : s;
    }
    if (is_syn) return s;
    if (s == tcp_unconfirmed || s == tcp_unconfirmed_fin) {
        if (original) return is_fin ? tcp_unconfirmed_fin : s;
        return tcp_go_on(s == tcp_unconfirmed ? tcp_established : tcp_fin_original, d, event);
    }
    if (!original) return is_fin || s == tcp_answered_fin ? tcp_answered_fin : tcp_answered;
    if (s == tcp_picked_up) return s;
    return tcp_go_on(s == tcp_answered ? tcp_established : tcp_fin_reply, d, event);
}

/// RFC 6146 section 3.5.2.2, and what forged packets demand.
constexpr flow_state tcp_advance(flow_state s, flow_direction d, transport_event event) noexcept {
    if (event == transport_event::tcp_cut) return tcp_cut_by(d);
    if (s == flow_state::tcp_cut_original || s == flow_state::tcp_cut_reply) return s;
    if (event == transport_event::tcp_rst) return tcp_after_reset(s);
    if (is_tcp_reset(s)) return tcp_advance_reset(s, d, event);
    if (s < flow_state::tcp_established) return tcp_advance_opening(s, d, event);
    return s == flow_state::tcp_closed ? s : tcp_go_on(s, d, event);
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
    if (!original) return sctp_answered;
    return s == sctp_answered ? sctp_established : s;
}

/// A request, its answer, and a second request.
constexpr flow_state advance_exchange(flow_state s, flow_direction d) noexcept {
    using enum flow_state;
    bool const is_answered = s == udp_replied || s == icmp_replied || s == other_replied;
    bool const is_unanswered = s == udp_unreplied || s == icmp_unreplied || s == other_unreplied;
    bool const advances = d == flow_direction::original ? is_answered : is_unanswered;
    return advances ? static_cast<flow_state>(static_cast<unsigned>(s) + 1) : s;
}

constexpr flow_state advance_by_rule(flow_state s, flow_direction d, transport_event event) noexcept {
    if (kind_of(s) == flow_kind::tcp) return tcp_advance(s, d, event);
    if (kind_of(s) == flow_kind::sctp) return sctp_advance(s, d, event);
    return advance_exchange(s, d);
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

} // namespace v0_2
} // namespace kubeproxy
