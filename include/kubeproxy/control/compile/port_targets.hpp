#pragma once

#include "kubeproxy/control/compile/endpoints.hpp"
#include "kubeproxy/control/compile/frontends.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

[[nodiscard]] inline bool is_target_before(target const& a, target const& b) noexcept {
    return comes_before(a.address, a.port, b.address, b.port);
}

/// The port's backends in the snapshot that are not among its targets.
[[nodiscard]] inline std::vector<target>
backends_without_target(compiled_port const& port, std::vector<target> const& targets, snapshot const& before) {
    std::vector<target> former;
    for (auto const place : port.backends) {
        auto const& b = before.backend_at(place);
        target const t{.address = b.address, .port = b.port};
        if (!std::ranges::binary_search(targets, t, is_target_before)) former.push_back(t);
    }
    return former;
}

} // namespace detail

/// The targets of a port, in order: those that new flows may use, and the backends that the port had and that are still
/// in a slice of the Service, for another port or under a name that no port has. The latter have not been removed, so
/// their flows stay. Costs what the service has.
[[nodiscard]] inline std::vector<target> port_targets(service_configuration const& service, compiled_port const& port,
                                                      node_configuration const& node, snapshot const& before) {
    auto const& wanted = service.ports[port.position];
    auto targets = targets_of(service, wanted, port.client_version, node);
    auto const former = detail::backends_without_target(port, targets, before);
    if (former.empty()) return targets;
    auto const all = all_targets_of(service, wanted.protocol, port.client_version, node);
    for (auto const& t : former) {
        auto const known = std::ranges::lower_bound(all, t, detail::is_target_before);
        if (known == all.end() || detail::is_target_before(t, *known)) continue;
        targets.push_back(*known);
        targets.back().takes_new_flows = false;
    }
    std::ranges::sort(targets, detail::is_target_before);
    return targets;
}

} // namespace v0_2
} // namespace kubeproxy
