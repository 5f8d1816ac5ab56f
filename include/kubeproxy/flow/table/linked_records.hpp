#pragma once

#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/flow/table/index.hpp"
#include "kubeproxy/flow/table/records.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// As large as a register, so that an insert_result is returned in two.
enum class insert_outcome : std::uint64_t {
    inserted,
    duplicate,   ///< a live flow has the original tuple: `ref` is it
    reply_taken, ///< a live flow has the reply's tuple: `ref` is it
    full,        ///< no record is free, and none that was looked at may be evicted
};
struct insert_result {
    insert_outcome what;
    flow_ref ref; ///< the new flow, or the one in the way
};

/// A tuple and its hash.
template <ip_version V>
struct hashed_tuple {
    tuple<V> value;
    std::uint64_t hash;

    hashed_tuple(tuple_words<V> const& words, std::uint64_t its_hash) noexcept : hash{its_hash} {
        store_words(value, words);
    }
};

/// Records and their index entries, kept together: both directions of a flow are found, or neither is.
///
/// A record's raw_state says where it stands. 0: free, or ended and perhaps still being read. With `unfinished`:
/// in one entry or both, and only its inserter may end it. Else live: whoever replaces its state by 0
/// takes out both entries and gives the record back, so that this happens once.
template <class Sharing, class Memory, class Hash>
class linked_records {
  public:
    using records_type = flow_records<Sharing, Memory>;
    using body_type = typename records_type::body_type;

    linked_records(std::uint32_t narrow, std::uint32_t wide, std::uint64_t seed, quiescent_domain* domain)
        : hash_{seed}, records_{narrow, wide, domain}, index_{2 * (std::size_t{records_.narrow_capacity()} +
                                                                   records_.wide_capacity())} {}

    template <ip_version V>
    [[nodiscard]] std::uint64_t hash(tuple<V> const& t) const noexcept {
        return hash_(t);
    }
    template <std::size_t Words>
    [[nodiscard]] std::uint64_t hash(std::array<std::uint64_t, Words> const& tuple) const noexcept {
        return hash_(tuple);
    }
    template <ip_version V>
    [[nodiscard]] hashed_tuple<V> hashed(tuple<V> const& t) const noexcept {
        return {words_of(t), hash_(t)};
    }
    void prefetch(std::uint64_t hash) const noexcept { index_.prefetch(hash); }
    void prefetch_insert(std::uint64_t hash) const noexcept { index_.prefetch_both(hash); }
    [[nodiscard]] flow_ref candidate(std::uint64_t hash) const noexcept { return index_.candidate(hash); }

    template <ip_version V>
    [[nodiscard, gnu::always_inline]] flow_ref find(tuple<V> const& t, std::uint64_t hash,
                                                    flow_ref hint = {}) const noexcept {
        if (hint && records_.is_of(t, hint)) [[likely]]
            return hint;
        return search(t, hash);
    }
    template <ip_version V>
    [[nodiscard, gnu::noinline]] flow_ref search(tuple<V> const& t, std::uint64_t hash) const noexcept {
        return index_.find(hash, [&](flow_ref ref) { return records_.is_of(t, ref); });
    }

    [[nodiscard]] records_type& records() noexcept { return records_; }
    [[nodiscard]] records_type const& records() const noexcept { return records_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return index_.bytes() + records_.bytes(); }

    /// Makes a record that was taken and filled a flow; gives it back where that fails. O(1), bounded. Shared, another
    /// worker may have entered `original`, and it is looked for again.
    /// \pre no live flow showed `original` just now
    template <ip_version O, ip_version T>
    [[nodiscard, gnu::always_inline]] insert_result
    link(flow_ref ref, flow_state state, hashed_tuple<O> const& original, hashed_tuple<T> const& reply) noexcept;
    /// Ends a live flow; false when it had ended.
    bool end(flow_ref ref, flow_end how) noexcept {
        auto& state = records_.body(ref).raw_state;
        for (auto raw = state.load_acquire(); raw != 0 && (raw & body_type::unfinished) == 0;
             raw = state.load_acquire())
            if (end_in_state(ref, raw, how)) return true;
        return false;
    }
    /// Ends a flow that is in this very state still. \pre raw is a live state, loaded with is_complete()'s order
    bool end_in_state(flow_ref ref, std::uint8_t raw, flow_end how) noexcept {
        if (!records_.body(ref).raw_state.replace(raw, 0)) return false;
        auto const [original_hash, reply_hash] = hashes(ref);
        index_.erase(original_hash, ref.as(flow_direction::original));
        index_.erase(reply_hash, ref.as(flow_direction::reply));
        records_.give_back(ref, how);
        return true;
    }
    /// Fetches what ending the flow will touch in the index.
    void prefetch_end(flow_ref ref) const noexcept {
        auto const [original_hash, reply_hash] = hashes(ref);
        index_.prefetch(original_hash);
        index_.prefetch(reply_hash);
    }

  private:
    using index_type = flow_index<Sharing, Memory>;
    using insertion = typename index_type::insertion;
    struct hash_pair {
        std::uint64_t original, reply;
    };

    [[nodiscard, gnu::always_inline]] hash_pair hashes(flow_ref ref) const noexcept {
        if (!ref.is_wide()) {
            auto const& shown = records_.narrow(ref).shown;
            return {hash_(shown[0]), hash_(shown[1])};
        }
        return hashes_of_wide(ref);
    }
    [[nodiscard, gnu::noinline]] hash_pair hashes_of_wide(flow_ref ref) const noexcept {
        return records_.visit_shown(ref, [this](auto const& original, auto const& reply) {
            return hash_pair{hash_(original), hash_(reply)};
        });
    }
    template <ip_version V>
    [[nodiscard, gnu::always_inline]] auto insert_entry(hashed_tuple<V> const& t, flow_ref ref) noexcept {
        return index_.insert(t.hash, ref, [&](flow_ref other) { return records_.is_of(t.value, other); });
    }
    [[nodiscard]] static insert_result refused(typename index_type::insertion_result const& why,
                                               insert_outcome exists) noexcept {
        return {why.what == insertion::exists ? exists : insert_outcome::full, why.existing};
    }
    void withdraw(flow_ref ref) noexcept {
        records_.body(ref).raw_state.store_release(0);
        records_.give_back(ref, flow_end::withdrawn);
    }

    Hash hash_;
    records_type records_;
    index_type index_;
};

template <class Sharing, class Memory, class Hash>
template <ip_version O, ip_version T>
inline insert_result linked_records<Sharing, Memory, Hash>::link(flow_ref ref, flow_state state,
                                                                 hashed_tuple<O> const& original,
                                                                 hashed_tuple<T> const& reply) noexcept {
    assert(Sharing::is_shared || !search(original.value, original.hash));
    auto& raw = records_.body(ref).raw_state;
    raw.store_release(static_cast<std::uint8_t>(static_cast<std::uint8_t>(state) | body_type::unfinished));
    auto const first = Sharing::is_shared ? insert_entry(original, ref)
                                          : index_.insert(original.hash, ref, [](flow_ref) { return false; });
    if (first.what != insertion::inserted) {
        withdraw(ref);
        return refused(first, insert_outcome::duplicate);
    }
    if (auto const second = insert_entry(reply, ref.mirrored()); second.what != insertion::inserted) {
        index_.erase(original.hash, ref);
        withdraw(ref);
        return refused(second, insert_outcome::reply_taken);
    }
    raw.store_release(static_cast<std::uint8_t>(state));
    return {insert_outcome::inserted, ref};
}

} // namespace v0_2
} // namespace kubeproxy
