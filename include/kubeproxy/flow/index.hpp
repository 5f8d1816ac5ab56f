#pragma once

#include "kubeproxy/flow/bucket.hpp"
#include "kubeproxy/flow/memory.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace kubeproxy::inline v0_2 {

/// From hashes to flows: a bucketised cuckoo table (Erlingsson, Manasse, McSherry 2006) of 8-byte entries.
///
///   hash ─low 32─> first bucket ──┐        one cache line
///     └─high 31─> tag ────────────┴─>  [header][tag,ref][tag,ref] … seven entries
///                  └> second bucket = (spread(tag) - first) mod buckets, where an entry goes when the first is full
///
/// The second bucket follows from the first and the tag, and the first from the second, so that an entry is moved
/// without its key (Fan et al., MemC3, NSDI 2013). Entries stand in their first bucket where they can, and a
/// bucket counts those that could not: nearly every lookup touches one line.
///
/// Shared: a lookup takes no lock. Whoever changes where an entry stands holds the lock of its first bucket, and of the
/// bucket it is written to or cleared from. A move writes the new place, counts the move in the first bucket's
/// header, then clears the old place: a lookup that saw neither place sees the header changed, and looks again.
/// Locks are taken in the order of the buckets.
template <class Sharing, class Memory>
class flow_index {
    using bucket = detail::bucket<Sharing>;
    using entry = detail::index_entry;

  public:
    /// As large as a register: a result in two of them is not put together in memory first.
    enum class insertion : std::uint64_t { inserted, exists, full };
    struct insertion_result {
        insertion what;
        flow_ref existing; ///< where it exists
    };

    static constexpr std::size_t slots_per_bucket = bucket::slots;

    /// Room for `entries` with 4.1 in a bucket, or 5 where workers share: most stand in their first one, and a search
    /// for room is short. More would be faster still; it is what 96 bytes a connection allow.
    explicit flow_index(std::size_t entries)
        : flow_index{entries * 10 / (Sharing::is_shared ? 50 : 41) + 2, of_buckets{}} {}
    /// \pre 0 < count < 2^32
    [[nodiscard]] static flow_index with_buckets(std::size_t count) { return flow_index{count, of_buckets{}}; }

    [[nodiscard]] std::size_t slots() const noexcept { return buckets_.size() * bucket::slots; }
    [[nodiscard]] std::size_t bytes() const noexcept { return buckets_.bytes(); }

    void prefetch(std::uint64_t hash) const noexcept { prefetch_for_read(buckets_.address(first_of(hash))); }
    /// What an insertion may touch.
    void prefetch_both(std::uint64_t hash) const noexcept {
        auto const first = first_of(hash);
        prefetch_for_write(buckets_.address(first));
        prefetch_for_write(buckets_.address(second_of(first, label_of(hash))));
    }

    /// The first entry that may be of this hash's tuple; at most two lines.
    [[nodiscard]] flow_ref candidate(std::uint64_t hash) const noexcept {
        auto const first = first_of(hash);
        auto const& b = buckets_[first];
        if (auto const found = b.slots_with(label_of(hash))) return b.entry(found.first()).ref();
        if (!b.has_displaced()) return {};
        auto const& other = buckets_[second_of(first, label_of(hash))];
        auto const found = other.slots_with(label_of(hash) | 1u);
        return found ? other.entry(found.first()).ref() : flow_ref{};
    }

    /// The entry of this hash that `is_it(flow_ref)` accepts.
    template <class Predicate>
    [[nodiscard]] flow_ref find(std::uint64_t hash, Predicate is_it) const noexcept {
        auto const first = first_of(hash);
        auto const& b = buckets_[first];
        for (;;) {
            auto const header = b.header.load_acquire();
            if (auto const ref = find_in(b, label_of(hash), is_it)) return ref;
            if ((header & bucket::most_displaced) != 0)
                if (auto const ref = find_in(buckets_[second_of(first, label_of(hash))], label_of(hash) | 1u, is_it))
                    return ref;
            if (!Sharing::is_shared || ((b.header.load_acquire() ^ header) & ~bucket::locked) == 0) return {};
        }
    }

    /// Unless an entry of this hash satisfies `is_same`.
    template <class Predicate>
    [[nodiscard, gnu::always_inline]] insertion_result insert(std::uint64_t hash, flow_ref ref,
                                                              Predicate is_same) noexcept {
        auto const done = insert_in_first(hash, ref, is_same);
        return done.what != insertion::full ? done : insert_elsewhere(hash, ref, is_same);
    }

    /// Takes out the entry of exactly this flow and direction; says whether it was there.
    [[gnu::always_inline]] bool erase(std::uint64_t hash, flow_ref ref) noexcept {
        return erase_in_first(hash, ref) || erase_elsewhere(hash, ref);
    }

