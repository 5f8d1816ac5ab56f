#pragma once

#include "kubeproxy/control/config/claims.hpp"
#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/port_names.hpp"
#include "kubeproxy/service/frontend.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// One port of a service for the clients of one IP version, and its places in the snapshot.
struct compiled_port {
    std::uint32_t position = 0; ///< in service_configuration::ports
    std::uint32_t service = no_service;
    std::uint32_t guarded = no_service; ///< the same for load-balancer IPs, where source ranges guard them
    std::uint8_t client_version = 4;
    std::vector<std::uint32_t> backends{}; ///< of all its targets, in their order
};

[[nodiscard]] inline bool has_version(service_configuration const& service, unsigned version) noexcept {
    return std::ranges::any_of(service.addresses, [version](auto const& a) { return version_of(a.where) == version; });
}

/// The cluster IP of a version; none: the service has none, as those of the `ku` language.
[[nodiscard]] inline std::optional<ip_prefix> cluster_ip_of(service_configuration const& service, unsigned version) {
    for (auto const& a : service.addresses)
        if (a.kind == service_address_kind::cluster_ip && version_of(a.where) == version) return a.where;
    return std::nullopt;
}

/// Whether clients of a version meet the same port in two states of a service: the protocol and number are the same,
/// whatever the name is. A cluster IP never changes in a Service's life: with another one, the Service was deleted and
/// created again, even if no event said so.
[[nodiscard]] inline bool is_same_port(service_configuration const& a, service_port const& of_a,
                                       service_configuration const& b, service_port const& of_b, unsigned version) {
    return is_same_number(of_a, of_b) && cluster_ip_of(a, version) == cluster_ip_of(b, version);
}

/// Whether load-balancer IPs need a service_entry of their own: node ports, external IPs and cluster IPs are open to
/// everybody.
[[nodiscard]] inline bool has_guarded_addresses(service_configuration const& service) noexcept {
    auto const is_guarded = [](auto const& a) { return a.kind == service_address_kind::load_balancer_ip; };
    return !service.source_ranges.empty() && std::ranges::any_of(service.addresses, is_guarded);
}

/// Whether both have the same frontends, given the same places.
[[nodiscard]] inline bool same_frontends(configured_service const& a, configured_service const& b) {
    return a.addresses == b.addresses && a.ports == b.ports && a.lost == b.lost &&
           has_guarded_addresses(a) == has_guarded_addresses(b);
}

namespace detail {

[[nodiscard]] constexpr frontend_kind kind_of(service_address_kind kind) noexcept {
    switch (kind) {
    case service_address_kind::vip:
    case service_address_kind::cluster_ip: break;
    case service_address_kind::load_balancer_ip:
    case service_address_kind::external_ip: return frontend_kind::external;
    }
    return frontend_kind::cluster_ip;
}

template <ip_version V>
void add_address(std::vector<frontend<V>>& all, configured_service const& service, service_address const& address,
                 compiled_port const& compiled) {
    auto const& port = service.ports[compiled.position];
    auto const* where = std::get_if<prefix<V>>(&address.where);
    if (where == nullptr) return;
    bool const guarded = address.kind == service_address_kind::load_balancer_ip && compiled.guarded != no_service;
    for (auto const protocol : protocols_of(port)) {
        if (is_lost(service, {address.where, V::number, protocol, port.port})) continue;
        all.push_back(
            {*where, port.port, protocol, kind_of(address.kind), guarded ? compiled.guarded : compiled.service});
    }
}

} // namespace detail

/// Where clients of version V find this service, beside its node ports: not where another service has its claim.
template <ip_version V>
[[nodiscard]] std::vector<frontend<V>> frontends_of(configured_service const& service,
                                                    std::span<compiled_port const> ports) {
    std::vector<frontend<V>> all;
    for (auto const& compiled : ports) {
        if (compiled.client_version != V::number) continue;
        for (auto const& address : service.addresses) detail::add_address(all, service, address, compiled);
    }
    for (auto const& address : service.addresses)
        if (auto const* where = std::get_if<prefix<V>>(&address.where);
            where != nullptr && address.kind == service_address_kind::cluster_ip &&
            !is_lost(service, {address.where, V::number, 0, 0}))
            all.push_back({*where, 0, 0, frontend_kind::reject_others, no_service});
    return all;
}

/// Whether another service's frontends may cover a part of what this one's do: it serves a prefix or all ports.
/// Null: there is none.
[[nodiscard]] inline bool is_coverable(service_configuration const* service) noexcept {
    if (service == nullptr) return false;
    auto const is_prefix = [](service_address const& a) {
        return std::visit([]<ip_version V>(prefix<V> const& p) { return p.length < address_bits<V>; }, a.where);
    };
    auto const is_every_port = [](service_port const& p) { return p.port == 0; };
    return std::ranges::any_of(service->addresses, is_prefix) || std::ranges::any_of(service->ports, is_every_port);
}

/// A node port and who serves it.
struct node_port {
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;
    std::uint32_t service = no_service;
};

[[nodiscard]] inline std::vector<node_port> node_ports_of(configured_service const& service,
                                                          std::span<compiled_port const> ports, std::uint8_t version) {
    std::vector<node_port> all;
    for (auto const& compiled : ports) {
        auto const& port = service.ports[compiled.position];
        if (compiled.client_version != version || port.node_port == 0) continue;
        for (auto const protocol : protocols_of(port))
            if (!is_lost(service, {std::nullopt, version, protocol, port.node_port}))
                all.push_back({port.node_port, protocol, compiled.service});
    }
    return all;
}

} // namespace v0_2
} // namespace kubeproxy
