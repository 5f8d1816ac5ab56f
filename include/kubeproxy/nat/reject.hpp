#pragma once

#include "kubeproxy/nat/settings.hpp"
#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/packet.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kubeproxy {
inline namespace v0_2 {

/// Bytes that compose_icmp_error puts before the packet it quotes: the IP header and eight of ICMP.
template <ip_version V>
inline constexpr std::size_t icmp_error_headroom = V::minimum_header + icmp_at::quoted;
static_assert(icmp_error_headroom<ipv4> == 28 && icmp_error_headroom<ipv6> == 48);

/// The largest ICMP error, IP header included (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c).
template <ip_version V>
inline constexpr std::size_t largest_icmp_error = std::same_as<V, ipv4> ? 576 : 1280;

/// What a service without a usable backend answers: nobody listens there (RFC 792, RFC 4443 section 3.1).
template <ip_version V>
[[nodiscard]] constexpr icmp_error_fields port_unreachable() noexcept {
    return {icmp_type<V>::destination_unreachable, std::same_as<V, ipv4> ? std::uint8_t{3} : std::uint8_t{4}, 0};
}

namespace detail {

template <ip_version V>
using header_view = std::conditional_t<std::same_as<V, ipv4>, ipv4_view, ipv6_view>;

/// Whether an answer to this source reaches one node, and one elsewhere: not zero, loopback, multicast, broadcast
/// or class E (RFC 1122 section 3.2.2, RFC 1812 sections 4.3.2.7 and 5.3.7).
[[nodiscard]] constexpr bool names_one_node(ipv4::address source) noexcept {
    auto const network = to_number(source) >> 24;
    return network != 0 && network != 127 && network < 224;
}
/// RFC 4443 section 2.4 (e.6). ::1 is never seen outside its node (RFC 4291 section 2.5.3).
[[nodiscard]] constexpr bool names_one_node(ipv6::address const& source) noexcept {
    return !is_unspecified(source) && !is_loopback(source) && !is_multicast(source);
}

/// A broadcast to a subnet cannot be told from the address: the host knows how the frame came (RFC 1122 section 3.3.6).
[[nodiscard]] constexpr bool names_many_nodes(ipv4::address destination) noexcept {
    return is_multicast(destination) || to_number(destination) == 0xffff'ffff;
}
[[nodiscard]] constexpr bool names_many_nodes(ipv6::address const& destination) noexcept {
    return is_multicast(destination);
}

/// A header that fails RFC 1812 section 5.2.2 is not answered: its source may be the damaged part.
[[nodiscard]] inline bool is_header_intact(parsed<ipv4> const& p) noexcept {
    return fold(sum_of(ipv4_view{p.bytes}.header())) == 0xffff;
}
[[nodiscard]] constexpr bool is_header_intact(parsed<ipv6> const&) noexcept { return true; }

/// What no ICMP error may be about. Where the walk ended at a flaw, an ICMP error may stand behind it.
template <ip_version V>
[[nodiscard]] bool holds_icmp_error(parsed<V> const& p) noexcept {
    if (p.flaw != drop_reason::none || p.what == content::icmp_error) return true;
    if constexpr (std::same_as<V, ipv6>) { // RFC 4443 section 2.4 (e.2): nor about a redirect
        constexpr std::uint8_t redirect = 137;
        return p.what == content::other_icmp && load_be<std::uint8_t>(p.payload(), icmp_at::type) == redirect;
    }
    return false;
}

/// RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e).
[[nodiscard]] inline bool may_be_answered(parsed<ipv4> const& p, icmp_error_fields) noexcept {
    ipv4_view const ip{p.bytes};
    return is_header_intact(p) && names_one_node(ip.source()) && !names_many_nodes(ip.destination()) &&
           !holds_icmp_error(p) && p.what != content::later_fragment;
}
/// Packet Too Big and an unknown option are told to senders of multicast, too (e.3). RFC 4443 lists no fragments; a
/// later one is answered with Packet Too Big only, which is about its size and nothing it holds (RFC 8201 section 4).
[[nodiscard]] inline bool may_be_answered(parsed<ipv6> const& p, icmp_error_fields answer) noexcept {
    ipv6_view const ip{p.bytes};
    bool const is_too_big = answer.type == icmp_type<ipv6>::packet_too_big;
    bool const is_unknown_option = answer.type == icmp_type<ipv6>::parameter_problem && answer.code == 2;
    return names_one_node(ip.source()) && (is_too_big || is_unknown_option || !names_many_nodes(ip.destination())) &&
           !holds_icmp_error(p) && (is_too_big || p.what != content::later_fragment);
}

/// What the sender of an answer chooses in its IP header.
struct answer_header {
    std::uint8_t protocol = 0;
    std::uint8_t traffic_class = 0;
    std::uint16_t identification = 0;   ///< IPv4
    std::uint16_t flags_and_offset = 0; ///< IPv4
};
inline constexpr std::uint16_t atomic_datagram = 0x4000; ///< DF and nothing else (RFC 6864 section 4)

/// The hop limit is IANA's recommended default ("IP Option Numbers", IP Time to Live Parameter).
/// \pre answer.size() is that of the whole answer, at most 65,535
template <ip_version V>
void write_answer_header(mutable_byte_span answer, answer_header const& h, typename V::address const& from,
                         typename V::address const& to) noexcept {
    constexpr std::uint8_t hop_limit = 64;
    if constexpr (std::same_as<V, ipv4>)
        write_header(answer, ipv4_header{.traffic_class = h.traffic_class,
                                         .total_length = static_cast<std::uint16_t>(answer.size()),
                                         .identification = h.identification,
                                         .flags_and_offset = h.flags_and_offset,
                                         .ttl = hop_limit,
                                         .protocol = h.protocol,
                                         .source = from,
                                         .destination = to});
    else
        write_header(answer,
                     ipv6_header{.traffic_class = h.traffic_class,
                                 .payload_length = static_cast<std::uint16_t>(answer.size() - V::minimum_header),
                                 .next_header = h.protocol,
                                 .hop_limit = hop_limit,
                                 .source = from,
                                 .destination = to});
}

/// The header of an ICMP error from `from` to `to`, its checksum computed over `message` and, for ICMPv6, the
/// pseudo-header.
template <ip_version V>
void write_icmp_error(mutable_byte_span message, icmp_error_fields answer, typename V::address const& from,
                      typename V::address const& to) noexcept {
    store_be(message, icmp_at::type, answer.type);
    store_be(message, icmp_at::code, answer.code);
    store_be(message, icmp_at::checksum, std::uint16_t{0});
    store_be(message, icmp_at::rest, answer.rest);
    auto sum = sum_of(message);
    if constexpr (std::same_as<V, ipv6>) // RFC 4443 section 2.3
        sum += pseudo_header_sum(from, to, V::icmp_protocol, static_cast<std::uint32_t>(message.size()));
    store_be(message, icmp_at::checksum, checksum_of(sum));
}

/// Precedence 6, the other TOS bits those of the packet (RFC 1812 section 4.3.2.5), without the two that have become
/// ECN (RFC 3168 section 5). About an atomic datagram the answer is atomic, too, with identification 0; else it takes
/// the packet's identification, which is as unique on the way back as it was on the way here (RFC 6864 section 4).
[[nodiscard]] inline answer_header icmp_error_header(parsed<ipv4> const& p) noexcept {
    ipv4_view const ip{p.bytes};
    auto const traffic_class = static_cast<std::uint8_t>(0xc0u | (ip.traffic_class() & 0x1cu));
    if (ip.dont_fragment() && !p.is_fragment) return {ipv4::icmp_protocol, traffic_class, 0, atomic_datagram};
    return {ipv4::icmp_protocol, traffic_class, ip.identification(), 0};
}
/// Nothing is asked of traffic class and flow label.
[[nodiscard]] constexpr answer_header icmp_error_header(parsed<ipv6> const&) noexcept {
    return {.protocol = ipv6::icmp_protocol};
}

} // namespace detail

/// Makes of a packet the ICMP error about it, from `from`, for instance the address the client spoke to, back to
/// its source. Quoted is as much as fits, as it stands there: also a transport checksum that is partial.
///
/// none: the buffer holds the answer, every checksum complete; what the host notes beside the packet (partial
/// checksum, GSO size) is void, as is `p`. Else reject_forbidden or no_headroom, and no byte has changed.
/// \pre `p` was parsed from packet.bytes()
template <ip_version V, packet_buffer P>
[[nodiscard]] drop_reason compose_icmp_error(P& packet, parsed<V> const& p, icmp_error_fields answer,
                                             typename V::address const& from) noexcept {
    assert(p.bytes.data() == mutable_byte_span{packet.bytes()}.data());
    if (!detail::may_be_answered(p, answer)) return drop_reason::reject_forbidden;
    if (packet.headroom() < icmp_error_headroom<V>) return drop_reason::no_headroom;

    auto const to = detail::header_view<V>{p.bytes}.source();
    auto const header = detail::icmp_error_header(p);
    packet.truncate(std::min(p.bytes.size(), largest_icmp_error<V> - icmp_error_headroom<V>));
    packet.grow_front(icmp_error_headroom<V>);
    mutable_byte_span const whole = packet.bytes();
    detail::write_answer_header<V>(whole, header, from, to);
    detail::write_icmp_error<V>(whole.subspan(V::minimum_header), answer, from, to);
    return drop_reason::none;
}

} // namespace v0_2
} // namespace kubeproxy
