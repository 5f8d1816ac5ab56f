#pragma once

#include "kubeproxy/verdict.hpp"

#include <cstdint>
#include <optional>

namespace kubeproxy {
inline namespace v0_2 {

/// What RFC 7915 leaves to the translator's place in the network.
struct translation_settings {
    /// Whether the packet pays for a hop here. Off: the host's router counts it (RFC 7915 sections 4.1 and 5.1).
    bool decrement_ttl = false;
    /// Larger IPv6 packets get a fragment header where the IPv4 one might be fragmented (RFC 7915 section 4).
    std::uint16_t lowest_ipv6_mtu = 1280; ///< at least 1280, as every IPv6 MTU (RFC 8200 section 5)
    std::uint16_t ipv6_mtu = 1500;        ///< of the next hop towards IPv6
    std::uint16_t ipv4_mtu = 1500;        ///< of the next hop towards IPv4
};

/// An ICMP error to be composed about a packet, in the packet's own IP version.
struct icmp_error_fields {
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    std::uint32_t rest = 0; ///< the second word of the header: an MTU, a pointer
    [[nodiscard]] friend constexpr bool operator==(icmp_error_fields const&,
                                                   icmp_error_fields const&) noexcept = default;
};

/// What became of a rewrite. The packet's bytes are as they were unless `why` is none.
struct [[nodiscard]] rewrite_result {
    drop_reason why = drop_reason::none;
    std::optional<icmp_error_fields> answer{}; ///< what the RFC wants the sender told, where it wants that

    [[nodiscard]] constexpr bool done() const noexcept { return why == drop_reason::none; }
};

} // namespace v0_2
} // namespace kubeproxy
