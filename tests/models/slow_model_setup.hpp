#pragma once

#include "models/slow_model_cluster.hpp"
#include "models/slow_model_traffic.hpp"

#include <string>
#include <vector>

/// Random services, for the model and, as `ku` text, for the library.
namespace kubeproxy::slow {

inline octets ipv4(unsigned a, unsigned b, unsigned c, unsigned d) { return seed::of({a, b, c, d}); }
inline octets ipv6(unsigned second, unsigned tenth, unsigned last) { // fd00:<second>::<last>
    return seed::with(octets(16), {{0, seed::of({0xfd, 0})}, {2, seed::be16(second)}, {14, seed::of({tenth, last})}});
}
inline octets pod_address(bool is_ipv6, unsigned n) { return is_ipv6 ? ipv6(0x244, 0, n) : ipv4(10, 244, 0, n); }

/// Prefixes inside prefixes, each with services by port, by protocol, and for all.
inline cluster some_cluster(traffic& dice, std::string& ku) {
    cluster c;
    std::vector<prefix> const prefixes{{ipv4(10, 96, 0, 0), 16}, {ipv4(10, 96, 5, 0), 24}, {ipv4(10, 96, 5, 7), 32},
                                       {ipv6(0x96, 0, 0), 64},   {ipv6(0x96, 5, 0), 120},  {ipv6(0x96, 5, 7), 128}};
    std::vector<service> const kinds{{.where = {}},
                                     {.where = {}, .port = 80, .target_port = 8080},
                                     {.where = {}, .protocol = 17, .port = 53},
                                     {.where = {}, .protocol = 6, .port = 443, .target_port = 8443},
                                     {.where = {}, .protocol = 132, .port = 5060, .target_port = 5061},
                                     {.where = {}, .protocol = 132, .port = 5080},
                                     {.where = {}, .protocol = 17}};
    for (auto const& where : prefixes) {
        for (auto const& kind : kinds) {
            if (dice.chance(50)) continue;
            auto s = kind;
            s.where = where;
            s.has_ipv6_pods = dice.chance(50);
            if (s.port != 0 && dice.chance(40)) s.node_port = 30000 + static_cast<unsigned>(c.services.size());
            ku += c.add(s);
        }
        for (bool const family : {false, true}) {
            bool const is_wanted = std::ranges::any_of(c.services, [&](auto const& s) {
                return s->where.text() == where.text() && s->has_ipv6_pods == family;
            });
            for (unsigned n = is_wanted ? dice.below(5) : 0; n > 0; --n)
                ku += c.add_pod(where, pod_address(family, 1 + dice.below(12)));
        }
    }
    if (c.services.empty()) ku += c.add({.where = prefixes[0]});
    return c;
}

/// The node's part: where sources come from, and how long flows live.
inline void set_node(cluster& c, traffic& dice, std::string& ku) {
    c.nat64 = seed::with(octets(16), {{0, seed::of({0, 0x64, 0xff, 0x9b, 0, 1})}}); // RFC 8215
    c.nodes = {ipv4(198, 51, 100, 250), ipv6(0x51, 0, 250)};
    c.pool4_first = c.pool4_last = c.nodes[0];
    c.pool6 = c.nodes[1];
    ku += "ku conf node " + text_of(c.nodes[0]) + " node " + text_of(c.nodes[1]) + '\n';
    if (dice.chance(50)) {
        c.pool4_first = ipv4(198, 18, 0, 9);
        c.pool4_last = ipv4(198, 18, 0, 9 + dice.below(4));
        ku += "ku conf snat4 " + text_of(c.pool4_first) + '-' + text_of(c.pool4_last) + '\n';
    }
    if (dice.chance(50)) {
        c.pool6 = ipv6(0x18, 0, 9);
        ku += "ku conf snat6 " + text_of(c.pool6) + '\n';
    }
    if (dice.chance(30)) {
        c.times.set_all(40);
        ku += "ku conf timeout 40\n";
    }
}

} // namespace kubeproxy::slow
