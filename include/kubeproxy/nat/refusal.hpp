#pragma once

#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/nat/settings.hpp"
#include "kubeproxy/nat/transport.hpp"

/// Packets that no translation does justice to, and what their sender should be told.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// Whether an unexpired strict or loose source route stands among the options (RFC 791 section 3.1): its
/// pointer is not behind its end. Options that overrun the header end the search.
[[nodiscard]] inline bool has_unexpired_source_route(byte_span options) noexcept {
    constexpr std::uint8_t end_of_list = 0, no_operation = 1, loose = 131, strict = 137;
    std::size_t at = 0;
    while (at < options.size()) {
        auto const kind = load_be<std::uint8_t>(options, at);
        if (kind == end_of_list) return false;
        if (kind == no_operation) {
            ++at;
            continue;
        }
        if (at + 2 > options.size()) return false;
        std::size_t const length = load_be<std::uint8_t>(options, at + 1);
        if (length < 2 || at + length > options.size()) return false;
        if ((kind == loose || kind == strict) && length >= 3) return load_be<std::uint8_t>(options, at + 2) <= length;
        at += length;
    }
    return false;
}

/// Protocols that mean something else, or nothing, behind the other family's header.
template <ip_version From>
[[nodiscard]] constexpr bool survives_family_change(std::uint8_t protocol) noexcept {
    if (protocol == From::icmp_protocol) return true;
    return protocol != From::other::icmp_protocol && protocol != ip_protocol::igmp && protocol != ip_protocol::ah &&
           !is_extension(protocol); // AH covers the addresses (RFC 4302 section 3.3.3)
}

/// UDP that has no checksum, in a packet that has one for IPv6 to need (RFC 7915 section 4.5).
[[nodiscard]] inline bool is_udp_without_checksum(parsed<ipv4> const& p) noexcept {
    return p.protocol == ip_protocol::udp && p.what == content::ports &&
           load_be<std::uint16_t>(p.payload(), udp_at::checksum) == 0;
}

[[nodiscard]] inline drop_reason flaw_of_route(parsed<ipv4> const& p) noexcept {
    // The pseudo-header holds the route's end (RFC 9293 section 3.1), and NAT would change a hop of it.
    bool const is_routed =
        p.transport > ipv4::minimum_header && has_unexpired_source_route(ipv4_view{p.bytes}.options());
    return is_routed ? drop_reason::source_route : drop_reason::none;
}
[[nodiscard]] inline drop_reason flaw_of_route(parsed<ipv6> const& p) noexcept {
    return p.segments_left != 0 ? drop_reason::source_route : drop_reason::none;
}

/// Against IPv4 to IPv6 (RFC 7915 section 4).
[[nodiscard]] inline drop_reason flaw_for_family(parsed<ipv4> const& p, checksum_state state) noexcept {
    if (fold(sum_of(ipv4_view{p.bytes}.header())) != 0xffff) return drop_reason::bad_ipv4_checksum;
    if (state == checksum_state::partial || !is_udp_without_checksum(p)) return drop_reason::none;
    if (p.is_fragment) return drop_reason::zero_udp_checksum;
    std::size_t const length = load_be<std::uint16_t>(p.payload(), udp_at::length);
    bool const is_computable = length >= transport_header_size(ip_protocol::udp) && length <= p.payload().size();
    return is_computable ? drop_reason::none : drop_reason::truncated_transport;
}

/// Against IPv6 to IPv4 (RFC 7915 section 5).
[[nodiscard]] inline drop_reason flaw_for_family(parsed<ipv6> const& p, checksum_state) noexcept {
    bool const is_extended = p.protocol == ip_protocol::ah || is_extension(p.protocol);
    if (p.extension_after_fragment || (p.fragment_header != 0 && is_extended))
        return drop_reason::extension_after_fragment;
    return p.payload().size() + ipv4::minimum_header > 0xffff ? drop_reason::too_big : drop_reason::none;
}

/// The parts of SCTP messages keep their ports: the CRC32c covers all parts. A zero checksum covers nothing (RFC 9653).
template <ip_version From, ip_version To>
[[nodiscard]] bool is_sctp_part_with_new_ports(parsed<From> const& p, tuple<To> const& after) noexcept {
    return p.is_fragment && p.what == content::ports && p.protocol == ip_protocol::sctp &&
           load_be<std::uint32_t>(p.payload(), ports_at::source) != port_word(after) &&
           load_crc32c(p.payload(), sctp_at::checksum) != 0;
}

/// Why `p` must not be rewritten, as far as its headers tell.
template <ip_version From, ip_version To>
[[nodiscard]] drop_reason refusal_of(parsed<From> const& p, tuple<To> const& after, checksum_state state) noexcept {
    if constexpr (!std::same_as<From, To>)
        if (auto const why = flaw_for_family(p, state); why != drop_reason::none) return why;
    if (p.flaw != drop_reason::none) return p.flaw;
    if (auto const why = flaw_of_route(p); why != drop_reason::none) return why;
    if (is_sctp_part_with_new_ports(p, after)) return drop_reason::sctp_fragment;
    if constexpr (!std::same_as<From, To>) {
        if (!survives_family_change<From>(p.protocol)) return drop_reason::protocol_unsupported;
        if (p.is_fragment && p.protocol == From::icmp_protocol) return drop_reason::icmp_fragment;
        if (p.what == content::other_icmp) return drop_reason::icmp_type;
    }
    return drop_reason::none;
}

/// What the sender of a packet that refusal_of refused should be told.
[[nodiscard]] inline std::optional<icmp_error_fields> answer_to(parsed<ipv4> const&, drop_reason why) noexcept {
    constexpr std::uint8_t source_route_failed = 5, prohibited = 13;
    constexpr auto type = icmp_type<ipv4>::destination_unreachable;
    if (why == drop_reason::source_route) return icmp_error_fields{type, source_route_failed, 0};
    if (why == drop_reason::zero_udp_checksum) return icmp_error_fields{type, prohibited, 0};
    return std::nullopt;
}
[[nodiscard]] inline std::optional<icmp_error_fields> answer_to(parsed<ipv6> const& p, drop_reason why) noexcept {
    constexpr std::uint8_t bad_field = 0, prohibited = 1;
    using type = icmp_type<ipv6>;
    if (why == drop_reason::source_route) return icmp_error_fields{type::parameter_problem, bad_field, p.segments_left};
    if (why == drop_reason::extension_after_fragment)
        return icmp_error_fields{type::destination_unreachable, prohibited, 0};
    return std::nullopt;
}

/// Whether this hop would use the packet up (RFC 1812 section 5.3.1, RFC 4443 section 3.3).
template <ip_version V>
[[nodiscard]] bool is_used_up(parsed<V> const& p, translation_settings const& settings) noexcept {
    constexpr auto at = std::same_as<V, ipv4> ? ipv4_view::at::ttl : ipv6_view::at::hop_limit;
    return settings.decrement_ttl && load_be<std::uint8_t>(p.bytes, at) <= 1;
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
