#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// Milliseconds of the host's clock, modulo 2^32: only differences mean something.
///
/// A difference is right up to 24.8 days (2^31 ms); a table that is swept meets none that long.
class flow_time {
  public:
    constexpr flow_time() = default;
    constexpr explicit flow_time(std::chrono::milliseconds since_any_start) noexcept
        : milliseconds_{static_cast<std::uint32_t>(since_any_start.count())} {}
    [[nodiscard]] static constexpr flow_time of(std::uint32_t milliseconds) noexcept {
        flow_time t;
        t.milliseconds_ = milliseconds;
        return t;
    }
    [[nodiscard]] constexpr std::uint32_t milliseconds() const noexcept { return milliseconds_; }

    /// How long before this moment `then` was; 0 for a moment to come, so that a clock set back expires nothing.
    [[nodiscard]] constexpr std::uint32_t since(flow_time then) const noexcept {
        auto const difference = milliseconds_ - then.milliseconds_;
        return difference < 0x8000'0000u ? difference : 0u;
    }
    /// Whether `milliseconds`, which is below 2^31, have passed since `then`: since(then) >= milliseconds.
    [[nodiscard]] constexpr bool is_after(flow_time then, std::uint32_t milliseconds) const noexcept {
        auto const difference = static_cast<std::int32_t>(milliseconds_ - then.milliseconds_);
        return difference >= static_cast<std::int32_t>(milliseconds) || milliseconds == 0;
    }
    [[nodiscard]] friend constexpr bool operator==(flow_time, flow_time) noexcept = default;

  private:
    std::uint32_t milliseconds_ = 0;
};

/// A timeout as a record keeps it. Longer ones than flow_time can tell are cut to 24.8 days.
[[nodiscard]] constexpr std::uint32_t to_milliseconds(std::chrono::seconds timeout) noexcept {
    constexpr std::chrono::seconds longest{0x7fff'ffff / 1000};
    return static_cast<std::uint32_t>(std::clamp(timeout, std::chrono::seconds{0}, longest).count()) * 1000u;
}

} // namespace v0_2
} // namespace kubeproxy
