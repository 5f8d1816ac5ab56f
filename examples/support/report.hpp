#pragma once

#include "kubeproxy/verdict.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// What became of the packets, for programs (a JSON line a packet) and for people (a table at the end).
namespace examples {

/// What became of one packet. An empty text is a null of the report.
struct packet_report {
    kubeproxy::verdict verdict = kubeproxy::verdict::pass();
    std::string_view service = {};
    std::string backend = {};
    enum class source { kept, masqueraded } from = source::kept;
    std::string_view flow = "none";
};

namespace detail {

/// RFC 8259 section 7.
inline void write_json(std::ostream& out, std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    out << '"';
    for (char const c : text) {
        auto const code = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out << '\\' << c;
        } else if (code < 0x20) {
            out << "\\u00" << digits[code >> 4] << digits[code & 0xf];
        } else {
            out << c;
        }
    }
    out << '"';
}

inline void write_json_or_null(std::ostream& out, std::string_view text) {
    if (text.empty()) {
        out << "null";
    } else {
        write_json(out, text);
    }
}

} // namespace detail

/// One line of JSON; the keys and their order are fixed.
inline void write_json_line(std::ostream& out, std::uint64_t number, packet_report const& packet) {
    auto const why = packet.verdict.why();
    out << "{\"packet\":" << number << ",\"verdict\":";
    detail::write_json(out, name(packet.verdict.what()));
    out << ",\"reason\":";
    detail::write_json_or_null(out, why == kubeproxy::drop_reason::none ? std::string_view{} : name(why));
    out << ",\"service\":";
    detail::write_json_or_null(out, packet.service);
    out << ",\"backend\":";
    detail::write_json_or_null(out, packet.backend);
    out << ",\"masquerade\":" << (packet.from == packet_report::source::masqueraded ? "true" : "false");
    out << ",\"flow\":";
    detail::write_json(out, packet.flow);
    out << "}\n";
}

/// What went to one backend, or to a service in all.
struct traffic_row {
    std::string name;
    std::uint64_t packets = 0;
    std::uint64_t flows = 0;
};

struct service_report {
    traffic_row all;
    std::vector<traffic_row> backends;
};

namespace detail {

[[nodiscard]] inline double percent(std::uint64_t part, std::uint64_t whole) noexcept {
    return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// The largest share of a service fills the bar, so that few and many backends are equally easy to compare.
[[nodiscard]] inline std::string bar(std::uint64_t part, std::uint64_t largest) {
    constexpr double width = 32;
    if (largest == 0) return {};
    auto const filled = width * static_cast<double>(part) / static_cast<double>(largest) + 0.5;
    return std::string(static_cast<std::size_t>(filled), '#');
}

struct left_column {
    std::string_view text;
    std::size_t width;
    friend std::ostream& operator<<(std::ostream& out, left_column const& c) {
        return out << std::left << std::setw(static_cast<int>(c.width)) << c.text << std::right;
    }
};

struct share_column {
    std::uint64_t part;
    std::uint64_t whole;
    friend std::ostream& operator<<(std::ostream& out, share_column const& c) {
        return out << std::fixed << std::setprecision(1) << std::setw(8) << percent(c.part, c.whole) << " %";
    }
};

inline constexpr std::size_t name_width = 28;

} // namespace detail

/// A row for each verdict, and below it for each reason.
/// \param counters verdict_counters, or what sums those of several workers
/// \param not_ip frames that passed by the library
template <class Counters>
void print_verdicts(std::ostream& out, Counters const& counters, std::uint64_t not_ip) {
    using kubeproxy::action;
    auto all = not_ip;
    for (auto const what : {action::forward, action::pass, action::reply, action::drop}) all += counters.packets(what);
    auto const row = [&](std::string const& text, std::uint64_t packets) {
        out << detail::left_column{text, detail::name_width} << std::setw(12) << packets
            << detail::share_column{packets, all} << '\n';
    };
    out << detail::left_column{"verdict", detail::name_width} << std::setw(12) << "packets" << std::setw(10) << "share"
        << '\n';
    for (auto const what : {action::forward, action::pass, action::reply, action::drop}) {
        row("  " + std::string{name(what)}, counters.packets(what) + (what == action::pass ? not_ip : 0));
        if (what == action::pass && not_ip > 0) row("    not IP", not_ip);
        for (std::size_t i = 1; i < kubeproxy::drop_reason_count; ++i) {
            auto const why = static_cast<kubeproxy::drop_reason>(i);
            auto const packets = what == action::reply  ? counters.replied(why)
                                 : what == action::drop ? counters.dropped(why)
                                                        : 0;
            if (packets > 0) row("    " + std::string{name(why)}, packets);
        }
    }
    row("all", all);
}

namespace detail {

/// A row for each backend of a service, with a bar that shows the balance: of flows or, where none is new, of packets.
inline void print_service(std::ostream& out, service_report const& service, std::size_t width) {
    auto const weight = [&](traffic_row const& row) { return service.all.flows > 0 ? row.flows : row.packets; };
    std::uint64_t largest = 0, sum = 0;
    for (auto const& row : service.backends) {
        largest = std::max(largest, weight(row));
        sum += weight(row);
    }
    auto const row = [&](std::string const& text, traffic_row const& r) -> std::ostream& {
        return out << left_column{text, width} << std::setw(12) << r.packets << std::setw(10) << r.flows;
    };
    out << '\n' << service.all.name << '\n';
    for (auto const& r : service.backends)
        row("  " + r.name, r) << share_column{weight(r), sum} << "  " << bar(weight(r), largest) << '\n';
    row(service.backends.empty() ? "  no backends" : "  all", service.all) << '\n';
}

} // namespace detail

/// All services, one below the other, in the same columns.
inline void print_services(std::ostream& out, std::span<service_report const> services) {
    auto width = detail::name_width;
    for (auto const& service : services) {
        width = std::max(width, service.all.name.size());
        for (auto const& row : service.backends) width = std::max(width, row.name.size() + 2);
    }
    if (services.empty()) return;
    out << '\n'
        << detail::left_column{"service and backends", width} << std::setw(12) << "packets" << std::setw(10) << "flows"
        << std::setw(10) << "share" << '\n';
    for (auto const& service : services) detail::print_service(out, service, width);
}

} // namespace examples
