#include "kubeproxy/flow/table/free_list.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace kubeproxy::detail::free_list_tests {
namespace {

TEST(free_stack, the_last_freed_goes_first) {
    zeroed_array<std::uint64_t, standard_memory> records{10};
    free_stack list{3, nullptr};
    EXPECT_EQ(list.pop(records), 0u);
    for (std::uint32_t const number : {7u, 8u, 9u}) list.push(number, records);
    EXPECT_EQ(list.size(), 3u);
    EXPECT_EQ(list.pop(records), 9u);
    EXPECT_EQ(list.pop(records), 8u);
    list.push(9, records);
    EXPECT_EQ(list.pop(records), 9u);
    EXPECT_EQ(list.pop(records), 7u);
    EXPECT_EQ(list.pop(records), 0u);
}

TEST(free_queue, a_number_waits_for_every_worker_that_was_inside) {
    quiescent_domain domain;
    auto const one = *domain.attach(), other = *domain.attach();
    free_queue<standard_memory> list{3, &domain};
    domain.enter(one);
    domain.enter(other);
    list.push(7);
    EXPECT_EQ(list.pop(), 0u);
    domain.leave(one);
    domain.enter(one);
    EXPECT_EQ(list.pop(), 0u) << "the other may still read it";
    domain.leave(other);
    EXPECT_EQ(list.pop(), 7u) << "both were outside since";
    EXPECT_EQ(list.size(), 0u);
}

TEST(free_queue, what_is_freed_while_others_wait_waits_as_well) {
    quiescent_domain domain;
    auto const worker = *domain.attach();
    free_queue<standard_memory> list{4, &domain};
    domain.enter(worker);
    list.push(1);
    EXPECT_EQ(list.pop(), 0u);
    domain.leave(worker);
    domain.enter(worker);
    list.push(2); // in the second burst: only the first burst is over
    EXPECT_EQ(list.pop(), 1u);
    EXPECT_EQ(list.pop(), 0u);
    domain.leave(worker);
    EXPECT_EQ(list.pop(), 2u);
}

TEST(free_queue, goes_round_in_order) {
    quiescent_domain domain;
    free_queue<standard_memory> list{5, &domain};
    std::uint32_t in = 0, out = 0;
    for (int round = 0; round < 20; ++round) {
        while (list.size() < 5) list.push(++in);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(list.pop(), ++out);
    }
}

} // namespace
} // namespace kubeproxy::detail::free_list_tests
