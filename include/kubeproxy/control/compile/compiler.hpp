#pragma once

#include "kubeproxy/control/compile/affinity_ports.hpp"
#include "kubeproxy/control/compile/endpoint_rings.hpp"
#include "kubeproxy/control/compile/endpoints.hpp"
#include "kubeproxy/control/compile/frontend_register.hpp"
#include "kubeproxy/control/compile/frontends.hpp"
#include "kubeproxy/control/compile/placement.hpp"
#include "kubeproxy/control/compile/port_targets.hpp"
#include "kubeproxy/control/compile/ring_cache.hpp"
#include "kubeproxy/control/compile/source_ranges.hpp"
#include "kubeproxy/control/compile/stateless_replies.hpp"
#include "kubeproxy/control/config/node.hpp"
#include "kubeproxy/control/config/valid_configuration.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// A service and the places of its ports in the snapshot.
struct compiled_service {
    valid_configuration::shared_service source; ///< null: the slot is free
    std::vector<compiled_port> ports{};
    std::uint32_t affinity_group = 0;
    std::shared_ptr<std::vector<affinity_port> const> affinity_ports{}; ///< of all its ports; null: no affinity
    bool is_announced = false;                                          ///< its frontends are in the snapshot
};

/// Turns configurations into snapshots, one after the other.
///
/// Services and backends keep their places from snapshot to snapshot, so that flows find theirs again. Only what
/// changed is compiled, and snapshots share the rest:
///
///     configuration --pages of slots, slots--> service changed? --> its ports --> targets --> rings, its pages
///                                   addresses, ports, lost claims changed? --> its frontends, their shards
///     working snapshot --copy of the tables of pages and shards, and of the backends' status--> the next snapshot
///
/// A changed node compiles everything anew. With `ku set interface` every snapshot costs what all backends have.
class compiler {
  public:
    using place_list = std::span<std::uint32_t const>;

    /// The same on all nodes of a cluster, or they send a flow to different backends. Any number does.
    static constexpr std::uint64_t default_seed = 1;

    explicit compiler(std::uint64_t seed = default_seed) noexcept : rings_{seed} {}
    compiler(compiler const&) = delete;
    compiler& operator=(compiler const&) = delete;

    /// What the last call got and this one got must be versions of one configuration: slots tell services apart.
    [[nodiscard]] std::unique_ptr<snapshot const> compile(valid_configuration const& configuration);

    /// What compile() made last, but with the end of these backends' flows. \pre they are in use
    [[nodiscard]] std::unique_ptr<snapshot const> end_flows(std::span<std::uint32_t const> backends) {
        for (auto const place : backends) working_.status[place].begin_life();
        ++working_.reset_epoch;
        ++working_.generation;
        return std::make_unique<snapshot const>(working_);
    }

    /// By slot, as of the last compile().
    [[nodiscard]] std::deque<compiled_service> const& services() const noexcept { return compiled_; }
    /// Places that got a new owner by the last compile(): their counters belong to the old one.
    [[nodiscard]] place_list renewed_services() const noexcept { return places_.renewed_services(); }
    [[nodiscard]] place_list renewed_backends() const noexcept { return places_.renewed_backends(); }
    [[nodiscard]] ring_cache const& rings() const noexcept { return rings_; }
    /// Of the last compile(). \pre there was one
    [[nodiscard]] node_configuration const& node() const noexcept { return *node_; }

  private:
    using shared_service = valid_configuration::shared_service;
    enum class node_is : std::uint8_t { as_before, another };

    [[nodiscard]] node_is take_node(std::shared_ptr<node_configuration const> const& next);
    [[nodiscard]] std::vector<std::size_t> changed_slots(valid_configuration::slots const& next,
                                                         valid_configuration::slots const& seen, node_is node) const;
    void ask_those_that_lost(std::span<std::size_t const> changed);
    void withdraw(compiled_service& compiled, configured_service const* next);
    void update(compiled_service& compiled, shared_service const& next);
    [[nodiscard]] static bool is_same_service(service_configuration const& before,
                                              service_configuration const* next) noexcept;
    [[nodiscard]] std::vector<compiled_port> carry_over(compiled_service& compiled, service_configuration const& next);
    void guard(compiled_port& port, service_configuration const& next);
    void fill(compiled_port& port, compiled_service const& compiled, service_configuration const& next);
    [[nodiscard]] service_entry entry_for(compiled_port const& port, compiled_service const& compiled,
                                          service_configuration const& next) const;
    void exclude_node_ports();

    ring_cache rings_;
    std::uint32_t last_affinity_group_ = 0;
    std::shared_ptr<node_configuration const> node_;
    valid_configuration::slots seen_;       ///< of the last configuration
    std::deque<compiled_service> compiled_; ///< by slot; never moved as a whole
    snapshot working_;
    placement places_{working_};
    frontend_register<ipv4> frontends4_;
    frontend_register<ipv6> frontends6_;
    bool has_announced_ = false;      ///< frontends were added since the last compile()
    std::set<std::size_t> coverable_; ///< slots of services with frontends that those of others may cover
};

