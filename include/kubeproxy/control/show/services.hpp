#pragma once

#include "kubeproxy/control/compile/compiler.hpp"
#include "kubeproxy/service/counters.hpp"
#include "kubeproxy/service/publication.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// What `show` has to say, as data: text and JSON are made from it.
namespace kubeproxy {
inline namespace v0_2 {

/// One endpoint of one service port.
struct endpoint_view {
    ip_address address{};
    std::uint16_t port = 0; ///< 0: the packet's is kept
    endpoint is{};          ///< weight and state
    bool on_this_node = false;
    std::size_t ring_entries = 0;
    traffic counted{};
};

/// One service port for the clients of one IP version.
struct service_view {
    std::string name{};
    std::vector<service_address> addresses{}; ///< of that version
    unsigned client_version = 4;
    unsigned pod_version = 4;
    service_port port{};
    std::vector<std::string> lost{}; ///< what another service serves instead: "203.0.113.9/32 port 80 tcp"
    std::size_t ring_size = 0;
    traffic counted{};
    std::vector<endpoint_view> endpoints{};
};

namespace detail {

[[nodiscard]] inline std::vector<std::size_t> entries_by_position(endpoint_ring const& ring) {
    std::vector<std::size_t> count(ring.backends.size());
    for (auto const position : *ring.entries) ++count[position];
    return count;
}

/// \param places those of view.endpoints
inline void add_ring_entries(service_view& view, endpoint_ring const& ring, std::vector<std::uint32_t> const& places) {
    view.ring_size = ring.entries->size();
    auto const entries = entries_by_position(ring);
    for (std::size_t position = 0; position < entries.size(); ++position) {
        auto const place = std::ranges::find(places, ring.backends[position]);
        if (place == places.end()) continue;
        view.endpoints[static_cast<std::size_t>(place - places.begin())].ring_entries = entries[position];
    }
}

/// Backends that no longer serve the port, but still have flows, are left out.
/// \pre `services` is what `compiled` was compiled into
inline void add_endpoints(service_view& view, service_configuration const& service, compiled_port const& compiled,
                          node_configuration const& node, snapshot const& services, service_source const& source) {
    std::vector<std::uint32_t> places;
    auto place = compiled.backends.begin();
    for (auto const& t : targets_of(service, view.port, view.client_version, node)) {
        place = std::find_if(place, compiled.backends.end(), [&](std::uint32_t p) {
            return services.backend_at(p).address == t.address && services.backend_at(p).port == t.port;
        });
        if (place == compiled.backends.end()) break;
        places.push_back(*place);
        view.endpoints.push_back({t.is->address, t.port, *t.is, t.on_this_node, 0, source.backend_traffic(*place)});
    }
    auto const& ring = services.service_at(compiled.service).everywhere;
    if (ring) add_ring_entries(view, *ring, places);
}

/// Of this port; a cluster IP's claim to reject packets to all other ports is none of them.
[[nodiscard]] inline std::vector<std::string> lost_by(configured_service const& service, service_port const& port,
                                                      unsigned client_version) {
    std::vector<std::string> all;
    auto const protocols = protocols_of(port);
    for (auto const& c : service.lost)
        if (c.version == client_version && c.port == (c.where ? port.port : port.node_port) &&
            std::ranges::find(protocols, c.protocol) != protocols.end())
            all.push_back(c.text());
    return all;
}

} // namespace detail

/// One service port, as it was compiled last.
[[nodiscard]] inline service_view view_of(configured_service const& service, compiled_port const& compiled,
                                          node_configuration const& node, snapshot const& services,
                                          service_source const& source) {
    service_view view{.port = service.ports[compiled.position]};
    view.name = report_name(service, view.port);
    view.client_version = compiled.client_version;
    view.pod_version = pod_version(service.pods, compiled.client_version);
    for (auto const& a : service.addresses)
        if (version_of(a.where) == compiled.client_version) view.addresses.push_back(a);
    view.lost = detail::lost_by(service, view.port, view.client_version);
    view.counted = source.service_traffic(compiled.service);
    if (compiled.guarded != no_service) view.counted += source.service_traffic(compiled.guarded);
    detail::add_endpoints(view, service, compiled, node, services, source);
    return view;
}

/// All services, by slot.
/// \pre `services` is what `compiled` compiled last
[[nodiscard]] inline std::vector<service_view> all_views(compiler const& compiled, snapshot const& services,
                                                         service_source const& source) {
    std::vector<service_view> views{};
    for (auto const& service : compiled.services())
        for (auto const& port : service.ports)
            views.push_back(view_of(*service.source, port, compiled.node(), services, source));
    return views;
}

} // namespace v0_2
} // namespace kubeproxy
