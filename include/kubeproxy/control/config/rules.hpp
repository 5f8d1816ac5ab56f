#pragma once

#include "kubeproxy/control/config/claims.hpp"
#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/service/maglev.hpp"
#include "kubeproxy/wire/embedded_address.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

/// The rules that one service, or the node, can break by itself. Each function says which one, or nothing.
namespace kubeproxy {
inline namespace v0_2 {

using broken_rule = std::optional<std::string>;

/// flow_time tells no longer silence.
inline constexpr std::chrono::seconds max_timeout{0x7fff'ffff / 1000};
/// Kubernetes' MaxClientIPServiceAffinitySeconds: a day.
inline constexpr std::uint32_t max_affinity = 86400;

/// An address that a packet can be sent to or from.
[[nodiscard]] inline broken_rule check_host_address(ip_address const& address) {
    auto const unusable = [](auto const& a) { return is_unspecified(a) || is_multicast(a); };
    if (std::visit(unusable, address)) return to_text(address) + " is no address of a host";
    return std::nullopt;
}

/// An address that an endpoint of a Kubernetes object may have. The API's rules (ValidateEndpointIP) leave out
/// unspecified, loopback and link-local addresses; a multicast or broadcast address is not one endpoint either.
[[nodiscard]] inline broken_rule check_endpoint_address(ip_address const& address) {
    auto const is = [&address](auto const& rule) { return std::visit(rule, address); };
    std::string_view kind;
    if (is([](auto const& a) { return is_unspecified(a); })) kind = "unspecified";
    if (is([](auto const& a) { return is_loopback(a); })) kind = "loopback";
    if (is([](auto const& a) { return is_link_local(a); })) kind = "link-local";
    if (is([](auto const& a) { return is_multicast(a); })) kind = "multicast";
    if (auto const* v4 = std::get_if<ipv4::address>(&address); v4 != nullptr && to_number(*v4) == 0xffff'ffff)
        kind = "broadcast";
    if (kind.empty()) return std::nullopt;
    return to_text(address) + " is no address of an endpoint: it is " + std::string{kind};
}

[[nodiscard]] inline broken_rule check_endpoint(endpoint const& e, pod_family pods) {
    if (auto wrong = check_host_address(e.address)) return wrong;
    if (pods == pod_family::as_client || version_of(e.address) == pod_version(pods, 0)) return std::nullopt;
    std::string_view const wanted = pods == pod_family::ipv4 ? "IPv4 (nat4)" : "IPv6 (nat6)";
    return to_text(e.address) + " is of the other family: the service's pods are " + std::string{wanted};
}

[[nodiscard]] inline broken_rule check_address(service_address const& a) {
    if (a.kind == service_address_kind::vip) return std::nullopt;
    auto const is_whole = [](auto const& p) { return p.length == p.address.size() * 8; };
    if (!std::visit(is_whole, a.where)) return to_text(a.where) + " is no single address";
    return std::nullopt;
}

[[nodiscard]] inline broken_rule check_port(service_configuration const& service, service_port const& p) {
    if (p.port == 0) {
        for (auto const& a : service.addresses)
            if (a.kind != service_address_kind::vip) return "port 0 (a Service port is 1..65535)";
        if (p.target_port != 0) return "target_port without port: without port, ports are kept";
        if (p.node_port != 0) return "node_port without port";
    }
    std::size_t of_this_name = 0;
    for (auto const& other : service.ports) of_this_name += static_cast<std::size_t>(other.name == p.name);
    if (of_this_name > 1) return "two ports are named \"" + p.name + '"';
    return std::nullopt;
}

/// A packet must not meet two ports of the same service.
[[nodiscard]] inline broken_rule check_claims(service_configuration const& service) {
    auto const share_protocol = [](service_port const& a, service_port const& b) {
        return std::ranges::find_first_of(protocols_of(a), protocols_of(b)) != protocols_of(a).end();
    };
    auto const& [addresses, ports] = std::tie(service.addresses, service.ports);
    for (auto a = addresses.begin(); a != addresses.end(); ++a)
        if (std::ranges::find(std::next(a), addresses.end(), a->where, &service_address::where) != addresses.end())
            return "it has the address " + to_text(a->where) + " twice";
    for (auto a = ports.begin(); a != ports.end(); ++a)
        for (auto b = std::next(a); b != ports.end(); ++b) {
            if (!share_protocol(*a, *b)) continue;
            if (a->port == b->port)
                return "two ports have the number " + std::to_string(a->port) + " and the same protocol";
            if (a->node_port != 0 && a->node_port == b->node_port)
                return "two ports have the node port " + std::to_string(a->node_port) + " and the same protocol";
        }
    return std::nullopt;
}

[[nodiscard]] inline broken_rule check_slice(service_configuration const& service, endpoint_slice const& slice) {
    for (auto const& p : slice.ports)
        if (p.port == 0) return slice.name + ": port \"" + p.name + "\" is 0 (an endpoint's port is 1..65535)";
    for (auto const& e : slice.endpoints)
        if (auto wrong = check_endpoint(e, service.pods)) return wrong;
    return std::nullopt;
}

[[nodiscard]] inline broken_rule check_lifetimes(timeouts const& t) {
    for (auto const seconds : {t.tcp_established, t.tcp_transitory, t.udp_replied, t.udp_unreplied, t.icmp,
                               t.sctp_established, t.sctp_transitory, t.other_replied, t.other_unreplied})
        if (seconds.count() < 1 || seconds > max_timeout)
            return "timeout " + std::to_string(seconds.count()) + " (a timeout is 1.." +
                   std::to_string(max_timeout.count()) + " seconds)";
    return std::nullopt;
}

[[nodiscard]] inline broken_rule check_numbers(service_configuration const& service) {
    std::size_t endpoints = 0;
    for (auto const& slice : service.slices) endpoints += slice.endpoints.size();
    if (endpoints > ring_backend_limit)
        return std::to_string(endpoints) + " endpoints (a service has at most " + std::to_string(ring_backend_limit) +
               ')';
    if (service.ring_size > ring_classes.back().size)
        return "new_len " + std::to_string(service.ring_size) + " (a ring has at most " +
               std::to_string(ring_classes.back().size) + " entries)";
    if (service.affinity_seconds > max_affinity)
        return "session affinity of " + std::to_string(service.affinity_seconds) + " s (at most " +
               std::to_string(max_affinity) + ')';
    return service.lifetimes ? check_lifetimes(*service.lifetimes) : std::nullopt;
}

[[nodiscard]] inline std::optional<config_error> check_service(service_configuration const& service) {
    auto const of_service = [&service](broken_rule wrong) -> std::optional<config_error> {
        return config_error{service.name, *wrong};
    };
    if (service.name.empty()) return config_error{"a service", "has no name"};
    if (service.addresses.empty()) return of_service("it has no address");
    if (service.ports.empty()) return of_service("it has no port");
    for (auto const& a : service.addresses)
        if (auto wrong = check_address(a)) return of_service(wrong);
    for (auto const& p : service.ports)
        if (auto wrong = check_port(service, p)) return config_error{report_name(service, p), *wrong};
    if (auto wrong = check_claims(service)) return of_service(wrong);
    for (auto const& slice : service.slices)
        if (auto wrong = check_slice(service, slice)) return of_service(wrong);
    if (auto wrong = check_numbers(service)) return of_service(wrong);
    return std::nullopt;
}

[[nodiscard]] inline broken_rule check_translation(node_configuration const& node) {
    if (node.snat4) {
        for (auto const& a : {node.snat4->first, node.snat4->last})
            if (auto wrong = check_host_address(a)) return "snat4 " + *wrong;
        if (to_number(node.snat4->first) > to_number(node.snat4->last))
            return "snat4 " + to_text(node.snat4->first) + '-' + to_text(node.snat4->last) + " ends before it begins";
    }
    if (node.snat6)
        if (auto wrong = check_host_address(*node.snat6)) return "snat6 " + *wrong;
    if (node.nat64_prefix.length != 96)
        return "nat64_prefix " + to_text(node.nat64_prefix) + " (its length must be 96)";
    if (node.nat64_prefix.address[8] != std::byte{0})
        return "nat64_prefix " + to_text(node.nat64_prefix) + " (bits 64 to 71 must be zero, RFC 6052 section 2.2)";
    return std::nullopt;
}

[[nodiscard]] inline std::optional<config_error> check_node(node_configuration const& node) {
    auto const of_node = [](broken_rule wrong) -> std::optional<config_error> { return config_error{"node", *wrong}; };
    for (auto const& a : node.addresses)
        if (auto wrong = check_host_address(a)) return of_node(wrong);
    if (auto wrong = check_translation(node)) return of_node(wrong);
    if (auto wrong = check_lifetimes(node.lifetimes)) return of_node(wrong);
    if (node.drain && (node.drain->count() < 1 || *node.drain > max_timeout))
        return of_node("drain " + std::to_string(node.drain->count()) + " (1.." + std::to_string(max_timeout.count()) +
                       " seconds)");
    if (node.buckets && *node.buckets == 0) return of_node("buckets 0 (a flow table has at least one)");
    if (node.node_ports && node.node_ports->first > node.node_ports->last)
        return of_node("the range of node ports ends before it begins");
    return std::nullopt;
}

} // namespace v0_2
} // namespace kubeproxy
