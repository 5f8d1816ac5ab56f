// A node's service proxy between DPDK's ports: see --help.

#include "dpdk_forwarder/control_thread.hpp"
#include "dpdk_forwarder/forwarder.hpp"
#include "dpdk_forwarder/measure.hpp"
#include "dpdk_forwarder/options.hpp"
#include "dpdk_forwarder/report.hpp"
#include "dpdk_forwarder/runtime.hpp"

#include <algorithm>
#include <exception>
#include <iostream>
#include <optional>
#include <string_view>

namespace {

enum exit_status { all_well = 0, bad_run = 1, bad_usage = 2 };

void forward(dpdk::settings const& s) {
    dpdk::forwarder all{s};
    std::cout << all.notes().answers << std::flush;
    for (auto const& line : all.notes().refused) std::cerr << "dpdk_forwarder: " << line << '\n';

    dpdk::life life{s.stop_when_idle}; // before anybody can speak to the program, and then ask it to end
    std::optional<dpdk::control_thread> control;
    if (!s.control.empty()) control.emplace(all, s.control);
    auto const lasts = [] { return !dpdk::life::is_over(); };
    if (s.run == dpdk::settings::mode::baseline)
        all.run([&](dpdk::worker& w) { life.note(w.poll<dpdk::work::baseline>()); }, lasts);
    else
        all.run([&](dpdk::worker& w) { life.note(w.poll<dpdk::work::proxy>()); }, lasts);
    control.reset();
    if (s.stats == dpdk::settings::table::printed) dpdk::print_everything(std::cout, all);
}

exit_status run(int argc, char** argv) {
    auto const end = argv + argc;
    if (std::find(argv, end, std::string_view{"--help"}) != end) {
        std::cout << dpdk::detail::described();
        return all_well;
    }
    dpdk::environment const eal{argc, argv};
    auto const s = dpdk::settings_of(argc - eal.used(), argv + eal.used());
    if (s.run == dpdk::settings::mode::measure)
        dpdk::measure(std::cout, s);
    else
        forward(s);
    return all_well;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (dpdk::usage_error const& wrong) {
        std::cerr << "dpdk_forwarder: " << wrong.what() << '\n';
        return bad_usage;
    } catch (examples::control_socket_error const& wrong) {
        std::cerr << "dpdk_forwarder: --control " << wrong.what() << '\n';
        return bad_usage;
    } catch (std::exception const& wrong) {
        std::cerr << "dpdk_forwarder: " << wrong.what() << '\n';
        return bad_run;
    }
}
