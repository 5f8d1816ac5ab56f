#pragma once

#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/flow/hash.hpp"
#include "kubeproxy/flow/secret.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/sync/sharing.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Whose choice is remembered: a client of one Service port. An IPv4 address occupies the first four bytes. The same
/// group with another version is another client.
struct affinity_key {
    ipv6::address client{};
    std::uint32_t group = 0; ///< service_entry::affinity_group: the Service
    affinity_port port{};    ///< which of the Service's ports
    std::uint8_t version = 0;

    template <ip_version V>
    [[nodiscard]] static affinity_key of(std::uint32_t group, affinity_port port,
                                         typename V::address const& client) noexcept {
        affinity_key key{.group = group, .port = port, .version = V::number};
        std::ranges::copy(client, key.client.begin());
        return key;
    }
    [[nodiscard]] friend bool operator==(affinity_key const&, affinity_key const&) noexcept = default;
};

/// What is remembered: an endpoint. A pod may appear in one Service port with several ports, so its address alone does
/// not identify the endpoint (kubernetes#103000).
struct affinity_choice {
    ipv6::address pod{};
    std::uint16_t port = 0;

    [[nodiscard]] friend bool operator==(affinity_choice const&, affinity_choice const&) noexcept = default;
};

struct affinity_counters {
    std::uint64_t remembered = 0;
    std::uint64_t evicted = 0; ///< forgotten before their time, for others
};

/// Session affinity ClientIP: which endpoint a client's last connection to a Service port went to, and when.
///
/// Only new flows ask and tell, so a choice lives as long as new connections come in time (Kubernetes:
/// sessionAffinityConfig.clientIP.timeoutSeconds), however long a connection lasts.
///
///     hash of the key -> bucket (4 entries; when a fifth comes, an expired one is replaced, else the one that has been
///     silent longest)
///
/// Fixed memory: 64 bytes per client and Service port. Shared by workers it locks one bucket for a few nanoseconds per
/// new flow.
template <class Sharing>
class basic_affinity_table {
  public:
    /// \param clients at least 1; rounded up to whole buckets and a power of two
    basic_affinity_table(std::size_t clients, secret const& key)
        : hash_{key.derive(secret_use::affinity)},
          buckets_(std::bit_ceil((std::max<std::size_t>(clients, 1) + ways - 1) / ways)) {}

    /// The endpoint that the client is bound to; none if it has not come for `timeout` seconds.
    [[nodiscard]] std::optional<affinity_choice> find(affinity_key const& key, flow_time now,
                                                      std::uint32_t timeout) noexcept {
        auto const found = entry_of(key, now, timeout);
        return found ? std::optional{found->choice} : std::nullopt;
    }

    /// Calls f(choice, milliseconds since the client last came) for what other ports of the same Service remember of
    /// the client. Asks one bucket per port, and at most `max_ports_per_client` of them.
    /// \param ports service_entry::affinity_ports
    template <class F>
    void for_each_other_port(affinity_key const& key, std::span<affinity_port const> ports, flow_time now,
                             std::uint32_t timeout, F f) noexcept {
        for (auto const port : ports.first(std::min(ports.size(), max_ports_per_client))) {
            if (port == key.port) continue;
            auto other = key;
            other.port = port;
            if (auto const found = entry_of(other, now, timeout)) f(found->choice, now.since(found->seen));
        }
    }

    /// A connection of the client went to this endpoint.
    void note(affinity_key const& key, affinity_choice const& choice, flow_time now, std::uint32_t timeout) noexcept {
        auto& b = bucket_of(key);
        held lock{b.lock};
        auto* e = b.find(key);
        if (e == nullptr) {
            e = &*std::ranges::max_element(b.entries, {}, [&](entry const& other) { return other.staleness(now); });
            if (e->is_used && !e->is_expired(now)) ++b.evicted;
            ++b.remembered;
        }
        *e = {key, choice, now, milliseconds(timeout), true};
    }

    /// Calls f(key, choice, seconds to go) for every client that is remembered. For the control path.
    template <class F>
    void for_each(flow_time now, F f) {
        for (auto& b : buckets_) {
            held lock{b.lock};
            for (auto const& e : b.entries)
                if (e.is_used && !e.is_expired(now)) f(e.key, e.choice, (e.timeout - now.since(e.seen)) / 1000);
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
    static constexpr std::size_t max_ports_per_client = 64;

    struct entry {
        affinity_key key;
        affinity_choice choice{};
        flow_time seen{};
        std::uint32_t timeout = 0; ///< milliseconds, when it was last noted
        bool is_used = false;

        [[nodiscard]] bool is_expired(flow_time now) const noexcept { return now.since(seen) >= timeout; }
        /// \param limit milliseconds: of the Service as it is now
        [[nodiscard]] bool is_valid(flow_time now, std::uint32_t limit) const noexcept {
            return !is_expired(now) && now.since(seen) < limit;
        }
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
    static_assert(sizeof(bucket) == 64 * ways);
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
    /// A copy, so that the lock is not held while the caller looks at its backends.
    [[nodiscard]] std::optional<entry> entry_of(affinity_key const& key, flow_time now,
                                                std::uint32_t timeout) noexcept {
        auto& b = bucket_of(key);
        held lock{b.lock};
        auto const* e = b.find(key);
        return e != nullptr && e->is_valid(now, milliseconds(timeout)) ? std::optional{*e} : std::nullopt;
    }
    [[nodiscard]] bucket& bucket_of(affinity_key const& key) noexcept {
        tuple<ipv6> const as_tuple{.source = key.client, .destination = group_and_port(key), .protocol = key.version};
        return buckets_[static_cast<std::size_t>(hash_(as_tuple)) & (buckets_.size() - 1)];
    }
    [[nodiscard]] static ipv6::address group_and_port(affinity_key const& key) noexcept {
        ipv6::address bytes{};
        store_be(bytes, 0, key.group);
        store_be(bytes, 4, key.port.number);
        bytes[6] = static_cast<std::byte>(key.port.protocol);
        return bytes;
    }

    flow_hash hash_;
    std::vector<bucket> buckets_;
};

using affinity_table = basic_affinity_table<single_worker>;
using shared_affinity_table = basic_affinity_table<shared_workers>;

} // namespace v0_2
} // namespace kubeproxy
