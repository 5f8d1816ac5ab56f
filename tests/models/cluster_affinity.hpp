#pragma once

#include "models/cluster_flow.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>

/// Session affinity ClientIP (kubernetes#103000): each Service port remembers an endpoint for each client. Nothing here
/// uses the library.
namespace kubeproxy::cluster {

using tallies = std::map<std::string, std::size_t>;

class affinity_memory {
  public:
    void publish(state const& all) {
        std::erase_if(choices_, [&](auto const& c) { return seconds_of(all, c.first.service) != c.second.seconds; });
    }

    /// Those of the backends that the client is bound to; all, if there are none: the endpoint that the port remembers,
    /// or else the pod that another port of the Service remembers.
    [[nodiscard]] std::set<side> bound(decision const& d, state const& all, std::string const& client, moment now,
                                       tallies& tally) const {
        auto const known = choices_.find({d.service, number_of(d.port), client});
        if (known != choices_.end() && !known->second.is_over(now) && d.backends.contains(known->second.endpoint)) {
            ++tally["bound"];
            return {known->second.endpoint};
        }
        auto const same = of_other_ports(d, all, client, now);
        ++tally[same.empty() ? "unbound" : "bound by another port"];
        return same.empty() ? d.backends : same;
    }

    void remember(decision const& d, state const& all, std::string const& client, side const& backend, moment now,
                  tallies& tally) {
        auto const key = choice_key{d.service, number_of(d.port), client};
        auto const known = choices_.find(key);
        if (known != choices_.end() && known->second.is_over(now) && d.backends.contains(known->second.endpoint) &&
            known->second.endpoint != backend)
            ++tally["let go"];
        if (auto const seconds = seconds_of(all, d.service); seconds != 0) choices_[key] = {backend, now, seconds};
    }

  private:
    struct choice_key {
        std::string service, port, client;
        [[nodiscard]] friend auto operator<=>(choice_key const&, choice_key const&) = default;
    };
    struct choice {
        side endpoint;
        moment seen{};
        unsigned seconds = 0;

        [[nodiscard]] bool is_over(moment now) const { return now - seen >= seconds * 1s; }
    };

    [[nodiscard]] static unsigned seconds_of(state const& all, std::string const& service) {
        auto const found = all.services.find(service);
        bool const is_served =
            found != all.services.end() && !(cluster_ip(found->second, 4) + cluster_ip(found->second, 6)).empty();
        return is_served ? found->second.affinity_seconds.value_or(0) : 0;
    }
    /// Protocol and number of a service port: what its memory of clients belongs to.
    [[nodiscard]] static std::string number_of(std::string const& port_identity) {
        auto const before_number = port_identity.rfind('|');
        return port_identity.substr(port_identity.rfind('|', before_number - 1) + 1);
    }
    [[nodiscard]] static bool has_port(state const& all, std::string const& service, std::string const& number) {
        auto const found = all.services.find(service);
        return found != all.services.end() && std::ranges::any_of(found->second.ports, [&](port const& p) {
                   return p.protocol + '|' + std::to_string(p.number) == number;
               });
    }
    /// Of several the latest one's.
    [[nodiscard]] std::set<side> of_other_ports(decision const& d, state const& all, std::string const& client,
                                                moment now) const {
        std::set<side> same;
        std::optional<moment> latest;
        for (auto const& [key, known] : choices_) {
            if (key.service != d.service || key.client != client || key.port == number_of(d.port)) continue;
            if (!has_port(all, d.service, key.port)) continue;
            if (known.is_over(now) || (latest && known.seen < *latest)) continue;
            std::set<side> of_pod;
            for (auto const& b : d.backends)
                if (b.address == known.endpoint.address) of_pod.insert(b);
            if (of_pod.empty()) continue;
            if (latest && known.seen == *latest)
                same.merge(of_pod); // either is the latest
            else
                same = of_pod;
            latest = known.seen;
        }
        return same;
    }

    std::map<choice_key, choice> choices_;
};

} // namespace kubeproxy::cluster
