#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/port_names.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

/// Which endpoints a service port has, and which of them new flows may use.
namespace kubeproxy {
inline namespace v0_2 {

/// What an endpoint's hints say about this node, or about its zone.
enum class topology_hint : std::uint8_t { none, elsewhere, here };

/// An endpoint with the port that it serves a service port at.
struct target {
    ipv6::address address{}; ///< as snapshot's backend has it: an IPv4 one in the first four bytes
    std::uint16_t port = 0;  ///< 0: the packet's is kept
    endpoint const* is = nullptr;
    bool on_this_node = false;
    bool takes_new_flows = true; ///< false: it no longer serves this service port, but its flows stay
    topology_hint zone_hint = topology_hint::none;
    topology_hint node_hint = topology_hint::none; ///< goes before the zone
};

/// The order of targets everywhere.
[[nodiscard]] inline bool comes_before(ipv6::address const& a, std::uint16_t a_port, ipv6::address const& b,
                                       std::uint16_t b_port) noexcept {
    return std::tie(a, a_port) < std::tie(b, b_port);
}

/// A node without a name has no endpoints.
[[nodiscard]] inline bool is_on_node(endpoint const& e, node_configuration const& node) noexcept {
    return !node.name.empty() && e.topology->node == node.name;
}

/// Whether `a` counts rather than `b` if both entries have the same address and port, as in kube-proxy: an entry that
/// does not terminate before one that does (a pod's address is used again while the former pod still terminates), then
/// ready before not ready. The rest only makes the order total, so that it does not depend on the order of slices.
[[nodiscard]] inline bool counts_before(endpoint const& a, endpoint const& b) noexcept {
    auto const states = [](endpoint const& e) { return std::tuple{e.terminating, !e.ready, !e.serving, e.weight}; };
    return states(a) != states(b) ? states(a) < states(b) : *a.topology < *b.topology;
}

namespace detail {

[[nodiscard]] inline ipv6::address backend_address(ip_address const& a) {
    ipv6::address result{};
    std::visit([&result](auto const& address) { std::ranges::copy(address, result.begin()); }, a);
    return result;
}

[[nodiscard]] inline topology_hint hint_for(std::string const& here, std::vector<std::string> const& hints) noexcept {
    if (hints.empty()) return topology_hint::none;
    bool const is_here = !here.empty() && std::ranges::find(hints, here) != hints.end();
    return is_here ? topology_hint::here : topology_hint::elsewhere;
}

[[nodiscard]] inline target target_at(endpoint const& e, std::uint16_t port, node_configuration const& node) {
    return {.address = backend_address(e.address),
            .port = port,
            .is = &e,
            .on_this_node = is_on_node(e, node),
            .zone_hint = hint_for(node.zone, e.topology->for_zones),
            .node_hint = hint_for(node.name, e.topology->for_nodes)};
}

/// Sorts targets, and keeps one of those with the same address and port.
inline void sort_targets(std::vector<target>& all) {
    std::ranges::sort(all, [](target const& a, target const& b) {
        bool const is_same = a.address == b.address && a.port == b.port;
        return is_same ? counts_before(*a.is, *b.is) : comes_before(a.address, a.port, b.address, b.port);
    });
    auto const same = [](target const& a, target const& b) { return a.address == b.address && a.port == b.port; };
    all.erase(std::unique(all.begin(), all.end(), same), all.end());
}

} // namespace detail

/// The targets of a service port for clients of this IP version, in order, ready or not; an address and port that
/// several entries have is one target, see counts_before(). They point into `service`.
[[nodiscard]] inline std::vector<target> targets_of(service_configuration const& service, service_port const& port,
                                                    unsigned client_version, node_configuration const& node) {
    std::vector<target> all;
    auto const version = pod_version(service.pods, client_version);
    for (auto const& slice : service.slices) {
        auto const at = target_port(service, port, slice);
        if (!at) continue;
        for (auto const& e : slice.endpoints)
            if (version_of(e.address) == version) all.push_back(detail::target_at(e, *at, node));
    }
    detail::sort_targets(all);
    return all;
}

/// Every address and port that some slice of the Service has for this protocol, in order, whichever service port it
/// serves. What is in here has not been removed from the Service.
[[nodiscard]] inline std::vector<target> all_targets_of(service_configuration const& service, service_protocol protocol,
                                                        unsigned client_version, node_configuration const& node) {
    std::vector<target> all;
    auto const version = pod_version(service.pods, client_version);
    for (auto const& slice : service.slices)
        for (auto const& offered : slice.ports) {
            if (protocol != service_protocol::any && offered.protocol != protocol) continue;
            for (auto const& e : slice.endpoints)
                if (version_of(e.address) == version) all.push_back(detail::target_at(e, offered.port, node));
        }
    detail::sort_targets(all);
    return all;
}

enum class endpoint_scope : std::uint8_t {
    everywhere, ///< traffic policy Cluster
    this_node,  ///< traffic policy Local
};

namespace detail {
/// If every ready endpoint has hints of this kind, and at least one names this place, leaves only those that do.
/// \return whether it is so
[[nodiscard]] inline bool follow_hints(std::span<target const> all, std::vector<std::uint32_t>& ready,
                                       topology_hint target::*kind) {
    auto const hint = [&](std::uint32_t i) { return all[i].*kind; };
    if (std::ranges::any_of(ready, [&](auto i) { return hint(i) == topology_hint::none; }) ||
        std::ranges::none_of(ready, [&](auto i) { return hint(i) == topology_hint::here; }))
        return false;
    std::erase_if(ready, [&](auto i) { return hint(i) != topology_hint::here; });
    return true;
}
} // namespace detail

/// Those that new flows may use, as positions: the ready ones; if there are none, those that still serve while they
/// terminate (KEP-1669). With policy Cluster hints choose among ready ones: hints for nodes (trafficDistribution
/// PreferSameNode), else hints for zones (PreferSameZone), else all of them, as in kube-proxy's CategorizeEndpoints.
[[nodiscard]] inline std::vector<std::uint32_t> usable(std::span<target const> all, endpoint_scope scope) {
    std::vector<std::uint32_t> ready, leaving;
    for (std::uint32_t i = 0; i < all.size(); ++i) {
        auto const& e = *all[i].is;
        if (!all[i].takes_new_flows || (scope == endpoint_scope::this_node && !all[i].on_this_node)) continue;
        if (e.ready) ready.push_back(i);
        if (!e.ready && e.serving && e.terminating) leaving.push_back(i);
    }
    if (ready.empty()) return leaving;
    if (scope == endpoint_scope::everywhere && !detail::follow_hints(all, ready, &target::node_hint))
        static_cast<void>(detail::follow_hints(all, ready, &target::zone_hint));
    return ready;
}

} // namespace v0_2
} // namespace kubeproxy
