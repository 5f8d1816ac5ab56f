#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/wire/embedded_address.hpp"

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

/// What the data path knows of the node, from its configuration.
namespace kubeproxy {
inline namespace v0_2 {

/// The source that IPv4 translation takes where neither a pool nor the node gives one: the first host address of the
/// range for tests of devices (RFC 2544 appendix C.2.2), which no network routes.
inline constexpr ipv4::address last_resort_source = ipv4_address(0xc6120001);

namespace detail {

template <ip_version V>
[[nodiscard]] std::vector<typename V::address> of_version(std::vector<ip_address> const& all) {
    std::vector<typename V::address> found;
    for (auto const& a : all)
        if (auto const* address = std::get_if<typename V::address>(&a)) found.push_back(*address);
    return found;
}
template <ip_version V>
[[nodiscard]] std::vector<prefix<V>> of_version(std::vector<ip_prefix> const& all) {
    std::vector<prefix<V>> found;
    for (auto const& p : all)
        if (auto const* range = std::get_if<prefix<V>>(&p)) found.push_back(*range);
    return found;
}

[[nodiscard]] inline ipv4_range source_pool4(node_configuration const& node) noexcept {
    if (node.snat4) return *node.snat4;
    auto const source = primary_address<ipv4>(node).value_or(last_resort_source);
    return {source, source};
}
[[nodiscard]] inline ipv6::address source6(node_configuration const& node) noexcept {
    if (node.snat6) return *node.snat6;
    return primary_address<ipv6>(node).value_or(embed(node.nat64_prefix, last_resort_source));
}

} // namespace detail

template <ip_version V>
[[nodiscard]] node_addresses<V> compile_node(node_configuration const& node) {
    node_addresses<V> result{.local = detail::of_version<V>(node.addresses)};
    result.pods_by_link = node.pod_links.has_value();
    if (!result.pods_by_link) result.pods = detail::of_version<V>(node.pod_ranges);
    if constexpr (std::same_as<V, ipv4>) {
        auto const pool = detail::source_pool4(node);
        result.pool_first = pool.first;
        result.pool_last = pool.last;
    } else {
        result.pool_first = result.pool_last = detail::source6(node);
    }
    return result;
}

/// The addresses that serve node ports, beside those of localhost_node_ports: loopback ones do not. Where ranges are
/// said, but none of this version, it is all of this version, as kube-proxy has it.
template <ip_version V>
[[nodiscard]] std::vector<typename V::address> node_port_addresses(node_configuration const& node) {
    if (!node.node_port_addresses) {
        auto const primary = primary_address<V>(node);
        return primary ? std::vector{*primary} : std::vector<typename V::address>{};
    }
    auto const ranges = detail::of_version<V>(*node.node_port_addresses);
    auto addresses = detail::of_version<V>(node.addresses);
    std::erase_if(addresses, [&ranges](auto const& a) {
        auto const contains = [&a](auto const& range) { return range.contains(a); };
        return is_loopback(a) || (!ranges.empty() && std::ranges::none_of(ranges, contains));
    });
    return addresses;
}

/// The loopback addresses that serve node ports. With nodePortAddresses, only those in its ranges, as in kube-proxy's
/// iptables mode (NodePortAddresses.ContainsIPv4Loopback); ranges of IPv6 alone restrict IPv6 alone.
[[nodiscard]] inline std::vector<prefix<ipv4>> loopback_node_ports(node_configuration const& node) {
    constexpr auto loopback = prefix<ipv4>::of(ipv4_address(0x7f00'0000), 8);
    if (!node.localhost_node_ports) return {};
    auto ranges =
        node.node_port_addresses ? detail::of_version<ipv4>(*node.node_port_addresses) : std::vector<prefix<ipv4>>{};
    if (ranges.empty()) return {loopback};
    for (auto& range : ranges)
        if (range.contains(loopback.address) && range.length < loopback.length) range = loopback;
    std::erase_if(ranges, [&](auto const& range) { return !loopback.contains(range.address); });
    return ranges;
}

/// Everywhere that node ports are served.
template <ip_version V>
[[nodiscard]] std::vector<prefix<V>> node_port_destinations(node_configuration const& node) {
    std::vector<prefix<V>> all;
    if constexpr (std::same_as<V, ipv4>) all = loopback_node_ports(node);
    for (auto const& a : node_port_addresses<V>(node)) all.push_back(prefix<V>::of(a, address_bits<V>));
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
}

} // namespace v0_2
} // namespace kubeproxy