inline std::unique_ptr<snapshot const> compiler::compile(valid_configuration const& configuration) {
    places_.begin_update();
    auto const node = take_node(configuration.shared_node());
    frontends4_.set_service_ranges(working_.frontends4, detail::of_version<ipv4>(configuration.service_ranges()));
    frontends6_.set_service_ranges(working_.frontends6, detail::of_version<ipv6>(configuration.service_ranges()));
    auto const& slots = configuration.services();
    if (compiled_.size() < slots.size()) compiled_.resize(slots.size());
    shared_service const nobody;
    auto const in = [&](std::size_t slot) -> shared_service const& {
        return slot < slots.size() ? slots[slot] : nobody;
    };
    auto const seen = std::exchange(seen_, {}); // whatever throws below, the next call compares every slot
    auto const changed = changed_slots(slots, seen, node);
    // All that goes goes first: what comes may take over its address.
    for (auto const slot : changed) withdraw(compiled_[slot], in(slot).get());
    for (auto const slot : changed) update(compiled_[slot], in(slot));
    ask_those_that_lost(changed);
    if (node == node_is::another) places_.ask_all_again();
    if ((places_.take_released() || node == node_is::another) && working_.resets_removed) ++working_.reset_epoch;
    seen_ = slots;
    exclude_node_ports();
    set_stateless_replies(working_, node_->interfaces);
    ++working_.generation;
    return std::make_unique<snapshot const>(working_);
}

inline void compiler::ask_those_that_lost(std::span<std::size_t const> changed) {
    for (auto const service : frontends4_.take_superseded()) places_.ask_again_of(service);
    for (auto const service : frontends6_.take_superseded()) places_.ask_again_of(service);
    for (auto const slot : changed) {
        coverable_.erase(slot);
        if (is_coverable(compiled_[slot].source.get())) coverable_.insert(slot);
    }
    if (!std::exchange(has_announced_, false)) return;
    for (auto const slot : coverable_)
        for (auto const& port : compiled_[slot].ports) places_.ask_again(port);
}

/// Of another node everything is compiled anew.
inline compiler::node_is compiler::take_node(std::shared_ptr<node_configuration const> const& next) {
    if (next == node_) return node_is::as_before;
    node_ = next;
    auto const& node = *node_;
    working_.node4 = compile_node<ipv4>(node);
    working_.node6 = compile_node<ipv6>(node);
    working_.nat64_prefix = node.nat64_prefix;
    working_.lifetimes = node.lifetimes;
    working_.masquerade_all = node.masquerade_all;
    working_.resets_removed = node.removed == removed_endpoints::reset;
    frontends4_.set_node(working_.frontends4, node);
    frontends6_.set_node(working_.frontends6, node);
    for (auto& compiled : compiled_) compiled.is_announced = false;
    return node_is::another;
}

/// Slots of the same page have not changed.
inline std::vector<std::size_t> compiler::changed_slots(valid_configuration::slots const& next,
                                                        valid_configuration::slots const& seen, node_is node) const {
    std::vector<std::size_t> changed;
    constexpr auto page = valid_configuration::slots::page_size;
    for (std::size_t number = 0; number * page < compiled_.size(); ++number) {
        if (node == node_is::as_before && next.page_at(number) == seen.page_at(number)) continue;
        auto const end = std::min(compiled_.size(), (number + 1) * page);
        for (auto slot = number * page; slot < end; ++slot) {
            bool const is_there = slot < next.size() && next[slot] != nullptr;
            bool const is_same = is_there ? next[slot] == compiled_[slot].source : compiled_[slot].source == nullptr;
            if (!is_same || (is_there && node == node_is::another)) changed.push_back(slot);
        }
    }
    return changed;
}

/// Takes back the frontends that the next version has not, and a service that is another one now.
inline void compiler::withdraw(compiled_service& compiled, configured_service const* next) {
    if (compiled.source == nullptr) return;
    bool const stays = is_same_service(*compiled.source, next);
    if (compiled.is_announced && !(stays && same_frontends(*compiled.source, *next))) {
        frontends4_.remove(working_.frontends4, *compiled.source, compiled.ports);
        frontends6_.remove(working_.frontends6, *compiled.source, compiled.ports);
        compiled.is_announced = false;
        for (auto const& port : compiled.ports) places_.ask_again(port);
    }
    if (stays) return;
    for (auto const& port : compiled.ports) places_.release(port);
    compiled = {};
}

