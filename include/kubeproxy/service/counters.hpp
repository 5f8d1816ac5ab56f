#pragma once

#include "kubeproxy/sync/setup_error.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>

namespace kubeproxy {
inline namespace v0_2 {

/// Packets, bytes and flows of one service or backend on one worker. Written by that worker, read by anybody.
struct traffic {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t flows = 0; ///< new ones

    traffic& operator+=(traffic const& other) noexcept {
        packets += other.packets;
        bytes += other.bytes;
        flows += other.flows;
        return *this;
    }
};

/// A worker's counters by index of service or backend. The publisher grows it before it publishes a snapshot that
/// has more of them, in pieces that never move, so the worker counts without asking.
class traffic_counters {
  public:
    static constexpr std::size_t piece = 1024;
    static constexpr std::size_t max_pieces = 1024; ///< a million services, or backends

    traffic_counters() = default;
    traffic_counters(traffic_counters const&) = delete;
    traffic_counters& operator=(traffic_counters const&) = delete;
    ~traffic_counters() {
        for (auto& p : pieces_) delete p.load(std::memory_order_relaxed);
    }

    /// Control path, one caller at a time. Costs what is new. Throws std::length_error beyond piece * max_pieces.
    void reserve(std::size_t count) {
        if (count > piece * max_pieces) fail_setup(std::length_error{"more counters than a worker can have"});
        for (; reserved_ * piece < count; ++reserved_)
            pieces_[reserved_].store(std::make_unique<block>().release(), std::memory_order_release);
    }

    /// \pre reserve() was called with more than `index`
    void count(std::size_t index, std::size_t bytes, std::size_t flows) noexcept {
        auto& c = (*pieces_[index / piece].load(std::memory_order_acquire))[index % piece];
        add(c.packets, 1);
        add(c.bytes, bytes);
        if (flows != 0) add(c.flows, flows);
    }

    /// From any thread. Zero for what was not reserved.
    [[nodiscard]] traffic of(std::size_t index) const noexcept {
        auto const* p = index < piece * max_pieces ? pieces_[index / piece].load(std::memory_order_acquire) : nullptr;
        if (p == nullptr) return {};
        auto const& c = (*p)[index % piece];
        return {c.packets.load(std::memory_order_relaxed), c.bytes.load(std::memory_order_relaxed),
                c.flows.load(std::memory_order_relaxed)};
    }

    /// A place that gets another owner starts at zero. The worker is at rest, or the loss of a count does not matter.
    void clear(std::size_t index) noexcept {
        auto* p = index < piece * max_pieces ? pieces_[index / piece].load(std::memory_order_acquire) : nullptr;
        if (p == nullptr) return;
        auto& c = (*p)[index % piece];
        for (auto* field : {&c.packets, &c.bytes, &c.flows}) field->store(0, std::memory_order_relaxed);
    }

  private:
    struct alignas(32) cell {
        std::atomic<std::uint64_t> packets{0}, bytes{0}, flows{0};
    };
    using block = std::array<cell, piece>;

    /// One writer: a plain addition, no locked one.
    static void add(std::atomic<std::uint64_t>& field, std::uint64_t n) noexcept {
        field.store(field.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    std::array<std::atomic<block*>, max_pieces> pieces_{};
    std::size_t reserved_ = 0; ///< pieces; the publisher's alone
};

} // namespace v0_2
} // namespace kubeproxy
