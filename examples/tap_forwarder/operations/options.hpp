#pragma once

#include "support/command_line.hpp"
#include "support/configuration.hpp"
#include "support/startup_error.hpp"
#include "tap_forwarder/operations/forwarder.hpp"

#include <boost/program_options.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace examples {

/// Everything that the command line of tap_forwarder says.
struct forwarder_options {
    forwarder_settings forwarder;
    configuration_files files; ///< `kubernetes` may name FIFOs and `-`
    std::string control;       ///< path of a socket; empty if there is none
    std::string metrics;       ///< ADDRESS:PORT; empty if nothing is served
    std::string restore;       ///< file of flows; empty if there is none
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
    "SIGHUP reads the --config file again, and looks in the --node file whether the node is to be deleted. SIGINT\n"
    "and SIGTERM end the program.\n\nOptions";

[[nodiscard]] inline boost::program_options::options_description described_options() {
    namespace options = boost::program_options;
    using texts = std::vector<std::string>;
    options::options_description all{forwarder_usage, 110};
    auto add = all.add_options();
    add("tap", options::value<texts>()->value_name("NAME,..."), "a link, as above; may be given again");
    add("route", options::value<texts>()->value_name("PREFIX@GATEWAY"),
        "a route through a gateway next to us; 0.0.0.0/0 and ::/0 are default routes; may be given again");
    add_configuration_options(
        all, {.value_name = "FILE|FIFO|-",
              .description =
                  "Services and EndpointSlices as kubectl get -o json prints them, or kubectl get --watch "
                  "--output-watch-events -o json writes them; a FIFO or - is followed; may be given again. The end of "
                  "a stream keeps its objects. A FIFO's next writer lists all there are anew: what the FIFO had named "
                  "and the list does not name goes five seconds after the last ADDED event before any other, or with a "
                  "bookmark that ends the list; not if some of the text was no JSON"});
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
    add_flows_option(all);
    add("mtu", options::value<std::string>()->value_name("N"), "of links that do not say their own (default 1500)");
    add("capture", options::value<std::string>()->value_name("FILE.pcap"), "write every frame, in and out");
    add("help", "print this text");
    return all;
}

[[nodiscard]] inline reverse_path reverse_path_of(command_line const& given) {
    auto const text = given.value_or<std::string>("reverse-path", "strict");
    auto const mode = read_reverse_path(text);
    if (!mode) throw startup_error{"--reverse-path " + text + ": strict, loose or off is wanted"};
    return *mode;
}

[[nodiscard]] inline forwarder_settings settings_of(command_line const& given) {
    forwarder_settings s;
    for (auto const& text : given.texts("tap")) s.taps.push_back(read_tap_option(text));
    if (s.taps.empty()) throw startup_error{"--tap is missing: there is nothing to forward between"};
    for (auto const& text : given.texts("route")) s.routes.push_back(read_route_option(text));
    s.workers = given.number<std::size_t>("workers", 1, 1, forwarder::max_workers);
    s.flows = given.flows();
    s.mtu = given.number("mtu", router_link::default_mtu, router_link::min_mtu, router_link::max_mtu);
    s.busy_poll = std::chrono::microseconds{given.number("busy-poll", 0u, 0u, 1'000'000u)};
    s.sources = reverse_path_of(given);
    s.track_direct = given.has("track-direct");
    if (given.has("answer-services")) s.answer_for = proxied_addresses::services;
    s.capture = given.text("capture");
    return s;
}

} // namespace detail

/// The options of the command line; none if it asks for help, which is then printed. \throws startup_error
[[nodiscard]] inline std::optional<forwarder_options> read_options(int argc, char const* const* argv,
                                                                   std::ostream& help) {
    auto const all = detail::described_options();
    command_line const given{argc, argv, all};
    if (given.has("help")) {
        help << all;
        return std::nullopt;
    }
    return forwarder_options{.forwarder = detail::settings_of(given),
                             .files = given.files(),
                             .control = given.text("control"),
                             .metrics = given.text("metrics"),
                             .restore = given.text("restore")};
}

} // namespace examples
