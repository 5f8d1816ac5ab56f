#pragma once

#include "kubeproxy/control/compile/endpoints.hpp"
#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/valid_configuration.hpp"
#include "kubeproxy/control/show/json_text.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// The answer to a load balancer that asks a node at a Service's healthCheckNodePort whether the node has endpoints for
/// externalTrafficPolicy Local. The host serves the answer over HTTP, at any path, at its addresses of `ip_family`: a
/// dual-stack Service has two answers for its port, each with the endpoints of its own family (kubernetes PR#137370).
struct health_answer {
    /// The header that carries the number of local endpoints (kubernetes PR#118999).
    static constexpr std::string_view weight_header = "X-Load-Balancing-Endpoint-Weight";

    std::uint16_t port = 0;
    std::string service{};           ///< "default/web"
    std::size_t local_endpoints = 0; ///< ready endpoints of the family on this node
    unsigned ip_family = 4;          ///< 4 or 6: the family of the endpoints, and of the addresses to listen at
    bool is_proxy_healthy = true;    ///< proxy_health::is_healthy() at the time of the request

    /// OK or Service Unavailable (RFC 9110 sections 15.3.1 and 15.6.4).
    [[nodiscard]] unsigned status() const noexcept { return local_endpoints != 0 && is_proxy_healthy ? 200 : 503; }

    /// The value of the header `weight_header`.
    [[nodiscard]] std::string weight() const { return std::to_string(local_endpoints); }

    /// Has the type application/json and kube-proxy's fields.
    [[nodiscard]] std::string body() const {
        auto const slash = service.find('/');
        auto const space = slash == std::string::npos ? std::string_view{} : std::string_view{service}.substr(0, slash);
        auto const name = std::string_view{service}.substr(slash == std::string::npos ? 0 : slash + 1);
        json_text out;
        out.begin_object().key("service").begin_object();
        out.member("namespace", space).member("name", name).end_object();
        out.member("localEndpoints", std::uint64_t{local_endpoints});
        out.key("serviceProxyHealthy").truth(is_proxy_healthy);
        return std::move(out.end_object()).finish();
    }

    [[nodiscard]] friend bool operator==(health_answer const&, health_answer const&) = default;
};

/// The number of ready endpoints of an IP family on this node. An address counts once, however many slices and ports
/// have it. Endpoints that only serve while they terminate do not count, so that load balancers turn to other nodes.
[[nodiscard]] inline std::size_t local_endpoints(service_configuration const& service, unsigned ip_family,
                                                 node_configuration const& node) {
    std::set<ipv6::address> found;
    for (auto const& port : service.ports)
        for (auto const& one : targets_of(service, port, ip_family, node))
            if (one.on_this_node && one.is->ready) found.insert(one.address);
    return found.size();
}

/// Whether the Service has a cluster IP of this family; without cluster IPs, any other address of it.
[[nodiscard]] inline bool has_ip_family(service_configuration const& service, unsigned ip_family) {
    auto const is_cluster_ip = [](service_address const& a) { return a.kind == service_address_kind::cluster_ip; };
    bool const any_address_counts = std::ranges::none_of(service.addresses, is_cluster_ip);
    return std::ranges::any_of(service.addresses, [&](service_address const& a) {
        return (any_address_counts || is_cluster_ip(a)) && (a.where.index() == 0 ? 4u : 6u) == ip_family;
    });
}

/// The answers of all Services with a healthCheckNodePort, one for each IP family of a Service. Takes O(services and
/// their endpoints); call it when the configuration has changed, not when a load balancer asks.
[[nodiscard]] inline std::vector<health_answer> health_answers(valid_configuration const& configuration) {
    std::vector<health_answer> all;
    for (auto const& service : configuration.services()) {
        if (service == nullptr || service->health_check_node_port == 0) continue;
        for (unsigned const family : {4u, 6u})
            if (has_ip_family(*service, family))
                all.push_back({.port = service->health_check_node_port,
                               .service = service->name,
                               .local_endpoints = local_endpoints(*service, family, configuration.node()),
                               .ip_family = family});
    }
    return all;
}

} // namespace v0_2
} // namespace kubeproxy
