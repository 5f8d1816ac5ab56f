#pragma once

#include "kubeproxy/flow/new_flow.hpp"
#include "kubeproxy/flow/sctp_tags.hpp"
#include "kubeproxy/flow/secret.hpp"
#include "kubeproxy/flow/state_transitions.hpp"
#include "kubeproxy/flow/table/linked_records.hpp"
#include "kubeproxy/flow/table/reaper.hpp"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// All conversations of a host: two index entries, one per direction, lead to one record.
///
/// For a burst: hash() and prefetch_bucket() for every packet, then candidate() and prefetch_record() for every
/// packet, then find(), touch() and insert(). A hit reads one line of the index and the record.
///
/// Capacity is fixed, nothing is allocated after construction. When no record is free an insertion ends a flow that
/// has expired or that is_evictable(), if it meets one soon (reaper.hpp).
///
/// Shared (Sharing = shared_workers): every caller is inside the quiescent_domain from its first candidate() or
/// find() to its last use of what was found. A record found is not reused before that, so its tuples are
/// read plainly; it may end at any moment, and then find() no longer returns it.
///
/// Memory order, shared. Filling a record pairs with finding it: link() writes the record, then stores the index
/// entry with release, and lookups load entries with acquire (index.hpp). Walks reach records without the index:
/// they load raw_state with acquire, which pairs with the release store that completes the insertion. Ending pairs
/// with ending: the compare-and-swap of raw_state to 0 succeeds for one worker only. Ending pairs with reuse: index
/// entries and raw_state are cleared before give_back() locks the shard, the shard's next free_list batch calls
/// advance(), and advance()'s fence pairs with the fence in enter(); leave()'s release store pairs with
/// has_passed()'s acquire load (quiescence.hpp). Nothing needs a sequentially consistent load.
template <class Sharing, class Memory, class Hash = flow_hash>
class basic_flow_table {
    using linked_records_type = linked_records<Sharing, Memory, Hash>;

  public:
    using sharing_type = Sharing;
    using body_type = typename linked_records_type::body_type;

    /// \param key keeps clients from choosing packets whose flows fall into one place
    template <class S = Sharing> // as a template, it is not part of an explicit instantiation of the class
    basic_flow_table(flow_table_size size, secret const& key) : basic_flow_table{size, key, nullptr} {
        static_assert(!S::is_shared, "a shared table needs its workers' source: {size, secret, services}");
    }
    template <class S = Sharing> // does not compile
    explicit basic_flow_table(flow_table_size size) : basic_flow_table{size, secret{0}, nullptr} {
        static_assert(!std::same_as<S, S>, "a table needs a secret: {size, secret::from_system()}");
    }
    /// \param services the service_source of the workers, whose quiescent domain is theirs. It outlives the table.
    template <has_quiescence Source>
    basic_flow_table(flow_table_size size, secret const& key, Source& services) requires(Sharing::is_shared)
        : basic_flow_table{size, key, &services.quiescence()} {}
    /// \param domain the one that the workers enter. It outlives the table.
    basic_flow_table(flow_table_size size, secret const& key, quiescent_domain& domain) requires(Sharing::is_shared)
        : basic_flow_table{size, key, &domain} {}

    [[nodiscard]] secret const& key() const noexcept { return key_; } ///< proxies derive their secrets from it
    /// Which domain the workers enter; null where one worker has the table for itself.
    [[nodiscard]] quiescent_domain* quiescence() const noexcept { return domain_; }

    template <ip_version V>
    [[nodiscard]] std::uint64_t hash(tuple<V> const& t) const noexcept {
        return flows_.hash(t);
    }
    void prefetch_bucket(std::uint64_t hash) const noexcept { flows_.prefetch(hash); }
    /// Touches the index only: may be another tuple's flow, or one that has ended.
    [[nodiscard]] flow_ref candidate(std::uint64_t hash) const noexcept { return flows_.candidate(hash); }
    void prefetch_record(flow_ref ref) const noexcept { flows_.records().prefetch(ref); }

