#include "kubeproxy/dataplane/burst.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace kubeproxy {
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
        if (n.value < 0) return outcome::drop(drop_reason::truncated);
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
    outcome operator()(kept& n) const noexcept {
        says->push_back("finish " + std::to_string(n.value));
        return {.what = verdict::forward(), .service = static_cast<std::uint32_t>(n.value)};
    }
};

struct throwing_finish {
    outcome operator()(kept&) const { return {}; }
};

static_assert(data_path<number, sort_out, look_up, finish>);
static_assert(!data_path<number, look_up, sort_out, finish>, "the order is part of the type");
static_assert(!data_path<number, sort_out, look_up>, "the last stage must settle");
static_assert(!data_path<number, sort_out, look_up, throwing_finish>, "a stage that may throw is none");
static_assert(data_path<even, sort_out, look_up, finish>, "a stage that does not take a type is passed by");
static_assert(!data_path<std::string, sort_out, look_up, finish>, "nobody takes the frame");

using path = pipeline<number, 4, sort_out, look_up, finish>;

TEST(burst, prepares_all_packets_before_the_stage_and_then_runs_each_to_its_end) {
    journal says;
    path p{sort_out{&says}, look_up{&says}, finish{&says}};
    std::array<outcome, 4> outcomes{};
    std::array<int, 4> const numbers{2, 3, -1, 4};
    p.run(
        4, [&](std::size_t i) { return number{numbers[i]}; }, outcomes);

    EXPECT_EQ(says, (journal{"sort 2", "prepare 2", "sort 3", "sort -1", "sort 4", "prepare 4", "look up 2", "finish 2",
                             "look up odd 3", "finish 3", "look up 4", "finish 4"}));
    EXPECT_EQ(outcomes[0].what, verdict::forward());
    EXPECT_EQ(outcomes[0].service, 2u);
    EXPECT_EQ(outcomes[1].service, 3u);
    EXPECT_EQ(outcomes[2].what, verdict::drop(drop_reason::truncated));
    EXPECT_EQ(outcomes[3].service, 4u);
}

TEST(burst, keeps_nothing_from_the_burst_before) {
    journal says;
    path p{sort_out{&says}, look_up{&says}, finish{&says}};
    std::array<outcome, 4> outcomes{};
    p.run(
        2, [&](std::size_t i) { return number{static_cast<int>(i)}; }, outcomes);
    says.clear();
    p.run(
        2, [&](std::size_t) { return number{-5}; }, outcomes);
    EXPECT_EQ(says, (journal{"sort -5", "sort -5"}));
    p.run(
        0, [&](std::size_t) { return number{1}; }, outcomes);
    EXPECT_EQ(says.size(), 2u);
}

} // namespace
} // namespace kubeproxy
