#include "kubeproxy/nat/rate_limit.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace kubeproxy::rate_limit_tests {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

std::uint32_t allowed(rate_limiter& limiter, std::uint32_t asked, nanoseconds now) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < asked; ++i) count += limiter.allow(now) ? 1u : 0u;
    return count;
}

TEST(rate_limiter, defaults_are_those_of_linux) { // ip-sysctl: icmp_msgs_per_sec 1000, icmp_msgs_burst 50
    rate_limiter limiter{rate_limit{}};
    EXPECT_EQ(allowed(limiter, 1000, 5s), 50u);
    EXPECT_EQ(allowed(limiter, 1000, 5s + 10ms), 10u);
    EXPECT_EQ(allowed(limiter, 1000, 6s), 50u) << "a silence fills the bucket, and no more than that";
}

TEST(rate_limiter, is_full_at_the_first_call_whatever_the_time) {
    for (auto const start : {nanoseconds::min(), nanoseconds{-1}, nanoseconds{0}, nanoseconds{1}, nanoseconds::max()}) {
        rate_limiter limiter{{.per_second = 10, .burst = 3}};
        EXPECT_EQ(allowed(limiter, 10, start), 3u) << start.count();
    }
}

TEST(rate_limiter, a_token_comes_when_its_time_is_over_and_not_before) {
    rate_limiter limiter{{.per_second = 3, .burst = 1}};
    EXPECT_TRUE(limiter.allow(0s));
    EXPECT_FALSE(limiter.allow(nanoseconds{333'333'333}));
    EXPECT_TRUE(limiter.allow(nanoseconds{333'333'334})); // the first whole nanosecond after a third of a second
}

TEST(rate_limiter, no_fraction_is_lost_however_often_it_is_asked) {
    rate_limiter limiter{{.per_second = 7, .burst = 1}};
    std::uint32_t count = 0;
    for (auto now = 0us; now < 100s; now += 13us) count += limiter.allow(now) ? 1u : 0u;
    EXPECT_GE(count, 700u); // 7 a second for 100 seconds, and the first one
    EXPECT_LE(count, 701u);
}

TEST(rate_limiter, nothing_per_second_is_no_limit) {
    rate_limiter limiter{{.per_second = 0, .burst = 0}};
    EXPECT_EQ(allowed(limiter, 100'000, 0s), 100'000u);
}

TEST(rate_limiter, a_burst_of_none_allows_none) {
    rate_limiter limiter{{.per_second = 1000, .burst = 0}};
    EXPECT_EQ(allowed(limiter, 1000, 1s), 0u);
    EXPECT_EQ(allowed(limiter, 1000, 100s), 0u);
}

TEST(rate_limiter, time_that_goes_back_gives_nothing_and_goes_on_from_there) {
    rate_limiter limiter{{.per_second = 10, .burst = 5}};
    ASSERT_EQ(allowed(limiter, 10, 3600s), 5u);
    EXPECT_EQ(allowed(limiter, 10, 10s), 0u) << "an hour back";
    EXPECT_EQ(allowed(limiter, 10, 10s + 200ms), 2u) << "and from there on as ever";
    EXPECT_EQ(allowed(limiter, 10, nanoseconds::min()), 0u);
    EXPECT_EQ(allowed(limiter, 10, nanoseconds::max()), 5u);
}

TEST(rate_limiter, the_greatest_limits_do_not_overflow) {
    auto constexpr most = std::numeric_limits<std::uint32_t>::max();
    rate_limiter limiter{{.per_second = most, .burst = most}};
    EXPECT_EQ(allowed(limiter, 1000, nanoseconds::max()), 1000u);
    rate_limiter slow{{.per_second = 1, .burst = most}};
    EXPECT_EQ(allowed(slow, 1000, 1s), 1000u);
    rate_limiter fast{{.per_second = most, .burst = 1}};
    EXPECT_EQ(allowed(fast, 10, 0s), 1u);
    EXPECT_EQ(allowed(fast, 10, 1ns), 1u) << "more than a token in a nanosecond";
}

/// Whatever the moments: at most burst + rate * time in all, and a call that was refused had less than a token to get.
TEST(rate_limiter, random_moments_keep_within_the_bucket) {
    std::mt19937_64 random{7};
    for (int round = 0; round < 200; ++round) {
        rate_limit const limit{.per_second = static_cast<std::uint32_t>(1 + random() % 100'000),
                               .burst = static_cast<std::uint32_t>(1 + random() % 100)};
        rate_limiter limiter{limit};
        long double tokens = limit.burst; // the definition, in numbers that are wide enough
        std::int64_t now = 0;
        for (int i = 0; i < 2000; ++i) {
            auto const step = static_cast<std::int64_t>(random() % (3'000'000'000 / limit.per_second));
            now += step;
            tokens =
                std::min<long double>(limit.burst, tokens + static_cast<long double>(step) * limit.per_second / 1e9L);
            bool const is_allowed = limiter.allow(nanoseconds{now});
            // Within the rounding of the sum above, either answer is right.
            bool const is_right = is_allowed ? tokens > 0.999999L : tokens < 1.000001L;
            ASSERT_TRUE(is_right) << "round " << round << " call " << i << ": " << tokens << " tokens";
            if (is_allowed) tokens -= 1;
        }
    }
}

} // namespace
} // namespace kubeproxy::rate_limit_tests
