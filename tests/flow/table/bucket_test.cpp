#include "kubeproxy/flow/table/bucket.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>

namespace kubeproxy::detail::bucket_tests {
namespace {

template <class Sharing>
class bucket_test : public testing::Test {};
using sharings = testing::Types<single_worker, shared_workers>;
TYPED_TEST_SUITE(bucket_test, sharings);

TYPED_TEST(bucket_test, both_ways_to_search_find_the_same_slots) {
    std::mt19937 random{3};
    for (int i = 0; i < 10'000; ++i) {
        bucket<TypeParam> b{};
        b.header.store(std::uint64_t{random()} << 32 | random());
        unsigned expected[4]{};
        for (std::size_t slot = 0; slot < b.slots; ++slot) {
            auto const label = static_cast<std::uint32_t>(random() % 4);
            // A reference that looks like a label must not be taken for one.
            b.set(slot, index_entry{label, flow_ref::from_bits(static_cast<std::uint32_t>(random() % 4))});
            expected[label] |= 1u << slot;
        }
        for (std::uint32_t label = 0; label < 4; ++label) {
            ASSERT_EQ(b.slots_with(label), b.slots_with_portably(label));
            unsigned found = 0;
            for (auto slots = b.slots_with(label); slots; slots.drop_first()) found |= 1u << slots.first();
            ASSERT_EQ(found, expected[label]);
        }
    }
}

TYPED_TEST(bucket_test, the_header_is_no_entry) {
    bucket<TypeParam> b{};
    b.header.store(~std::uint64_t{0});
    EXPECT_FALSE(b.slots_with(~0u));
    EXPECT_EQ(b.slot_of({}), 0u);
}

TYPED_TEST(bucket_test, an_entry_takes_the_place_of_the_one_that_is_named) {
    bucket<TypeParam> b{};
    auto const numbered = [](std::uint32_t i) { return index_entry{2 * i, flow_ref::from_bits(i)}; };
    for (std::uint32_t i = 1; i <= b.slots; ++i) EXPECT_TRUE(b.replace({}, numbered(i)));
    EXPECT_FALSE(b.replace({}, numbered(99))) << "there is no room";
    EXPECT_FALSE(b.replace(numbered(99), {})) << "it stands nowhere";
    EXPECT_TRUE(b.replace(numbered(3), {}));
    for (std::uint32_t i = 1; i <= b.slots; ++i) EXPECT_EQ(b.slot_of(numbered(i)), i == 3 ? b.slots : i - 1);
    EXPECT_TRUE(b.replace({}, numbered(99)));
    EXPECT_EQ(b.slot_of(numbered(99)), 2u);
}

} // namespace
} // namespace kubeproxy::detail::bucket_tests
