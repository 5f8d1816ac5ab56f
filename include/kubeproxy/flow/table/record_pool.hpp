#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/table/free_list.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// How a flow's record came free.
enum class flow_end : std::uint8_t {
    erased,    ///< by the caller
    expired,   ///< silent for its timeout
    evicted,   ///< made room for another
    withdrawn, ///< its insertion failed half-way
    count_
};

/// What became of flows since the table was made.
struct flow_counters {
    std::uint64_t inserted = 0, expired = 0, evicted = 0, erased = 0;
    std::uint64_t insert_full = 0; ///< insertions refused for want of room

    [[nodiscard]] constexpr std::uint64_t flows() const noexcept { return inserted - expired - evicted - erased; }
};

/// A fixed number of records. Numbers start at 1; a record is not touched before its number is first taken.
///
/// Shared: numbers are dealt to shards, each with a lock and counters of its own, so that workers seldom meet. A record
/// comes back into use when every worker has been outside the domain since.
template <class Record, class Sharing, class Memory>
class record_pool {
  public:
    /// \pre capacity < flow_ref::max_index; shared: domain is there and outlives this
    record_pool(std::uint32_t capacity, quiescent_domain* domain)
        : shard_mask_{shards_for(capacity) - 1}, shard_capacity_{(capacity + shard_mask_) / (shard_mask_ + 1)},
          records_{std::size_t{shard_size()} * (shard_mask_ + 1) + 1} {
        for (std::uint32_t i = 0; i <= shard_mask_; ++i) shards_.emplace_back(shard_size(), shard_capacity_, domain);
    }

    [[nodiscard]] Record& operator[](std::uint32_t number) noexcept { return records_[number]; }
    [[nodiscard]] Record const& operator[](std::uint32_t number) const noexcept { return records_[number]; }
    [[nodiscard]] Record const* address(std::uint32_t number) const noexcept { return records_.address(number); }

    /// A record for the caller to fill: its number, or 0. Then either as many are in use as may be, and one must end
    /// first; or `is_full` is false, and those that have ended are not safe to use yet.
    struct taking {
        std::uint64_t number = 0; ///< so wide that both are returned in registers
        bool is_full = true;
    };
    /// From the shard of `near` where it can: callers spread by different numbers seldom meet.
    [[nodiscard]] taking take(std::uint32_t near) noexcept;
    void give_back(std::uint32_t number, flow_end how) noexcept;
    void count_refusal(std::uint32_t near) noexcept;

    /// Live records are numbered 1 to this.
    [[nodiscard]] std::uint32_t highest_taken() const noexcept { return highest_.load(); }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return shard_capacity_ * (shard_mask_ + 1); }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return records_.bytes() + shards_.size() * (shards_[0].free.bytes() + sizeof(shard));
    }
    void add_to(flow_counters& sum) const noexcept;

  private:
    template <class T>
    using cell = typename Sharing::template cell<T>;
    using free_list = detail::free_list<Sharing, Memory>;

    struct alignas(64) shard {
        shard(std::uint32_t size, std::uint32_t most, quiescent_domain* domain) : limit{most}, free{size, domain} {
            room.store(most);
        }
        /// After any change of what is in use or may be.
        void update_room() noexcept {
            auto const in_use = touched - free.size();
            room.store(limit > in_use ? limit - in_use : 0);
        }
        typename Sharing::lock lock{};
        std::uint32_t touched = 0;  ///< of its numbers, the ones that were ever in use
        std::uint32_t limit;        ///< how many may be in use
        cell<std::uint32_t> room{}; ///< how many more
        cell<std::uint64_t> taken{}, refused{};
        std::array<cell<std::uint64_t>, static_cast<std::size_t>(flow_end::count_)> ended{};
        free_list free;
    };
    class guard {
      public:
        explicit guard(shard& s) noexcept : shard_{s} { shard_.lock.acquire(); }
        guard(guard const&) = delete;
        guard& operator=(guard const&) = delete;
        ~guard() {
            if constexpr (Sharing::is_shared) shard_.update_room();
            shard_.lock.release();
        }

      private:
        shard& shard_;
    };

    /// Sixteen where each still has hundreds of records.
    [[nodiscard]] static constexpr std::uint32_t shards_for(std::uint32_t capacity) noexcept {
        return Sharing::is_shared && capacity >= 8192 ? 16 : 1;
    }
    [[nodiscard]] std::uint32_t shard_size() const noexcept {
        return shard_capacity_ + free_list::reserve_for(shard_capacity_);
    }
    static void count(cell<std::uint64_t>& counter) noexcept { counter.store(counter.load() + 1); }

    [[nodiscard]] std::uint32_t pop_free(shard& s) noexcept {
        if constexpr (Sharing::is_shared)
            return s.free.pop();
        else
            return s.free.pop(records_);
    }
    [[nodiscard]] std::uint32_t pop(shard& s, std::uint32_t which) noexcept;

    std::uint32_t shard_mask_, shard_capacity_;
    cell<std::uint32_t> highest_{};
    zeroed_array<Record, Memory> records_;
    std::vector<shard> shards_;
};

