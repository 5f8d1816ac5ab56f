// Services for packets between interfaces, by AF_XDP: see --help.

#include "support/configuration.hpp"
#include "xdp_forwarder/forwarder.hpp"

#include "kubeproxy/control/controller.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace xdp = examples::xdp;
using texts = std::vector<std::string>;

enum exit_status { all_well = 0, failed = 1, bad_usage = 2 };

volatile std::sig_atomic_t is_stopped = 0;

struct options {
    texts interfaces;
    texts routes;
    examples::configuration_files files;
    std::uint32_t queues = 1;
    std::uint32_t flows = 1u << 20;
    bool must_copy = false;
};

std::optional<options> read_options(int argc, char const* const* argv) {
    namespace po = boost::program_options;
    options o;
    po::options_description all{
        "xdp_forwarder --interface NAME --interface NAME --route PREFIX@INTERFACE,MAC... --config FILE.ku\n\n"
        "Takes IP packets from the interfaces by AF_XDP, does with them what the services say, and sends them to the "
        "next hop. ARP and neighbour discovery stay the kernel's: give the interfaces their addresses as ever. Until "
        "SIGINT or SIGTERM; then it says what it has counted"};
    auto add = all.add_options();
    add("interface", po::value(&o.interfaces)->value_name("NAME"), "two or more; each may be given once");
    add("route", po::value(&o.routes)->value_name("PREFIX@INTERFACE,MAC"),
        "the station that packets to these addresses go to next");
    add("config", po::value(&o.files.ku)->value_name("FILE.ku"), "services and pods in the ku language");
    add("kubernetes", po::value(&o.files.kubernetes)->value_name("FILE.json"),
        "Services and EndpointSlices as kubectl get -o json prints them; may be given again");
    add("node", po::value(&o.files.node)->value_name("FILE.json"), "which node this is");
    add("queues", po::value(&o.queues)->value_name("N"), "of each interface (default 1): as many as ethtool -l says");
    add("flows", po::value(&o.flows)->value_name("N"), "room for N connections of IPv4 and N of IPv6");
    add("copy", po::bool_switch(&o.must_copy), "do not try to do without copies");
    add("help", "print this text");
    po::variables_map found;
    po::store(po::command_line_parser{argc, argv}.options(all).positional({}).run(), found);
    if (found.contains("help")) return std::cout << all, std::nullopt;
    po::notify(found);
    if (o.interfaces.empty()) throw po::error{"--interface is missing: there is nothing to forward between"};
    if (o.queues == 0 || o.queues > 64) throw po::error{"--queues: 1 to 64 are possible"};
    return o;
}

std::vector<xdp::interface_facts> facts_of(texts const& names) {
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

void run(options const& o) {
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
    try {
        if (auto const o = read_options(argc, argv)) run(*o);
        return all_well;
    } catch (boost::program_options::error const& wrong) {
        std::cerr << "xdp_forwarder: " << wrong.what() << '\n';
        return bad_usage;
    } catch (examples::file_error const& wrong) {
        std::cerr << "xdp_forwarder: " << wrong.what() << '\n';
        return bad_usage;
    } catch (xdp::setup_error const& wrong) {
        std::cerr << "xdp_forwarder: " << wrong.what() << '\n';
        return bad_usage;
    } catch (std::exception const& wrong) {
        std::cerr << "xdp_forwarder: " << wrong.what() << '\n';
        return failed;
    }
}
