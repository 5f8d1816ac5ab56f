#pragma once

#include "pcap_nat/packet_completion.hpp"

#include "support/command_line.hpp"
#include "support/configuration.hpp"

#include <boost/program_options.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

namespace examples::pcap_nat {

struct settings {
    std::string read;
    std::string write;
    configuration_files config;
    std::string report;
    /// Without it, the same backends as on every node. A capture has no attacker who could use a known secret.
    std::optional<std::uint64_t> seed;
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
    add_configuration_options(all);
    add("report", options::value<std::string>()->value_name("FILE.jsonl"), "write what became of each packet, as JSON");
    add("stats", "print packets by verdict, and by service and backend");
    add("seed", options::value<std::string>()->value_name("N"),
        "repeatable run: the choice of backends and source ports follows from N");
    add("track-direct",
        "know connections that go directly to pods, too, so that a client may use one source port for a "
        "pod and for a service in front of it");
    add("offloads", "the capture was taken on the sending host: complete no checksum that was left to the device, and "
                    "translate packets that the device was to cut into segments");
    add("help", "print this text");
    return all;
}

[[nodiscard]] inline settings settings_of(command_line const& given) {
    settings s{.read = given.text("read"),
               .write = given.text("write"),
               .config = given.files(),
               .report = given.text("report"),
               .seed = given.seed()};
    for (auto const name : {"read", "write"}) {
        if (given.text(name).empty()) throw startup_error{std::string{"option '--"} + name + "' is missing"};
    }
    if (given.has("stats")) s.stats = settings::table::printed;
    s.track_direct = given.has("track-direct");
    if (given.has("offloads")) s.point = capture_point::sending_host;
    std::error_code no_such_file;
    if (std::filesystem::is_regular_file(s.write, no_such_file) &&
        std::filesystem::equivalent(s.read, s.write, no_such_file)) {
        throw startup_error{s.write + ": would be overwritten while it is read"};
    }
    return s;
}

} // namespace examples::pcap_nat
