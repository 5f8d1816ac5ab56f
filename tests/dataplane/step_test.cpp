#include "kubeproxy/dataplane/step.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace kubeproxy::step_tests {
namespace {

struct near {
    int* where;
};
struct far {
    int* where;
};
struct counted {
    std::int32_t value;
};
struct large {
    std::uint64_t words[2];
};

static_assert(waypoint<near> && waypoint<counted>);
static_assert(!waypoint<large>, "what does not fit a register stays where it is, and is pointed to");

TEST(step, tells_which_of_its_types_it_holds_and_gives_it_back) {
    int place = 0;
    step<near, far, counted> const at = far{&place};
    EXPECT_FALSE(at.is_settled());
    EXPECT_FALSE(at.is<near>());
    ASSERT_TRUE(at.is<far>());
    EXPECT_EQ(at.as<far>().where, &place);

    step<near, far, counted> const number = counted{-5};
    ASSERT_TRUE(number.is<counted>());
    EXPECT_EQ(number.as<counted>().value, -5);
}

TEST(step, is_settled_where_it_holds_none) {
    step<near, far> const never{}, ended = settled{};
    for (auto const& at : {never, ended}) {
        EXPECT_TRUE(at.is_settled());
        EXPECT_FALSE(at.is<near>() || at.is<far>());
    }
}

} // namespace
} // namespace kubeproxy::step_tests