template <class Record, class Sharing, class Memory>
std::uint32_t record_pool<Record, Sharing, Memory>::pop(shard& s, std::uint32_t which) noexcept {
    auto number = pop_free(s);
    if (number == 0 && s.touched < shard_size()) {
        number = s.touched++ * (shard_mask_ + 1) + which + 1;
        for (auto highest = highest_.load(); highest < number && !highest_.replace(highest, number);)
            highest = highest_.load();
    }
    if (number != 0) count(s.taken);
    return number;
}

/// A shard that may have more in use, but has none that is safe, lends its right to the next that has one.
template <class Record, class Sharing, class Memory>
typename record_pool<Record, Sharing, Memory>::taking
record_pool<Record, Sharing, Memory>::take(std::uint32_t near) noexcept {
    if constexpr (!Sharing::is_shared) { // one shard, and as many numbers as may be in use
        auto const number = pop(shards_[0], 0);
        return {number, number == 0};
    }
    shard* lender = nullptr;
    for (std::uint32_t i = 0; i < 2 * (shard_mask_ + 1); ++i) {
        auto const which = (near - 1 + i) & shard_mask_;
        auto& s = shards_[which];
        if (&s == lender || (lender == nullptr && i > shard_mask_)) break;
        if (lender == nullptr && s.room.load() == 0) continue; // spares the lock
        guard const held{s};
        if (lender == nullptr && s.room.load() == 0) continue;
        if (auto const number = pop(s, which); number != 0) {
            if (lender != nullptr) ++s.limit;
            return {number, false};
        }
        if (lender == nullptr) {
            --s.limit;
            lender = &s;
        }
    }
    if (lender == nullptr) return {0, true};
    guard const held{*lender};
    ++lender->limit;
    return {0, false};
}

template <class Record, class Sharing, class Memory>
void record_pool<Record, Sharing, Memory>::give_back(std::uint32_t number, flow_end how) noexcept {
    auto& s = shards_[(number - 1) & shard_mask_];
    guard const held{s};
    if constexpr (Sharing::is_shared)
        s.free.push(number);
    else
        s.free.push(number, records_);
    count(s.ended[static_cast<std::size_t>(how)]);
}

template <class Record, class Sharing, class Memory>
void record_pool<Record, Sharing, Memory>::count_refusal(std::uint32_t near) noexcept {
    auto& s = shards_[(near - 1) & shard_mask_];
    guard const held{s};
    count(s.refused);
}

template <class Record, class Sharing, class Memory>
void record_pool<Record, Sharing, Memory>::add_to(flow_counters& sum) const noexcept {
    auto const of = [](shard const& s, flow_end how) { return s.ended[static_cast<std::size_t>(how)].load(); };
    for (auto const& s : shards_) {
        sum.expired += of(s, flow_end::expired);
        sum.evicted += of(s, flow_end::evicted);
        sum.erased += of(s, flow_end::erased);
        sum.inserted += s.taken.load() - of(s, flow_end::withdrawn);
        sum.insert_full += s.refused.load();
    }
}

} // namespace v0_2
} // namespace kubeproxy
