#pragma once

#include "support/command_line.hpp"
#include "support/configuration.hpp"

#include <boost/program_options.hpp>

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace examples::xdp {

struct options {
    std::vector<std::string> interfaces;
    std::vector<std::string> routes;
    configuration_files files;
    std::uint32_t queues; ///< of each interface
    std::uint32_t flows;  ///< of each IP version
    bool must_copy;       ///< even if the driver could do without copies
};

namespace detail {

[[nodiscard]] inline boost::program_options::options_description described() {
    namespace po = boost::program_options;
    using texts = std::vector<std::string>;
    po::options_description all{
        "xdp_forwarder --interface NAME --interface NAME --route PREFIX@INTERFACE,MAC... --config FILE.ku\n\n"
        "Takes IP packets from the interfaces by AF_XDP, does with them what the services say, and sends them to the "
        "next hop. ARP and neighbour discovery stay the kernel's: give the interfaces their addresses as ever. Until "
        "SIGINT or SIGTERM; then it prints what it has counted.\n\nOptions"};
    auto add = all.add_options();
    add("interface", po::value<texts>()->value_name("NAME"), "two or more; each may be given once");
    add("route", po::value<texts>()->value_name("PREFIX@INTERFACE,MAC"),
        "the station that packets to these addresses go to next");
    add_configuration_options(all);
    add("queues", po::value<std::string>()->value_name("N"),
        "of each interface (default 1): as many as ethtool -l says");
    add_flows_option(all);
    add("copy", "do not try to do without copies");
    add("help", "print this text");
    return all;
}

} // namespace detail

/// The options of the command line; none if it asks for help, which is then printed. \throws startup_error
[[nodiscard]] inline std::optional<options> read_options(int argc, char const* const* argv, std::ostream& help) {
    auto const all = detail::described();
    command_line const given{argc, argv, all};
    if (given.has("help")) {
        help << all;
        return std::nullopt;
    }
    options o{.interfaces = given.texts("interface"),
              .routes = given.texts("route"),
              .files = given.files(),
              .queues = given.number("queues", 1u, 1u, 64u),
              .flows = given.flows(),
              .must_copy = given.has("copy")};
    if (o.interfaces.empty()) throw startup_error{"--interface is missing: there is nothing to forward between"};
    return o;
}

} // namespace examples::xdp
