#pragma once

#include "kubeproxy/version.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// Which way a packet of a flow goes: as its first packet did, or back.
enum class flow_direction : std::uint8_t { original, reply };

[[nodiscard]] constexpr flow_direction opposite(flow_direction d) noexcept {
    return d == flow_direction::original ? flow_direction::reply : flow_direction::original;
}
[[nodiscard]] constexpr std::size_t number(flow_direction d) noexcept { return static_cast<std::size_t>(d); }

/// A flow of a table, seen from one of its directions: 32 bits, none is 0.
class flow_ref {
  public:
    static constexpr std::uint32_t max_index = (std::uint32_t{1} << 30) - 1;

    constexpr flow_ref() = default; ///< none
    /// A flow whose packets are IPv4 on both sides. \pre 0 < index <= max_index
    [[nodiscard]] static constexpr flow_ref narrow(std::uint32_t index, flow_direction d) noexcept {
        assert(index != 0 && index <= max_index);
        return flow_ref{index | static_cast<std::uint32_t>(d) << 30};
    }
    /// A flow with IPv6 on a side. \pre 0 < index <= max_index
    [[nodiscard]] static constexpr flow_ref wide(std::uint32_t index, flow_direction d) noexcept {
        return flow_ref{narrow(index, d).bits_ | 0x8000'0000u};
    }
    [[nodiscard]] static constexpr flow_ref from_bits(std::uint32_t bits) noexcept { return flow_ref{bits}; }

    [[nodiscard]] constexpr explicit operator bool() const noexcept { return bits_ != 0; }
    [[nodiscard]] constexpr bool is_wide() const noexcept { return (bits_ & 0x8000'0000u) != 0; }
    [[nodiscard]] constexpr flow_direction direction() const noexcept {
        return static_cast<flow_direction>(bits_ >> 30 & 1u);
    }
    [[nodiscard]] constexpr std::uint32_t index() const noexcept { return bits_ & max_index; }
    [[nodiscard]] constexpr std::uint32_t bits() const noexcept { return bits_; }
    /// The same flow, seen from `d`.
    [[nodiscard]] constexpr flow_ref as(flow_direction d) const noexcept {
        return flow_ref{(bits_ & ~0x4000'0000u) | static_cast<std::uint32_t>(d) << 30};
    }
    /// The same flow, seen from the other direction.
    [[nodiscard]] constexpr flow_ref mirrored() const noexcept { return flow_ref{bits_ ^ 0x4000'0000u}; }
    [[nodiscard]] friend constexpr bool operator==(flow_ref, flow_ref) noexcept = default;

  private:
    constexpr explicit flow_ref(std::uint32_t bits) noexcept : bits_{bits} {}
    std::uint32_t bits_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
