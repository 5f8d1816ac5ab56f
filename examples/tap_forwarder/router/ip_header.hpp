#pragma once

#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/ipv4.hpp"
#include "kubeproxy/wire/ipv6.hpp"
#include "tap_forwarder/link/tap_packet.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/// What a router reads and changes in an IP header. Every packet here was accepted by the view's check().
namespace examples {

template <kubeproxy::ip_version V>
using ip_view = std::conditional_t<std::same_as<V, kubeproxy::ipv4>, kubeproxy::ipv4_view, kubeproxy::ipv6_view>;

/// Calls f(V{}) with the version that the packet's first byte says. \pre the packet was parsed as one
template <class F>
decltype(auto) visit_version(tap_packet& packet, F&& f) {
    bool const is_ipv4 = kubeproxy::load_be<std::uint8_t>(packet.bytes(), 0) >> 4 == kubeproxy::ipv4::number;
    return is_ipv4 ? f(kubeproxy::ipv4{}) : f(kubeproxy::ipv6{});
}

/// RFC 1812 section 5.2.2; IPv6 has no checksum.
template <kubeproxy::ip_version V>
[[nodiscard]] bool is_header_intact(byte_span packet) noexcept {
    if constexpr (std::same_as<V, kubeproxy::ipv4>)
        return kubeproxy::fold(kubeproxy::sum_of(kubeproxy::ipv4_view{packet}.header())) == 0xffff;
    else
        return true;
}

/// Neither this network's, loopback, multicast, reserved nor broadcast (RFC 1812 section 5.3.7).
[[nodiscard]] constexpr bool is_one_node(kubeproxy::ipv4::address a) noexcept {
    return a[0] != std::byte{0} && !kubeproxy::is_loopback(a) && a[0] < std::byte{224};
}
[[nodiscard]] constexpr bool is_one_node(kubeproxy::ipv6::address const& a) noexcept {
    return !kubeproxy::is_unspecified(a) && !kubeproxy::is_loopback(a) && !kubeproxy::is_multicast(a);
}

/// The TTL, or the hop limit.
template <kubeproxy::ip_version V>
[[nodiscard]] std::uint8_t hops(byte_span packet) noexcept {
    constexpr auto at =
        std::same_as<V, kubeproxy::ipv4> ? kubeproxy::ipv4_view::at::ttl : kubeproxy::ipv6_view::at::hop_limit;
    return kubeproxy::load_be<std::uint8_t>(packet, at);
}
/// \pre hops() is not 0
inline void decrement_hops(mutable_byte_span packet, kubeproxy::ipv4) noexcept {
    kubeproxy::ipv4_editor const ip{packet};
    ip.set_ttl(static_cast<std::uint8_t>(ip.ttl() - 1));
    ip.set_checksum(kubeproxy::checksum_plus(ip.checksum(), kubeproxy::opposite(0x0100)));
}
inline void decrement_hops(mutable_byte_span packet, kubeproxy::ipv6) noexcept {
    kubeproxy::ipv6_editor const ip{packet};
    ip.set_hop_limit(static_cast<std::uint8_t>(ip.hop_limit() - 1));
}

} // namespace examples