    /// The live flow that `t` belongs to, and in which direction. `hint` is a candidate() for `hash`, or none.
    template <ip_version V>
    [[nodiscard]] flow_ref find(tuple<V> const& t, std::uint64_t hash, flow_ref hint = {}) const noexcept {
        return flows_.find(t, hash, hint);
    }
    template <ip_version V>
    [[nodiscard]] flow_ref find(tuple<V> const& t) const noexcept {
        return find(t, hash(t));
    }

    [[nodiscard]] body_type& body(flow_ref ref) noexcept { return flows_.records().body(ref); }
    [[nodiscard]] body_type const& body(flow_ref ref) const noexcept { return flows_.records().body(ref); }
    /// Bytes of this direction's packets; wide flows only, 0 for narrow ones, whose record has no room for it.
    [[nodiscard]] std::uint64_t bytes_of(flow_ref ref) const noexcept {
        return ref.is_wide() ? flows_.records().wide(ref).bytes[number(ref.direction())].load() : 0;
    }
    /// Whether a packet of this direction leaves as IPv6.
    [[nodiscard]] bool leaves_as_ipv6(flow_ref ref) const noexcept {
        return flows_.records().is_ipv6(ref, opposite(ref.direction()));
    }
    /// The tuple with which a packet of this direction leaves. \pre leaves_as_ipv6(ref) says V
    template <ip_version V>
    [[nodiscard]] tuple<V> leaves_as(flow_ref ref) const noexcept {
        return flows_.records().template shown_in<V>(ref, opposite(ref.direction())).mirrored();
    }
    /// \pre !ref.is_wide()
    [[nodiscard]] auto& narrow(flow_ref ref) noexcept { return flows_.records().narrow(ref); }
    /// \pre ref.is_wide()
    [[nodiscard]] auto& wide(flow_ref ref) noexcept { return flows_.records().wide(ref); }
    /// Calls f(original, translated) with the flow's tuples in their versions.
    template <class F>
    decltype(auto) visit_tuples(flow_ref ref, F f) const {
        return flows_.records().visit_shown(ref, [&f](auto const& original, auto const& reply) -> decltype(auto) {
            return f(original, reply.mirrored());
        });
    }

    /// Enters a flow whose packets show `original` and leave as `translated`. An expired flow in the way ends.
    template <ip_version O, ip_version T>
    [[nodiscard]] insert_result insert(tuple<O> const& original, tuple<T> const& translated, new_flow const& what,
                                       flow_time now) noexcept {
        auto const first = flows_.hashed(original);
        if (auto const ref = in_the_way(first, now)) return {insert_outcome::duplicate, ref};
        auto const reply = mirrored(words_of(translated));
        return insert_new(first, hashed_tuple<T>{reply, flows_.hash(reply)}, what, now);
    }
    /// The same where find() has just found no flow of `original`, which was not expired either. Another worker may
    /// have entered it since. \param reply what packets of the other direction show
    template <ip_version O, ip_version T>
    [[nodiscard]] insert_result insert_new(hashed_tuple<O> const& original, hashed_tuple<T> const& reply,
                                           new_flow const& what, flow_time now) noexcept;
    /// Of the tuple that replies to `translated` show.
    template <ip_version T>
    [[nodiscard]] std::uint64_t reply_hash(tuple<T> const& translated) const noexcept {
        return flows_.hash(mirrored(words_of(translated)));
    }
    /// Fetches what an insertion will need beside its packet's own bucket; early, it saves a new flow's largest
    /// wait.
    void prefetch_insert(std::uint64_t reply_hash) const noexcept { flows_.prefetch_insert(reply_hash); }
    /// The live flow whose replies look like replies to `translated`.
    template <ip_version T>
    [[nodiscard]] flow_ref find_reply(tuple<T> const& translated, flow_time now) const noexcept {
        auto const ref = find(translated.mirrored());
        return ref && !is_expired(ref, now) ? ref : flow_ref{};
    }
    template <ip_version T>
    [[nodiscard]] bool reply_is_free(tuple<T> const& translated, flow_time now) const noexcept {
        return !find_reply(translated, now);
    }

