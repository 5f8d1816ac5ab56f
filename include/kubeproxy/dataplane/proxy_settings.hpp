#pragma once

#include "kubeproxy/dataplane/fragments.hpp"
#include "kubeproxy/dataplane/reject.hpp"
#include "kubeproxy/flow/port_space.hpp"
#include "kubeproxy/nat/rate_limit.hpp"
#include "kubeproxy/nat/settings.hpp"

#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// How one worker treats packets.
struct proxy_settings {
    /// The same on every node, or nodes behind ECMP choose different backends. It is not a secret: it only decides
    /// which clients share a backend. The secret is the flow table's.
    std::uint64_t ring_seed = 1;
    worker_share share{}; ///< this worker's part of the source ports
    translation_settings translation{};
    fragment_settings fragments{};
    reject_settings rejects{};
    /// Connections that go directly to addresses of backends get flows, too, so that a client may use one source port
    /// for a pod and for a service in front of it: the later connection gets another. Off, replies to both belong to
    /// the service's. They take room in the flow table, as every flow does.
    bool track_direct = false;
    std::size_t affinity_clients = 16384;  ///< remembered for session affinity, where the worker has its own memory
    rate_limit new_flows{.per_second = 0}; ///< beyond it flows are not entered; 0: no limit
    std::size_t sweep_per_burst = 16;      ///< flow records looked at for expiry with a burst, at most
};

} // namespace v0_2
} // namespace kubeproxy
