#include "tap_forwarder/router/held_packets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <vector>

namespace examples::held_packets_tests {
namespace {

using packet = std::unique_ptr<int>; // movable only, as buffers are
using store = held_packets<packet>;

std::optional<int> push(store& all, store::queue& to, int value, std::size_t most = 16) {
    auto const gone = all.push(to, std::make_unique<int>(value), most);
    return gone ? std::optional{**gone} : std::nullopt;
}
std::vector<int> drain(store& all, store::queue& from) {
    std::vector<int> values;
    while (from.size() != 0) values.push_back(*all.pop(from));
    return values;
}

TEST(held_packets, leave_a_queue_in_the_order_in_which_they_came) {
    store all{8};
    store::queue a, b;
    for (int i = 0; i < 6; ++i) EXPECT_EQ(push(all, i % 2 == 0 ? a : b, i), std::nullopt);
    EXPECT_EQ(all.size(), 6u);
    EXPECT_EQ(drain(all, a), (std::vector{0, 2, 4}));
    EXPECT_EQ(drain(all, b), (std::vector{1, 3, 5}));
    EXPECT_EQ(all.size(), 0u);
}

TEST(held_packets, the_oldest_of_a_full_queue_gives_way) {
    store all{8};
    store::queue a, b;
    EXPECT_EQ(push(all, b, 1), std::nullopt);
    for (int i = 2; i < 5; ++i) EXPECT_EQ(push(all, a, i, 3), std::nullopt);
    EXPECT_EQ(push(all, a, 5, 3), 2);
    EXPECT_EQ(drain(all, a), (std::vector{3, 4, 5}));
    EXPECT_EQ(drain(all, b), std::vector{1});
}

TEST(held_packets, the_oldest_of_all_gives_way_when_there_is_no_room) {
    store all{4};
    store::queue a, b, c;
    for (int i = 0; i < 2; ++i) EXPECT_EQ(push(all, a, i), std::nullopt);
    for (int i = 2; i < 4; ++i) EXPECT_EQ(push(all, b, i), std::nullopt);
    EXPECT_EQ(push(all, c, 4), 0);
    EXPECT_EQ(push(all, b, 5), 1);
    EXPECT_EQ(a.size(), 0u);
    EXPECT_EQ(push(all, b, 6), 2);
    EXPECT_EQ(drain(all, b), (std::vector{3, 5, 6}));
    EXPECT_EQ(drain(all, c), std::vector{4});
}

TEST(held_packets, without_room_a_packet_is_given_back) {
    store none{0}, some{1};
    store::queue a;
    EXPECT_EQ(push(none, a, 1), 1);
    EXPECT_EQ(push(some, a, 2, 0), 2);
    EXPECT_EQ(a.size(), 0u);
}

TEST(held_packets, behave_as_lists_that_are_searched) {
    constexpr std::size_t room = 12, of_queue = 5;
    struct held {
        std::size_t queue;
        int value;
    };
    std::mt19937 random{4711};
    store all{room};
    std::array<store::queue, 4> queues;
    std::deque<held> model; // oldest first
    auto const take = [&](auto which) {
        auto const found = std::ranges::find_if(model, which);
        int const value = found->value;
        model.erase(found);
        return value;
    };
    for (int i = 0; i < 20'000; ++i) {
        auto const q = random() % queues.size();
        auto const mine = [&](held const& h) { return h.queue == q; };
        if (random() % 3 == 0 && queues[q].size() != 0) {
            ASSERT_EQ(*all.pop(queues[q]), take(mine)) << i;
            continue;
        }
        std::optional<int> expected;
        if (std::ranges::count_if(model, mine) == of_queue)
            expected = take(mine);
        else if (model.size() == room)
            expected = take([](held const&) { return true; });
        model.push_back({q, i});
        ASSERT_EQ(push(all, queues[q], i, of_queue), expected) << i;
        ASSERT_EQ(all.size(), model.size());
    }
    for (auto& q : queues) drain(all, q);
}

} // namespace
} // namespace examples::held_packets_tests
