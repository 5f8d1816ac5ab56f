#pragma once

#include "kubeproxy/control/controller.hpp"
#include "tap_forwarder/operations/metrics_text.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What a proxy that is controlled by kubeproxy::controller knows of its services, as metrics.
namespace examples {

namespace detail {

/// One service port for clients of one IP version, or one backend of it.
struct traffic_row {
    std::string space, service, port, protocol, family;
    std::string backend{}; ///< empty: the row is the service's
    kubeproxy::traffic counted{};
};

[[nodiscard]] inline traffic_row row_of(kubeproxy::service_configuration const& service,
                                        kubeproxy::compiled_port const& compiled) {
    auto const& port = service.ports[compiled.position];
    bool const is_ku = service.addresses.front().kind == kubeproxy::service_address_kind::vip;
    auto const slash = is_ku ? std::string::npos : service.name.find('/');
    traffic_row row{.space = slash == std::string::npos ? "" : service.name.substr(0, slash),
                    .service = service.name.substr(slash == std::string::npos ? 0 : slash + 1),
                    .port = port.name.empty() ? std::to_string(port.port) : port.name,
                    .protocol = std::string{kubeproxy::protocol_text(port)},
                    .family = compiled.client_version == 4 ? "ipv4" : "ipv6"};
    return row;
}

[[nodiscard]] inline std::string backend_text(kubeproxy::snapshot const& services, std::uint32_t place) {
    auto const& b = services.backends[place];
    bool const is_ipv6 = services.services[b.service].pod_version == 6;
    auto const address = is_ipv6 ? kubeproxy::ip_address{b.address_as<kubeproxy::ipv6>()}
                                 : kubeproxy::ip_address{b.address_as<kubeproxy::ipv4>()};
    return b.port == 0 ? kubeproxy::to_text(address) : kubeproxy::to_text(address, b.port);
}

struct traffic_rows {
    std::vector<traffic_row> services, backends;
};

/// O(services and backends)
[[nodiscard]] inline traffic_rows rows_of(kubeproxy::controller const& control,
                                          kubeproxy::service_source const& source) {
    traffic_rows rows;
    auto const* current = control.current();
    if (current == nullptr) return rows;
    for (auto const& service : control.compiled().services()) {
        for (auto const& port : service.ports) {
            auto row = row_of(*service.source, port);
            row.counted = source.service_traffic(port.service);
            if (port.guarded != kubeproxy::no_service) row.counted += source.service_traffic(port.guarded);
            rows.services.push_back(row);
            for (auto const place : port.backends) {
                row.backend = backend_text(*current, place);
                row.counted = source.backend_traffic(place);
                rows.backends.push_back(row);
            }
        }
    }
    return rows;
}

inline void write_rows(metrics_text& out, std::vector<traffic_row> const& rows, std::string_view of,
                       std::string_view whose) {
    struct column {
        std::string_view name, help;
        std::uint64_t kubeproxy::traffic::*value;
    };
    static constexpr std::array<column, 3> columns{
        {{"packets", "Packets forwarded, both directions, ", &kubeproxy::traffic::packets},
         {"bytes", "Bytes forwarded from the IP header on, both directions, ", &kubeproxy::traffic::bytes},
         {"flows", "New flows ", &kubeproxy::traffic::flows}}};
    for (auto const& column : columns) {
        out.family("kubeproxy_" + std::string{of} + '_' + std::string{column.name} + "_total",
                   metrics_text::kind::counter, std::string{column.help} + std::string{whose});
        for (auto const& row : rows) {
            auto const value = row.counted.*column.value;
            if (row.backend.empty())
                out.sample({{"namespace", row.space},
                            {"service", row.service},
                            {"port", row.port},
                            {"protocol", row.protocol},
                            {"ip_family", row.family}},
                           value);
            else
                out.sample({{"namespace", row.space},
                            {"service", row.service},
                            {"port", row.port},
                            {"protocol", row.protocol},
                            {"ip_family", row.family},
                            {"backend", row.backend}},
                           value);
        }
    }
}

} // namespace detail

/// Services, their backends, and the snapshots that hold them.
inline void write_service_metrics(metrics_text& out, kubeproxy::controller const& control,
                                  kubeproxy::service_source const& source) {
    using enum metrics_text::kind;
    auto const rows = detail::rows_of(control, source);
    detail::write_rows(out, rows.services, "service", "of a service port.");
    detail::write_rows(out, rows.backends, "backend", "of a backend of a service port.");
    auto const* current = control.current();
    auto const seconds = [](auto t) { return std::chrono::duration<double>{t}.count(); };
    out.single("kubeproxy_services", gauge, "Services configured.",
               std::uint64_t{control.configuration().service_count()});
    out.single("kubeproxy_snapshot_generation", gauge, "Number of the snapshot of services in use.",
               current == nullptr ? std::uint64_t{0} : current->generation);
    out.single("kubeproxy_snapshots", gauge, "Snapshots in memory; more than one while workers hold older ones.",
               std::uint64_t{control.snapshots_alive()});
    out.family("kubeproxy_snapshot_compile_duration_seconds", summary, "Time to compile and publish a snapshot.");
    out.part("_sum", {}, seconds(control.times().sum));
    out.part("_count", {}, control.times().count);
    out.single("kubeproxy_snapshot_last_compile_duration_seconds", gauge,
               "Time that the last snapshot took to compile and publish.", seconds(control.times().last));
}

} // namespace examples