  private:
    struct of_buckets {};
    flow_index(std::size_t count, of_buckets) : buckets_{count} { assert(count > 0 && count < 0xffff'ffffu); }

    /// A label in the first bucket; plus 1 in the second.
    [[nodiscard]] static constexpr std::uint32_t label_of(std::uint64_t hash) noexcept {
        return static_cast<std::uint32_t>(hash >> 32) & ~1u;
    }
    /// Maps 32 bits to a bucket without a division (Lemire 2019).
    [[nodiscard]] std::uint32_t scaled(std::uint32_t bits) const noexcept {
        return static_cast<std::uint32_t>(std::uint64_t{bits} * buckets_.size() >> 32);
    }
    [[nodiscard]] std::uint32_t first_of(std::uint64_t hash) const noexcept {
        return scaled(static_cast<std::uint32_t>(hash));
    }
    /// Its own inverse. A label's lowest bit does not count.
    [[nodiscard]] std::uint32_t second_of(std::uint32_t bucket_of, std::uint32_t label) const noexcept {
        auto const sum = scaled((label >> 1) * 0x9e37'79b1u);
        return sum >= bucket_of ? sum - bucket_of : static_cast<std::uint32_t>(sum + buckets_.size() - bucket_of);
    }

    template <class Predicate>
    [[nodiscard]] static flow_ref find_in(bucket const& b, std::uint32_t label, Predicate& is_it) noexcept {
        for (auto found = b.slots_with(label); found; found.drop_first())
            if (auto const e = b.entry(found.first()); e.label() == label && is_it(e.ref())) return e.ref();
        return {};
    }

    /// Holds one bucket, or two in their order.
    class guard {
      public:
        explicit guard(bucket& b) noexcept : low_{b} { low_.acquire(); }
        guard(flow_index& index, std::uint32_t a, std::uint32_t b) noexcept
            : low_{index.buckets_[std::min(a, b)]}, high_{a == b ? nullptr : &index.buckets_[std::max(a, b)]} {
            low_.acquire();
            if (high_ != nullptr) high_->acquire();
        }
        guard(guard const&) = delete;
        guard& operator=(guard const&) = delete;
        ~guard() {
            if (high_ != nullptr) high_->release();
            low_.release();
        }

      private:
        bucket& low_;
        bucket* high_ = nullptr;
    };

    /// \pre shared: the first bucket is held
    template <class Predicate>
    [[nodiscard]] flow_ref existing(std::uint64_t hash, Predicate& is_same) const noexcept {
        auto const& b = buckets_[first_of(hash)];
        if (auto const ref = find_in(b, label_of(hash), is_same)) return ref;
        return b.has_displaced() ? existing_elsewhere(hash, is_same) : flow_ref{};
    }
    template <class Predicate>
    [[nodiscard, gnu::noinline]] flow_ref existing_elsewhere(std::uint64_t hash, Predicate& is_same) const noexcept {
        return find_in(buckets_[second_of(first_of(hash), label_of(hash))], label_of(hash) | 1u, is_same);
    }
    template <class Predicate>
    [[nodiscard, gnu::always_inline]] insertion_result insert_in_first(std::uint64_t hash, flow_ref ref,
                                                                       Predicate& is_same) noexcept {
        auto& b = buckets_[first_of(hash)];
        guard const held{b};
        if (auto const same = existing(hash, is_same)) return {insertion::exists, same};
        return {b.replace({}, {label_of(hash), ref}) ? insertion::inserted : insertion::full, {}};
    }
    template <class Predicate>
    [[nodiscard]] insertion_result insert_in_either(std::uint64_t hash, flow_ref ref, Predicate& is_same) noexcept;
    template <class Predicate>
    [[nodiscard, gnu::noinline]] insertion_result insert_elsewhere(std::uint64_t hash, flow_ref ref,
                                                                   Predicate& is_same) noexcept;
    [[nodiscard, gnu::always_inline]] bool erase_in_first(std::uint64_t hash, flow_ref ref) noexcept {
        auto& b = buckets_[first_of(hash)];
        guard const held{b};
        return b.replace({label_of(hash), ref}, {});
    }
    [[nodiscard, gnu::noinline]] bool erase_elsewhere(std::uint64_t hash, flow_ref ref) noexcept;

    /// A bucket that the search for room has reached, and the entry of the one before that could move into it.
    struct visit {
        std::uint32_t bucket;
        std::uint16_t from;
        entry mover;
    };
    /// Bounds what an insertion may cost: past this the index counts as full. 256 buckets reach beyond a load of 0.95.
    static constexpr std::size_t most_visits = 256;
    using visits = std::array<visit, most_visits>;

    [[nodiscard]] bool make_room(std::uint64_t hash) noexcept;
    [[nodiscard]] bool carry_out(visits const& seen, std::size_t last) noexcept;
    [[nodiscard]] bool move(std::uint32_t from, std::uint32_t to, entry e) noexcept;

    zeroed_array<bucket, Memory> buckets_;
};

template <class Sharing, class Memory>
template <class Predicate>
typename flow_index<Sharing, Memory>::insertion_result
flow_index<Sharing, Memory>::insert_in_either(std::uint64_t hash, flow_ref ref, Predicate& is_same) noexcept {
    auto const first = first_of(hash), second = second_of(first, label_of(hash));
    guard const held{*this, first, second};
    if (auto const same = existing(hash, is_same)) return {insertion::exists, same};
    auto& b = buckets_[first];
    if (b.replace({}, {label_of(hash), ref})) return {insertion::inserted, {}};
    bool const may_count = (b.header.load() & bucket::most_displaced) != bucket::most_displaced;
    if (!may_count || !buckets_[second].replace({}, {label_of(hash) | 1u, ref})) return {insertion::full, {}};
    b.change_header(bucket::one_displaced);
    return {insertion::inserted, {}};
}

template <class Sharing, class Memory>
template <class Predicate>
typename flow_index<Sharing, Memory>::insertion_result
flow_index<Sharing, Memory>::insert_elsewhere(std::uint64_t hash, flow_ref ref, Predicate& is_same) noexcept {
    // Another worker may take the room that was made; each attempt then made room for somebody.
    for (unsigned attempt = 0; attempt < (Sharing::is_shared ? 8 : 2); ++attempt) {
        if (auto const done = insert_in_either(hash, ref, is_same); done.what != insertion::full) return done;
        if (!make_room(hash)) break;
    }
    return {insertion::full, {}};
}

template <class Sharing, class Memory>
bool flow_index<Sharing, Memory>::erase_elsewhere(std::uint64_t hash, flow_ref ref) noexcept {
    auto const first = first_of(hash), second = second_of(first, label_of(hash));
    guard const held{*this, first, second};
    auto& b = buckets_[first];
    if (b.replace({label_of(hash), ref}, {})) return true;
    if (!buckets_[second].replace({label_of(hash) | 1u, ref}, {})) return false;
    b.change_header(std::uint64_t{0} - bucket::one_displaced);
    return true;
}

/// Moves one entry to its other bucket, if both are still as the search saw them.
template <class Sharing, class Memory>
bool flow_index<Sharing, Memory>::move(std::uint32_t from, std::uint32_t to, entry e) noexcept {
    guard const held{*this, from, to};
    auto const old_slot = buckets_[from].slot_of(e), new_slot = buckets_[to].slot_of({});
    if (old_slot == bucket::slots || new_slot == bucket::slots) return false;
    auto& first = buckets_[e.is_displaced() ? to : from];
    auto const displaced = e.is_displaced() ? std::uint64_t{0} - bucket::one_displaced : bucket::one_displaced;
    if (!e.is_displaced() && (first.header.load() & bucket::most_displaced) == bucket::most_displaced) return false;
    buckets_[to].set(new_slot, e.moved());
    first.change_header(bucket::one_move + displaced);
    buckets_[from].set(old_slot, {});
    return true;
}

/// The moves that lead to the last bucket seen, from that end: each makes the room that the one before needs.
template <class Sharing, class Memory>
bool flow_index<Sharing, Memory>::carry_out(visits const& seen, std::size_t last) noexcept {
    while (seen[last].mover) {
        auto const from = seen[last].from;
        if (!move(seen[from].bucket, seen[last].bucket, seen[last].mover)) return false;
        last = from;
    }
    return true;
}

/// Searches breadth first, which gives the fewest moves, for a bucket with room that entries can be moved towards.
/// True when one of the hash's two buckets may have room now.
template <class Sharing, class Memory>
bool flow_index<Sharing, Memory>::make_room(std::uint64_t hash) noexcept {
    visits seen; // not initialised: its used part is
    std::size_t count = 0;
    auto const first = first_of(hash);
    seen[count++] = {first, 0, {}};
    seen[count++] = {second_of(first, label_of(hash)), 0, {}};
    for (std::size_t at = 0; at < count; ++at) {
        auto const& b = buckets_[seen[at].bucket];
        if (b.slot_of(entry{}) != bucket::slots) return carry_out(seen, at);
        for (std::size_t slot = 0; slot < bucket::slots; ++slot) {
            auto const e = b.entry(slot);
            if (!e) return carry_out(seen, at); // another worker made room
            auto const other = second_of(seen[at].bucket, e.label());
            if (count < most_visits && other != seen[at].bucket)
                seen[count++] = {other, static_cast<std::uint16_t>(at), e};
        }
    }
    return false;
}

} // namespace kubeproxy::inline v0_2
