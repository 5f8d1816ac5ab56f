#pragma once

#include "models/cluster_print.hpp"
#include "models/cluster_random.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// What the API server of a random cluster has, and what a watch says. Nothing here uses the library.
namespace kubeproxy::cluster {

struct api_server {
    dice* random;
    state now{};
    std::vector<json::object> events{}; ///< that the watch has not delivered
    std::set<std::string> published{};  ///< Services that the node knows by the names that their ports have now
    unsigned seconds = 0;               ///< since the first Service was created

    [[nodiscard]] bool percent(unsigned n) { return random->percent(n); }
    void tell(char const* type, json::object object) {
        events.push_back({{"type", type}, {"object", std::move(object)}});
    }
    void tell_service(std::string const& name) {
        tell(percent(50) ? "ADDED" : "MODIFIED", printed(name, now.services.at(name)));
    }
    void tell_slice(std::string const& name) {
        tell(percent(50) ? "ADDED" : "MODIFIED", printed(name, now.slices.at(name), now));
    }

    /// All objects, as a list has them.
    [[nodiscard]] json::array everything() const {
        json::array all;
        for (auto const& [name, s] : now.services) all.push_back(printed(name, s));
        for (auto const& [name, s] : now.slices) all.push_back(printed(name, s, now));
        return all;
    }

    /// A cluster IP belongs to one Service at a time.
    [[nodiscard]] std::string free_ip(unsigned version) {
        auto const is_used = [&](std::string const& ip) {
            return std::ranges::any_of(now.services, [&](auto const& s) {
                return std::ranges::find(s.second.cluster_ips, ip) != s.second.cluster_ips.end();
            });
        };
        for (;;) {
            auto const ip = (version == 4 ? "10.96.0." : "fd00:96::") + std::to_string(1 + random->below(8));
            if (!is_used(ip)) return ip;
        }
    }
    [[nodiscard]] bool is_used(std::string const& protocol, unsigned node_port) const {
        for (auto const& [name, s] : now.services)
            for (auto const& p : s.ports)
                if (p.protocol == protocol && p.node_port == node_port) return true;
        return false;
    }
};

} // namespace kubeproxy::cluster
