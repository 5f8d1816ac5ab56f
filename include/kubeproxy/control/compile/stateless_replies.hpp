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

/// The ancestor's stateless return mapping, backend:target_port -> VIP:port, for hosts that set an interface to it.
namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

template <ip_version V>
using return_key = std::tuple<typename V::address, std::uint16_t, std::uint8_t>;

/// By backend, its door; a second door makes it ambiguous, and then there is none.
template <ip_version V>
using return_map = std::map<return_key<V>, std::pair<return_door, std::size_t>>;

/// Doors of one client version. A VIP that is a prefix is none: no reply says which of its addresses was asked.
template <ip_version V, ip_version Client>
void collect_returns(return_map<V>& found, snapshot const& services) {
    for (auto const& front : services.frontends<Client>().all()) {
        if (front.service == no_service || front.kind != frontend_kind::cluster_ip) continue;
        auto const& service = services.service_at(front.service);
        if (front.vip.length != address_bits<Client> || service.pod_version != V::number || !service.everywhere)
            continue;
        return_door door{.port = front.port, .version = Client::number};
        std::ranges::copy(front.vip.address, door.vip.begin());
        for (auto const place : service.everywhere->backends) {
            backend const& b = services.backend_at(place);
            auto& entry = found[return_key<V>{b.template address_as<V>(), b.port, front.protocol}];
            entry.first = door;
            ++entry.second;
        }
    }
}

template <ip_version V>
[[nodiscard]] frontend_index<V> index_returns(std::vector<return_door>& doors, snapshot const& services) {
    return_map<V> found;
    collect_returns<V, V>(found, services);
    if constexpr (std::same_as<V, ipv6>) collect_returns<ipv6, ipv4>(found, services); // clients are embedded, RFC 6052
    std::vector<frontend<V>> all;
    for (auto const& [key, entry] : found) {
        if (entry.second != 1) continue;
        auto const& [address, port, protocol] = key;
        all.push_back({prefix<V>::of(address, address_bits<V>), port, protocol, frontend_kind::cluster_ip,
                       static_cast<std::uint32_t>(doors.size())});
        doors.push_back(entry.first);
    }
    return frontend_index<V>{std::move(all)};
}

} // namespace detail

/// Fills in what `services` tells of its backends' doors, for the families that an interface is set to. O(backends)
inline void set_returns(snapshot& services, std::span<interface_nat const> interfaces) {
    auto const is_set = [&](pod_family pods) {
        return std::ranges::count(interfaces, pods, &interface_nat::pods) != 0;
    };
    services.return_doors.clear();
    services.returns4 = {};
    services.returns6 = {};
    if (is_set(pod_family::ipv4)) services.returns4 = detail::index_returns<ipv4>(services.return_doors, services);
    if (is_set(pod_family::ipv6)) services.returns6 = detail::index_returns<ipv6>(services.return_doors, services);
}

} // namespace v0_2
} // namespace kubeproxy
