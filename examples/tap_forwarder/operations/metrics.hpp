#pragma once

#include "tap_forwarder/operations/data_plane_metrics.hpp"
#include "tap_forwarder/operations/forwarder.hpp"
#include "tap_forwarder/operations/process_metrics.hpp"
#include "tap_forwarder/operations/service_metrics.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace examples {

namespace detail {

/// Where the router's packets came from and ended: all that comes in is received or made, and either waits or is in
/// one of the other fates.
inline void write_router_metrics(metrics_text& out, router_counters const& counted) {
    using enum metrics_text::kind;
    out.family("kubeproxy_router_packets_total", counter,
               "Packets of the router: received + made = sent + consumed + dropped + dropped_by_library + waiting.");
    out.sample({{"fate", "received"}}, counted.received);
    out.sample({{"fate", "made"}}, counted.made);
    out.sample({{"fate", "sent"}}, counted.sent);
    out.sample({{"fate", "consumed"}}, counted.consumed);
    out.sample({{"fate", "dropped"}}, counted.dropped());
    out.sample({{"fate", "dropped_by_library"}}, counted.dropped_by_library);
    out.single("kubeproxy_router_waiting_packets", gauge, "Packets that wait for a neighbour's address.",
               counted.waiting);
    out.family("kubeproxy_router_dropped_packets_total", counter, "Packets that the router dropped, by reason.");
    for (std::size_t i = 0; i < router_drop_count; ++i)
        out.sample({{"reason", name(static_cast<router_drop>(i))}}, counted.drops[i]);
    out.family("kubeproxy_router_events_total", counter, "What the router did apart from forwarding.");
    for (std::size_t i = 0; i < router_event_count; ++i)
        out.sample({{"event", name(static_cast<router_event>(i))}}, counted.events[i]);
}

inline void write_link_metrics(metrics_text& out, std::vector<router_link> const& links,
                               std::vector<link_traffic> const& traffic) {
    out.family("kubeproxy_link_frames_total", metrics_text::kind::counter,
               "Frames of a link; one may hold many packets.");
    for (std::size_t i = 0; i < links.size() && i < traffic.size(); ++i) {
        out.sample({{"link", links[i].name()}, {"direction", "received"}}, traffic[i].received);
        out.sample({{"link", links[i].name()}, {"direction", "sent"}}, traffic[i].sent);
    }
    out.family("kubeproxy_link_bytes_total", metrics_text::kind::counter, "Bytes of a link's frames.");
    for (std::size_t i = 0; i < links.size() && i < traffic.size(); ++i) {
        out.sample({{"link", links[i].name()}, {"direction", "received"}}, traffic[i].received_bytes);
        out.sample({{"link", links[i].name()}, {"direction", "sent"}}, traffic[i].sent_bytes);
    }
}

} // namespace detail

/// Everything that /metrics says. On the thread that controls.
[[nodiscard]] inline std::string forwarder_metrics(forwarder& host, std::chrono::system_clock::time_point start) {
    metrics_text out;
    std::vector<kubeproxy::verdict_counters const*> verdicts;
    for (auto const& worker : host.workers()) verdicts.push_back(&worker->verdicts());
    auto const counted = host.counters();
    write_verdict_metrics(out, verdicts);
    write_service_metrics(out, host.control(), host.services());
    write_flow_metrics(out, host.flows().counters(), host.flows().capacity(),
                       census_of(host.flows(), [&](auto const& part) { host.inside(part); }));
    std::size_t clients = 0;
    host.clients().for_each(forwarder::flow_now(), [&](auto const&...) { ++clients; });
    write_affinity_metrics(out, clients, host.clients().counters());
    write_burst_metrics(out, counted.bursts);
    detail::write_router_metrics(out, counted.packets);
    detail::write_link_metrics(out, host.links(), counted.links);
    write_process_metrics(out, start);
    return std::move(out).finish();
}

} // namespace examples
