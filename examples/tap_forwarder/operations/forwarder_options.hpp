#pragma once

#include "tap_forwarder/operations/forwarder.hpp"

#include <boost/program_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace examples {

/// Everything that the command line of tap_forwarder says.
struct forwarder_options {
    forwarder_settings forwarder;
    std::string config;                  ///< ku file; empty: none
    std::string node;                    ///< Node object; empty: none
    std::vector<std::string> kubernetes; ///< files, FIFOs, `-`
    std::string control;                 ///< path of a socket; empty: none
    std::string metrics;                 ///< ADDRESS:PORT; empty: none
    std::string restore;                 ///< file of flows; empty: none
};

namespace detail {

inline constexpr char const* forwarder_usage =
    "tap_forwarder --tap NAME[@NETNS][,ADDRESS/LENGTH]...[,mtu=N] [--tap ...] [options]\n\n"
    "A router between TAP devices that does what kube-proxy does: traffic to a service's address goes to one\n"
    "of its pods. Each --tap is a link; its addresses are the router's own on it, and hosts behind the device\n"
    "use them as their gateway:\n\n"
    "    tap_forwarder --tap client,10.0.0.1/24,fd00:a::1/64 --tap pods,10.244.1.1/24,fd00:b::1/64 \\\n"
    "                  --config services.ku\n\n"
    "A device that is not there is created, and removed at the end; one that is there is attached to. Devices\n"
    "may be moved into network namespaces meanwhile, or made there: NAME@NETNS.\n\n"
    "SIGHUP reads the --config file again; SIGINT and SIGTERM end the program.\n\nOptions";

[[nodiscard]] inline boost::program_options::options_description described_options() {
    namespace options = boost::program_options;
    using texts = std::vector<std::string>;
    options::options_description all{forwarder_usage, 110};
    auto add = all.add_options();
    add("tap", options::value<texts>()->value_name("NAME,..."), "a link, as above; may be given again");
    add("route", options::value<texts>()->value_name("PREFIX@GATEWAY"),
        "a route through a gateway next to us; 0.0.0.0/0 and ::/0 are default routes; may be given again");
    add("config", options::value<std::string>()->value_name("FILE.ku"), "services and pods in the ku language");
    add("kubernetes", options::value<texts>()->value_name("FILE|FIFO|-"),
        "Services and EndpointSlices as kubectl get -o json prints them, or kubectl get --watch "
        "--output-watch-events -o json writes them; a FIFO or - is followed; may be given again. The end of a stream "
        "keeps its objects. A FIFO's next writer lists all there are anew: what the FIFO had named and the list does "
        "not name goes five seconds after the last ADDED event before any other, or with a bookmark that ends the "
        "list; not if some of the text was no JSON");
    add("node", options::value<std::string>()->value_name("FILE.json"),
        "which node this is: its name, zone, addresses, podCIDRs, ...; SIGHUP looks again whether the node is to be "
        "deleted");
    add("reverse-path", options::value<std::string>()->value_name("strict|loose|off"),
        "drop packets that cannot have come from their source (RFC 3704): unless a route back to it leaves by the link "
        "they came in by (strict, the default), or unless there is any (loose)");
    add("track-direct",
        "know connections that go directly to pods, too, so that a client may use one source port for a "
        "pod and for a service in front of it");
    add("answer-services", "answer ARP and neighbour solicitations for the services' addresses, too");
    add("control", options::value<std::string>()->value_name("SOCKET"),
        "a Unix socket: ku lines in, answers out (kuctl, socat)");
    add("metrics", options::value<std::string>()->value_name("ADDRESS:PORT"),
        "serve Prometheus /metrics, and kube-proxy's /healthz and /livez, there");
    add("restore", options::value<std::string>()->value_name("FILE"), "flows that `ku save flows FILE` has saved");
    add("workers", options::value<std::string>()->value_name("N"),
        "data threads, each with a queue of every TAP (default 1). As many as there are processors: each stays on "
        "one and gets what programs there send, and a bulk stream keeps its thread");
    add("busy-poll", options::value<std::string>()->value_name("MICROSECONDS"),
        "how long a data thread looks again before it sleeps; more costs CPU time, and saves latency (default 0)");
    add("flows", options::value<std::string>()->value_name("N"),
        "room for N connections of IPv4 and N of IPv6 (default 1048576)");
    add("mtu", options::value<std::string>()->value_name("N"), "of links that do not say their own (default 1500)");
    add("capture", options::value<std::string>()->value_name("FILE.pcap"), "write every frame, in and out");
    add("help", "print this text");
    return all;
}

/// \throws startup_error
[[nodiscard]] inline boost::program_options::variables_map
parse_options(int argc, char const* const* argv, boost::program_options::options_description const& all) {
    namespace options = boost::program_options;
    using namespace options::command_line_style;
    options::variables_map found;
    try {
        options::command_line_parser parser{argc, argv};
        options::store(parser.options(all).positional({}).style(unix_style & ~allow_guessing).run(), found);
    } catch (options::error const& wrong) {
        throw startup_error{wrong.what()};
    }
    return found;
}

template <class T>
[[nodiscard]] T option_or(boost::program_options::variables_map const& found, std::string const& name, T otherwise) {
    return found.contains(name) ? found[name].as<T>() : otherwise;
}

/// Read by ourselves, because program_options takes -1 for the largest number.
[[nodiscard]] inline std::size_t number_between(boost::program_options::variables_map const& found,
                                                std::string const& name, std::size_t otherwise, std::size_t least,
                                                std::size_t most) {
    if (!found.contains(name)) return otherwise;
    auto const& text = found[name].as<std::string>();
    auto const value = read_number(text);
    if (!value || *value < least || *value > most)
        throw startup_error{"--" + name + ' ' + text + ": a number from " + std::to_string(least) + " to " +
                            std::to_string(most) + " is wanted"};
    return *value;
}

[[nodiscard]] inline reverse_path reverse_path_of(boost::program_options::variables_map const& found) {
    auto const text = option_or<std::string>(found, "reverse-path", "strict");
    auto const mode = read_reverse_path(text);
    if (!mode) throw startup_error{"--reverse-path " + text + ": strict, loose or off is wanted"};
    return *mode;
}

[[nodiscard]] inline forwarder_settings settings_of(boost::program_options::variables_map const& found) {
    using texts = std::vector<std::string>;
    constexpr std::size_t least_flows = 64, most_flows = 1u << 29;
    forwarder_settings s;
    for (auto const& text : option_or<texts>(found, "tap", {})) s.taps.push_back(read_tap_option(text));
    if (s.taps.empty()) throw startup_error{"--tap is missing: there is nothing to forward between"};
    for (auto const& text : option_or<texts>(found, "route", {})) s.routes.push_back(read_route_option(text));
    s.workers = number_between(found, "workers", 1, 1, forwarder::most_workers);
    s.flows = static_cast<std::uint32_t>(number_between(found, "flows", 1u << 20, least_flows, most_flows));
    s.mtu = number_between(found, "mtu", router_link::default_mtu, router_link::least_mtu, router_link::most_mtu);
    s.busy_poll = std::chrono::microseconds{number_between(found, "busy-poll", 0, 0, 1'000'000)};
    s.sources = reverse_path_of(found);
    s.track_direct = found.contains("track-direct");
    if (found.contains("answer-services")) s.answer_for = proxied_addresses::services;
    s.capture = option_or<std::string>(found, "capture", {});
    return s;
}

} // namespace detail

/// What the command line says; none: it asks for help, which was printed. \throws startup_error
[[nodiscard]] inline std::optional<forwarder_options> read_options(int argc, char const* const* argv,
                                                                   std::ostream& help) {
    auto const all = detail::described_options();
    auto const found = detail::parse_options(argc, argv, all);
    if (found.contains("help")) {
        help << all;
        return std::nullopt;
    }
    auto const text = [&](char const* name) { return detail::option_or<std::string>(found, name, {}); };
    return forwarder_options{.forwarder = detail::settings_of(found),
                             .config = text("config"),
                             .node = text("node"),
                             .kubernetes = detail::option_or<std::vector<std::string>>(found, "kubernetes", {}),
                             .control = text("control"),
                             .metrics = text("metrics"),
                             .restore = text("restore")};
}

} // namespace examples
