#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// All ports of a Service, for session affinity; null: it has none.
/// \param before is kept where it is the same
[[nodiscard]] inline std::shared_ptr<std::vector<affinity_port> const>
affinity_ports_of(service_configuration const& next, std::shared_ptr<std::vector<affinity_port> const> before) {
    if (next.affinity_seconds == 0) return nullptr;
    std::vector<affinity_port> ports;
    ports.reserve(next.ports.size());
    for (auto const& p : next.ports) ports.push_back({p.port, static_cast<std::uint8_t>(p.protocol)});
    if (before != nullptr && *before == ports) return before;
    return std::make_shared<std::vector<affinity_port> const>(std::move(ports));
}

} // namespace v0_2
} // namespace kubeproxy
