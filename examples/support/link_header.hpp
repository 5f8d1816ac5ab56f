#pragma once

#include "kubeproxy/wire/bytes.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

/// The link layer around an IP packet, which is the host's part: where the packet starts.
namespace examples {

using kubeproxy::byte_span;
using kubeproxy::mutable_byte_span;

enum class link_layer : std::uint8_t {
    ethernet,
    cooked,    ///< Linux cooked capture v1: 16 bytes, the protocol last
    cooked_v2, ///< Linux cooked capture v2: 20 bytes, the protocol first
    ppp,       ///< PPP (RFC 1661), with or without the HDLC bytes ff 03 (RFC 1662)
    pppoe,     ///< a PPPoE session header (RFC 2516) without the Ethernet header before it
    null,      ///< BSD loopback: 4 bytes, the address family in the byte order of the capturing machine
    loop,      ///< OpenBSD loopback: the same in network byte order
    raw_ip
};

inline constexpr std::uint16_t ether_type_ipv4 = 0x0800;
inline constexpr std::uint16_t ether_type_ipv6 = 0x86dd;

/// How the link header says which IP version follows.
enum class link_type_field : std::uint8_t {
    none,                 ///< it does not: raw IP
    ether_type,           ///< 16 bits, 0x0800 or 0x86dd
    ppp_protocol,         ///< 16 bits, 0x0021 or 0x0057 (RFC 1332, RFC 5072)
    ppp_protocol_short,   ///< the low 8 bits of it, compressed (RFC 1661 section 6.5)
    family_big_endian,    ///< a 32-bit address family
    family_little_endian, ///< the same, least significant byte first
    mpls_label            ///< a label stack entry: 0 and 2 are the explicit null labels of IPv4 and IPv6 (RFC 3032)
};

/// Sizes of the link header, and where it says what follows.
struct link_header {
    std::size_t size = 0;
    std::size_t type_offset = 0; ///< of the field that `type` describes
    link_type_field type = link_type_field::none;
    std::size_t length_offset = 0; ///< of PPPoE's 16-bit payload length; 0: there is none
};

/// 0 when there is no byte.
[[nodiscard]] inline unsigned ip_version(byte_span packet) noexcept {
    return packet.empty() ? 0u : kubeproxy::load_be<std::uint8_t>(packet, 0) >> 4;
}

/// The size that the IP header announces, at most what is there: what follows is the link's padding.
[[nodiscard]] inline std::size_t ip_size(byte_span packet) noexcept {
    std::size_t announced = packet.size();
    if (ip_version(packet) == 4 && packet.size() >= 20) announced = kubeproxy::load_be<std::uint16_t>(packet, 2);
    if (ip_version(packet) == 6 && packet.size() >= 40) announced = 40u + kubeproxy::load_be<std::uint16_t>(packet, 4);
    return std::min(announced, packet.size());
}

namespace detail {

[[nodiscard]] constexpr link_header untagged(link_layer link) noexcept {
    switch (link) {
    case link_layer::ethernet: return {14, 12, link_type_field::ether_type};
    case link_layer::cooked: return {16, 14, link_type_field::ether_type};
    case link_layer::cooked_v2: return {20, 0, link_type_field::ether_type};
    case link_layer::ppp:
    case link_layer::pppoe:
    case link_layer::null:
    case link_layer::loop:
    case link_layer::raw_ip: break;
    }
    return {};
}

/// IEEE 802.1Q customer and service tags, and 0x9100, which switches used for outer tags before 802.1ad; they stack.
[[nodiscard]] constexpr bool is_vlan(std::uint16_t ether_type) noexcept {
    return ether_type == 0x8100 || ether_type == 0x88a8 || ether_type == 0x9100;
}

/// A packet whose EtherType is contradicted by its version is for neither family's receiver.
[[nodiscard]] inline bool is_ip(std::uint16_t ether_type, byte_span packet) noexcept {
    auto const version = ip_version(packet);
    return (ether_type == ether_type_ipv4 && version != 6) || (ether_type == ether_type_ipv6 && version != 4);
}

/// The header with its VLAN tags, up to the last EtherType; none when the frame ends before it.
/// \pre untagged(link).type is ether_type
[[nodiscard]] inline std::optional<link_header> skip_tags(link_layer link, byte_span frame) noexcept {
    auto header = untagged(link);
    if (frame.size() < header.size) return std::nullopt;
    while (is_vlan(kubeproxy::load_be<std::uint16_t>(frame, header.type_offset))) {
        header.type_offset = header.size + 2; // two bytes of tag, then the type of what follows
        header.size += 4;
        if (frame.size() < header.size) return std::nullopt;
    }
    return header;
}

} // namespace detail

/// The header in front of the frame's IP packet; none when the frame has no IP packet, or ends before it.
/// \pre the link is Ethernet or Linux cooked
[[nodiscard]] inline std::optional<link_header> find_ip(link_layer link, byte_span frame) noexcept {
    auto const header = detail::skip_tags(link, frame);
    if (!header) return std::nullopt;
    auto const type = kubeproxy::load_be<std::uint16_t>(frame, header->type_offset);
    return detail::is_ip(type, frame.subspan(header->size)) ? header : std::nullopt;
}

} // namespace examples
