#pragma once

#include "kubeproxy/wire/packet.hpp"

#include <array>
#include <bit>
#include <cstdint>

namespace kubeproxy {

/// One direction of a conversation, as a packet of it shows. An ICMP echo request has its identifier as
/// source port and 0 as destination port, a reply the other way round, so that the reply is the mirror.
/// A protocol without ports has 0 for both. No padding: equal objects have equal bytes.
template <ip_version V>
struct tuple {
    typename V::address source{};
    typename V::address destination{};
    std::uint16_t source_port = 0;      ///< host order
    std::uint16_t destination_port = 0; ///< host order
    std::uint8_t protocol = 0;
    std::array<std::uint8_t, 3> zero{};

    [[nodiscard]] constexpr tuple mirrored() const noexcept {
        return {destination, source, destination_port, source_port, protocol};
    }
    [[nodiscard]] friend constexpr bool operator==(tuple const& a, tuple const& b) noexcept {
        using words = std::array<std::uint64_t, sizeof(tuple) / sizeof(std::uint64_t)>;
        auto const x = std::bit_cast<words>(a), y = std::bit_cast<words>(b);
        std::uint64_t difference = 0;
        for (std::size_t i = 0; i < x.size(); ++i) difference |= x[i] ^ y[i];
        return difference == 0;
    }
};
static_assert(sizeof(tuple<ipv4>) == 16 && sizeof(tuple<ipv6>) == 40);
static_assert(std::has_unique_object_representations_v<tuple<ipv4>> &&
              std::has_unique_object_representations_v<tuple<ipv6>>);

namespace detail {
template <ip_version V>
tuple<V> addresses_of(parsed<V> const& p) noexcept {
    if constexpr (std::same_as<V, ipv4>) {
        ipv4_view const ip{p.bytes};
        return {.source = ip.source(), .destination = ip.destination(), .protocol = p.protocol};
    } else {
        ipv6_view const ip{p.bytes};
        return {.source = ip.source(), .destination = ip.destination(), .protocol = p.protocol};
    }
}
} // namespace detail

/// The tuple that a packet shows; for an ICMP error that of the error itself, without ports.
template <ip_version V>
[[nodiscard]] inline tuple<V> tuple_of(parsed<V> const& p) noexcept {
    auto result = detail::addresses_of(p);
    if (p.what == content::ports) {
        result.source_port = load_be<std::uint16_t>(p.payload(), ports_at::source);
        result.destination_port = load_be<std::uint16_t>(p.payload(), ports_at::destination);
    } else if (p.what == content::echo) {
        auto const identifier = load_be<std::uint16_t>(p.payload(), icmp_at::identifier);
        bool const is_request = load_be<std::uint8_t>(p.payload(), icmp_at::type) == icmp_type<V>::echo_request;
        (is_request ? result.source_port : result.destination_port) = identifier;
    }
    return result;
}

} // namespace kubeproxy
