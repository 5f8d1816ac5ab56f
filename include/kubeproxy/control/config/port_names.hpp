#pragma once

#include "kubeproxy/control/config/configuration.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

/// Which port of an EndpointSlice belongs to which port of its Service.
///
/// A slice names the Service's ports, but a Service port is identified by its protocol and number: its name may change.
/// The slices follow later, one after the other, and until then they carry the former names. A Service therefore
/// remembers the ports that it had before a change of names (service_configuration::former_ports), and each slice is
/// read by the version of the ports that its own names and numbers fit best:
///
///     Service before   80 ""     -> 8080                          slice web-1: "" 8080      read by the former ports
///     Service now      80 "http" -> 8080, 443 "https" -> 8443     slice web-2: "http" 8080  read by the present ports
///
/// A name that only another version has is the name of its port there, too, if the version that fits best does not know
/// it: a slice may name a port that is back, and carry the former name of another one.
///
/// If two ports exchange their names, the names alone do not tell which version a slice follows. The numbers of the
/// target ports do, if they are numbers in the Service. Otherwise the slice is read by the present ports: new flows may
/// then go to the other port's target for a moment, but none is rejected.
namespace kubeproxy {
inline namespace v0_2 {

/// How many changes of names are remembered while no slice follows.
inline constexpr std::size_t max_former_ports = 8;

/// Whether two versions of a Service mean the same port.
[[nodiscard]] inline bool is_same_number(service_port const& a, service_port const& b) noexcept {
    return std::tie(a.protocol, a.port) == std::tie(b.protocol, b.port);
}

namespace detail {

/// Whether a slice's port is meant for this port of the Service, if the Service's ports have these names.
[[nodiscard]] inline bool is_named_by(service_port const& port, endpoint_port const& offered) noexcept {
    return offered.name == port.name && (port.protocol == service_protocol::any || port.protocol == offered.protocol);
}

/// How well a slice fits a version of the ports: how many of its ports are named there, and how many of these have the
/// number of the target port. Compared in this order.
[[nodiscard]] inline std::pair<std::size_t, std::size_t> fit_of(endpoint_slice const& slice,
                                                                std::vector<service_port> const& ports) {
    std::pair<std::size_t, std::size_t> fit{};
    for (auto const& offered : slice.ports)
        for (auto const& port : ports) {
            if (!is_named_by(port, offered)) continue;
            ++fit.first;
            if (port.target_port == 0 || port.target_port == offered.port) ++fit.second;
        }
    return fit;
}

/// The version of the Service's ports that a slice is read by: the newest of those that it fits best.
[[nodiscard]] inline std::vector<service_port> const& ports_known_to(endpoint_slice const& slice,
                                                                     service_configuration const& service) {
    auto const* best = &service.ports;
    if (service.former_ports.empty()) return *best;
    auto best_fit = fit_of(slice, *best);
    for (auto const& former : service.former_ports) {
        auto const fit = fit_of(slice, former);
        if (fit <= best_fit) continue;
        best = &former;
        best_fit = fit;
    }
    return *best;
}

[[nodiscard]] inline bool is_known(std::vector<service_port> const& ports, endpoint_port const& offered) {
    return std::ranges::any_of(ports, [&](service_port const& p) { return is_named_by(p, offered); });
}

/// The slice's port that is meant for a port of the Service, by the names that these ports have; null: none.
[[nodiscard]] inline endpoint_port const* offered_to(service_port const& port, endpoint_slice const& slice,
                                                     std::vector<service_port> const& known) {
    auto const same = std::ranges::find_if(known, [&](service_port const& p) { return is_same_number(p, port); });
    if (same == known.end()) return nullptr;
    auto const offered = std::ranges::find_if(slice.ports, [&](auto const& p) { return is_named_by(*same, p); });
    return offered == slice.ports.end() ? nullptr : &*offered;
}

/// Whether the present ports, and no former ones, tell what the slice's ports are meant for.
[[nodiscard]] inline bool follows_present_ports(endpoint_slice const& slice, service_configuration const& service) {
    if (&ports_known_to(slice, service) != &service.ports) return false;
    return std::ranges::none_of(slice.ports, [&](endpoint_port const& offered) {
        if (is_known(service.ports, offered)) return false;
        return std::ranges::any_of(service.former_ports, [&](auto const& former) { return is_known(former, offered); });
    });
}

} // namespace detail

/// The port at which the endpoints of a slice serve a port of its Service; none: they do not serve it.
/// \pre `port` is one of service.ports
[[nodiscard]] inline std::optional<std::uint16_t> target_port(service_configuration const& service,
                                                              service_port const& port, endpoint_slice const& slice) {
    if (slice.ports.empty()) return port.target_port != 0 ? port.target_port : port.port;
    auto const& known = detail::ports_known_to(slice, service);
    if (auto const* offered = detail::offered_to(port, slice, known)) return offered->port;
    auto const elsewhere = [&](std::vector<service_port> const& other) {
        auto const* offered = detail::offered_to(port, slice, other);
        return offered != nullptr && !detail::is_known(known, *offered) ? offered : nullptr;
    };
    if (auto const* offered = elsewhere(service.ports)) return offered->port;
    for (auto const& former : service.former_ports)
        if (auto const* offered = elsewhere(former)) return offered->port;
    return std::nullopt;
}

/// What the next version of a Service remembers of the ports before it, newest first.
[[nodiscard]] inline std::vector<std::vector<service_port>> former_ports_after(service_configuration const& before,
                                                                               std::vector<service_port> const& next) {
    auto former = before.former_ports;
    bool const is_renamed = std::ranges::any_of(before.ports, [&](service_port const& old) {
        return std::ranges::any_of(next,
                                   [&](service_port const& p) { return is_same_number(p, old) && p.name != old.name; });
    });
    if (!is_renamed) return former;
    former.insert(former.begin(), before.ports);
    if (former.size() > max_former_ports) former.pop_back();
    return former;
}

/// Forgets the former ports once all slices follow the present ones.
inline void forget_unused_former_ports(service_configuration& service) {
    if (service.former_ports.empty()) return;
    bool has_slice = false;
    for (auto const& slice : service.slices) {
        if (slice.ports.empty()) continue;
        if (!detail::follows_present_ports(slice, service)) return;
        has_slice = true;
    }
    if (has_slice) service.former_ports = {};
}

} // namespace v0_2
} // namespace kubeproxy
