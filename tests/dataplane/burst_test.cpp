#include "kubeproxy/dataplane/burst.hpp"

#include <gtest/gtest.h>

#include <array>
#include <concepts>
#include <string>
#include <vector>

namespace kubeproxy::burst_tests {
namespace {

struct number {
    int value;
};
struct even {
    int value;
};
struct odd {
    int value;
};
struct kept {
    int value;
};

using journal = std::vector<std::string>;

/// Negative numbers end here; the others go on as one of two types.
struct sort_out {
    journal* says;
    step<even, odd> operator()(number& n) const noexcept {
        says->push_back("sort " + std::to_string(n.value));
        if (n.value < 0) return settled{};
        if (n.value % 2 == 0) return even{n.value};
        return odd{n.value};
    }
};

struct look_up {
    journal* says;
    void prepare(even const& n) const noexcept { says->push_back("prepare " + std::to_string(n.value)); }
    step<kept> operator()(even& n) const noexcept {
        says->push_back("look up " + std::to_string(n.value));
        return kept{n.value};
    }
    step<kept> operator()(odd& n) const noexcept {
        says->push_back("look up odd " + std::to_string(n.value));
        return kept{n.value};
    }
};

struct finish {
    journal* says;
    settled operator()(kept& n) const noexcept {
        says->push_back("finish " + std::to_string(n.value));
        return {};
    }
};

struct throwing_finish {
    settled operator()(kept&) const { return {}; }
};

static_assert(data_path<number, sort_out, look_up, finish>);
static_assert(!data_path<number, look_up, sort_out, finish>, "the order is part of the type");
static_assert(!data_path<number, sort_out, look_up>, "the last stage must settle");
static_assert(!data_path<number, sort_out, look_up, throwing_finish>, "a stage that may throw is none");
static_assert(data_path<even, sort_out, look_up, finish>, "a stage that does not take a type is passed by");
static_assert(!data_path<std::string, sort_out, look_up, finish>, "nobody takes the frame");

struct says_yes {
    bool operator()(kept&) const noexcept { return true; }
};
template <class Fault, class... Stages>
concept fails_by = std::same_as<data_path_fault<number, Stages...>, Fault>;

// A fault is named by its stage, or by what no stage handles.
static_assert(fails_by<detail::no_fault, sort_out, look_up, finish>);
static_assert(fails_by<detail::stage_may_throw<throwing_finish, kept>, sort_out, look_up, throwing_finish>);
static_assert(fails_by<detail::stage_returns_no_step<says_yes, kept, bool>, sort_out, look_up, says_yes, finish>);
static_assert(fails_by<detail::no_stage_handles<kept>, sort_out, look_up>);
static_assert(fails_by<detail::no_stage_handles<even>, look_up, sort_out, finish>, "the first of several");

using path = pipeline<number, 4, sort_out, look_up, finish>;

TEST(burst, prepares_all_packets_before_the_stage_and_then_runs_each_to_its_end) {
    journal says;
    path p{sort_out{&says}, look_up{&says}, finish{&says}};
    std::array<int, 4> const numbers{2, 3, -1, 4};
    p.run(4, [&](std::size_t i) { return number{numbers[i]}; });

    EXPECT_EQ(says, (journal{"sort 2", "prepare 2", "sort 3", "sort -1", "sort 4", "prepare 4", "look up 2", "finish 2",
                             "look up odd 3", "finish 3", "look up 4", "finish 4"}));
}

TEST(burst, keeps_nothing_from_the_burst_before) {
    journal says;
    path p{sort_out{&says}, look_up{&says}, finish{&says}};
    p.run(2, [&](std::size_t i) { return number{static_cast<int>(i)}; });
    says.clear();
    p.run(2, [&](std::size_t) { return number{-5}; });
    EXPECT_EQ(says, (journal{"sort -5", "sort -5"}));
    p.run(0, [&](std::size_t) { return number{1}; });
    EXPECT_EQ(says.size(), 2u);
}

} // namespace
} // namespace kubeproxy::burst_tests