    [[nodiscard]] bool is_expired(flow_ref ref, flow_time now) const noexcept { return body(ref).is_expired(now); }
    /// Records a packet of the flow: when, how long, and what it means for the state.
    void touch(flow_ref ref, flow_time now, transport_event event, std::uint32_t bytes,
               timeouts const& limits) noexcept {
        auto const limits_of = [&](std::uint32_t) -> timeouts const& { return limits; };
        auto const always = [] { return true; };
        if (ref.is_wide()) return touch(wide(ref), ref.direction(), now, event, bytes, limits_of, always);
        touch(narrow(ref), ref.direction(), now, event, bytes, limits_of, always);
    }
    /// The same for a record. Only where the packet would change the state: `may_change()` says whether it may, and
    /// `limits_of(service)` how long the flow may be silent from then on.
    template <class Record, class LimitsOf, std::predicate MayChange>
    [[gnu::always_inline]] static void touch(Record& record, flow_direction d, flow_time now, transport_event event,
                                             std::uint32_t bytes, LimitsOf&& limits_of,
                                             MayChange&& may_change) noexcept {
        auto& b = record.body;
        b.last_seen.store(now.milliseconds());
        auto& packets = b.packets[number(d)];
        packets.store(packets.load() + 1);
        record.add_bytes(d, bytes);
        auto const raw = b.raw_state.load();
        auto const before = b.state(), after = advance(before, d, event);
        if (after == before) [[likely]]
            return;
        if (raw != static_cast<std::uint8_t>(before)) return; // unfinished: its inserter's to change
        if (may_change() && b.raw_state.replace(raw, static_cast<std::uint8_t>(after)))
            b.timeout.store(to_milliseconds(timeout_of(after, limits_of(b.service))));
    }
    /// Ends a flow, both directions; false when it had ended.
    bool erase(flow_ref ref) noexcept { return flows_.end(ref, flow_end::erased); }
    /// Ends a flow that is_evictable() to make room for another; false when it is not, or no longer, or had ended.
    bool evict(flow_ref ref) noexcept {
        auto const raw = body(ref).raw_state.load_acquire();
        return raw != 0 && is_evictable(static_cast<flow_state>(raw)) && flows_.records().is_complete(ref) &&
               flows_.end_in_state(ref, raw, flow_end::evicted);
    }
    /// Ends what has expired among the next `budget` records, and fetches those after them: 1-2 ns a record, and
    /// two lines of the index for each flow that ends. Returns how many did.
    std::size_t sweep(std::size_t budget, flow_time now) noexcept { return reaper_.sweep(flows_, budget, now); }
    /// Ends every flow. For the control path.
    void flush() noexcept {
        for_each([this](flow_ref ref) { erase(ref); });
    }
    /// Calls f(flow_ref), original direction, for every flow. Walks all records: for the control path.
    template <class F>
    void for_each(F f) const {
        (void)for_each(0, positions(), f);
    }
    /// The same for at most `count` records from a position on; returns the position behind them. For a walk in
    /// steps: a flow that is there throughout is met at least once, and twice only where positions() grows
    /// meanwhile.
    template <class F>
    std::size_t for_each(std::size_t from, std::size_t count, F f) const {
        auto const& records = flows_.records();
        auto const end = from + std::min(count, records.positions() - std::min(from, records.positions()));
        for (auto i = from; i < end; ++i)
            if (auto const ref = records.at(i); records.is_complete(ref)) f(ref);
        return end;
    }
    /// Where a walk ends. It never shrinks.
    [[nodiscard]] std::size_t positions() const noexcept { return flows_.records().positions(); }

    [[nodiscard]] flow_counters counters() const noexcept { return flows_.records().counters(); }
    [[nodiscard]] flow_table_size capacity() const noexcept {
        return {flows_.records().narrow_capacity(), flows_.records().wide_capacity()};
    }
    /// All memory that the table may ever touch.
    [[nodiscard]] std::size_t bytes() const noexcept { return flows_.bytes() + tags_.bytes(); }

    /// The verification tags of an SCTP flow, as far as they are known.
    [[nodiscard]] sctp_tags tags_of(flow_ref ref) const noexcept { return tags_.find(ref); }
    void note_tags(flow_ref ref, sctp_tags const& tags) noexcept {
        tags_.note(ref, tags, [this](flow_ref other) {
            auto const state = body(other).state();
            return kind_of(state) == flow_kind::sctp && !is_evictable(state);
        });
    }

