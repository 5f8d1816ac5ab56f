#pragma once

#include "kubeproxy/control/config.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

/// Which endpoints a service port has, and which of them new flows may use.
namespace kubeproxy::inline v0_2 {

/// An endpoint with the port that it serves a service port at.
struct target {
    ipv6::address address{}; ///< as snapshot's backend has it: an IPv4 one in the first four bytes
    std::uint16_t port = 0;  ///< 0: the packet's is kept
    endpoint const* is = nullptr;
};

/// The order of targets everywhere.
[[nodiscard]] inline bool comes_before(ipv6::address const& a, std::uint16_t a_port, ipv6::address const& b,
                                       std::uint16_t b_port) noexcept {
    return std::tie(a, a_port) < std::tie(b, b_port);
}

/// None: the slice does not serve this service port.
[[nodiscard]] inline std::optional<std::uint16_t> target_port(service_port const& port, endpoint_slice const& slice) {
    if (slice.ports.empty()) return port.target_port != 0 ? port.target_port : port.port;
    for (auto const& offered : slice.ports)
        if (offered.name == port.name && (port.protocol == service_protocol::any || port.protocol == offered.protocol))
            return offered.port;
    return std::nullopt;
}

namespace detail {
[[nodiscard]] inline ipv6::address backend_address(ip_address const& a) {
    ipv6::address result{};
    std::visit([&result](auto const& address) { std::ranges::copy(address, result.begin()); }, a);
    return result;
}
} // namespace detail

/// The targets of a service port for clients of this IP version, in order, ready or not. An endpoint that two slices
/// hold counts once, as on this node if one of them says so (kube-proxy does the same).
/// The targets point into `service`.
[[nodiscard]] inline std::vector<target> targets_of(service_configuration const& service, service_port const& port,
                                                    unsigned client_version) {
    std::vector<target> all;
    auto const version = pod_version(service.pods, client_version);
    for (auto const& slice : service.slices) {
        auto const at = target_port(port, slice);
        if (!at) continue;
        for (auto const& e : slice.endpoints)
            if (version_of(e.address) == version) all.push_back({detail::backend_address(e.address), *at, &e});
    }
    std::ranges::stable_sort(all, [](target const& a, target const& b) {
        return std::tuple{a.address, a.port, !a.is->on_this_node} < std::tuple{b.address, b.port, !b.is->on_this_node};
    });
    auto const same = [](target const& a, target const& b) { return a.address == b.address && a.port == b.port; };
    all.erase(std::unique(all.begin(), all.end(), same), all.end());
    return all;
}

enum class endpoint_scope : std::uint8_t {
    everywhere, ///< traffic policy Cluster
    this_node,  ///< traffic policy Local
};

namespace detail {
/// If every ready endpoint has a hint of this kind, and one of them is for here, the others are left out.
/// \return whether it is so
[[nodiscard]] inline bool follow_hints(std::span<target const> all, std::vector<std::uint32_t>& ready,
                                       topology_hint endpoint::*kind) {
    auto const hint = [&](std::uint32_t i) { return all[i].is->*kind; };
    if (std::ranges::any_of(ready, [&](auto i) { return hint(i) == topology_hint::none; }) ||
        std::ranges::none_of(ready, [&](auto i) { return hint(i) == topology_hint::here; }))
        return false;
    std::erase_if(ready, [&](auto i) { return hint(i) != topology_hint::here; });
    return true;
}
} // namespace detail

/// Those that new flows may use, as positions: the ready ones; if there are none, those that still serve while they
/// terminate (kube-proxy's rule, KEP-1669).
[[nodiscard]] inline std::vector<std::uint32_t> usable(std::span<target const> all, endpoint_scope scope) {
    std::vector<std::uint32_t> ready, leaving;
    for (std::uint32_t i = 0; i < all.size(); ++i) {
        auto const& e = *all[i].is;
        if (scope == endpoint_scope::this_node && !e.on_this_node) continue;
        if (e.ready) ready.push_back(i);
        if (!e.ready && e.serving && e.terminating) leaving.push_back(i);
    }
    if (ready.empty()) return leaving;
    if (scope == endpoint_scope::everywhere && !detail::follow_hints(all, ready, &endpoint::node_hint))
        static_cast<void>(detail::follow_hints(all, ready, &endpoint::hint));
    return ready;
}

} // namespace kubeproxy::inline v0_2
