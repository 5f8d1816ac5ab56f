#pragma once

#include "kubeproxy/version.hpp" // first, so that a compiler for C++17 stops here and not at the end of a long chain

#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/dataplane/step.hpp"
#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/flow/tuple_words.hpp"
#include "kubeproxy/nat/settings.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

#include <cstdint>

/// How far a packet has come, as types. A stage takes a packet in one state and returns it in another one. Each state
/// gives access only to what is known by then, so that code that reads something too early does not compile.
///
///     frame ──parse──┬─> fragment ──fragments──┐
///                    └─────────────────────────┴─> seen ──locate──┬─────────────────────────> candidate
///                                                                 └─> index_miss ──preselect──────┘
///
///     candidate ──track──┬─> resolved, resolved_error    the flow is known
///                        └─> untracked ──select──> selected ──bind──> resolved, resolved_error
///
///     resolved, resolved_error ──rewrite──> finished     track, select and rewrite may also return
///     rejected ──reject──> finished                      `rejected`, and each stage may finish a packet
///
/// All states of a packet point to the same storage; no data is copied from one state to the next.
namespace kubeproxy {
inline namespace v0_2 {

template <packet_buffer P, ip_version V>
class packet_state;

namespace detail {

/// What is known about one packet of a burst. Which fields are valid depends on the packet's state.
template <packet_buffer P, ip_version V>
struct alignas(64) packet_storage {
    P* packet;
    outcome* result;
    tuple<V> key;
    std::uint64_t hash;
    flow_ref candidate;
    bool is_preselected;
    sum_changes changes;
    parsed<V> headers;
    tuple<V> after;                          ///< the resolved tuple, if the packet keeps its IP version
    tuple<typename V::other> after_as_other; ///< the resolved tuple, if the packet changes its IP version
    selection choice;
    std::uint64_t reply_hash; ///< of a preselected packet that keeps its source
    icmp_error_fields answer;

    template <ip_version To>
    [[nodiscard]] tuple<To>& resolved_as() noexcept {
        if constexpr (std::same_as<To, V>)
            return after;
        else
            return after_as_other;
    }
};

/// For the stages that move a packet from one state to the next one.
template <packet_buffer P, ip_version V>
[[nodiscard]] packet_storage<P, V>& storage_of(packet_state<P, V> const& state) noexcept {
    return *state.storage_;
}

} // namespace detail

/// A packet as the host handed it in, and room for what the stages find out about it. Valid until the burst ends.
template <packet_buffer P>
struct frame {
    P* packet;
    outcome* result;
    detail::packet_storage<P, ipv4>* as_ipv4;
    detail::packet_storage<P, ipv6>* as_ipv6;
};

/// What every state after `frame` gives access to.
template <packet_buffer P, ip_version V>
class packet_state {
  public:
    explicit packet_state(detail::packet_storage<P, V>& storage) noexcept : storage_{&storage} {}

    [[nodiscard]] P& packet() const noexcept { return *storage_->packet; }
    /// The headers, and the reason why the packet must not be rewritten, if there is one (`flaw`).
    [[nodiscard]] parsed<V> const& headers() const noexcept { return storage_->headers; }
    /// The tuple by which the packet's flow is known in the direction of this packet. For an ICMP error it is the flow
    /// of the packet that the error quotes.
    [[nodiscard]] tuple<V> const& key() const noexcept { return storage_->key; }
    [[nodiscard]] outcome& result() const noexcept { return *storage_->result; }

    /// Ends the packet's path with this verdict.
    settled settle(verdict what) const noexcept {
        storage_->result->what = what;
        return {};
    }
    settled drop(drop_reason why) const noexcept { return settle(verdict::drop(why)); }

  private:
    friend detail::packet_storage<P, V>& detail::storage_of<P, V>(packet_state const&) noexcept;

    detail::packet_storage<P, V>* storage_;
};

/// A fragment. Its headers are known; the key of a later fragment has no ports yet.
template <packet_buffer P, ip_version V>
struct fragment : packet_state<P, V> {
    using packet_state<P, V>::packet_state;
};

/// A packet whose headers and key are known. A host's own stage takes this state and returns it.
template <packet_buffer P, ip_version V>
struct seen : packet_state<P, V> {
    using packet_state<P, V>::packet_state;
};

/// A packet that the flow table's index has no entry for. Most likely it begins a flow.
template <packet_buffer P, ip_version V>
struct index_miss : packet_state<P, V> {
    using packet_state<P, V>::packet_state;
};

/// A packet, and the flow that it may belong to: none after an `index_miss`.
template <packet_buffer P, ip_version V>
struct candidate : packet_state<P, V> {
    using packet_state<P, V>::packet_state;
    [[nodiscard]] std::uint64_t hash() const noexcept { return detail::storage_of(*this).hash; }
    [[nodiscard]] flow_ref flow() const noexcept { return detail::storage_of(*this).candidate; }
};

/// A packet of no known flow.
template <packet_buffer P, ip_version V>
struct untracked : packet_state<P, V> {
    using packet_state<P, V>::packet_state;
    /// The choice of the preselect stage; null if that stage made none.
    [[nodiscard]] selection const* preselection() const noexcept {
        auto const& storage = detail::storage_of(*this);
        return storage.is_preselected ? &storage.choice : nullptr;
    }
};

/// A packet of no known flow, and the backend that was selected for it. Without a service the packet keeps its
/// destination (proxy_settings::track_direct).
template <packet_buffer P, ip_version V>
struct selected : packet_state<P, V> {
    using packet_state<P, V>::packet_state;
    [[nodiscard]] std::uint64_t hash() const noexcept { return detail::storage_of(*this).hash; }
    [[nodiscard]] selection const& choice() const noexcept { return detail::storage_of(*this).choice; }
    /// Whether the preselect stage has made the choice. Then it has also computed the tuple that the packet becomes
    /// and, if the source stays, the hash of the reply's tuple.
    [[nodiscard]] bool is_preselected() const noexcept { return detail::storage_of(*this).is_preselected; }
    /// \pre is_preselected(), and the source stays
    [[nodiscard]] std::uint64_t reply_hash() const noexcept { return detail::storage_of(*this).reply_hash; }
};

/// A packet, and the tuple that it must leave with.
template <packet_buffer P, ip_version From, ip_version To>
struct resolved : packet_state<P, From> {
    resolved(packet_state<P, From> const& p, tuple_words<To> const& after, sum_changes changes) noexcept
        : packet_state<P, From>{p} {
        auto& storage = detail::storage_of(p);
        store_words(storage.template resolved_as<To>(), after);
        storage.changes = changes;
    }
    /// The tuple is in the storage already.
    resolved(packet_state<P, From> const& p, sum_changes changes) noexcept : packet_state<P, From>{p} {
        detail::storage_of(p).changes = changes;
    }
    [[nodiscard]] tuple<To> const& after() const noexcept {
        return detail::storage_of(*this).template resolved_as<To>();
    }
    /// How the checksums change from key() to after().
    [[nodiscard]] sum_changes changes() const noexcept { return detail::storage_of(*this).changes; }
};

/// An ICMP error, and the tuple that a packet of its flow in the same direction would leave with.
template <packet_buffer P, ip_version From, ip_version To>
struct resolved_error : packet_state<P, From> {
    resolved_error(packet_state<P, From> const& p, tuple_words<To> const& after) noexcept : packet_state<P, From>{p} {
        store_words(detail::storage_of(p).template resolved_as<To>(), after);
    }
    /// The tuple is in the storage already.
    explicit resolved_error(packet_state<P, From> const& p) noexcept : packet_state<P, From>{p} {}
    [[nodiscard]] tuple<To> const& after() const noexcept {
        return detail::storage_of(*this).template resolved_as<To>();
    }
};

/// A packet that is not forwarded and whose sender is to be told why. Its result is a drop with the reason. If the
/// reject stage composes a reply, the reply gets the same reason.
template <packet_buffer P, ip_version V>
struct rejected : packet_state<P, V> {
    rejected(packet_state<P, V> const& p, icmp_error_fields const& answer) noexcept : packet_state<P, V>{p} {
        detail::storage_of(p).answer = answer;
    }
    [[nodiscard]] icmp_error_fields const& answer() const noexcept { return detail::storage_of(*this).answer; }
};

} // namespace v0_2
} // namespace kubeproxy
