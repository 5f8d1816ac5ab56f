#pragma once

#include "dpdk_forwarder/addressing.hpp"

#include "support/command_line.hpp"
#include "support/configuration.hpp"

#include <boost/program_options.hpp>
#include <rte_ether.h>

#include <chrono>
#include <climits>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dpdk {

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
    enum class mode : std::uint8_t { proxy, baseline, measure } run = mode::proxy;
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
    examples::add_configuration_options(all);
    add("control", options::value<std::string>()->value_name("SOCKET"),
        "a Unix socket: ku lines in, answers out (kuctl, socat)");
    add("gateway", options::value<std::vector<std::string>>()->value_name("MAC"),
        "next hop behind a port, given again for each port; without it frames keep their addresses");
    add("swap", "send frames on with source and destination address exchanged");
    add("mtu", options::value<std::string>()->value_name("BYTES"),
        "largest packet, which is one buffer (default 1500); larger ones are refused");
    add("packet-time", "time is what the device wrote beside the packets, in microseconds (net_pcap)");
    add("stop-when-idle", options::value<std::string>()->value_name("MS"), "end when nothing came for so long");
    add("stats", "print packets by verdict, ports, services and backends at the end");
    add("baseline", "leave out the library: frames are parsed, counted and forwarded");
    add("measure", options::value<double>()->implicit_value(0.2, "0.2")->value_name("SECONDS"),
        "packets per second with the library and without, of flows made up on a net_null port,\n"
        "a round of this long each");
    add("seed", options::value<std::string>()->value_name("N"),
        "repeatable run: the choice of backends and source ports follows from N. Never on a network: N is no secret");
    add("help", "print this text");
    return all;
}

[[nodiscard]] inline rte_ether_addr address_of(std::string const& text) {
    rte_ether_addr address{};
    if (rte_ether_unformat_addr(text.c_str(), &address) != 0)
        throw examples::startup_error{"--gateway: \"" + text + "\" is no Ethernet address"};
    return address;
}

} // namespace detail

/// \param argv its first element is the program's name, or the `--` in front of our options
/// \throws examples::startup_error
[[nodiscard]] inline settings settings_of(int argc, char const* const* argv) {
    examples::command_line const given{argc, argv, detail::described()};
    settings s{.config = given.files(), .control = given.text("control"), .gateways = {}, .seed = given.seed()};
    s.mtu = given.number<std::uint16_t>("mtu", RTE_ETHER_MTU, RTE_ETHER_MIN_MTU, UINT16_MAX);
    s.stop_when_idle = std::chrono::milliseconds{given.number("stop-when-idle", 0u, 0u, UINT_MAX)};
    for (auto const& text : given.texts("gateway")) s.gateways.push_back(detail::address_of(text));
    if (given.has("gateway")) s.how = addressing::gateway;
    if (given.has("swap")) {
        if (s.how == addressing::gateway)
            throw examples::startup_error{"--gateway and --swap are two ways to address a frame"};
        s.how = addressing::swap;
    }
    if (given.has("packet-time")) s.clock = settings::time::packets;
    if (given.has("stats")) s.stats = settings::table::printed;
    if (given.has("baseline")) s.run = settings::mode::baseline;
    if (given.has("measure")) {
        s.run = settings::mode::measure;
        s.round = std::chrono::duration<double>{given.value_or("measure", 0.0)};
        if (!(s.round.count() > 0)) throw examples::startup_error{"--measure: a time above 0 is wanted"};
    }
    return s;
}

} // namespace dpdk
