#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/flow/fragment_store.hpp"
#include "kubeproxy/flow/fragments.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

struct fragment_settings {
    fragment_table_settings table{};
    fragment_store_settings store{};
};

/// What a worker knows of fragmented messages of one version.
template <ip_version V>
struct fragment_memory {
    fragment_memory(std::uint64_t seed, fragment_settings const& settings)
        : messages{seed, settings.table}, early{seed, settings.store} {}

    fragment_table<V> messages;
    fragment_store<V> early;
};

/// First fragments whose early ones wait to follow them, in the order of a burst.
template <packet_buffer P, ip_version V, std::size_t Burst>
struct due_fragments {
    struct one {
        fragment_key<V> key;
        tuple<V> message;
        P* first;
    };
    std::array<one, Burst> list;
    std::size_t count = 0;
};

/// Gives each fragment the tuple of its message. A later one that comes before the first is kept as a copy, if its
/// message may be ours; else it passes.
template <packet_buffer P, std::size_t Burst>
class fragment_stage {
  public:
    fragment_stage(burst_context const& burst, std::uint64_t seed, fragment_settings const& settings)
        : burst_{&burst}, memory_{fragment_memory<ipv4>{seed, settings}, fragment_memory<ipv6>{seed, settings}} {}

    template <ip_version V>
    step<seen<P, V>> operator()(fragment<P, V> f) noexcept {
        auto const key = fragment_key<V>::of(f.headers());
        if (f.headers().what == content::later_fragment) return follow(f, key);
        if (f.headers().flaw != drop_reason::none) return seen<P, V>{detail::storage_of(f)};
        auto& memory = memory_of<V>();
        memory.messages.note_first(key, f.key(), burst_->now);
        auto& due = std::get<due_fragments<P, V, Burst>>(due_);
        if (memory.early.size() != 0 && due.count < Burst) due.list[due.count++] = {key, f.key(), &f.packet()};
        return seen<P, V>{detail::storage_of(f)};
    }

    /// Calls sink(bytes, first) for every fragment that may go on after its first one. If it throws, the others stay.
    template <ip_version V, class Sink>
    void release(Sink&& sink) {
        auto& due = std::get<due_fragments<P, V, Burst>>(due_);
        auto const count = std::exchange(due.count, 0);
        for (std::size_t i = 0; i < count; ++i) {
            auto const& one = due.list[i];
            auto& memory = memory_of<V>();
            // The rest of the burst may have pushed it out; what is let go must find it, or it would be held again.
            if (!memory.messages.find(one.key, burst_->now))
                memory.messages.note_first(one.key, one.message, burst_->now);
            memory.early.release(one.key, [&](mutable_byte_span held) { sink(held, *one.first); });
        }
    }

    /// Forgets the first fragments of an earlier burst whose early fragments were not released. The early fragments
    /// stay held until another first fragment of their message arrives or they expire.
    void forget_due() noexcept {
        std::get<0>(due_).count = 0;
        std::get<1>(due_).count = 0;
    }

    /// Forgets some early fragments whose first one did not come in time, and says how many.
    [[nodiscard]] std::size_t expire() noexcept {
        std::size_t count = 0;
        if (memory_of<ipv4>().early.size() != 0) count += memory_of<ipv4>().early.expire(burst_->now);
        if (memory_of<ipv6>().early.size() != 0) count += memory_of<ipv6>().early.expire(burst_->now);
        return count;
    }
    /// Held fragments that gave way to others since the last call.
    [[nodiscard]] std::size_t take_evicted() noexcept { return std::exchange(evicted_, 0); }

    template <ip_version V>
    [[nodiscard]] fragment_memory<V> const& memory() const noexcept {
        return std::get<fragment_memory<V>>(memory_);
    }

  private:
    template <ip_version V>
    [[nodiscard]] fragment_memory<V>& memory_of() noexcept {
        return std::get<fragment_memory<V>>(memory_);
    }

    template <ip_version V>
    step<seen<P, V>> follow(fragment<P, V> const& f, fragment_key<V> const& key) noexcept {
        auto& memory = memory_of<V>();
        if (auto const message = memory.messages.find(key, burst_->now)) {
            detail::storage_of(f).key = *message;
            return seen<P, V>{detail::storage_of(f)};
        }
        if (!may_be_ours<V>(f.key())) return seen<P, V>{detail::storage_of(f)};
        if (!burst_->can_spare) return f.drop(drop_reason::no_spare_packet);
        auto const held = memory.early.hold(f.headers(), burst_->now);
        evicted_ += held.evicted;
        return f.drop(held.why == drop_reason::none ? drop_reason::fragment_held : held.why);
    }

    /// To a service, to a source that we gave out, or from a backend.
    template <ip_version V>
    [[nodiscard]] bool may_be_ours(tuple<V> const& addresses) const noexcept {
        auto const* services = burst_->services;
        if (services == nullptr) return false;
        auto const& node = services->template node<V>();
        bool const to_pool = node.pool_first <= addresses.destination && addresses.destination <= node.pool_last;
        return services->template frontends<V>().covers(addresses.destination) || to_pool ||
               services->backend_addresses.template contains_address<V>(addresses.source);
    }

    burst_context const* burst_;
    std::tuple<fragment_memory<ipv4>, fragment_memory<ipv6>> memory_;
    std::tuple<due_fragments<P, ipv4, Burst>, due_fragments<P, ipv6, Burst>> due_{};
    std::size_t evicted_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
