#pragma once

#include "kubeproxy/wire/address.hpp"
#include "support/ethernet.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

/// ARP for IPv4 over Ethernet (RFC 826).
namespace examples {

struct arp_message {
    static constexpr std::size_t size = 28;
    enum class operation : std::uint16_t { request = 1, reply = 2 };

    operation what = operation::request;
    mac_address sender_mac{};
    kubeproxy::ipv4::address sender{};
    mac_address target_mac{};
    kubeproxy::ipv4::address target{};
};

namespace detail {
inline constexpr std::uint64_t arp_ethernet_ipv4 = 0x0001'0800'0604; ///< hardware, protocol and their address lengths
}

/// None: it is not for these kinds of addresses, or its sender is no single station.
[[nodiscard]] inline std::optional<arp_message> read_arp(byte_span bytes) noexcept {
    if (bytes.size() < arp_message::size) return std::nullopt;
    auto const kinds_and_operation = kubeproxy::load_be<std::uint64_t>(bytes, 0);
    auto const operation = static_cast<std::uint16_t>(kinds_and_operation);
    if (kinds_and_operation >> 16 != detail::arp_ethernet_ipv4 || (operation != 1 && operation != 2))
        return std::nullopt;
    arp_message const m{.what = arp_message::operation{operation},
                        .sender_mac = kubeproxy::load_object<mac_address>(bytes, 8),
                        .sender = kubeproxy::load_object<kubeproxy::ipv4::address>(bytes, 14),
                        .target_mac = kubeproxy::load_object<mac_address>(bytes, 18),
                        .target = kubeproxy::load_object<kubeproxy::ipv4::address>(bytes, 24)};
    bool const is_group = kubeproxy::is_multicast(m.sender) || m.sender[0] == std::byte{0xff};
    if (!is_station(m.sender_mac) || is_group) return std::nullopt;
    return m;
}

/// \pre bytes.size() >= arp_message::size
inline void write_arp(mutable_byte_span bytes, arp_message const& m) noexcept {
    kubeproxy::store_be(bytes, 0, detail::arp_ethernet_ipv4 << 16 | static_cast<std::uint16_t>(m.what));
    kubeproxy::store_object(bytes, 8, m.sender_mac);
    kubeproxy::store_object(bytes, 14, m.sender);
    kubeproxy::store_object(bytes, 18, m.target_mac);
    kubeproxy::store_object(bytes, 24, m.target);
}

} // namespace examples
