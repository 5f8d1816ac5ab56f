#pragma once

#include "kubeproxy/nat/header.hpp"
#include "kubeproxy/nat/refusal.hpp"

#include <algorithm>

/// Packets that change family: what fits, and the exchange of their headers (RFC 7915 sections 4.1 and 5.1).
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// The front that a translated packet gets.
struct new_front {
    std::size_t size = 0; ///< bytes before the transport header
    std::size_t mtu = 0;  ///< not 0: the packet is too long, and a sender that keeps to this is not
};

inline constexpr std::size_t header_difference = ipv6::minimum_header - ipv4::minimum_header;

/// Bytes of the fixed transport header and its options, which every segment of a super-packet repeats.
[[nodiscard]] inline std::size_t segment_header_size(byte_span segment, std::uint8_t protocol) noexcept {
    auto const fixed = transport_header_size(protocol);
    if (protocol != ip_protocol::tcp || segment.size() < fixed) return std::min(fixed, segment.size());
    return (load_be<std::uint8_t>(segment, tcp_at::data_offset) >> 4) * std::size_t{4};
}

/// Bytes that leave as one packet behind the IP header: all, or the largest segment that the device will make.
template <ip_version V>
[[nodiscard]] std::size_t largest_segment(parsed<V> const& p, std::size_t gso_size) noexcept {
    if (gso_size == 0) return p.payload().size();
    return std::min(p.payload().size(), segment_header_size(p.payload(), p.protocol) + gso_size);
}

/// Pieces that may be cut are no longer than this: what every IPv6 path carries, or what the next hop does.
[[nodiscard]] constexpr std::size_t cut_size(translation_settings const& settings) noexcept {
    return std::min(settings.lowest_ipv6_mtu, settings.ipv6_mtu);
}

/// A part of a message keeps its place in it. A packet gets a fragment header, too, where it is too long and an IPv4
/// router might have cut it: IPv6 ones will not (RFC 7915 section 4.1).
[[nodiscard]] inline new_front front_for(parsed<ipv4> const& p, std::size_t gso_size,
                                         translation_settings const& settings) noexcept {
    std::size_t const extra = p.is_fragment ? fragment_header_view::size : 0;
    auto const size = ipv6::minimum_header + extra + largest_segment(p, gso_size);
    bool const may_be_cut = gso_size == 0 && !ipv4_view{p.bytes}.dont_fragment();
    if (may_be_cut && size > cut_size(settings)) return {.size = ipv6::minimum_header + fragment_header_view::size};
    if (size > settings.ipv6_mtu) return {.mtu = settings.ipv6_mtu - header_difference - extra};
    return {.size = ipv6::minimum_header + extra};
}

/// What may not be cut further on must fit; the sender is never asked for less than 1280 (RFC 8200 section 5).
[[nodiscard]] inline new_front front_for(parsed<ipv6> const& p, std::size_t gso_size,
                                         translation_settings const& settings) noexcept {
    auto const size = largest_segment(p, gso_size) + ipv4::minimum_header;
    auto const fits = std::max<std::size_t>(settings.ipv4_mtu, always_cuttable);
    if (p.fragment_header == 0 && size > fits) return {.mtu = fits + header_difference};
    return {.size = ipv4::minimum_header};
}

/// Whether a packet that is_plain becomes one of the other family as it is: undamaged, not cut, with room for it.
[[nodiscard, gnu::always_inline]] inline bool fits_plainly(parsed<ipv4> const& p, std::size_t gso_size,
                                                           std::size_t headroom,
                                                           translation_settings const& settings) noexcept {
    auto const limit = ipv4_view{p.bytes}.dont_fragment() ? settings.ipv6_mtu : cut_size(settings);
    auto const longest = limit - header_difference;
    return gso_size == 0 && p.bytes.size() <= longest && headroom >= header_difference &&
           fold(sum_of(p.bytes.first(ipv4::minimum_header))) == 0xffff;
}
[[nodiscard, gnu::always_inline]] inline bool fits_plainly(parsed<ipv6> const& p, std::size_t gso_size, std::size_t,
                                                           translation_settings const& settings) noexcept {
    auto const longest = std::max<std::size_t>(settings.ipv4_mtu, always_cuttable) + header_difference;
    return gso_size == 0 && p.bytes.size() <= longest;
}

/// What says so to the sender: Fragmentation Needed (RFC 1191 section 4), Packet Too Big (RFC 4443 section 3.2).
template <ip_version V>
[[nodiscard]] constexpr icmp_error_fields too_long_for(std::size_t mtu) noexcept {
    auto const rest = static_cast<std::uint32_t>(mtu);
    if constexpr (std::same_as<V, ipv4>)
        return {icmp_type<ipv4>::destination_unreachable, 4, rest};
    else
        return {icmp_type<ipv6>::packet_too_big, 0, rest};
}

/// What `p`'s header says, after this hop.
template <ip_version V>
[[nodiscard]] carried_fields carried_by(parsed<V> const& p, translation_settings const& settings) noexcept {
    auto carried = carried_by(p);
    if (settings.decrement_ttl) --carried.hops;
    return carried;
}

/// Makes the bytes before the transport header `now` instead of `before`.
template <packet_buffer P>
void resize_front(P& packet, std::size_t before, std::size_t now) noexcept {
    if (now > before)
        packet.grow_front(now - before);
    else
        packet.shrink_front(before - now);
}

/// Cuts off what is behind the packet, too.
/// \pre headroom() is enough for `front`, which is what front_for said
template <packet_buffer P, ip_version From, ip_version To>
void replace_header(P& packet, parsed<From> const& p, tuple<To> const& after, std::size_t front,
                    translation_settings const& settings) noexcept {
    auto const carried = carried_by(p, settings);
    packet.truncate(p.bytes.size());
    resize_front(packet, p.transport, front);
    write_front(mutable_byte_span{packet.bytes()}.first(front), carried, after.source, after.destination);
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
