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
    raw_ip
};

inline constexpr std::uint16_t ether_type_ipv4 = 0x0800;
inline constexpr std::uint16_t ether_type_ipv6 = 0x86dd;

/// Sizes of the link header, and where it says what follows.
struct link_header {
    std::size_t size;
    std::size_t type_offset; ///< of a 16-bit EtherType; none in raw IP
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
    case link_layer::ethernet: return {14, 12};
    case link_layer::cooked: return {16, 14};
    case link_layer::cooked_v2: return {20, 0};
    case link_layer::raw_ip: break;
    }
    return {0, 0};
}

/// IEEE 802.1Q customer and service tags; they stack.
[[nodiscard]] constexpr bool is_vlan(std::uint16_t ether_type) noexcept {
    return ether_type == 0x8100 || ether_type == 0x88a8;
}

/// A packet whose EtherType is contradicted by its version is for neither family's receiver.
[[nodiscard]] inline bool is_ip(std::uint16_t ether_type, byte_span packet) noexcept {
    auto const version = ip_version(packet);
    return (ether_type == ether_type_ipv4 && version != 6) || (ether_type == ether_type_ipv6 && version != 4);
}

} // namespace detail

/// The header in front of the frame's IP packet; none when the frame has no IP packet, or ends before it.
[[nodiscard]] inline std::optional<link_header> find_ip(link_layer link, byte_span frame) noexcept {
    auto header = detail::untagged(link);
    if (link == link_layer::raw_ip) return header;
    if (frame.size() < header.size) return std::nullopt;
    auto type = kubeproxy::load_be<std::uint16_t>(frame, header.type_offset);
    while (detail::is_vlan(type)) { // two bytes of tag, then the type of what follows
        header.type_offset = header.size + 2;
        header.size += 4;
        if (frame.size() < header.size) return std::nullopt;
        type = kubeproxy::load_be<std::uint16_t>(frame, header.type_offset);
    }
    if (!detail::is_ip(type, frame.subspan(header.size))) return std::nullopt;
    return header;
}

} // namespace examples
