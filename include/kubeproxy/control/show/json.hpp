#pragma once

#include "kubeproxy/control/show/flows.hpp"
#include "kubeproxy/control/show/json_text.hpp"
#include "kubeproxy/control/show/services.hpp"
#include "kubeproxy/control/show/text.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

/// `show … json`: what show_text.hpp says, for programs. One line; addresses are text, times seconds, and what a text
/// would say in words is a number or a truth here.
namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

inline void write(json_text& out, traffic const& counted) {
    out.member("packets", counted.packets).member("bytes", counted.bytes).member("flows", counted.flows);
}

inline void write(json_text& out, endpoint_view const& e, std::size_t ring_size) {
    out.begin_object().member("address", to_text(e.address)).member("port", std::uint64_t{e.port});
    out.member("state", state_text(e.is)).key("ready").truth(e.is.ready).key("serving").truth(e.is.serving);
    out.key("terminating").truth(e.is.terminating).key("local").truth(e.on_this_node);
    out.member("weight", std::uint64_t{e.is.weight});
    out.member("ring_entries", std::uint64_t{e.ring_entries}).member("ring_size", std::uint64_t{ring_size});
    write(out, e.counted);
    out.end_object();
}

inline void write(json_text& out, service_view const& v) {
    out.begin_object().member("service", v.name).key("addresses").begin_array();
    for (auto const& a : v.addresses) out.value(to_text(a.where));
    out.end_array().member("client_version", std::uint64_t{v.client_version});
    out.member("pod_version", std::uint64_t{v.pod_version}).member("protocol", protocol_text(v.port));
    out.member("port", std::uint64_t{v.port.port}).member("target_port", std::uint64_t{v.port.target_port});
    out.member("node_port", std::uint64_t{v.port.node_port}).member("ring_size", std::uint64_t{v.ring_size});
    if (!v.lost.empty()) {
        out.key("served_by_others").begin_array();
        for (auto const& claim : v.lost) out.value(claim);
        out.end_array();
    }
    write(out, v.counted);
    out.key("endpoints").begin_array();
    for (auto const& e : v.endpoints) write(out, e, v.ring_size);
    out.end_array().end_object();
}

inline void write(json_text& out, std::string_view name, flow_side const& side) {
    out.key(name).begin_object().member("address", to_text(side.address));
    out.member("port", std::uint64_t{side.port}).end_object();
}

inline void write(json_text& out, flow_view const& f) {
    out.begin_object().member("service", f.service).member("protocol", std::uint64_t{f.protocol});
    write(out, "client", f.client);
    write(out, "spoken_to", f.spoken_to);
    write(out, "source", f.source);
    write(out, "backend", f.backend);
    out.key("masqueraded").truth(f.masqueraded).member("state", f.state);
    out.member("idle", static_cast<std::uint64_t>(f.idle.count()));
    out.member("left", static_cast<std::uint64_t>(f.left.count())).member("packets", f.packets).end_object();
}

inline void write(json_text& out, affinity_view const& a) {
    out.begin_object().member("service", a.service).member("client", to_text(a.client));
    out.member("backend", to_text(a.backend.address))
        .member("backend_port", std::uint64_t{a.backend.port})
        .member("left", static_cast<std::uint64_t>(a.left.count()));
    out.end_object();
}

template <class T>
[[nodiscard]] std::string json_array(std::span<T const> all) {
    json_text out;
    out.begin_array();
    for (auto const& one : all) write(out, one);
    return std::move(out.end_array()).finish();
}

} // namespace detail

[[nodiscard]] inline std::string services_json(std::span<service_view const> views) {
    return detail::json_array(views);
}
[[nodiscard]] inline std::string flows_json(std::span<flow_view const> flows) { return detail::json_array(flows); }
[[nodiscard]] inline std::string affinity_json(std::span<affinity_view const> clients) {
    return detail::json_array(clients);
}
[[nodiscard]] inline std::string counters_json(std::span<counter_view const> counters) {
    json_text out;
    out.begin_object();
    for (auto const& c : counters) out.member(c.name, c.value);
    return std::move(out.end_object()).finish();
}

/// Endpoints of all services, each with the service's name.
[[nodiscard]] inline std::string endpoints_json(std::span<service_view const> views) {
    json_text out;
    out.begin_array();
    for (auto const& v : views) {
        out.begin_object().member("service", v.name).key("endpoints").begin_array();
        for (auto const& e : v.endpoints) detail::write(out, e, v.ring_size);
        out.end_array().end_object();
    }
    return std::move(out.end_array()).finish();
}

[[nodiscard]] inline std::string overview_json(node_configuration const& node, std::span<service_view const> views) {
    json_text out;
    traffic sum;
    std::uint64_t pods = 0;
    out.begin_object().member("node", node.name).member("zone", node.zone).key("addresses").begin_array();
    for (auto const& a : node.addresses) out.value(to_text(a));
    for (auto const& v : views) {
        pods += v.endpoints.size();
        sum += v.counted;
    }
    out.end_array().member("services", std::uint64_t{views.size()}).member("endpoints", pods);
    detail::write(out, sum);
    return std::move(out.end_object()).finish();
}

} // namespace v0_2
} // namespace kubeproxy
