#pragma once

#include "kubeproxy/flow/flow_state.hpp"

#include <chrono>
#include <cstdint>

namespace kubeproxy::inline v0_2 {

/// How many flows a table holds: with IPv4 on both sides, and with IPv6 on a side. Each at most 2^29.
struct flow_table_size {
    std::uint32_t narrow = 65536;
    std::uint32_t wide = 65536;
};

/// What an insertion is told beside the tuples.
struct new_flow {
    std::uint32_t service = 0;
    std::uint32_t backend = 0;
    std::uint16_t generation = 0;
    flow_state state = flow_state::other_unreplied;
    std::uint8_t flags = 0; ///< flow_flag
    std::chrono::seconds timeout{};
};

} // namespace kubeproxy::inline v0_2
