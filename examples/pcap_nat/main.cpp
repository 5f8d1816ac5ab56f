// Translates the packets of a capture as a node's service proxy would: see --help.

#include "pcap_nat/capture_run.hpp"
#include "pcap_nat/options.hpp"
#include "pcap_nat/translator.hpp"

#include "support/capture.hpp"
#include "support/command_line.hpp"
#include "support/report.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>

namespace {

using namespace examples::pcap_nat;
using examples::capture_error;
using examples::capture_reader;
using examples::capture_writer;

[[nodiscard]] std::unique_ptr<std::ofstream> open_report(std::string const& file) {
    if (file.empty()) return nullptr;
    auto report = std::make_unique<std::ofstream>(file);
    if (!*report) throw capture_error{file, std::string{"cannot open: "} + std::strerror(errno)};
    return report;
}

void require_known_link(capture_reader const& in) {
    auto const link = in.data_link();
    if (examples::link_layer_of(link)) return;
    char const* const name = pcap_datalink_val_to_name(link);
    throw capture_error{in.file(),
                        "link type " + (name != nullptr ? std::string{name} : std::to_string(link)) +
                            " is not supported; convert the capture to Ethernet first: editcap -F pcap -T ether"};
}

[[nodiscard]] examples::exit_status translate(settings const& s) {
    translator nat{s.config, s.seed, s.track_direct};
    capture_reader in{s.read};
    require_known_link(in);
    capture_writer out{s.write, nat.written_data_link(in.data_link()), in.precision()};
    auto const report = open_report(s.report);
    auto& screen = s.write == "-" ? std::cerr : std::cout;
    screen << nat.answers();
    for (auto const& line : nat.rejected_objects()) std::cerr << "pcap_nat: " << line << '\n';

    capture_run run{nat, in, out, report.get(), s.point};
    while (auto const packet = in.next()) run.take(*packet);
    run.flush();
    out.finish();
    if (report && !report->flush()) throw capture_error{s.report, "cannot write"};

    if (s.stats == settings::table::printed) {
        examples::print_verdicts(screen, nat.verdicts(), run.not_ip());
        examples::print_services(screen, nat.services());
    }
    if (in.damage().empty()) return examples::success;
    if (in.has_several_interfaces())
        throw capture_error{in.file(), "after packet " + std::to_string(run.packets()) + ": " + in.damage() +
                                           "; convert the capture to one link type first: editcap -F pcap -T ether"};
    std::cerr << "pcap_nat: " << in.file() << ": damaged behind packet " << run.packets() << ": " << in.damage()
              << '\n';
    return examples::failure;
}

} // namespace

int main(int argc, char** argv) {
    return examples::run_program("pcap_nat", [&]() -> int {
        auto const all = described();
        examples::command_line const given{argc, argv, all};
        if (!given.has("help")) return translate(settings_of(given));
        std::cout << all;
        return examples::success;
    });
}
