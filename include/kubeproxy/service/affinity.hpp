#pragma once

#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/flow/sharing.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace kubeproxy::inline v0_2 {

/// Whose choice is remembered: a client of a Service, all its ports together. An address of IPv4 stands in the first
/// four bytes; clients of the two IP versions have different groups.
struct affinity_key {
    ipv6::address client{};
    std::uint32_t group = 0; ///< service_entry::affinity_group
    std::uint32_t version = 0;

    template <ip_version V>
    [[nodiscard]] static affinity_key of(std::uint32_t group, typename V::address const& client) noexcept {
        affinity_key key{.group = group, .version = V::number};
        std::ranges::copy(client, key.client.begin());
        return key;
    }
    [[nodiscard]] friend bool operator==(affinity_key const&, affinity_key const&) noexcept = default;
};

struct affinity_counters {
    std::uint64_t remembered = 0;
    std::uint64_t evicted = 0; ///< forgotten before their time, for others
};

/// Session affinity ClientIP: which pod a client's last connection to a Service went to, and when.
///
/// Only new flows ask and tell, so a choice lives as long as new connections come in time (Kubernetes:
/// sessionAffinityConfig.clientIP.timeoutSeconds), however long a connection lasts.
///
///     hash of the key -> bucket (4 clients; an expired one goes when a fifth comes, else the one longest silent)
///
/// Fixed memory: 64 bytes a client. Shared by workers it locks one bucket for a few nanoseconds per new flow.
template <class Sharing>
class basic_affinity_table {
  public:
    /// \param clients at least 1; rounded up to whole buckets and a power of two
    basic_affinity_table(std::size_t clients, std::uint64_t seed)
        : hash_{seed}, buckets_(std::bit_ceil((std::max<std::size_t>(clients, 1) + ways - 1) / ways)) {}

    /// The pod that the client is bound to; none if it has not come for `timeout` seconds.
    [[nodiscard]] std::optional<ipv6::address> find(affinity_key const& key, flow_time now,
                                                    std::uint32_t timeout) noexcept {
        auto& b = bucket_of(key);
        held lock{b.lock};
        auto const* e = b.find(key);
        if (e == nullptr || e->is_expired(now)) return std::nullopt;
        return now.since(e->seen) < milliseconds(timeout) ? std::optional{e->pod} : std::nullopt;
    }

    /// A connection of the client went to `pod`.
    void note(affinity_key const& key, ipv6::address const& pod, flow_time now, std::uint32_t timeout) noexcept {
        auto& b = bucket_of(key);
        held lock{b.lock};
        auto* e = b.find(key);
        if (e == nullptr) {
            e = &*std::ranges::max_element(b.entries, {}, [&](entry const& other) { return other.staleness(now); });
            if (e->is_used && !e->is_expired(now)) ++b.evicted;
            ++b.remembered;
        }
        *e = {key, pod, now, milliseconds(timeout), true};
    }

    /// Calls f(key, pod, seconds to go) for every client that is remembered. For the control path.
    template <class F>
    void for_each(flow_time now, F f) {
        for (auto& b : buckets_) {
            held lock{b.lock};
            for (auto const& e : b.entries)
                if (e.is_used && !e.is_expired(now)) f(e.key, e.pod, (e.timeout - now.since(e.seen)) / 1000);
        }
    }

    [[nodiscard]] affinity_counters counters() noexcept {
        affinity_counters sum;
        for (auto& b : buckets_) {
            held lock{b.lock};
            sum.remembered += b.remembered;
            sum.evicted += b.evicted;
        }
        return sum;
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return buckets_.size() * ways; }

  private:
    static constexpr std::size_t ways = 4;

    struct entry {
        affinity_key key;
        ipv6::address pod{};
        flow_time seen{};
        std::uint32_t timeout = 0; ///< milliseconds, when it was last noted
        bool is_used = false;

        [[nodiscard]] bool is_expired(flow_time now) const noexcept { return now.since(seen) >= timeout; }
        [[nodiscard]] std::uint64_t staleness(flow_time now) const noexcept {
            if (!is_used || is_expired(now)) return ~std::uint64_t{0};
            return now.since(seen);
        }
    };
    struct alignas(64) bucket {
        std::array<entry, ways> entries{};
        typename Sharing::lock lock{};
        std::uint32_t remembered = 0;
        std::uint32_t evicted = 0;

        [[nodiscard]] entry* find(affinity_key const& key) noexcept {
            auto const at = std::ranges::find_if(entries, [&](entry const& e) { return e.is_used && e.key == key; });
            return at == entries.end() ? nullptr : &*at;
        }
    };
    class held {
      public:
        explicit held(typename Sharing::lock& l) noexcept : lock_{&l} { lock_->acquire(); }
        held(held const&) = delete;
        held& operator=(held const&) = delete;
        ~held() { lock_->release(); }

      private:
        typename Sharing::lock* lock_;
    };

    [[nodiscard]] static std::uint32_t milliseconds(std::uint32_t seconds) noexcept {
        return to_milliseconds(std::chrono::seconds{seconds});
    }
    [[nodiscard]] bucket& bucket_of(affinity_key const& key) noexcept {
        tuple<ipv6> const as_tuple{.source = key.client,
                                   .source_port = static_cast<std::uint16_t>(key.group >> 16),
                                   .destination_port = static_cast<std::uint16_t>(key.group),
                                   .protocol = static_cast<std::uint8_t>(key.version)};
        return buckets_[hash_(as_tuple) & (buckets_.size() - 1)];
    }

    flow_hash hash_;
    std::vector<bucket> buckets_;
};

using affinity_table = basic_affinity_table<single_worker>;
using shared_affinity_table = basic_affinity_table<shared_workers>;

} // namespace kubeproxy::inline v0_2
