#pragma once

#include "kubeproxy/nat/translate_error.hpp"

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

inline void decrement_hops(parsed<ipv4> const& p) noexcept {
    ipv4_editor const ip{p.bytes};
    ip.set_ttl(static_cast<std::uint8_t>(ip.ttl() - 1));
    ip.set_checksum(checksum_plus(ip.checksum(), opposite(0x0100)));
}
inline void decrement_hops(parsed<ipv6> const& p) noexcept {
    ipv6_editor const ip{p.bytes};
    ip.set_hop_limit(static_cast<std::uint8_t>(ip.hop_limit() - 1));
}

} // namespace detail

/// Gives a packet other addresses and ports; where the families differ, it becomes a packet of the other one.
///
/// The diagonal rewrites in place; the other two translate (RFC 7915). Nothing but headers is read or written,
/// except for a UDP checksum that IPv6 needs and IPv4 had not.
template <ip_version From, ip_version To>
class rewriter {
  public:
    static constexpr bool changes_family = !std::same_as<From, To>;

    /// What a packet_buffer should have room for at its front. A packet takes 28 bytes at most, for the longer header
    /// and a fragment header; only an ICMP error whose quotation must be padded takes more.
    static constexpr std::size_t headroom = changes_family ? detail::error_headroom<From, To> : 0;

    constexpr explicit rewriter(translation_settings const& settings = {}) noexcept : settings_{settings} {}

    /// Rewrites `packet` so that it shows `after`; every view of it is void then. An ICMP error is not for this
    /// function. Ports are left alone where the packet shows none.
    /// \pre `p` is what parse made of packet.bytes(), and `changes` is changes_of(tuple_of(p), after)
    template <packet_buffer P>
    rewrite_result operator()(P& packet, parsed<From> const& p, tuple<To> const& after,
                              sum_changes changes) const noexcept {
        if (p.is_plain && rewrite_plain(packet, p, after, changes)) return {};
        auto const state = transport_checksum_of(packet);
        if (auto const why = detail::refusal_of(p, after, state); why != drop_reason::none)
            return {why, detail::answer_to(p, why)};
        if (detail::is_used_up(p, settings_)) return used_up();
        if constexpr (changes_family) {
            if (p.what == content::icmp_error) return {drop_reason::icmp_type, {}};
            auto const front = detail::front_for(p, gso_size_of(packet), settings_);
            if (front.mtu != 0) return {drop_reason::too_big, detail::too_long_for<From>(front.mtu)};
            if (front.size > p.transport + packet.headroom()) return {drop_reason::no_headroom, {}};
            detail::rewrite_transport(p, after, changes, state);
            detail::replace_header(packet, p, after, front.size, settings_);
        } else {
            packet.truncate(p.bytes.size());
            detail::rewrite_transport(p, after, changes, state);
            detail::store_addresses(p.bytes, after.source, after.destination, changes.network);
            if (settings_.decrement_ttl) detail::decrement_hops(p);
        }
        return {};
    }

    /// The same for a packet that is_plain, where nothing stands against its translation. False, and nothing is done,
    /// where something might: operator() finds out.
    template <packet_buffer P>
    [[nodiscard, gnu::always_inline]] bool rewrite_plain(P& packet, parsed<From> const& p, tuple<To> const& after,
                                                         sum_changes changes) const noexcept {
        assert(p.is_plain);
        if (transport_checksum_of(packet) == checksum_state::partial || detail::is_used_up(p, settings_)) return false;
        auto const segment = p.bytes.subspan(From::minimum_header);
        if constexpr (changes_family)
            if (!detail::fits_plainly(p, gso_size_of(packet), packet.headroom(), settings_)) return false;
        if (!detail::rewrite_plain_ports(segment, p.protocol, after, changes.transport)) return false;
        if constexpr (changes_family) {
            detail::replace_header(packet, p, after, To::minimum_header, settings_);
        } else {
            packet.truncate(p.bytes.size());
            detail::store_addresses(p.bytes, after, changes.network);
            if (settings_.decrement_ttl) detail::decrement_hops(p);
        }
        return true;
    }

    /// Rewrites an ICMP error, and what it quotes, as `m` says; every view of it is void then.
    /// \pre `p` is what parse made of packet.bytes(), and an ICMP error; quoted_of(p) gave m.quoted's mirror or it
    template <packet_buffer P>
    rewrite_result error(P& packet, parsed<From> const& p, error_mapping<To> const& m) const noexcept {
        auto const state = transport_checksum_of(packet);
        if (auto const why = detail::refusal_of(p, tuple<To>{}, state); why != drop_reason::none)
            return {why, detail::answer_to(p, why)};
        if (detail::is_used_up(p, settings_)) return used_up();
        auto const quoted = quoted_of(p);
        if (quoted.why != drop_reason::none) return {quoted.why, {}};
        if constexpr (changes_family) {
            return detail::translate_error(packet, p, quoted, m, settings_);
        } else {
            packet.truncate(p.bytes.size());
            detail::rewrite_error_in_place(p, quoted, m, state);
            if (settings_.decrement_ttl) detail::decrement_hops(p);
            return {};
        }
    }

  private:
    [[nodiscard]] static rewrite_result used_up() noexcept {
        return {drop_reason::hop_limit_exceeded, icmp_error_fields{icmp_type<From>::time_exceeded, 0, 0}};
    }

    translation_settings settings_;
};

} // namespace v0_2
} // namespace kubeproxy