inline void compiler::update(compiled_service& compiled, shared_service const& next) {
    if (next == nullptr) return;
    if (compiled.source == nullptr) compiled.affinity_group = ++last_affinity_group_;
    if (compiled.source == nullptr || !same_frontends(*compiled.source, *next))
        compiled.ports = carry_over(compiled, *next);
    compiled.affinity_ports = affinity_ports_of(*next, std::move(compiled.affinity_ports));
    for (auto& port : compiled.ports) fill(port, compiled, *next);
    compiled.source = next;
    if (std::exchange(compiled.is_announced, true)) return;
    has_announced_ = true;
    frontends4_.add(working_.frontends4, *next, compiled.ports);
    frontends6_.add(working_.frontends6, *next, compiled.ports);
}

/// A slot may have another service meanwhile. And pods of another family are others, whatever their bytes are.
inline bool compiler::is_same_service(service_configuration const& before, service_configuration const* next) noexcept {
    return next != nullptr && next->name == before.name && next->pods == before.pods;
}

/// The ports of the next version, with the places of those that it had before.
inline std::vector<compiled_port> compiler::carry_over(compiled_service& compiled, service_configuration const& next) {
    std::vector<compiled_port> ports{};
    for (std::uint8_t const version : {std::uint8_t{4}, std::uint8_t{6}}) {
        if (!has_version(next, version)) continue;
        for (std::uint32_t i = 0; i < next.ports.size(); ++i) {
            auto const& wanted = next.ports[i];
            auto const had = std::ranges::find_if(compiled.ports, [&](compiled_port const& p) {
                auto const& before = *compiled.source;
                return p.client_version == version &&
                       is_same_port(before, before.ports[p.position], next, wanted, version);
            });
            if (had == compiled.ports.end()) {
                ports.push_back(
                    {.position = i, .service = places_.new_service(), .client_version = version, .backends = {}});
                continue;
            }
            ports.push_back(std::move(*had));
            ports.back().position = i;
            compiled.ports.erase(had);
        }
    }
    for (auto const& gone : compiled.ports) places_.release(gone);
    for (auto& port : ports) guard(port, next);
    return ports;
}

inline void compiler::guard(compiled_port& port, service_configuration const& next) {
    if (has_guarded_addresses(next)) {
        if (port.guarded == no_service) port.guarded = places_.new_service();
    } else {
        places_.release_service(std::exchange(port.guarded, no_service));
    }
}

inline void compiler::fill(compiled_port& port, compiled_service const& compiled, service_configuration const& next) {
    auto const targets = port_targets(next, port, *node_, working_);
    places_.place_targets(port, targets);
    auto entry = entry_for(port, compiled, next);
    working_.some_have_lifetimes |= entry.lifetimes != nullptr;
    auto const& before = working_.service_at(port.service);
    placed_targets const placed{targets, port.backends, entry.pod_version, next.ring_size};
    entry.everywhere = make_endpoint_ring(rings_, placed, endpoint_scope::everywhere, before.everywhere);
    entry.local = make_endpoint_ring(rings_, placed, endpoint_scope::this_node, before.local, entry.everywhere);
    if (port.guarded != no_service) {
        auto& guarded = working_.services.edit(port.guarded) = entry;
        guarded.sources = std::make_shared<source_ranges const>(
            source_ranges{allowed_sources<ipv4>(next, *node_), allowed_sources<ipv6>(next, *node_)});
    }
    working_.services.edit(port.service) = std::move(entry);
}

inline service_entry compiler::entry_for(compiled_port const& port, compiled_service const& compiled,
                                         service_configuration const& next) const {
    service_entry entry;
    auto const& before = working_.service_at(port.service).name;
    auto name = report_name(next, next.ports[port.position]);
    name.shrink_to_fit(); // there are as many as service ports
    entry.name = before && *before == name ? before : std::make_shared<std::string const>(std::move(name));
    if (next.lifetimes) entry.lifetimes = std::make_shared<timeouts const>(*next.lifetimes);
    entry.main_place = port.service;
    entry.affinity_seconds = next.affinity_seconds;
    entry.affinity_group = compiled.affinity_group;
    auto const& its_port = next.ports[port.position];
    entry.port = {its_port.port, static_cast<std::uint8_t>(its_port.protocol)};
    entry.affinity_ports = compiled.affinity_ports;
    entry.pod_version = static_cast<std::uint8_t>(pod_version(next.pods, port.client_version));
    entry.internal = next.internal_policy;
    entry.external = next.external_policy;
    return entry;
}

/// Where no range is said, from the lowest to the highest that a service has.
inline void compiler::exclude_node_ports() {
    auto const used = covering(frontends4_.node_ports(), frontends6_.node_ports());
    auto const reserved = node_->node_ports.value_or(used);
    working_.excluded_ports_first = reserved.first;
    working_.excluded_ports_last = reserved.last;
}

} // namespace v0_2
} // namespace kubeproxy
