#include "kubeproxy/sync/memory.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace kubeproxy::memory_tests {
namespace {

template <class Memory>
class memory_test : public testing::Test {};
using policies = testing::Types<standard_memory, huge_page_memory>;
TYPED_TEST_SUITE(memory_test, policies);

struct alignas(128) line_pair {
    std::uint64_t first;
};

TYPED_TEST(memory_test, objects_are_zero_aligned_and_apart) {
    for (std::size_t const count : {std::size_t{1}, std::size_t{1000}, std::size_t{100'000}}) { // below and above 2 MiB
        zeroed_array<line_pair, TypeParam> array{count};
        for (std::size_t i = 0; i < count; i += count / 3 + 1) {
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&array[i]) % alignof(line_pair), 0u);
            EXPECT_EQ(array[i].first, 0u);
            array[i].first = i + 1;
        }
        array[count - 1].first = 7;
        EXPECT_EQ(array.bytes(), count * sizeof(line_pair));
        auto const moved = std::move(array);
        EXPECT_EQ(moved[count - 1].first, 7u);
        EXPECT_EQ(moved.size(), count);
    }
}

TYPED_TEST(memory_test, nothing_may_be_asked_for) {
    zeroed_array<line_pair, TypeParam> const none{0};
    EXPECT_EQ(none.size(), 0u);
    EXPECT_EQ(none.bytes(), 0u);
}

} // namespace
} // namespace kubeproxy::memory_tests
