#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

/// A cluster as its API server knows it: plain values. Nothing here uses the library.
namespace kubeproxy::cluster {

using texts = std::vector<std::string>;

/// Its endpoints of both IP versions, in whatever slices they are.
struct pod {
    std::string address4, address6;
    std::optional<bool> ready{}, serving{}, terminating{}; ///< none: the object does not say
    std::optional<std::string> node{};
    texts zone_hints{}, node_hints{};
};

/// Of a Service.
struct port {
    std::string name;
    std::string protocol;
    unsigned number = 0;
    unsigned node_port = 0;
    std::string target = "named";
};

/// Of a slice. The name is the one that the Service's port had when the slice was written.
struct target_port {
    std::string name;
    std::string protocol;
    unsigned number = 0;
    unsigned service_port = 0; ///< what nobody prints: the number of the Service's port that it is meant for
};

struct slice {
    std::string service;
    unsigned version = 4;
    std::vector<target_port> ports{};
    std::set<std::string> pods{};
};

/// Without cluster IPs it is of type ExternalName; the cluster IP None makes it headless.
struct service {
    std::string type = "ClusterIP";
    unsigned created = 0; ///< seconds after the first one
    texts cluster_ips{};
    std::vector<port> ports{};
    texts external_ips{}, ingress{}, source_ranges{};
    std::optional<unsigned> affinity_seconds{};
    std::string internal_policy = "Cluster", external_policy = "Cluster";
};

struct node {
    std::string name = "here", zone{};
    texts addresses{};
    std::optional<texts> node_port_addresses{}; ///< none or empty: the primary ones
    texts pod_ranges{}, service_ranges{};
    bool masquerade_all = false;
    unsigned drain_seconds = 0; ///< 0: never
    bool resets_removed = false;
};

/// By name.
struct state {
    std::map<std::string, pod> pods;
    std::map<std::string, service> services;
    std::map<std::string, slice> slices;
};

inline unsigned version_of(std::string const& address) { return address.find(':') == std::string::npos ? 4 : 6; }

/// "10.0.0.0/8" and an address of any version.
inline bool contains(std::string const& range, std::string const& address) {
    auto const slash = range.find('/');
    auto const base = range.substr(0, slash);
    if (version_of(base) != version_of(address)) return false;
    std::array<unsigned char, 16> a{}, b{};
    int const family = version_of(base) == 4 ? AF_INET : AF_INET6;
    ::inet_pton(family, base.c_str(), a.data());
    ::inet_pton(family, address.c_str(), b.data());
    for (int bit = 0; bit < std::stoi(range.substr(slash + 1)); ++bit) {
        auto const at = static_cast<std::size_t>(bit / 8);
        if (((a.at(at) ^ b.at(at)) >> (7 - bit % 8) & 1) != 0) return false;
    }
    return true;
}

} // namespace kubeproxy::cluster
