#include "kubeproxy/control/compile/index_allocator.hpp"

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::index_allocator_tests {
namespace {

TEST(index_allocator, new_places_come_one_after_the_other) {
    index_allocator places;
    EXPECT_EQ(places.take(), 0u);
    EXPECT_EQ(places.take(), 1u);
    EXPECT_EQ(places.count(), 2u);
    EXPECT_TRUE(places.renewed().empty());
}

TEST(index_allocator, a_place_comes_back_when_enough_others_wait_behind_it) {
    index_allocator places;
    std::vector<std::uint32_t> all;
    for (std::size_t i = 0; i <= index_allocator::quarantine + 1; ++i) all.push_back(places.take());
    for (auto const place : all) places.release(place);
    EXPECT_EQ(places.take(), all.size()) << "not before the next settle()";
    places.begin_update();
    EXPECT_EQ(places.take(), all[0]) << "the one that waited longest";
    EXPECT_EQ(places.take(), all[1]);
    EXPECT_EQ(places.take(), all.size() + 1) << "the others still wait";
    EXPECT_EQ(std::vector(places.renewed().begin(), places.renewed().end()), (std::vector{all[0], all[1]}));
    places.begin_update();
    EXPECT_TRUE(places.renewed().empty());
}

TEST(index_allocator, one_that_flaps_gets_each_place_in_turn) {
    index_allocator places;
    auto place = places.take();
    std::vector<std::uint32_t> last_use(2 * index_allocator::quarantine, 0);
    for (std::uint32_t round = 1; round <= 5000; ++round) {
        places.begin_update();
        places.release(place);
        place = places.take();
        ASSERT_LT(place, last_use.size());
        if (last_use[place] != 0) {
            EXPECT_GE(round - last_use[place], index_allocator::quarantine);
        }
        last_use[place] = round;
    }
}

TEST(index_allocator, the_former_owner_may_take_a_place_back_while_it_waits) {
    index_allocator places;
    auto const first = places.take(), second = places.take();
    places.release(first);
    places.take_back(first); // before settle()
    places.begin_update();
    places.release(first);
    places.begin_update();
    places.take_back(first); // after it
    for (std::size_t i = 0; i < 3 * index_allocator::quarantine; ++i) {
        auto const other = places.take();
        EXPECT_NE(other, first) << "it has its owner";
        EXPECT_NE(other, second);
        places.release(other);
        places.begin_update();
    }
}

TEST(index_allocator, places_that_are_given_back_and_taken_back_over_and_over_leave_nothing_behind) {
    index_allocator places;
    auto const place = places.take();
    for (int i = 0; i < 10'000; ++i) {
        places.release(place);
        places.begin_update();
        places.take_back(place);
    }
    EXPECT_EQ(places.take(), place + 1);
    EXPECT_EQ(places.count(), 2u);
}

} // namespace
} // namespace kubeproxy::index_allocator_tests
