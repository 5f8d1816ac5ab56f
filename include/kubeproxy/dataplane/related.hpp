#pragma once

#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/wire/embedded_address.hpp"

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

/// The sender of an ICMP error that is neither end of the flow: a router on the way. Where the family stays, so does
/// its address. To IPv6 it is embedded as clients are; to IPv4 a router has an address only where it came from behind
/// the same prefix, and else it speaks as the flow's own end on its side (RFC 6791 wants a pool for this).
template <ip_version From, ip_version To>
typename To::address router_address(typename From::address const& router, typename To::address const& flow_end,
                                    snapshot const& services) noexcept {
    if constexpr (std::same_as<From, To>)
        return router;
    else if constexpr (std::same_as<To, ipv6>)
        return embed(services.nat64_prefix, router);
    else
        return services.nat64_prefix.contains(router) ? extract(services.nat64_prefix, router) : flow_end;
}

} // namespace detail

/// What an ICMP error about a flow must become.
/// \param key how the flow shows in the direction in which the error goes; the error quotes the mirror of it
/// \param after how a packet of that direction leaves
template <ip_version From, ip_version To>
[[nodiscard]] error_mapping<To> related_mapping(parsed<From> const& error, tuple<From> const& key,
                                                tuple<To> const& after, snapshot const& services) noexcept {
    auto const sender = tuple_of(error).source;
    return {.source =
                sender == key.source ? after.source : detail::router_address<From, To>(sender, after.source, services),
            .destination = after.destination,
            .quoted = after.mirrored()};
}

} // namespace v0_2
} // namespace kubeproxy
