#pragma once

#include "kubeproxy/wire/ipv6.hpp"
#include "kubeproxy/wire/transport.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// Where an IPv6 packet's extension headers lead (RFC 8200 section 4).
struct extension_chain {
    drop_reason flaw = drop_reason::none; ///< bad_extension_header where a header is out of bounds or place
    std::uint8_t protocol = 0;            ///< the first next-header value that is no extension header
    std::uint32_t transport = 0;          ///< offset of what `protocol` names, from the start of the packet
    std::uint32_t fragment_header = 0;    ///< its offset, 0 for none
    std::uint32_t segments_left = 0;      ///< offset of the first Segments Left field that is not zero, 0 for none
    bool extension_after_fragment = false;
};

namespace detail {
/// The extension headers that are skipped. AH and ESP are not: what follows cannot be changed, or seen.
constexpr bool is_extension(std::uint8_t next_header) noexcept {
    switch (next_header) {
    case ip_protocol::hop_by_hop:
    case ip_protocol::routing:
    case ip_protocol::fragment:
    case ip_protocol::destination_options:
    case ip_protocol::mobility:
    case ip_protocol::hip:
    case ip_protocol::shim6: return true;
    default: return false;
    }
}
} // namespace detail

/// Walks the chain. Behind the header of a fragment that is not the first stands data, not headers:
/// the walk ends there.
/// \pre `packet` starts with a whole fixed IPv6 header and ends with its payload, or earlier where it was cut
[[nodiscard]] inline extension_chain walk_extensions(byte_span packet) noexcept {
    extension_chain chain{.protocol = load_be<std::uint8_t>(packet, ipv6_view::at::next_header),
                          .transport = ipv6::minimum_header};
    while (detail::is_extension(chain.protocol)) {
        std::size_t const at = chain.transport;
        bool const is_fragment = chain.protocol == ip_protocol::fragment;
        bool const is_misplaced = // RFC 8200 section 4.1: Hop-by-Hop Options stand first; one fragment header is enough
            (chain.protocol == ip_protocol::hop_by_hop && at != ipv6::minimum_header) ||
            (is_fragment && chain.fragment_header != 0);
        std::size_t const size = at + 8 > packet.size() ? 0
                                 : is_fragment          ? 8u
                                                        : 8u + 8u * load_be<std::uint8_t>(packet, at + 1);
        if (is_misplaced || size == 0 || at + size > packet.size()) {
            chain.flaw = drop_reason::bad_extension_header;
            return chain;
        }
        if (chain.protocol == ip_protocol::routing && chain.segments_left == 0 &&
            load_be<std::uint8_t>(packet, at + 3) != 0)
            chain.segments_left = static_cast<std::uint32_t>(at + 3);
        if (chain.fragment_header != 0) chain.extension_after_fragment = true;
        if (is_fragment) chain.fragment_header = chain.transport;
        chain.protocol = load_be<std::uint8_t>(packet, at);
        chain.transport += static_cast<std::uint32_t>(size);
        if (is_fragment && fragment_header_view{packet.subspan(at)}.offset() != 0) return chain;
    }
    return chain;
}

} // namespace v0_2
} // namespace kubeproxy
