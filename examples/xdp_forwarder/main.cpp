// Services for packets between interfaces, by AF_XDP: see --help.

#include "support/command_line.hpp"
#include "support/configuration.hpp"
#include "xdp_forwarder/forwarder.hpp"
#include "xdp_forwarder/options.hpp"

#include "kubeproxy/control/controller.hpp"

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

namespace {

namespace xdp = examples::xdp;

volatile std::sig_atomic_t is_stopped = 0;

std::vector<xdp::interface_facts> facts_of(std::vector<std::string> const& names) {
    std::vector<xdp::interface_facts> facts;
    for (auto const& name : names) {
        if (std::ranges::find(facts, name, &xdp::interface_facts::name) != facts.end())
            throw xdp::setup_error{"--interface " + name + " is given twice"};
        facts.push_back(xdp::facts_of(name));
    }
    return facts;
}

/// Translated packets fit the smallest of the links, and pay for the hop.
kubeproxy::proxy_settings settings_for(std::vector<xdp::interface_facts> const& facts) {
    auto const mtu = std::ranges::min(facts, {}, &xdp::interface_facts::mtu).mtu;
    kubeproxy::proxy_settings s;
    s.translation.decrement_ttl = true;
    s.translation.ipv4_mtu = s.translation.ipv6_mtu = static_cast<std::uint16_t>(mtu);
    return s;
}

void print_counters(xdp::forwarder_counters const& c, kubeproxy::verdict_counters const& verdicts) {
    std::cout << "received " << c.received << ", sent " << c.sent << ", not for us " << c.not_for_us << ", no route "
              << c.no_route << ", no hop left " << c.no_hop_left << ", too long " << c.too_long << ", ring full "
              << c.ring_full << '\n';
    for (auto const what : {kubeproxy::action::forward, kubeproxy::action::pass, kubeproxy::action::reply})
        std::cout << name(what) << ' ' << verdicts.packets(what) << '\n';
    for (std::size_t i = 0; i < kubeproxy::drop_reason_count; ++i) {
        auto const why = static_cast<kubeproxy::drop_reason>(i);
        if (verdicts.dropped(why) != 0) std::cout << "drop " << name(why) << ' ' << verdicts.dropped(why) << '\n';
    }
}

void run(xdp::options const& o) {
    kubeproxy::service_source services;
    kubeproxy::controller control{services};
    auto const notes = configure(control, o.files);
    for (auto const& refused : notes.refused) std::cerr << "xdp_forwarder: " << refused << '\n';

    auto facts = facts_of(o.interfaces);
    auto const& pod_links = control.configuration().node().pod_links;
    for (auto& one : facts) one.is_of_local_pods = pod_links && pod_links->contain(one.name);
    xdp::next_hops hops;
    for (auto const& route : o.routes) xdp::add_route(hops, route, facts);
    kubeproxy::flow_table flows{{.narrow = o.flows, .wide = o.flows}, kubeproxy::secret::from_system()};
    xdp::forwarder::proxy proxy{flows, services, settings_for(facts)};
    auto const links = xdp::open_interfaces(facts, o.queues, o.must_copy);
    for (std::size_t i = 0; i < facts.size(); ++i)
        std::cout << facts[i].name << ": " << (links->how() == xdp::transfer::copy ? "with copies" : "zero copy")
                  << (links->is_in_driver(i) ? ", in the driver" : ", in the kernel's generic hook") << '\n';
    std::cout << "ready" << std::endl;

    xdp::forwarder forwarder{*links, hops, proxy};
    while (is_stopped == 0)
        if (!forwarder.serve()) forwarder.sleep();
    print_counters(forwarder.counters(), proxy.verdicts());
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGINT, [](int) { is_stopped = 1; });
    std::signal(SIGTERM, [](int) { is_stopped = 1; });
    return examples::run_program("xdp_forwarder", [&] {
        if (auto const o = xdp::read_options(argc, argv, std::cout)) run(*o);
        return examples::success;
    });
}
