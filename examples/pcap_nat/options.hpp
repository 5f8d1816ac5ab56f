#pragma once

#include "pcap_nat/packet_completion.hpp"

#include "support/configuration.hpp"

#include <boost/program_options.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace examples::pcap_nat {

/// The command line or the configuration is wrong.
class usage_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct settings {
    std::string read;
    std::string write;
    configuration_files config;
    std::string report;
    std::optional<std::uint64_t>
        seed; ///< none: the same backends as on every node. A capture has no attacker who could use a known secret
    capture_point point = capture_point::on_the_way;
    enum class table { none, printed } stats = table::none;
    bool track_direct = false;
};

namespace options = boost::program_options;

[[nodiscard]] inline options::options_description described() {
    options::options_description all{"pcap_nat --read IN --write OUT [options]\n\n"
                                     "Translates the packets of a capture as a node's service proxy would.\n\n"
                                     "Options"};
    auto add = all.add_options();
    add("read", options::value<std::string>()->value_name("IN"),
        "capture to read, pcap or pcapng; - is standard input");
    add("write", options::value<std::string>()->value_name("OUT"), "capture to write, pcap; - is standard output");
    add("config", options::value<std::string>()->value_name("FILE.ku"), "services and pods in the ku language");
    add("kubernetes", options::value<std::vector<std::string>>()->value_name("FILE.json"),
        "Services and EndpointSlices as kubectl get -o json prints them, or watches them; may be given again");
    add("node", options::value<std::string>()->value_name("FILE.json"),
        "which node this is: its name, zone, addresses, podCIDRs, ...");
    add("report", options::value<std::string>()->value_name("FILE.jsonl"), "write what became of each packet, as JSON");
    add("stats", "print packets by verdict, and by service and backend");
    add("seed", options::value<std::uint64_t>()->value_name("N"),
        "repeatable run: the choice of backends and source ports follows from N");
    add("track-direct",
        "know connections that go directly to pods, too, so that a client may use one source port for a "
        "pod and for a service in front of it");
    add("offloads", "the capture was taken on the sending host: complete no checksum that was left to the device, and "
                    "translate packets that the device was to cut into segments");
    add("help", "print this text");
    return all;
}

[[nodiscard]] inline options::variables_map parsed(int argc, char const* const* argv,
                                                   options::options_description const& all) {
    using namespace options::command_line_style;
    options::variables_map found;
    try {
        options::command_line_parser parser{argc, argv};
        options::store(parser.options(all).positional({}).style(unix_style & ~allow_guessing).run(), found);
    } catch (options::error const& wrong) {
        throw usage_error{wrong.what()};
    }
    return found;
}

[[nodiscard]] inline std::string text(options::variables_map const& found, std::string const& name) {
    return found.contains(name) ? found[name].as<std::string>() : std::string{};
}

[[nodiscard]] inline settings settings_of(options::variables_map const& found) {
    settings s{.read = text(found, "read"),
               .write = text(found, "write"),
               .config = {.ku = text(found, "config"), .node = text(found, "node"), .kubernetes = {}},
               .report = text(found, "report"),
               .seed = std::nullopt};
    for (auto const name : {"read", "write"}) {
        if (text(found, name).empty()) throw usage_error{std::string{"option '--"} + name + "' is missing"};
    }
    if (found.contains("kubernetes")) s.config.kubernetes = found["kubernetes"].as<std::vector<std::string>>();
    if (found.contains("seed")) s.seed = found["seed"].as<std::uint64_t>();
    if (found.contains("stats")) s.stats = settings::table::printed;
    s.track_direct = found.contains("track-direct");
    if (found.contains("offloads")) s.point = capture_point::sending_host;
    std::error_code no_such_file;
    if (std::filesystem::is_regular_file(s.write, no_such_file) &&
        std::filesystem::equivalent(s.read, s.write, no_such_file)) {
        throw usage_error{s.write + ": would be overwritten while it is read"};
    }
    return s;
}

} // namespace examples::pcap_nat
