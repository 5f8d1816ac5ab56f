#include "kubeproxy/service/paged_array.hpp"

#include <cstddef>
#include <deque>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::paged_array_tests {
namespace {

using small_pages = paged_array<int, 4>;

small_pages counting(int size) {
    small_pages all;
    all.grow_to(static_cast<std::size_t>(size));
    for (int i = 0; i < size; ++i) all.edit(static_cast<std::size_t>(i)) = i;
    return all;
}

TEST(paged_array, a_copy_shares_every_page_that_is_not_edited) {
    auto now = counting(12);
    auto const before = now;
    for (std::size_t page = 0; page < 3; ++page) EXPECT_EQ(now.page_at(page), before.page_at(page));
    now.edit(5) = 50;
    EXPECT_EQ(now.page_at(0), before.page_at(0));
    EXPECT_NE(now.page_at(1), before.page_at(1));
    EXPECT_EQ(now.page_at(2), before.page_at(2));
    EXPECT_EQ(before[5], 5);
    EXPECT_EQ(now[5], 50);
    EXPECT_EQ(now[4], 4);
    auto const* const own = now.page_at(1);
    now.edit(6) = 60;
    EXPECT_EQ(now.page_at(1), own) << "a page that is shared no more is not copied again";
}

TEST(paged_array, growing_leaves_copies_as_they_were) {
    auto now = counting(6);
    auto const before = now;
    now.grow_to(9);
    now.edit(6) = 60;
    now.edit(8) = 80;
    EXPECT_EQ(now.size(), 9u);
    EXPECT_EQ(now[7], 0) << "new elements are those that T{} makes";
    EXPECT_EQ(std::vector<int>(before.begin(), before.end()), (std::vector<int>{0, 1, 2, 3, 4, 5}));
    now.grow_to(3);
    EXPECT_EQ(now.size(), 9u) << "it never shrinks";
    EXPECT_EQ(before.page_at(2), nullptr);
}

TEST(paged_array, random_histories_agree_with_vectors) {
    std::mt19937 random{11};
    small_pages now;
    std::vector<int> model;
    std::deque<std::pair<small_pages, std::vector<int>>> kept;
    for (int step = 0; step < 5000; ++step) {
        if (random() % 20 == 0 && model.size() < 100) {
            model.resize(model.size() + random() % 6);
            now.grow_to(model.size());
        } else if (!model.empty()) {
            auto const i = random() % model.size();
            now.edit(i) = model[i] = step;
        }
        if (random() % 3 == 0) kept.emplace_back(now, model);
        if (kept.size() > 10) kept.pop_front();
        for (auto const& [copy, its_model] : kept)
            ASSERT_EQ(std::vector<int>(copy.begin(), copy.end()), its_model) << "at step " << step;
    }
    EXPECT_GT(model.size(), 50u);
}

TEST(paged_array, the_last_copy_frees_the_elements) {
    std::weak_ptr<int> in_both, in_first;
    {
        paged_array<std::shared_ptr<int>, 4> now;
        now.grow_to(8);
        now.edit(0) = std::make_shared<int>(1);
        now.edit(4) = std::make_shared<int>(2);
        in_first = now[0];
        in_both = now[4];
        auto before = std::make_unique<paged_array<std::shared_ptr<int>, 4>>(now);
        now.edit(0) = nullptr;
        EXPECT_FALSE(in_first.expired());
        before.reset();
        EXPECT_TRUE(in_first.expired());
        EXPECT_FALSE(in_both.expired());
    }
    EXPECT_TRUE(in_both.expired());
}

} // namespace
} // namespace kubeproxy::paged_array_tests
