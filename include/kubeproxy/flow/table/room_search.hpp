#pragma once

#include "kubeproxy/flow/table/bucket_array.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// Makes room in one of two buckets by moving entries to their other buckets.
///
/// The search takes no lock, so its plan may be outdated when the moves are made. Each move checks its two buckets
/// again under their locks; one that finds them changed ends the attempt with room::lost_race.
template <class Sharing, class Memory>
class room_search {
    using bucket_type = bucket<Sharing>;
    using buckets_type = bucket_array<Sharing, Memory>;

  public:
    explicit room_search(buckets_type& buckets) noexcept : buckets_{buckets} {}

    /// Searches breadth first, which gives the fewest moves, for a bucket with a free slot, and moves entries towards
    /// it. room::none: no bucket that the search may visit has one.
    [[nodiscard]] room run(std::uint32_t first, std::uint32_t second) noexcept {
        std::size_t count = 0;
        seen_[count++] = {first, 0, {}};
        seen_[count++] = {second, 0, {}};
        for (std::size_t at = 0; at < count; ++at) {
            auto const& b = buckets_[seen_[at].bucket];
            if (b.slot_of(index_entry{}) != bucket_type::slots) return carry_out(at);
            for (std::size_t slot = 0; slot < bucket_type::slots; ++slot) {
                auto const e = b.entry(slot);
                if (!e) return carry_out(at); // another worker has just freed it
                auto const other = buckets_.other_of(seen_[at].bucket, e.label());
                if (count < max_visits && other != seen_[at].bucket)
                    seen_[count++] = {other, static_cast<std::uint16_t>(at), e};
            }
        }
        return room::none;
    }

  private:
    /// A bucket that the search has reached, and the entry of the bucket `from` that could move into it.
    struct visit {
        std::uint32_t bucket;
        std::uint16_t from;
        index_entry mover;
    };
    /// Bounds the cost of an insertion: past this the index counts as full. 256 buckets reach beyond a load of 0.95.
    static constexpr std::size_t max_visits = 256;

    /// Makes the moves that lead to the last bucket, beginning there: each frees the slot that the next one needs.
    [[nodiscard]] room carry_out(std::size_t last) noexcept {
        while (seen_[last].mover) {
            auto const from = seen_[last].from;
            if (auto const done = move(seen_[from].bucket, seen_[last].bucket, seen_[last].mover); done != room::made)
                return done;
            last = from;
        }
        return room::made;
    }

    /// Moves one entry to its other bucket if both buckets still are as the search saw them.
    [[nodiscard]] room move(std::uint32_t from, std::uint32_t to, index_entry e) noexcept {
        bucket_guard<Sharing> const held{buckets_, from, to};
        auto const old_slot = buckets_[from].slot_of(e), new_slot = buckets_[to].slot_of({});
        if (old_slot == bucket_type::slots || new_slot == bucket_type::slots) return room::lost_race;
        auto& first = buckets_[e.is_displaced() ? to : from];
        if (!e.is_displaced() && (first.header.load() & bucket_type::max_displaced) == bucket_type::max_displaced)
            return room::none;
        auto const displaced =
            e.is_displaced() ? std::uint64_t{0} - bucket_type::one_displaced : bucket_type::one_displaced;
        buckets_[to].set(new_slot, e.moved());
        first.change_header(bucket_type::one_move + displaced);
        buckets_[from].set(old_slot, {});
        return room::made;
    }

    buckets_type& buckets_;
    std::array<visit, max_visits> seen_; ///< its used part is initialised
};

/// \return room::made if one of the two buckets may have a free slot now
template <class Sharing, class Memory>
[[nodiscard, gnu::noinline]] room make_room(bucket_array<Sharing, Memory>& buckets, std::uint32_t first,
                                            std::uint32_t second) noexcept {
    return room_search<Sharing, Memory>{buckets}.run(first, second);
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
