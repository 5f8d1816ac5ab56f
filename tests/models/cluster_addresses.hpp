#pragma once

#include "models/cluster_objects.hpp"

#include <algorithm>
#include <string>

/// What the addresses of nodes and Services mean to kube-proxy. Nothing here uses the library.
namespace kubeproxy::cluster {

/// The first of the version that is no loopback.
inline std::string primary(node const& n, unsigned version) {
    for (auto const& a : n.addresses)
        if (version_of(a) == version && !a.starts_with("127.") && a != "::1") return a;
    return {};
}

/// Headless Services, and those of type ExternalName, have none; a version without one is not served.
inline std::string cluster_ip(service const& s, unsigned version) {
    if (s.type == "ExternalName") return {};
    for (auto const& ip : s.cluster_ips)
        if (ip != "None" && version_of(ip) == version) return ip;
    return {};
}

inline bool serves_node_ports(node const& n, std::string const& address) {
    if (std::ranges::find(n.addresses, address) == n.addresses.end()) return false;
    if (address.starts_with("127.") || address == "::1") return false;
    if (!n.node_port_addresses || n.node_port_addresses->empty()) return address == primary(n, version_of(address));
    bool has_range = false;
    for (auto const& range : *n.node_port_addresses) {
        has_range = has_range || version_of(range.substr(0, range.find('/'))) == version_of(address);
        if (contains(range, address)) return true;
    }
    return !has_range;
}

enum class source { pod, node, external };

inline bool has_ranges(texts const& ranges, unsigned version) {
    return std::ranges::any_of(ranges, [&](auto const& r) { return version_of(r.substr(0, r.find('/'))) == version; });
}
inline bool is_in(texts const& ranges, std::string const& address) {
    return std::ranges::any_of(ranges, [&](auto const& range) { return contains(range, address); });
}

inline source source_of(node const& n, std::string const& address) {
    if (is_in(n.pod_ranges, address)) return source::pod;
    bool const is_loopback = address.starts_with("127.") || address == "::1"; // the kernel's local addresses
    bool const is_local = is_loopback || std::ranges::find(n.addresses, address) != n.addresses.end();
    return is_local ? source::node : source::external;
}

} // namespace kubeproxy::cluster
