#include "kubeproxy/service/address_set.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace kubeproxy::address_set_tests {
namespace {

ipv6::address number(unsigned n) { return {std::byte(n >> 16), std::byte(n >> 8), std::byte(n)}; }

TEST(address_set, holds_what_was_added_as_often_as_it_was) {
    address_set set;
    EXPECT_FALSE(set.contains(number(1)));
    set.add(number(1));
    set.add(number(1));
    set.remove(number(1));
    EXPECT_TRUE(set.contains(number(1))) << "another backend has it";
    set.remove(number(1));
    EXPECT_FALSE(set.contains(number(1)));
}

TEST(address_set, finds_an_ipv4_address_as_backends_keep_it) {
    address_set set;
    set.add({std::byte{10}, std::byte{244}, std::byte{1}, std::byte{7}});
    EXPECT_TRUE(set.contains_address<ipv4>(ipv4_address(0x0af4'0107)));
    EXPECT_FALSE(set.contains_address<ipv4>(ipv4_address(0x0af4'0108)));
}

TEST(address_set, a_copy_does_not_see_what_changes_later) {
    address_set now;
    for (unsigned n = 0; n < 1000; ++n) now.add(number(n));
    auto const before = now;
    now.remove(number(500));
    now.add(number(5000));
    EXPECT_TRUE(before.contains(number(500)));
    EXPECT_FALSE(before.contains(number(5000)));
    EXPECT_FALSE(now.contains(number(500)));
    EXPECT_TRUE(now.contains(number(5000)));
}

TEST(address_set, agrees_with_a_map_in_random_changes) {
    address_set set;
    std::map<unsigned, int> model;
    std::mt19937 random{3};
    for (int i = 0; i < 100'000; ++i) {
        auto const n = static_cast<unsigned>(random() % 2000);
        auto& users = model[n];
        if (random() % 2 == 0) {
            set.add(number(n));
            ++users;
        } else if (users > 0) {
            set.remove(number(n));
            --users;
        }
        auto const asked = static_cast<unsigned>(random() % 2000);
        ASSERT_EQ(set.contains(number(asked)), model[asked] > 0);
    }
}

} // namespace
} // namespace kubeproxy::address_set_tests
