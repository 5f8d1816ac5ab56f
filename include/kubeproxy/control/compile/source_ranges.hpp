#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/node.hpp"

#include <algorithm>
#include <variant>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Who may reach a service's load-balancer IPs; empty: everybody of this version.
///
/// A node that may, and has the IP on an interface of its own, reaches it from that very address, so then the IPs are
/// allowed, too (kube-proxy does the same).
template <ip_version V>
[[nodiscard]] std::vector<prefix<V>> allowed_sources(service_configuration const& service,
                                                     node_configuration const& node) {
    auto ranges = detail::of_version<V>(service.source_ranges);
    auto const primary = primary_address<V>(node);
    auto const has_node = [&](prefix<V> const& range) { return primary && range.contains(*primary); };
    if (std::ranges::none_of(ranges, has_node)) return ranges;
    for (auto const& address : service.addresses)
        if (auto const* ip = std::get_if<prefix<V>>(&address.where);
            ip != nullptr && address.kind == service_address_kind::load_balancer_ip)
            ranges.push_back(*ip);
    return ranges;
}

} // namespace v0_2
} // namespace kubeproxy
