#pragma once

#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <chrono>

namespace kubeproxy::inline v0_2 {

/// What holds for a whole burst. The proxy sets it, stages read it.
struct burst_context {
    snapshot const* services = nullptr; ///< null: none yet
    std::chrono::nanoseconds clock{};   ///< the host's, from any start
    flow_time now{};                    ///< the same as flows keep it
    bool can_spare = false;             ///< the host has buffers for packets that become several
};

} // namespace kubeproxy::inline v0_2
