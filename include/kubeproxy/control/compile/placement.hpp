#pragma once

#include "kubeproxy/control/compile/endpoints.hpp"
#include "kubeproxy/control/compile/frontends.hpp"
#include "kubeproxy/control/compile/index_allocator.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Gives services and backends their places in a snapshot that is being worked on, and takes them back.
///
/// A removed endpoint's place keeps what it says until another endpoint gets it. If the endpoint comes back to its
/// service before that, it gets its place back, and the flows that still are there are current again.
class placement {
  public:
    explicit placement(snapshot& working) noexcept : working_{&working} {}

    /// Before the changes that become one snapshot.
    void begin_update() {
        services_.begin_update();
        backends_.begin_update();
    }

    [[nodiscard]] std::uint32_t new_service() {
        auto const place = services_.take();
        working_->services.grow_to(services_.count());
        forget_former_backends(place);
        return place;
    }
    void release_service(std::uint32_t place) {
        if (place == no_service) return;
        working_->services.edit(place) = {};
        services_.release(place);
    }
    /// Flows of these backends look up whether the address that their client spoke to still is the port's.
    void ask_again(compiled_port const& port) {
        for (auto const place : port.backends) working_->status[place].ask_again();
    }
    /// The same for all backends of a port, by any of its places. O(backends)
    void ask_again_of(std::uint32_t service) {
        auto const main = working_->service_at(service).main_place;
        for (std::uint32_t place = 0; place < working_->status.size(); ++place)
            if (working_->backend_at(place).service == main) working_->status[place].ask_again();
    }
    void ask_all_again() {
        for (auto& status : working_->status) status.ask_again();
    }
    void release(compiled_port const& port) {
        for (auto const place : port.backends) release_backend(place);
        release_service(port.service);
        release_service(port.guarded);
    }
    /// Makes these the backends of the port; those that it had before keep their places.
    void place_targets(compiled_port& port, std::span<target const> targets);

    /// Whether backends were removed since the last call.
    [[nodiscard]] bool take_released() noexcept { return std::exchange(has_released_, false); }
    /// Places that got a new owner since begin_update().
    [[nodiscard]] std::span<std::uint32_t const> renewed_services() const noexcept { return services_.renewed(); }
    [[nodiscard]] std::span<std::uint32_t const> renewed_backends() const noexcept { return backends_.renewed(); }

  private:
    struct endpoint_key {
        std::uint32_t service;
        ipv6::address address;
        std::uint16_t port;
        [[nodiscard]] friend bool operator<(endpoint_key const& a, endpoint_key const& b) noexcept {
            return std::tie(a.service, a.address, a.port) < std::tie(b.service, b.address, b.port);
        }
    };

    [[nodiscard]] std::uint32_t place_for(target const& t, std::uint32_t service);
    [[nodiscard]] std::uint32_t new_place(endpoint_key const& key);
    void release_backend(std::uint32_t place);
    void forget_former_backends(std::uint32_t service) {
        former_.erase(former_.lower_bound({service, {}, 0}), former_.lower_bound({service + 1, {}, 0}));
    }

    snapshot* working_;
    index_allocator services_;
    index_allocator backends_;
    bool has_released_ = false;
    std::map<endpoint_key, std::uint32_t> former_; ///< places of removed endpoints that nobody else got yet
};

inline std::uint32_t placement::place_for(target const& t, std::uint32_t service) {
    endpoint_key const key{service, t.address, t.port};
    auto const former = former_.find(key);
    auto place = std::uint32_t{0};
    if (former != former_.end()) {
        place = former->second;
        former_.erase(former);
        backends_.take_back(place);
        working_->status[place].ask_again(); // the port may have lost frontends meanwhile
    } else {
        place = new_place(key);
    }
    working_->backend_addresses.add(t.address);
    working_->status[place].in_use = true;
    return place;
}

inline std::uint32_t placement::new_place(endpoint_key const& key) {
    auto const place = backends_.take();
    working_->backends.grow_to(backends_.count());
    working_->status.resize(backends_.count());
    auto& backend = working_->backends.edit(place);
    if (backend.service != no_service) { // it had another owner
        former_.erase({backend.service, backend.address, backend.port});
        working_->status[place].begin_life();
    }
    backend = {key.address, key.port, key.service};
    return place;
}

inline void placement::release_backend(std::uint32_t place) {
    auto& status = working_->status[place];
    status.in_use = status.terminating = false;
    has_released_ = true;
    auto const& backend = working_->backend_at(place);
    working_->backend_addresses.remove(backend.address);
    former_.insert_or_assign({backend.service, backend.address, backend.port}, place);
    backends_.release(place);
}

/// Both what the port had and what it gets are in the order of targets, so they are merged.
inline void placement::place_targets(compiled_port& port, std::span<target const> targets) {
    auto const before = std::exchange(port.backends, {});
    port.backends.reserve(targets.size());
    std::size_t old = 0;
    for (auto const& t : targets) {
        auto const is_behind = [&](std::uint32_t place) {
            auto const& b = working_->backend_at(place);
            return comes_before(b.address, b.port, t.address, t.port);
        };
        while (old < before.size() && is_behind(before[old])) release_backend(before[old++]);
        bool const known = old < before.size() && working_->backend_at(before[old]).address == t.address &&
                           working_->backend_at(before[old]).port == t.port;
        port.backends.push_back(known ? before[old++] : place_for(t, port.service));
        working_->status[port.backends.back()].terminating = t.is->terminating;
    }
    while (old < before.size()) release_backend(before[old++]);
}

} // namespace v0_2
} // namespace kubeproxy
