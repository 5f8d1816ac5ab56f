#pragma once

#include "kubeproxy/control/endpoints.hpp"
#include "kubeproxy/control/frontends.hpp"
#include "kubeproxy/control/places.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace kubeproxy::inline v0_2 {

/// Gives services and backends their places in a snapshot that is being worked on, and takes them back. A place that
/// was given up has another generation from then on.
class placement {
  public:
    explicit placement(snapshot& working) noexcept : working_{&working} {}

    /// Before the changes that become one snapshot.
    void settle() {
        services_.settle();
        backends_.settle();
    }

    [[nodiscard]] std::uint32_t new_service() {
        auto const place = services_.take();
        working_->services.grow_to(services_.count());
        return place;
    }
    void release_service(std::uint32_t place) {
        if (place == no_service) return;
        working_->services.edit(place) = {};
        services_.give_back(place);
    }
    void release(compiled_port const& port) {
        for (auto const place : port.backends) release_backend(place);
        release_service(port.service);
        release_service(port.guarded);
    }
    /// Makes these the backends of the port; those that it had before keep their places.
    void place_targets(compiled_port& port, std::span<target const> targets);

    /// Places that got a new owner since settle().
    [[nodiscard]] std::span<std::uint32_t const> renewed_services() const noexcept { return services_.renewed(); }
    [[nodiscard]] std::span<std::uint32_t const> renewed_backends() const noexcept { return backends_.renewed(); }

  private:
    [[nodiscard]] std::uint32_t new_backend(target const& t, std::uint32_t service);
    void release_backend(std::uint32_t place);

    snapshot* working_;
    place_register services_;
    place_register backends_;
};

inline std::uint32_t placement::new_backend(target const& t, std::uint32_t service) {
    auto const place = backends_.take();
    working_->backends.grow_to(backends_.count());
    working_->status.resize(backends_.count());
    working_->backends.edit(place) = {t.address, t.port, service};
    working_->backend_addresses.add(t.address);
    working_->status[place].in_use = true;
    return place;
}

inline void placement::release_backend(std::uint32_t place) {
    auto& status = working_->status[place];
    status = {.generation = static_cast<std::uint16_t>(status.generation + 1u)};
    auto& backend = working_->backends.edit(place);
    working_->backend_addresses.remove(backend.address);
    backend = {};
    backends_.give_back(place);
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
        port.backends.push_back(known ? before[old++] : new_backend(t, port.service));
        working_->status[port.backends.back()].terminating = t.is->terminating;
    }
    while (old < before.size()) release_backend(before[old++]);
}

} // namespace kubeproxy::inline v0_2
