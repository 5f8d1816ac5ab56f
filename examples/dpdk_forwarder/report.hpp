#pragma once

#include "dpdk_forwarder/counters.hpp"
#include "dpdk_forwarder/forwarder.hpp"
#include "dpdk_forwarder/frame_counters.hpp"

#include "support/report.hpp"

#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <ostream>
#include <string>

/// The counters at the end, for people.
namespace dpdk {

inline void print_frames(std::ostream& out, forwarder const& all) {
    for (std::size_t i = 0; i < frame_event_count; ++i) {
        auto const event = static_cast<frame_event>(i);
        if (event == frame_event::not_ip || frames_of(all.workers(), event) == 0) continue;
        out << "  dropped: " << std::left << std::setw(17) << name(event) << std::right << std::setw(12)
            << frames_of(all.workers(), event) << '\n';
    }
}

inline void print_ports(std::ostream& out, port_set const& ports) {
    out << '\n' << std::left << std::setw(28) << "port" << std::right;
    for (auto const* title : {"received", "missed", "errors", "sent", "errors"}) out << std::setw(12) << title;
    out << '\n';
    for (auto const& port : ports.all()) {
        auto const c = port->counters();
        out << "  " << std::left << std::setw(26) << port->name() << std::right;
        for (auto const n : {c.received, c.missed, c.receive_errors, c.sent, c.send_errors}) out << std::setw(12) << n;
        out << '\n';
    }
}

inline void print_everything(std::ostream& out, forwarder& all) {
    examples::print_verdicts(out, verdict_sum{all.workers()}, frames_of(all.workers(), frame_event::not_ip));
    print_frames(out, all);
    print_ports(out, all.ports());
    auto const services = all.control().execute("show ku vip verbose");
    if (services.ok() && !services.text.empty()) out << '\n' << services.text;
}

} // namespace dpdk
