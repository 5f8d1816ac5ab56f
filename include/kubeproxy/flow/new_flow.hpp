#pragma once

#include "kubeproxy/flow/flow_state.hpp"
#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/flow/table/record.hpp"
#include "kubeproxy/sync/setup_error.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace kubeproxy {
inline namespace v0_2 {

/// How many flows a table holds: with IPv4 on both sides, and with IPv6 on a side.
struct flow_table_size {
    static constexpr std::uint32_t max = std::uint32_t{1} << 29; ///< of each

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

namespace detail {

[[nodiscard]] inline flow_table_size checked(flow_table_size size) {
    auto const largest = std::max(size.narrow, size.wide);
    if (largest > flow_table_size::max)
        fail_setup(std::length_error{"a flow table holds at most 2^29 (536870912) flows of each kind, not " +
                                     std::to_string(largest)});
    return size;
}

/// Writes the record of a new flow, except for its state, which the insertion sets last.
template <class Record, ip_version O, ip_version T>
void fill_record(Record& record, tuple<O> const& original, tuple<T> const& reply, new_flow const& what,
                 flow_time now) noexcept {
    record.set_shown(original, reply);
    record.forget_bytes();
    auto& b = record.body;
    b.service = what.service;
    b.backend.store(what.backend);
    b.generation.store(what.generation);
    b.last_seen.store(now.milliseconds());
    b.timeout.store(to_milliseconds(what.timeout));
    b.packets[0].store(0);
    b.packets[1].store(0);
    auto const changes = changes_of(original, reply); // the mirrored tuple has the same sum
    b.network_change = changes.network;
    b.transport_change = changes.transport;
    b.flags = static_cast<std::uint8_t>(what.flags | version_flags<O, T>);
}

} // namespace detail

} // namespace v0_2
} // namespace kubeproxy
