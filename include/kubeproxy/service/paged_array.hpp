#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <iterator>
#include <memory>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// An array whose copies share its pages until one of them changes. A copy costs a pointer for each page, a change
/// the copy of one page, a read one load more than from a vector.
///
///     pages_ -> [ . . . ]     a copy -> [ . . . ]      PageSize elements in each; one that was edited is not shared
///                 | | \_ page _________/ / |
///                 | \___ page __________/  |
///                 \_____ page      page ___/
///
/// Copies may be read by any thread, but only one thread at a time may make, edit and destroy them.
template <class T, std::size_t PageSize>
class paged_array {
    static_assert(std::has_single_bit(PageSize));

  public:
    using value_type = T;
    using page = std::array<T, PageSize>;
    static constexpr std::size_t page_size = PageSize;

    class iterator {
      public:
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        iterator(paged_array const& all, std::size_t at) noexcept : all_{&all}, at_{at} {}
        [[nodiscard]] T const& operator*() const noexcept { return (*all_)[at_]; }
        [[nodiscard]] T const* operator->() const noexcept { return &(*all_)[at_]; }
        iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        iterator operator++(int) noexcept {
            auto const before = *this;
            ++at_;
            return before;
        }
        [[nodiscard]] friend bool operator==(iterator const& a, iterator const& b) noexcept { return a.at_ == b.at_; }

      private:
        paged_array const* all_ = nullptr;
        std::size_t at_ = 0;
    };

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] iterator begin() const noexcept { return {*this, 0}; }
    [[nodiscard]] iterator end() const noexcept { return {*this, size_}; }
    /// \pre i < size()
    [[nodiscard]] T const& operator[](std::size_t i) const noexcept { return (*pages_[i / PageSize])[i % PageSize]; }

    /// The element, in a page of this array alone. \pre i < size()
    [[nodiscard]] T& edit(std::size_t i) {
        auto& p = pages_[i / PageSize];
        if (p.use_count() != 1) p = std::make_shared<page>(*p);
        return (*p)[i % PageSize];
    }
    /// At least so many elements; new ones are T{}.
    void grow_to(std::size_t count) {
        while (pages_.size() * PageSize < count) pages_.push_back(std::make_shared<page>());
        size_ = std::max(size_, count);
    }

    [[nodiscard]] std::size_t page_count() const noexcept { return pages_.size(); }
    /// Two arrays with the same page here have the same elements in it. Null: there is no such page.
    [[nodiscard]] page const* page_at(std::size_t number) const noexcept {
        return number < pages_.size() ? pages_[number].get() : nullptr;
    }

  private:
    std::vector<std::shared_ptr<page>> pages_;
    std::size_t size_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
