#pragma once

#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>

namespace kubeproxy {

/// What select and the flow table rely on, and this snapshot breaks; null: nothing.
[[nodiscard]] inline char const* broken_invariant(snapshot const& s) {
    if (s.status.size() != s.backend_count()) return "a backend has no status";
    for (auto const& service : s.services)
        for (auto const& ring : {service.everywhere, service.local}) {
            if (!ring) continue;
            if (ring->entries->empty() || ring->backends.empty()) return "a ring is empty";
            for (auto const position : *ring->entries)
                if (position >= ring->backends.size()) return "a ring names no backend";
            for (auto const place : ring->backends)
                if (place >= s.backend_count() || !s.status_of(place).in_use) return "a ring's backend is not in use";
        }
    auto const leads_nowhere = [&](auto const& f) {
        bool const needs_service = f.kind == frontend_kind::cluster_ip || f.kind == frontend_kind::external;
        return needs_service && f.service >= s.service_count();
    };
    if (std::ranges::any_of(s.frontends4.all(), leads_nowhere)) return "a frontend has no service";
    if (std::ranges::any_of(s.frontends6.all(), leads_nowhere)) return "a frontend has no service";
    return nullptr;
}

} // namespace kubeproxy
