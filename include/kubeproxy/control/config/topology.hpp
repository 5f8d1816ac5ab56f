#pragma once

#include "kubeproxy/version.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// The node that an endpoint runs on, and the nodes and zones that its hints name. Compared with this node's name and
/// zone when a snapshot is compiled, not before: the zone may become known late, or change.
struct endpoint_topology {
    std::string node{};                   ///< nodeName; empty: unknown
    std::vector<std::string> for_zones{}; ///< hints.forZones
    std::vector<std::string> for_nodes{}; ///< hints.forNodes

    [[nodiscard]] friend bool operator==(endpoint_topology const&, endpoint_topology const&) = default;
    [[nodiscard]] friend bool operator<(endpoint_topology const& a, endpoint_topology const& b) noexcept {
        return std::tie(a.node, a.for_zones, a.for_nodes) < std::tie(b.node, b.for_zones, b.for_nodes);
    }
};

/// A topology that endpoints share, in eight bytes; std::shared_ptr takes sixteen, and a cluster has 100,000 endpoints.
/// Compared by value.
class shared_topology {
  public:
    shared_topology() noexcept = default;
    explicit shared_topology(endpoint_topology value) {
        if (value != endpoint_topology{}) shared_ = new counted{{1}, std::move(value)};
    }
    shared_topology(shared_topology const& other) noexcept : shared_{other.shared_} {
        if (shared_ != nullptr) shared_->owners.fetch_add(1, std::memory_order_relaxed);
    }
    shared_topology(shared_topology&& other) noexcept : shared_{std::exchange(other.shared_, nullptr)} {}
    shared_topology& operator=(shared_topology other) noexcept {
        std::swap(shared_, other.shared_);
        return *this;
    }
    ~shared_topology() {
        if (shared_ != nullptr && shared_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete shared_;
    }

    [[nodiscard]] endpoint_topology const& operator*() const noexcept {
        // Never destroyed: objects with static storage duration may still use it after main() has returned.
        alignas(endpoint_topology) static std::array<std::byte, sizeof(endpoint_topology)> storage{};
        static endpoint_topology const& none = *::new (static_cast<void*>(storage.data())) endpoint_topology{};
        return shared_ == nullptr ? none : shared_->value;
    }
    [[nodiscard]] endpoint_topology const* operator->() const noexcept { return &**this; }
    /// Whether no other object shares it.
    [[nodiscard]] bool is_only_owner() const noexcept {
        return shared_ == nullptr || shared_->owners.load(std::memory_order_acquire) == 1;
    }

    [[nodiscard]] friend bool operator==(shared_topology const& a, shared_topology const& b) noexcept {
        return a.shared_ == b.shared_ || *a == *b;
    }
    [[nodiscard]] friend bool operator<(shared_topology const& a, shared_topology const& b) noexcept { return *a < *b; }

  private:
    struct counted {
        std::atomic<std::uint32_t> owners;
        endpoint_topology const value;
    };
    counted* shared_ = nullptr; ///< null: everything is empty
};

/// Gives equal topologies the same memory: endpoints on one node mostly have the same node name and hints.
class topology_pool {
  public:
    [[nodiscard]] shared_topology find_or_add(endpoint_topology const& value) {
        if (value == endpoint_topology{}) return {};
        if (auto const known = all_.find(value); known != all_.end()) return *known;
        if (all_.size() >= sweep_at_) sweep();
        return *all_.emplace(value).first;
    }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

  private:
    struct by_value {
        using is_transparent = void;
        [[nodiscard]] static endpoint_topology const& value(shared_topology const& t) noexcept { return *t; }
        [[nodiscard]] static endpoint_topology const& value(endpoint_topology const& t) noexcept { return t; }
        template <class A, class B>
        [[nodiscard]] bool operator()(A const& a, B const& b) const noexcept {
            return value(a) < value(b);
        }
    };
    static constexpr std::size_t min_sweep = 64;

    /// Removes what no endpoint has any more. Each time, as many may be added as are in use.
    void sweep() {
        std::erase_if(all_, [](shared_topology const& t) { return t.is_only_owner(); });
        sweep_at_ = std::max(min_sweep, 2 * all_.size());
    }

    std::set<shared_topology, by_value> all_;
    std::size_t sweep_at_ = min_sweep;
};

} // namespace v0_2
} // namespace kubeproxy
