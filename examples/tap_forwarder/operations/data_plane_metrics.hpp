#pragma once

#include "kubeproxy/control/show/flows.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/service/affinity.hpp"
#include "kubeproxy/verdict.hpp"
#include "tap_forwarder/operations/metrics_text.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What workers and the flow table of a forwarder have counted, as metrics.
namespace examples {

/// What a walk over a flow table finds.
struct flow_census {
    std::map<std::pair<std::string_view, std::string_view>, std::uint64_t> by_state; ///< protocol, state
    std::map<std::string_view, std::uint64_t> ports;                                 ///< by protocol
};

[[nodiscard]] constexpr std::string_view protocol_of(kubeproxy::flow_state s) noexcept {
    switch (kubeproxy::kind_of(s)) {
    case kubeproxy::flow_kind::tcp: return "tcp";
    case kubeproxy::flow_kind::udp: return "udp";
    case kubeproxy::flow_kind::icmp: return "icmp";
    case kubeproxy::flow_kind::sctp: return "sctp";
    case kubeproxy::flow_kind::other:
    case kubeproxy::flow_kind::none: break;
    }
    return "other";
}

/// Takes part of the flows at a time, each part inside() of what keeps records from being reused. O(flows)
template <class Table, class Inside>
[[nodiscard]] flow_census census_of(Table const& flows, Inside inside) {
    constexpr std::size_t part = 4096;
    flow_census census;
    auto const count = [&](kubeproxy::flow_ref ref) {
        auto const& body = flows.body(ref);
        auto const state = body.state();
        if (state == kubeproxy::flow_state::none) return; // it has just ended
        ++census.by_state[{protocol_of(state), kubeproxy::name(state)}];
        if (body.is_masqueraded()) ++census.ports[protocol_of(state)];
    };
    for (std::size_t at = 0; at < flows.positions();) inside([&] { at = flows.for_each(at, part, count); });
    return census;
}

inline void write_verdict_metrics(metrics_text& out, std::span<kubeproxy::verdict_counters const* const> workers) {
    using kubeproxy::action;
    using kubeproxy::drop_reason;
    using kubeproxy::verdict;
    std::vector<verdict> all{verdict::forward(), verdict::pass()};
    for (std::size_t i = 1; i < kubeproxy::drop_reason_count; ++i) {
        all.push_back(verdict::reply(static_cast<drop_reason>(i)));
        all.push_back(verdict::drop(static_cast<drop_reason>(i)));
    }
    auto const write = [&](auto count) {
        for (auto const v : all) {
            std::uint64_t sum = 0;
            for (auto const* worker : workers) sum += count(*worker, v);
            auto const reason = v.why() == drop_reason::none ? std::string_view{} : name(v.why());
            out.sample({{"verdict", name(v.what())}, {"reason", reason}}, sum);
        }
    };
    out.family("kubeproxy_packets_total", metrics_text::kind::counter,
               "Packets by verdict, and by reason if not forwarded.");
    write([](auto const& worker, verdict v) { return worker.packets(v); });
    out.family("kubeproxy_bytes_total", metrics_text::kind::counter,
               "Bytes of packets from the IP header on, as they left, by verdict and reason.");
    write([](auto const& worker, verdict v) { return worker.bytes(v); });
}

inline void write_flow_metrics(metrics_text& out, kubeproxy::flow_counters const& counted,
                               kubeproxy::flow_table_size capacity, flow_census const& census) {
    using enum metrics_text::kind;
    out.family("kubeproxy_flows", gauge, "Flows in the table.");
    for (auto const& [what, flows] : census.by_state)
        out.sample({{"protocol", what.first}, {"state", what.second}}, flows);
    if (census.by_state.empty()) out.sample({{"protocol", "tcp"}, {"state", "established"}}, std::uint64_t{0});
    out.family("kubeproxy_flows_limit", gauge, "Flows that the table holds: IPv4 on both sides, and IPv6 on a side.");
    out.sample({{"kind", "narrow"}}, std::uint64_t{capacity.narrow});
    out.sample({{"kind", "wide"}}, std::uint64_t{capacity.wide});
    out.single("kubeproxy_flows_created_total", counter, "Flows entered in the table.", counted.inserted);
    out.family("kubeproxy_flows_ended_total", counter, "Flows that ended, by cause.");
    out.sample({{"cause", "expired"}}, counted.expired);
    out.sample({{"cause", "evicted"}}, counted.evicted);
    out.sample({{"cause", "erased"}}, counted.erased);
    out.single("kubeproxy_flows_refused_total", counter, "Flows not entered because the table was full.",
               counted.insert_full);
    out.family("kubeproxy_source_ports_in_use", gauge, "Source ports and identifiers of ours that flows have.");
    for (std::string_view const protocol : {"tcp", "udp", "sctp", "icmp"}) {
        auto const found = census.ports.find(protocol);
        out.sample({{"protocol", protocol}}, found == census.ports.end() ? std::uint64_t{0} : found->second);
    }
}

/// \param bursts how many there were of 1, 2, … packets
inline void write_burst_metrics(metrics_text& out, std::span<std::uint64_t const> bursts) {
    out.family("kubeproxy_burst_packets", metrics_text::kind::histogram, "Packets that were processed at once.");
    std::uint64_t count = 0, packets = 0;
    for (std::size_t size = 1; size <= bursts.size(); ++size) {
        count += bursts[size - 1];
        packets += size * bursts[size - 1];
        bool const is_bound = (size & (size - 1)) == 0; // 1, 2, 4, …
        if (is_bound) out.part("_bucket", {{"le", std::to_string(size)}}, count);
    }
    out.part("_bucket", {{"le", "+Inf"}}, count);
    out.part("_sum", {}, packets);
    out.part("_count", {}, count);
}

inline void write_affinity_metrics(metrics_text& out, std::size_t now, kubeproxy::affinity_counters const& counted) {
    using enum metrics_text::kind;
    out.single("kubeproxy_affinity_clients", gauge, "Clients whose backend is remembered for session affinity.",
               std::uint64_t{now});
    out.single("kubeproxy_affinity_clients_remembered_total", counter, "Clients that began to be remembered.",
               counted.remembered);
    out.single("kubeproxy_affinity_clients_evicted_total", counter, "Clients forgotten before their time, for others.",
               counted.evicted);
}

} // namespace examples
