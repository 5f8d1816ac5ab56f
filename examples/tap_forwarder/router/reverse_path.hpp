#pragma once

#include "tap_forwarder/router/routes.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

/// Whether a packet may have come from where its source address says (RFC 2827, RFC 3704).
namespace examples {

enum class reverse_path : std::uint8_t {
    strict, ///< a route back to the source leaves by the link that the packet came in by
    loose,  ///< there is a route back to the source (RFC 3704 section 2.4)
    off
};

/// None: no such mode.
[[nodiscard]] constexpr std::optional<reverse_path> read_reverse_path(std::string_view text) noexcept {
    if (text == "strict") return reverse_path::strict;
    if (text == "loose") return reverse_path::loose;
    if (text == "off") return reverse_path::off;
    return std::nullopt;
}

/// Strict: a source in a connected network must come from the link of that network (RFC 3704 section 2.2). Sources
/// beyond gateways may come from any link that has a route to them, since their way out and back may differ (section
/// 2.3, feasible paths).
template <kubeproxy::ip_version V>
[[nodiscard]] bool has_reverse_path(route_table<V> const& routes, typename V::address const& source, std::uint32_t link,
                                    reverse_path mode) noexcept {
    if (mode == reverse_path::off) return true;
    auto const* best = routes.find(source);
    if (best == nullptr || mode == reverse_path::loose) return best != nullptr;
    if (best->link == link || !best->gateway) return best->link == link;
    return std::ranges::any_of(routes.all(),
                               [&](route<V> const& r) { return r.gateway && r.link == link && r.to.contains(source); });
}

} // namespace examples
