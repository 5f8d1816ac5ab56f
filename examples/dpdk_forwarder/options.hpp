#pragma once

#include "dpdk_forwarder/addressing.hpp"

#include "support/configuration.hpp"

#include <boost/program_options.hpp>
#include <rte_ether.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace dpdk {

/// The command line is wrong, or the configuration is.
class usage_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// What stands behind `--` on the command line.
struct settings {
    examples::configuration_files config;
    std::string control; ///< path of a socket; empty: none
    addressing how = addressing::keep;
    std::vector<rte_ether_addr> gateways; ///< by port; the last one for all further ports
    std::optional<std::uint64_t> seed;    ///< none: backends as on every node, and a secret of its own
    std::uint16_t mtu = RTE_ETHER_MTU;
    std::chrono::milliseconds stop_when_idle{0};
    enum class time : std::uint8_t { counter, packets } clock = time::counter;
    enum class mode : std::uint8_t { proxy, baseline, measure, help } run = mode::proxy;
    std::chrono::duration<double> round{}; ///< of a measurement
    enum class table : std::uint8_t { none, printed } stats = table::none;
};

namespace detail {

namespace options = boost::program_options;

[[nodiscard]] inline options::options_description described() {
    options::options_description all{
        "dpdk_forwarder [options of DPDK's environment] -- [options]\n\n"
        "A node's service proxy between the ports of DPDK: port 0 and 1 are two ends of a wire, 2 and 3, ...; a port\n"
        "without another one sends back by itself. Every lcore has a queue of every port.\n\n"
        "Options"};
    auto add = all.add_options();
    add("config", options::value<std::string>()->value_name("FILE.ku"), "services and pods in the ku language");
    add("kubernetes", options::value<std::vector<std::string>>()->value_name("FILE.json"),
        "Services and EndpointSlices as kubectl get -o json prints them, or watches them; may be given again");
    add("node", options::value<std::string>()->value_name("FILE.json"),
        "which node this is: its name, zone, addresses, podCIDRs, ...");
    add("control", options::value<std::string>()->value_name("SOCKET"),
        "a Unix socket: ku lines in, answers out (kuctl, socat)");
    add("gateway", options::value<std::vector<std::string>>()->value_name("MAC"),
        "next hop behind a port, given again for each port; without it frames keep their addresses");
    add("swap", "send frames on with source and destination address exchanged");
    add("mtu", options::value<std::uint16_t>()->value_name("BYTES"),
        "largest packet, which is one buffer (default 1500); larger ones are refused");
    add("packet-time", "time is what the device wrote beside the packets, in microseconds (net_pcap)");
    add("stop-when-idle", options::value<unsigned>()->value_name("MS"), "end when nothing came for so long");
    add("stats", "print packets by verdict, ports, services and backends at the end");
    add("baseline", "leave out the library: frames are parsed, counted and forwarded");
    add("measure", options::value<double>()->implicit_value(0.2)->value_name("SECONDS"),
        "packets per second with the library and without, of flows made up on a net_null port,\n"
        "a round of this long each");
    add("seed", options::value<std::uint64_t>()->value_name("N"),
        "repeatable run: the choice of backends and source ports follows from N. Never on a network: N is no secret");
    add("help", "print this text");
    return all;
}

[[nodiscard]] inline options::variables_map parsed(int argc, char const* const* argv) {
    using namespace options::command_line_style;
    options::variables_map found;
    try {
        options::command_line_parser parser{argc, argv};
        options::store(parser.options(described()).positional({}).style(unix_style & ~allow_guessing).run(), found);
    } catch (options::error const& wrong) {
        throw usage_error{wrong.what()};
    }
    return found;
}

[[nodiscard]] inline rte_ether_addr address_of(std::string const& text) {
    rte_ether_addr address{};
    if (rte_ether_unformat_addr(text.c_str(), &address) != 0)
        throw usage_error{"--gateway: \"" + text + "\" is no Ethernet address"};
    return address;
}

} // namespace detail

/// \param argv of which the first is the program's name, or the `--` in front of our options
[[nodiscard]] inline settings settings_of(int argc, char const* const* argv) {
    auto const found = detail::parsed(argc, argv);
    settings s;
    auto const read = [&]<class T>(char const* name, T& into) {
        if (found.contains(name)) into = found[name].as<T>();
    };
    read("config", s.config.ku);
    read("node", s.config.node);
    read("kubernetes", s.config.kubernetes);
    read("control", s.control);
    if (found.contains("seed")) s.seed = found["seed"].as<std::uint64_t>();
    read("mtu", s.mtu);
    if (found.contains("stop-when-idle"))
        s.stop_when_idle = std::chrono::milliseconds{found["stop-when-idle"].as<unsigned>()};
    if (found.contains("gateway")) {
        s.how = addressing::gateway;
        for (auto const& text : found["gateway"].as<std::vector<std::string>>())
            s.gateways.push_back(detail::address_of(text));
    }
    if (found.contains("swap")) {
        if (s.how == addressing::gateway) throw usage_error{"--gateway and --swap are two ways to address a frame"};
        s.how = addressing::swap;
    }
    if (found.contains("packet-time")) s.clock = settings::time::packets;
    if (found.contains("stats")) s.stats = settings::table::printed;
    if (found.contains("baseline")) s.run = settings::mode::baseline;
    if (found.contains("measure")) {
        s.run = settings::mode::measure;
        s.round = std::chrono::duration<double>{found["measure"].as<double>()};
    }
    if (found.contains("help")) s.run = settings::mode::help;
    return s;
}

} // namespace dpdk
