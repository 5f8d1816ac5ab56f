#pragma once

#include "kubeproxy/control/endpoint_rings.hpp"
#include "kubeproxy/control/endpoints.hpp"
#include "kubeproxy/control/frontends.hpp"
#include "kubeproxy/control/node.hpp"
#include "kubeproxy/control/places.hpp"
#include "kubeproxy/control/returns.hpp"
#include "kubeproxy/control/rings.hpp"
#include "kubeproxy/control/source_ranges.hpp"
#include "kubeproxy/control/valid.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kubeproxy::inline v0_2 {

/// A service and the places of its ports in the snapshot.
struct compiled_service {
    valid_configuration::shared_service source; ///< null: the slot is free
    std::uint32_t affinity_group = 0;
    std::vector<compiled_port> ports{};
};

/// Turns configurations into snapshots, one after the other.
///
/// Services and backends keep their places from snapshot to snapshot, so that flows find theirs again; a place that was
/// given up has another generation from then on. Only what changed is compiled:
///
///     configuration --by slot--> service changed? --> its ports --> targets --> rings    costs what the service has
///                   addresses or ports changed? --> all frontends                        costs what all services have
///     working snapshot --copy--> the next snapshot                                       a copy of flat arrays
class compiler {
  public:
    /// The same on all nodes of a cluster, or they send a flow to different backends. Any number does.
    static constexpr std::uint64_t default_seed = 1;

    explicit compiler(std::uint64_t seed = default_seed) noexcept : rings_{seed} {}

    /// What the last call got and this one got must be versions of one configuration: slots tell services apart.
    [[nodiscard]] std::unique_ptr<snapshot const> compile(valid_configuration const& configuration);

    /// By slot, as of the last compile().
    [[nodiscard]] std::span<compiled_service const> services() const noexcept { return compiled_; }
    /// Places that got a new owner by the last compile(): their counters belong to the old one.
    [[nodiscard]] std::span<std::uint32_t const> renewed_services() const noexcept { return service_places_.renewed(); }
    [[nodiscard]] std::span<std::uint32_t const> renewed_backends() const noexcept { return backend_places_.renewed(); }
    [[nodiscard]] ring_cache const& rings() const noexcept { return rings_; }

  private:
    enum class frontends_are : std::uint8_t { as_before, changed };

    frontends_are update(compiled_service& compiled, valid_configuration::shared_service const& next);
    [[nodiscard]] static bool is_same_service(service_configuration const& before,
                                              service_configuration const* next) noexcept;
    void release(compiled_service& compiled);
    void release_port(compiled_port const& port);
    void release_service(std::uint32_t place);
    void release_backend(std::uint32_t place);
    void guard(compiled_port& port, service_configuration const& next);
    [[nodiscard]] std::vector<compiled_port> carry_over(compiled_service& compiled, service_configuration const& next);
    [[nodiscard]] std::uint32_t new_service();
    [[nodiscard]] std::uint32_t new_backend(target const& t, std::uint32_t service);
    void place_targets(compiled_port& port, std::span<target const> targets);
    void fill(compiled_port& port, compiled_service const& compiled, service_configuration const& next);
    [[nodiscard]] service_entry entry_for(compiled_port const& port, compiled_service const& compiled,
                                          service_configuration const& next) const;
    [[nodiscard]] bool take_node(std::shared_ptr<node_configuration const> const& next);
    void rebuild_frontends(node_configuration const& node);
    template <ip_version V>
    [[nodiscard]] frontend_index<V> all_frontends(node_configuration const& node) const;
    [[nodiscard]] port_range used_node_ports() const noexcept;

    ring_cache rings_;
    place_register service_places_;
    place_register backend_places_;
    std::uint32_t last_affinity_group_ = 0;
    std::shared_ptr<node_configuration const> node_;
    std::vector<compiled_service> compiled_; ///< by slot
    snapshot working_;
};

