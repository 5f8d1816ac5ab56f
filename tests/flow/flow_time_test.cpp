#include "kubeproxy/flow/flow_time.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace kubeproxy::flow_time_tests {
namespace {
using namespace std::chrono_literals;

TEST(flow_time, counts_across_the_wrap) {
    EXPECT_EQ(flow_time::of(5).since(flow_time::of(0xffff'fffb)), 10u);
    EXPECT_EQ(flow_time{std::chrono::hours{24 * 50}}.since(flow_time{std::chrono::hours{24 * 49}}), 86'400'000u);
}

TEST(flow_time, a_clock_set_back_makes_nothing_old) {
    EXPECT_EQ(flow_time::of(1000).since(flow_time::of(2000)), 0u);
    EXPECT_EQ(flow_time::of(0xffff'ffff).since(flow_time::of(0)), 0u);
}

TEST(flow_time, timeouts_are_cut_to_what_can_be_told) {
    EXPECT_EQ(to_milliseconds(7440s), 7'440'000u);
    EXPECT_EQ(to_milliseconds(-1s), 0u);
    EXPECT_EQ(to_milliseconds(std::chrono::hours{24 * 365}), 2'147'483'000u);
}

} // namespace
} // namespace kubeproxy::flow_time_tests
