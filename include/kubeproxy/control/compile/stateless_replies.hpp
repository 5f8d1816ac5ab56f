#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

/// `ku set interface` of the 2017 plugin: a reply without a flow is translated back by the backend's address and port
/// (backend:target_port -> VIP:port), if only one service address uses that backend.
namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

template <ip_version V>
using mapping_key = std::tuple<typename V::address, std::uint16_t, std::uint8_t>;

/// The mapping of each backend, and how many service addresses use the backend. It is ambiguous if they are several.
template <ip_version V>
using mapping_map = std::map<mapping_key<V>, std::pair<reply_mapping, std::size_t>>;

/// Collects the mappings for clients of one IP version. A VIP prefix has none, because a reply does not tell which
/// address of the prefix the client used.
template <ip_version V, ip_version Client>
void collect_mappings(mapping_map<V>& found, snapshot const& services) {
    for (auto const& front : services.frontends<Client>().all()) {
        if (front.service == no_service || front.kind != frontend_kind::cluster_ip) continue;
        auto const& service = services.service_at(front.service);
        if (front.vip.length != address_bits<Client> || service.pod_version != V::number || !service.everywhere)
            continue;
        reply_mapping mapping{.port = front.port, .version = Client::number};
        std::ranges::copy(front.vip.address, mapping.vip.begin());
        for (auto const place : service.everywhere->backends) {
            backend const& b = services.backend_at(place);
            auto& entry = found[mapping_key<V>{b.template address_as<V>(), b.port, front.protocol}];
            entry.first = mapping;
            ++entry.second;
        }
    }
}

template <ip_version V>
[[nodiscard]] frontend_index<V> index_stateless_replies(std::vector<reply_mapping>& mappings,
                                                        snapshot const& services) {
    mapping_map<V> found;
    collect_mappings<V, V>(found, services);
    if constexpr (std::same_as<V, ipv6>)
        collect_mappings<ipv6, ipv4>(found, services); // clients are embedded, RFC 6052
    std::vector<frontend<V>> all;
    for (auto const& [key, entry] : found) {
        if (entry.second != 1) continue;
        auto const& [address, port, protocol] = key;
        all.push_back({prefix<V>::of(address, address_bits<V>), port, protocol, frontend_kind::cluster_ip,
                       static_cast<std::uint32_t>(mappings.size())});
        mappings.push_back(entry.first);
    }
    return frontend_index<V>{std::move(all)};
}

} // namespace detail

/// Sets the mappings of stateless replies for the IP versions that an interface is set to. O(backends)
inline void set_stateless_replies(snapshot& services, std::span<interface_nat const> interfaces) {
    auto const is_set = [&](pod_family pods) {
        return std::ranges::count(interfaces, pods, &interface_nat::pods) != 0;
    };
    services.reply_mappings.clear();
    services.stateless_replies4 = {};
    services.stateless_replies6 = {};
    if (is_set(pod_family::ipv4))
        services.stateless_replies4 = detail::index_stateless_replies<ipv4>(services.reply_mappings, services);
    if (is_set(pod_family::ipv6))
        services.stateless_replies6 = detail::index_stateless_replies<ipv6>(services.reply_mappings, services);
}

} // namespace v0_2
} // namespace kubeproxy
