#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// How often something may happen. The defaults are those of Linux for the ICMP messages of a host
/// (icmp_msgs_per_sec, icmp_msgs_burst); RFC 4443 section 2.4 (f) and RFC 1812 section 4.3.2.8 ask for a limit.
struct rate_limit {
    std::uint32_t per_second = 1000; ///< 0: no limit
    std::uint32_t burst = 50;        ///< how many at once after a silence. 0: none at all, unless there is no limit
};

/// A token bucket, full at first (RFC 4443 section 2.4 (f) names it). One worker each: n workers allow n times the
/// limit.
///
/// Credit is counted in nanoseconds times `per_second`, so a token costs a second's worth of nanoseconds and
/// nothing is lost to rounding; only the constructor divides.
class rate_limiter {
  public:
    explicit constexpr rate_limiter(rate_limit limit) noexcept
        : per_second_{limit.per_second}, capacity_{limit.burst * token},
          filled_after_{limit.per_second == 0 ? 0 : capacity_ / limit.per_second + 1}, credit_{capacity_} {}

    /// Whether it may happen now; a yes takes a token. `now` counts from any moment. Where it goes back, nothing is
    /// gained and time goes on from there: a clock that was put right does not silence the limiter.
    [[nodiscard]] constexpr bool allow(std::chrono::nanoseconds now) noexcept {
        if (per_second_ == 0) return true;
        refill(now.count());
        if (credit_ < token) return false;
        credit_ -= token;
        return true;
    }

  private:
    static constexpr std::uint64_t token = 1'000'000'000;

    // Below filled_after_ the product is at most capacity_, and that is less than 2^62.
    constexpr void refill(std::int64_t now) noexcept {
        auto const before = last_;
        last_ = now;
        if (now <= before) return;
        auto const elapsed = static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(before);
        credit_ = elapsed >= filled_after_ ? capacity_ : std::min(capacity_, credit_ + elapsed * per_second_);
    }

    std::uint64_t per_second_;
    std::uint64_t capacity_;
    std::uint64_t filled_after_; ///< nanoseconds from empty to full
    std::uint64_t credit_;
    std::int64_t last_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
