#pragma once

#include "kubeproxy/sync/memory.hpp"
#include "kubeproxy/sync/quiescence.hpp"
#include "kubeproxy/sync/sharing.hpp"
#include "kubeproxy/wire/bytes.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// Free numbers for one worker: the last freed goes first, its cache line is still near. They are linked through the
/// records that they number, in their first four bytes, and take no memory of their own.
class free_stack {
  public:
    /// More numbers than may be in use, so that there is one to use at once when one is freed: here it is that one.
    [[nodiscard]] static constexpr std::uint32_t reserve_for(std::uint32_t) noexcept { return 0; }

    free_stack(std::uint32_t, quiescent_domain*) noexcept {}
    [[nodiscard]] std::uint32_t size() const noexcept { return count_; }
    [[nodiscard]] static constexpr std::size_t bytes() noexcept { return 0; }
    /// \param records a zeroed_array
    template <class Records>
    void push(std::uint32_t number, Records& records) noexcept {
        store_object(std::as_writable_bytes(std::span{&records[number], 1}), 0, std::exchange(last_, number));
        ++count_;
    }
    /// 0 for none. Fetches the record that goes next.
    template <class Records>
    [[nodiscard]] std::uint32_t pop(Records& records) noexcept {
        if (count_ == 0) return 0;
        --count_;
        auto const next = load_object<std::uint32_t>(std::as_bytes(std::span{&records[last_], 1}), 0);
        prefetch_for_write(records.address(next));
        return std::exchange(last_, next);
    }

  private:
    std::uint32_t last_ = 0, count_ = 0;
};

/// Free numbers for workers that may still read what they number: first in, first out, and out only when every
/// worker has been outside since. From its head: safe ones, a batch that waits for its epoch, later ones.
/// Used under a lock, which also orders what was unlinked before the epoch that lets it pass.
template <class Memory>
class free_queue {
  public:
    /// What some tens of workers evict in the two bursts until a batch has passed.
    [[nodiscard]] static constexpr std::uint32_t reserve_for(std::uint32_t capacity) noexcept {
        return 64 + capacity / 64;
    }

    /// \pre domain outlives this
    free_queue(std::uint32_t capacity, quiescent_domain* domain) : numbers_{capacity}, domain_{domain} {
        assert(domain != nullptr);
    }
    [[nodiscard]] std::uint32_t size() const noexcept { return safe_ + waiting_ + later_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return numbers_.bytes(); }
    void push(std::uint32_t number) noexcept {
        assert(size() < numbers_.size());
        auto const tail = std::size_t{head_} + size();
        numbers_[tail < numbers_.size() ? tail : tail - numbers_.size()] = number;
        ++later_;
    }
    /// 0 for none, or none that is safe.
    [[nodiscard]] std::uint32_t pop() noexcept {
        if (safe_ <= waiting_ + later_) let_pass();
        if (safe_ == 0) return 0;
        auto const number = numbers_[head_];
        head_ = head_ + 1 == numbers_.size() ? 0 : head_ + 1;
        --safe_;
        return number;
    }

  private:
    void let_pass() noexcept {
        accept_waiting();
        if (waiting_ != 0 || later_ == 0) return;
        epoch_ = domain_->advance();
        waiting_ = std::exchange(later_, 0);
        if (safe_ == 0) accept_waiting(); // nobody may be inside
    }
    void accept_waiting() noexcept {
        if (waiting_ != 0 && domain_->has_passed(epoch_)) safe_ += std::exchange(waiting_, 0);
    }

    zeroed_array<std::uint32_t, Memory> numbers_;
    quiescent_domain* domain_;
    quiescent_domain::epoch epoch_ = 0; ///< of those that wait
    std::uint32_t head_ = 0, safe_ = 0, waiting_ = 0, later_ = 0;
};

template <class Sharing, class Memory>
using free_list = std::conditional_t<Sharing::is_shared, free_queue<Memory>, free_stack>;

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
