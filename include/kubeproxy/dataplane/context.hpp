#pragma once

#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <chrono>
#include <cstdint>
#include <span>

namespace kubeproxy {
inline namespace v0_2 {

/// What holds for a whole burst. The proxy sets it, stages read it.
struct burst_context {
    snapshot const* services = nullptr;         ///< null: none yet
    std::span<backend_status const> backends{}; ///< of `services`, at hand for every packet of a known flow
    std::chrono::nanoseconds clock{};           ///< the host's, from any start
    flow_time now{};                            ///< the same as flows keep it
    bool can_spare = false;                     ///< the host has buffers for packets that become several

    /// See snapshot::is_current().
    [[nodiscard]] bool is_current(std::uint32_t backend, std::uint16_t generation) const noexcept {
        return backend < backends.size() && backends[backend].is_current(generation);
    }
};

} // namespace v0_2
} // namespace kubeproxy
