#pragma once

#include "kubeproxy/flow/table/bucket_array.hpp"
#include "kubeproxy/flow/table/room_search.hpp"

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

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
/// bucket it is written to or cleared from. Locks are taken in the order of the buckets. A move writes the new place,
/// counts the move in the first bucket's header, then clears the old place: a lookup that saw neither place sees the
/// header changed, and looks again.
///
/// Memory order of a lookup: the release store that writes an entry pairs with the acquire load that finds it, so the
/// record behind the entry is complete; a move has read the entry with acquire before it writes it again, which keeps
/// that true. A lookup that misses a moved entry has read the cleared old place, or what was written there later; that
/// acquire load pairs with the release store of the clearing, which follows the count of the move. Therefore the second
/// load of the header sees the count. The first load of the header is an acquire, too: if it already saw the count, the
/// lookup sees the new place. Where vector instructions of x86 scan a bucket, every load of the processor is an acquire
/// load, and a signal fence keeps the compiler from exchanging the scan with the second load of the header.
template <class Sharing, class Memory>
class flow_index {
    using bucket = detail::bucket<Sharing>;
    using guard = detail::bucket_guard<Sharing>;

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
            if ((header & bucket::max_displaced) != 0)
                if (auto const ref = find_in(buckets_[second_of(first, label_of(hash))], label_of(hash) | 1u, is_it))
                    return ref;
            if constexpr (!Sharing::is_shared) return {};
            std::atomic_signal_fence(std::memory_order_acquire); // keeps vector loads before the next line
            if (((b.header.load_acquire() ^ header) & ~bucket::locked) == 0) return {};
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
    [[nodiscard]] std::uint32_t first_of(std::uint64_t hash) const noexcept {
        return buckets_.scaled(static_cast<std::uint32_t>(hash));
    }
    [[nodiscard]] std::uint32_t second_of(std::uint32_t first, std::uint32_t label) const noexcept {
        return buckets_.other_of(first, label);
    }

    template <class Predicate>
    [[nodiscard]] static flow_ref find_in(bucket const& b, std::uint32_t label, Predicate& is_it) noexcept {
        for (auto found = b.slots_with(label); found; found.drop_first())
            if (auto const e = b.entry(found.first()); e.label() == label && is_it(e.ref())) return e.ref();
        return {};
    }

    /// How often an insertion makes room before it gives up. One worker needs it once. Where workers share, an attempt
    /// is lost only if another worker changes a bucket of the planned path, or takes the room, within the fraction of a
    /// microsecond between the search and its use: even if that happened every other time, 32 lost attempts in a row
    /// would take 2^32 insertions.
    static constexpr unsigned max_attempts = Sharing::is_shared ? 32 : 1;

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

    detail::bucket_array<Sharing, Memory> buckets_;
};

template <class Sharing, class Memory>
template <class Predicate>
typename flow_index<Sharing, Memory>::insertion_result
flow_index<Sharing, Memory>::insert_in_either(std::uint64_t hash, flow_ref ref, Predicate& is_same) noexcept {
    auto const first = first_of(hash), second = second_of(first, label_of(hash));
    guard const held{buckets_, first, second};
    if (auto const same = existing(hash, is_same)) return {insertion::exists, same};
    auto& b = buckets_[first];
    if (b.replace({}, {label_of(hash), ref})) return {insertion::inserted, {}};
    bool const may_count = (b.header.load() & bucket::max_displaced) != bucket::max_displaced;
    if (!may_count || !buckets_[second].replace({}, {label_of(hash) | 1u, ref})) return {insertion::full, {}};
    b.change_header(bucket::one_displaced);
    return {insertion::inserted, {}};
}

template <class Sharing, class Memory>
template <class Predicate>
typename flow_index<Sharing, Memory>::insertion_result
flow_index<Sharing, Memory>::insert_elsewhere(std::uint64_t hash, flow_ref ref, Predicate& is_same) noexcept {
    auto const first = first_of(hash), second = second_of(first, label_of(hash));
    for (unsigned attempt = 0;; ++attempt) {
        if (auto const done = insert_in_either(hash, ref, is_same); done.what != insertion::full) return done;
        if (attempt == max_attempts) return {insertion::full, {}};
        if (make_room(buckets_, first, second) == detail::room::none) return {insertion::full, {}};
    }
}

template <class Sharing, class Memory>
bool flow_index<Sharing, Memory>::erase_elsewhere(std::uint64_t hash, flow_ref ref) noexcept {
    auto const first = first_of(hash), second = second_of(first, label_of(hash));
    guard const held{buckets_, first, second};
    auto& b = buckets_[first];
    if (b.replace({label_of(hash), ref}, {})) return true;
    if (!buckets_[second].replace({label_of(hash) | 1u, ref}, {})) return false;
    b.change_header(std::uint64_t{0} - bucket::one_displaced);
    return true;
}

} // namespace v0_2
} // namespace kubeproxy