inline std::unique_ptr<snapshot const> compiler::compile(valid_configuration const& configuration) {
    service_places_.settle();
    backend_places_.settle();
    auto const slots = configuration.services();
    compiled_.resize(std::max(compiled_.size(), slots.size()));
    auto frontends = frontends_are::as_before;
    bool const is_other_node = take_node(configuration.shared_node());
    if (is_other_node) frontends = frontends_are::changed;
    valid_configuration::shared_service const nobody;
    for (std::size_t slot = 0; slot < compiled_.size(); ++slot) {
        auto const& next = slot < slots.size() ? slots[slot] : nobody;
        if (next == compiled_[slot].source && !(is_other_node && next)) continue;
        if (update(compiled_[slot], next) == frontends_are::changed) frontends = frontends_are::changed;
    }
    if (frontends == frontends_are::changed) rebuild_frontends(configuration.node());
    set_returns(working_, configuration.node().interfaces);
    ++working_.generation;
    return std::make_unique<snapshot const>(working_);
}

inline compiler::frontends_are compiler::update(compiled_service& compiled,
                                                valid_configuration::shared_service const& next) {
    if (compiled.source != nullptr && !is_same_service(*compiled.source, next.get())) release(compiled);
    if (next == nullptr) return frontends_are::changed;
    bool const as_before = compiled.source != nullptr && same_frontends(*compiled.source, *next);
    if (compiled.source == nullptr) compiled.affinity_group = ++last_affinity_group_;
    if (!as_before) compiled.ports = carry_over(compiled, *next);
    for (auto& port : compiled.ports) fill(port, compiled, *next);
    compiled.source = next;
    return as_before ? frontends_are::as_before : frontends_are::changed;
}

/// A slot may have another service meanwhile. And pods of another family are others, whatever their bytes are.
inline bool compiler::is_same_service(service_configuration const& before, service_configuration const* next) noexcept {
    return next != nullptr && next->name == before.name && next->pods == before.pods;
}

inline void compiler::release(compiled_service& compiled) {
    for (auto const& port : compiled.ports) release_port(port);
    compiled = {};
}

inline void compiler::release_port(compiled_port const& port) {
    for (auto const place : port.backends) release_backend(place);
    release_service(port.service);
    release_service(port.guarded);
}

inline void compiler::release_service(std::uint32_t place) {
    if (place == no_service) return;
    working_.services[place] = {};
    service_places_.give_back(place);
}

inline void compiler::release_backend(std::uint32_t place) {
    auto& status = working_.status[place];
    status = {.generation = static_cast<std::uint16_t>(status.generation + 1u)};
    working_.backend_addresses.remove(working_.backends[place].address);
    working_.backends[place] = {};
    backend_places_.give_back(place);
}

/// The ports of the next version, with the places of those that it had before.
inline std::vector<compiled_port> compiler::carry_over(compiled_service& compiled, service_configuration const& next) {
    std::vector<compiled_port> ports{};
    for (unsigned const version : {4u, 6u}) {
        if (!has_version(next, version)) continue;
        for (std::size_t i = 0; i < next.ports.size(); ++i) {
            auto const& wanted = next.ports[i];
            auto const had = std::ranges::find_if(compiled.ports, [&](compiled_port const& p) {
                auto const& before = *compiled.source;
                return p.client_version == version &&
                       is_same_port(before, before.ports[p.position], next, wanted, version);
            });
            if (had == compiled.ports.end()) {
                ports.push_back({.position = i, .client_version = version, .service = new_service(), .backends = {}});
                continue;
            }
            ports.push_back(std::move(*had));
            ports.back().position = i;
            compiled.ports.erase(had);
        }
    }
    for (auto const& gone : compiled.ports) release_port(gone);
    for (auto& port : ports) guard(port, next);
    return ports;
}

inline void compiler::guard(compiled_port& port, service_configuration const& next) {
    if (has_guarded_addresses(next)) {
        if (port.guarded == no_service) port.guarded = new_service();
    } else {
        release_service(std::exchange(port.guarded, no_service));
    }
}

inline std::uint32_t compiler::new_service() {
    auto const place = service_places_.take();
    working_.services.resize(service_places_.count());
    return place;
}

inline std::uint32_t compiler::new_backend(target const& t, std::uint32_t service) {
    auto const place = backend_places_.take();
    working_.backends.resize(backend_places_.count());
    working_.status.resize(backend_places_.count());
    working_.backends[place] = {t.address, t.port, service};
    working_.backend_addresses.add(t.address);
    working_.status[place].in_use = true;
    return place;
}

