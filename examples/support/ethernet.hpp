#pragma once

#include "kubeproxy/wire/address.hpp"
#include "kubeproxy/wire/bytes.hpp"

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string_view>

/// Ethernet II frames (IEEE 802.3 clause 3), as a TAP device has them.
namespace examples {

using kubeproxy::byte_span;
using kubeproxy::mutable_byte_span;

using mac_address = std::array<std::byte, 6>;

struct ether_type {
    static constexpr std::uint16_t ipv4 = 0x0800, arp = 0x0806, ipv6 = 0x86dd;
};

template <kubeproxy::ip_version V>
inline constexpr std::uint16_t ether_type_of = std::same_as<V, kubeproxy::ipv4> ? ether_type::ipv4 : ether_type::ipv6;

inline constexpr mac_address broadcast_mac{std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                                           std::byte{0xff}, std::byte{0xff}, std::byte{0xff}};

/// The lowest bit of the first octet: a group, broadcast among them.
[[nodiscard]] constexpr bool is_group(mac_address const& mac) noexcept {
    return (mac[0] & std::byte{1}) != std::byte{0};
}
/// What one interface may have.
[[nodiscard]] constexpr bool is_station(mac_address const& mac) noexcept {
    return !is_group(mac) && mac != mac_address{};
}

/// Where a multicast IPv6 packet goes on Ethernet (RFC 2464 section 7).
[[nodiscard]] constexpr mac_address group_mac(kubeproxy::ipv6::address const& group) noexcept {
    return {std::byte{0x33}, std::byte{0x33}, group[12], group[13], group[14], group[15]};
}

/// Locally administered, the same for a name in every run: neighbours that know it need not learn another one when the
/// program is started again. FNV-1a (Fowler, Noll, Vo), 64 bits.
[[nodiscard]] constexpr mac_address mac_for(std::string_view name) noexcept {
    std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
    for (char const c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01b3;
    mac_address mac{std::byte{0x02}};
    for (std::size_t i = 1; i < mac.size(); ++i) mac[i] = static_cast<std::byte>(hash >> (8 * i));
    return mac;
}

/// The link-local address that goes with a MAC (RFC 4291 appendix A).
[[nodiscard]] constexpr kubeproxy::ipv6::address link_local_address(mac_address const& mac) noexcept {
    return {std::byte{0xfe}, std::byte{0x80}, {},     {},     {},    {}, {}, {}, mac[0] ^ std::byte{2}, mac[1], mac[2],
            std::byte{0xff}, std::byte{0xfe}, mac[3], mac[4], mac[5]};
}

struct ethernet_header {
    static constexpr std::size_t size = 14;

    mac_address destination{};
    mac_address source{};
    std::uint16_t type = 0;
};

/// \pre frame.size() >= ethernet_header::size
[[nodiscard]] inline ethernet_header read_ethernet(byte_span frame) noexcept {
    return {kubeproxy::load_object<mac_address>(frame, 0), kubeproxy::load_object<mac_address>(frame, 6),
            kubeproxy::load_be<std::uint16_t>(frame, 12)};
}
/// \pre frame.size() >= ethernet_header::size
inline void write_ethernet(mutable_byte_span frame, ethernet_header const& h) noexcept {
    kubeproxy::store_object(frame, 0, h.destination);
    kubeproxy::store_object(frame, 6, h.source);
    kubeproxy::store_be(frame, 12, h.type);
}

} // namespace examples
