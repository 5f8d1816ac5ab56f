#pragma once

#include "kubeproxy/service/select.hpp"
#include "kubeproxy/verdict.hpp"

#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// How a packet belongs to a flow.
enum class flow_relation : std::uint8_t {
    none,     ///< to none that is known or was made
    fresh,    ///< it is the first one
    original, ///< from the client
    reply,    ///< from the backend
    related,  ///< an ICMP error about one of its packets
};

/// What became of a packet, for the host that must act on it and for whoever counts.
struct outcome {
    verdict what = verdict::pass();
    flow_relation relation = flow_relation::none;
    bool masqueraded = false;
    bool is_oversized = false;          ///< an IPv6 packet to be cut; the proxy does that before the host sees it
    std::uint32_t service = no_service; ///< index into snapshot::services
    std::uint32_t backend = no_backend; ///< index into snapshot::backends
};

} // namespace v0_2
} // namespace kubeproxy