/// Both what the port had and what it gets are in the order of targets, so they are merged.
inline void compiler::place_targets(compiled_port& port, std::span<target const> targets) {
    auto const before = std::exchange(port.backends, {});
    port.backends.reserve(targets.size());
    std::size_t old = 0;
    for (auto const& t : targets) {
        auto const is_behind = [&](std::uint32_t place) {
            auto const& b = working_.backends[place];
            return comes_before(b.address, b.port, t.address, t.port);
        };
        while (old < before.size() && is_behind(before[old])) release_backend(before[old++]);
        bool const known = old < before.size() && working_.backends[before[old]].address == t.address &&
                           working_.backends[before[old]].port == t.port;
        port.backends.push_back(known ? before[old++] : new_backend(t, port.service));
        working_.status[port.backends.back()].terminating = t.is->terminating;
    }
    while (old < before.size()) release_backend(before[old++]);
}

inline void compiler::fill(compiled_port& port, compiled_service const& compiled, service_configuration const& next) {
    auto const targets = targets_of(next, next.ports[port.position], port.client_version);
    place_targets(port, targets);
    auto entry = entry_for(port, compiled, next);
    auto const& before = working_.services[port.service];
    placed_targets const placed{targets, port.backends, entry.pod_version, next.ring_size};
    entry.everywhere = make_endpoint_ring(rings_, placed, endpoint_scope::everywhere, before.everywhere);
    entry.local = make_endpoint_ring(rings_, placed, endpoint_scope::this_node, before.local, entry.everywhere);
    if (port.guarded != no_service) {
        auto& guarded = working_.services[port.guarded] = entry;
        guarded.source_ranges4 = allowed_sources<ipv4>(next, *node_);
        guarded.source_ranges6 = allowed_sources<ipv6>(next, *node_);
    }
    working_.services[port.service] = std::move(entry);
}

inline service_entry compiler::entry_for(compiled_port const& port, compiled_service const& compiled,
                                         service_configuration const& next) const {
    service_entry entry;
    auto const& before = working_.services[port.service].name;
    auto name = report_name(next, next.ports[port.position]);
    entry.name = before && *before == name ? before : std::make_shared<std::string const>(std::move(name));
    if (next.lifetimes) entry.lifetimes = std::make_shared<timeouts const>(*next.lifetimes);
    entry.affinity_seconds = next.affinity_seconds;
    entry.affinity_group = compiled.affinity_group;
    entry.pod_version = static_cast<std::uint8_t>(pod_version(next.pods, port.client_version));
    entry.internal = next.internal_policy;
    entry.external = next.external_policy;
    return entry;
}

/// Whether it is another one.
inline bool compiler::take_node(std::shared_ptr<node_configuration const> const& next) {
    if (next == node_) return false;
    node_ = next;
    auto const& node = *node_;
    working_.node4 = compile_node<ipv4>(node);
    working_.node6 = compile_node<ipv6>(node);
    working_.nat64_prefix = node.nat64_prefix;
    working_.lifetimes = node.lifetimes;
    working_.masquerade_all = node.masquerade_all;
    return true;
}

inline void compiler::rebuild_frontends(node_configuration const& node) {
    working_.frontends4 = all_frontends<ipv4>(node);
    working_.frontends6 = all_frontends<ipv6>(node);
    auto const reserved = node.node_ports.value_or(used_node_ports());
    working_.excluded_ports_first = reserved.first;
    working_.excluded_ports_last = reserved.last;
}

template <ip_version V>
frontend_index<V> compiler::all_frontends(node_configuration const& node) const {
    std::vector<frontend<V>> all{};
    auto const serving_node_ports = node_port_addresses<V>(node);
    for (auto const& compiled : compiled_)
        if (compiled.source) add_frontends<V>(all, *compiled.source, compiled.ports, serving_node_ports);
    for (auto const& range : detail::of_version<V>(node.service_ranges))
        all.push_back({range, 0, 0, frontend_kind::drop_others, no_service});
    return frontend_index<V>{std::move(all)};
}

/// From the lowest to the highest; 0 to 0: none.
inline port_range compiler::used_node_ports() const noexcept {
    port_range used{std::numeric_limits<std::uint16_t>::max(), 0};
    for (auto const& compiled : compiled_) {
        if (!compiled.source) continue;
        for (auto const& port : compiled.source->ports) {
            if (port.node_port == 0) continue;
            used = {std::min(used.first, port.node_port), std::max(used.last, port.node_port)};
        }
    }
    return used.last == 0 ? port_range{} : used;
}

} // namespace kubeproxy::inline v0_2
