#pragma once

#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/service/select.hpp"
#include "kubeproxy/service/snapshot.hpp"

#include <algorithm>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// What has become of the backend and the frontend of a flow.
enum class flow_standing : std::uint8_t {
    current, ///< both are as they were
    moved,   ///< the address and port that the client spoke to belong to another service port now, or to none
    removed, ///< no slice of the Service contains the backend any more, or the Service is gone
    drained, ///< the backend has been terminating for longer than the drain time
};

/// Whether both ends of a TCP connection are to receive a reset.
[[nodiscard]] inline bool is_to_be_reset(snapshot const& services, flow_standing what) noexcept {
    return what == flow_standing::drained || (what == flow_standing::removed && services.resets_removed);
}

/// A standing, and the service and the backend that a packet of the flow counts for: none where their places in the
/// snapshot may have other owners now.
struct standing_result {
    flow_standing what = flow_standing::removed;
    std::uint32_t service = no_service;
    std::uint32_t backend = no_backend;
};

namespace detail {

/// Whether the place is, or was last, that of the endpoint to which such packets go.
template <ip_version V>
[[nodiscard]] bool is_backend_of(backend const& b, tuple<V> const& translated) noexcept {
    if (b.service == no_service || b.address_as<V>() != translated.destination) return false;
    return b.port == 0 || !has_ports(translated.protocol) || b.port == translated.destination_port;
}

/// Of a connection that goes to a pod by itself, whatever becomes of the services that the pod is a backend of.
template <ip_version V>
[[nodiscard]] standing_result standing_of_direct(snapshot const& services, tuple<V> const& original) noexcept {
    auto const* front =
        services.frontends<V>().find(original.destination, original.destination_port, original.protocol);
    return {front == nullptr ? flow_standing::current : flow_standing::moved, no_service, no_backend};
}

} // namespace detail

/// For a flow whose backend is_current() does not confirm: looks up what its first packet would meet today.
template <ip_version O, ip_version T>
[[nodiscard]] standing_result standing_of(snapshot const& services, tuple<O> const& original,
                                          tuple<T> const& translated, std::uint32_t backend,
                                          std::uint16_t generation) noexcept {
    if (backend == no_backend) return detail::standing_of_direct(services, original);
    if (backend >= services.backend_count()) return {};
    auto const& its_backend = services.backend_at(backend);
    auto const status = services.status_of(backend);
    if (!detail::is_backend_of(its_backend, translated)) return {};
    if (!status.is_same_life(generation)) return {flow_standing::drained, no_service, no_backend};
    if (!status.in_use) return {};
    auto const* front =
        services.frontends<O>().find(original.destination, original.destination_port, original.protocol);
    bool const is_same = front != nullptr && front->service != no_service &&
                         services.service_at(front->service).main_place == its_backend.service;
    if (is_same) return {flow_standing::current, front->service, backend};
    return {flow_standing::moved, its_backend.service, backend};
}

/// The same for a flow of a table. Its record may change meanwhile, if other workers share the table.
template <class Table>
[[nodiscard]] standing_result standing_of(snapshot const& services, Table const& flows, flow_ref flow) noexcept {
    auto const& body = flows.body(flow);
    auto const backend = body.backend.load();
    auto const generation = body.generation.load();
    return flows.visit_tuples(flow, [&](auto const& original, auto const& translated) {
        return standing_of(services, original, translated, backend, generation);
    });
}

} // namespace v0_2
} // namespace kubeproxy
