#pragma once

#include "kubeproxy/control/config.hpp"
#include "kubeproxy/control/json_text.hpp"
#include "kubeproxy/control/valid.hpp"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kubeproxy::inline v0_2 {

/// What a load balancer that asks the node at a service's healthCheckNodePort is told: whether the node has endpoints
/// for externalTrafficPolicy Local. The host serves it, over HTTP and at any path; a port is asked for as long as there
/// is an answer for it.
struct health_answer {
    std::uint16_t port = 0;
    std::string service{};           ///< "default/web"
    std::size_t local_endpoints = 0; ///< ready ones on this node

    /// OK or Service Unavailable (RFC 9110 sections 15.3.1 and 15.6.4).
    [[nodiscard]] unsigned status() const noexcept { return local_endpoints != 0 ? 200 : 503; }

    /// Of type application/json, in kube-proxy's form.
    [[nodiscard]] std::string body() const {
        auto const slash = service.find('/');
        auto const space = slash == std::string::npos ? std::string_view{} : std::string_view{service}.substr(0, slash);
        auto const name = std::string_view{service}.substr(slash == std::string::npos ? 0 : slash + 1);
        json_text out;
        out.begin_object().key("service").begin_object();
        out.member("namespace", space).member("name", name).end_object();
        out.member("localEndpoints", std::uint64_t{local_endpoints}).key("serviceProxyHealthy").truth(true);
        return std::move(out.end_object()).finish();
    }

    [[nodiscard]] friend bool operator==(health_answer const&, health_answer const&) = default;
};

/// Ready endpoints on this node, each address once however many slices and ports have it. Those that only serve while
/// they terminate do not count: load balancers are to turn to other nodes.
[[nodiscard]] inline std::size_t local_endpoints(service_configuration const& service) {
    std::set<ip_address> found;
    for (auto const& slice : service.slices)
        for (auto const& e : slice.endpoints)
            if (e.on_this_node && e.ready) found.insert(e.address);
    return found.size();
}

/// The answer for one service's port. \pre health_check_node_port is not 0
[[nodiscard]] inline health_answer health_of(service_configuration const& service) {
    return {service.health_check_node_port, service.name, local_endpoints(service)};
}

/// The answers of all services that have such a port. O(services and their endpoints); ask when the configuration has
/// changed, not when a load balancer asks.
[[nodiscard]] inline std::vector<health_answer> health_answers(valid_configuration const& configuration) {
    std::vector<health_answer> all;
    for (auto const& service : configuration.services())
        if (service != nullptr && service->health_check_node_port != 0) all.push_back(health_of(*service));
    return all;
}

} // namespace kubeproxy::inline v0_2