  private:
    using records_type = typename linked_records_type::records_type;

    basic_flow_table(flow_table_size size, secret const& key, quiescent_domain* domain)
        : key_{key}, flows_{detail::checked(size).narrow, size.wide, key.derive(secret_use::flow_table), domain},
          tags_{std::size_t{size.narrow} + size.wide}, domain_{domain} {}

    /// How often an insertion frees a record, or the reply's tuple, before it gives up. One worker needs it once.
    /// Where workers share, an attempt is lost only if another worker's insertion takes what was freed, or another
    /// worker ends or uses the flow that was to be evicted, within some hundred nanoseconds: even if that happened
    /// every other time, 16 lost attempts in a row would take 65,536 insertions into a full table.
    static constexpr unsigned max_attempts = Sharing::is_shared ? 16 : 2;

    /// The flow of this tuple unless it has expired, in which case it ends.
    template <ip_version V>
    [[nodiscard]] flow_ref in_the_way(hashed_tuple<V> const& t, flow_time now) noexcept {
        auto const ref = flows_.find(t.value, t.hash);
        if (!ref || !is_expired(ref, now)) return ref;
        flows_.end(ref, flow_end::expired);
        return {};
    }
    template <ip_version O, ip_version T>
    [[nodiscard]] flow_ref take_record(std::uint64_t hash, flow_time now) noexcept;

    secret key_;
    linked_records_type flows_;
    flow_reaper<Sharing, linked_records_type> reaper_;
    sctp_tag_store<Sharing> tags_;
    quiescent_domain* domain_;
};

/// For one worker.
using flow_table = basic_flow_table<single_worker, huge_page_memory>;
/// For several workers that are in one quiescent_domain.
using shared_flow_table = basic_flow_table<shared_workers, huge_page_memory>;

template <class S, class M, class H>
template <ip_version O, ip_version T>
insert_result basic_flow_table<S, M, H>::insert_new(hashed_tuple<O> const& original, hashed_tuple<T> const& reply,
                                                    new_flow const& what, flow_time now) noexcept {
    if constexpr (std::same_as<O, T>)
        if (original.value == reply.value) return {insert_outcome::reply_taken, {}}; // its own replies look like it
    flows_.prefetch(reply.hash);
    for (unsigned attempt = 1;; ++attempt) {
        auto const ref = take_record<O, T>(original.hash, now);
        if (!ref) return {insert_outcome::full, {}};
        detail::fill_record(flows_.records().template record<O, T>(ref), original.value, reply.value, what, now);
        if (kind_of(what.state) == flow_kind::sctp) tags_.forget(ref);
        auto const result = flows_.link(ref, what.state, original, reply);
        if (result.what == insert_outcome::reply_taken && attempt < max_attempts && is_expired(result.ref, now)) {
            flows_.end(result.ref, flow_end::expired); // unless another worker has just ended it
            continue;
        }
        if (result.what == insert_outcome::full) flows_.records().template pool_for<O, T>().count_refusal(ref.index());
        return result;
    }
}

template <class S, class M, class H>
template <ip_version O, ip_version T>
flow_ref basic_flow_table<S, M, H>::take_record(std::uint64_t hash, flow_time now) noexcept {
    auto& pool = flows_.records().template pool_for<O, T>();
    auto const near = static_cast<std::uint32_t>(hash >> 40);
    auto taken = pool.take(near);
    for (unsigned attempt = 0; taken.is_full && attempt < max_attempts; ++attempt) {
        auto const evicted = reaper_.template evict_one<O, T>(flows_, now);
        if (evicted.what == detail::room::none && !S::is_shared) break;
        taken = pool.take(evicted.ref ? evicted.ref.index() : near);
        if (evicted.what == detail::room::none) break; // that was for what other workers freed during the search
    }
    if (taken.number != 0) return records_type::template ref_to<O, T>(static_cast<std::uint32_t>(taken.number));
    pool.count_refusal(near);
    return {};
}

} // namespace v0_2
} // namespace kubeproxy
