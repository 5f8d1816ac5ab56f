// A stage of one's own between two of the library's: an access list, with counters, before flows are looked up.

#include "datagram.hpp"

#include <kubeproxy/control/controller.hpp>
#include <kubeproxy/kubeproxy.hpp>

#include <cstdint>
#include <iostream>
#include <vector>

struct rule {
    kubeproxy::prefix<kubeproxy::ipv4> sources;
    bool is_allowed = true;
    std::uint64_t packets = 0;
};

/// What the proxy keeps is copied, so the rules stay outside. A stage takes the packets that it has a function for:
/// here those of IPv4. IPv6 goes by.
struct access_list {
    std::vector<rule>* rules;

    template <kubeproxy::packet_buffer P>
    kubeproxy::step<kubeproxy::seen<P, kubeproxy::ipv4>> operator()(kubeproxy::seen<P, kubeproxy::ipv4>& s) noexcept {
        for (auto& rule : *rules) {
            if (!rule.sources.contains(s.key().source)) continue;
            ++rule.packets;
            if (!rule.is_allowed) return s.drop(kubeproxy::drop_reason::denied_by_host);
            break;
        }
        return s;
    }
};

int main() {
    using namespace kubeproxy;
    service_source services;
    controller control{services};
    (void)control.apply("ku vip 10.96.0.1/32 port 80 target_port 8080\nku pod 10.96.0.1/32 10.244.1.7");

    std::vector<rule> rules{{prefix<ipv4>::of(*parse_address<ipv4>("192.0.2.66"), 32), false},
                            {prefix<ipv4>::of({}, 0)}};
    flow_table flows{{.narrow = 1024, .wide = 1024}, secret::from_system()};
    proxy<span_packet, flow_table, access_list> proxy{flows, services, {}, access_list{&rules}};

    auto good = datagram(1, 0x0a600001, 80), bad = datagram(66, 0x0a600001, 80);
    std::array burst{span_packet{good, room}, span_packet{bad, room}, span_packet{good, room}};
    proxy.process(std::span{burst}, std::chrono::seconds{0}, [](span_packet&, outcome const& o) {
        std::cout << name(o.what.what()) << ' ' << name(o.what.why()) << '\n';
    });
    for (auto const& rule : rules) std::cout << (rule.is_allowed ? "allow " : "deny ") << rule.packets << " packets\n";
    bool const is_right = rules[0].packets == 1 && proxy.verdicts().dropped(drop_reason::denied_by_host) == 1;
    return is_right ? 0 : 1;
}
