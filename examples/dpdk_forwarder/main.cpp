// A node's service proxy between DPDK's ports: see --help.

#include "dpdk_forwarder/control_thread.hpp"
#include "dpdk_forwarder/forwarder.hpp"
#include "dpdk_forwarder/measure.hpp"
#include "dpdk_forwarder/options.hpp"
#include "dpdk_forwarder/report.hpp"
#include "dpdk_forwarder/runtime.hpp"

#include "support/command_line.hpp"

#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

namespace {

void forward(dpdk::settings const& s) {
    dpdk::forwarder all{s};
    std::cout << all.notes().answers << std::flush;
    for (auto const& line : all.notes().refused) std::cerr << "dpdk_forwarder: " << line << '\n';

    dpdk::life life{s.stop_when_idle}; // before anybody can speak to the program, and then ask it to end
    std::optional<dpdk::control_thread> control;
    try {
        if (!s.control.empty()) control.emplace(all, s.control);
    } catch (examples::control_socket_error const& wrong) {
        throw examples::startup_error{std::string{"--control "} + wrong.what()};
    }
    auto const lasts = [] { return !dpdk::life::is_over(); };
    if (s.run == dpdk::settings::mode::baseline)
        all.run([&](dpdk::worker& w) { life.note(w.poll<dpdk::work::baseline>()); }, lasts);
    else
        all.run([&](dpdk::worker& w) { life.note(w.poll<dpdk::work::proxy>()); }, lasts);
    control.reset();
    if (s.stats == dpdk::settings::table::printed) dpdk::print_everything(std::cout, all);
}

int run(int argc, char** argv) {
    auto const end = argv + argc;
    if (std::find(argv, end, std::string_view{"--help"}) != end) { // DPDK's own --help would end the program first
        std::cout << dpdk::detail::described();
        return examples::success;
    }
    dpdk::environment const eal{argc, argv};
    auto const s = dpdk::settings_of(argc - eal.used(), argv + eal.used());
    if (s.run == dpdk::settings::mode::measure)
        dpdk::measure(std::cout, s);
    else
        forward(s);
    return examples::success;
}

} // namespace

int main(int argc, char** argv) {
    return examples::run_program("dpdk_forwarder", [&] { return run(argc, argv); });
}
