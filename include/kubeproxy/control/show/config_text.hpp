#pragma once

#include "kubeproxy/control/config/valid_configuration.hpp"
#include "kubeproxy/control/ku/edit.hpp"
#include "kubeproxy/control/show/json_text.hpp"
#include "kubeproxy/control/show/text.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// `show config` and `ku save config`: a configuration as `ku` lines that make it again.
namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

/// The one timeout that `ku conf timeout` makes of all; none: the defaults, or not of the language.
[[nodiscard]] inline std::optional<std::chrono::seconds> common_timeout(timeouts const& t) noexcept {
    auto const all = {t.tcp_transitory, t.udp_replied, t.udp_unreplied, t.icmp, t.sctp_transitory, t.other_unreplied};
    bool const is_one = std::ranges::all_of(all, [&](auto const one) { return one == t.icmp; });
    return is_one ? std::optional{t.icmp} : std::nullopt;
}

[[nodiscard]] inline bool serves_node_ports_everywhere(node_configuration const& node) {
    std::vector<ip_prefix> const everywhere{prefix<ipv4>{}, prefix<ipv6>{}};
    return node.node_port_addresses == everywhere;
}

[[nodiscard]] inline std::string conf_line(node_configuration const& node) {
    std::string words;
    auto const say = [&words](std::string_view word, std::string const& value) {
        words += ' ' + std::string{word} + ' ' + value;
    };
    if (node.buckets) say("buckets", std::to_string(*node.buckets));
    if (auto const timeout = common_timeout(node.lifetimes)) say("timeout", std::to_string(timeout->count()));
    if (node.drain) say("drain", std::to_string(node.drain->count()));
    if (node.removed == removed_endpoints::reset) say("removed", "reset");
    if (node.snat4)
        say("snat4", to_text(node.snat4->first) +
                         (node.snat4->first == node.snat4->last ? "" : '-' + to_text(node.snat4->last)));
    if (node.snat6) say("snat6", to_text(*node.snat6));
    if (node.nat64_prefix != local_use_nat64_prefix) say("nat64_prefix", to_text(node.nat64_prefix));
    if (serves_node_ports_everywhere(node))
        for (auto const& a : node.addresses) say("node", to_text(a));
    return words.empty() ? words : "ku conf" + words + '\n';
}

[[nodiscard]] inline std::string vip_line(service_configuration const& service) {
    auto const& where = service.addresses.front().where;
    auto const& port = service.ports.front();
    auto line = "ku vip " + to_text(where);
    auto const say = [&line](std::string_view word, std::size_t value) {
        if (value != 0) line += ' ' + std::string{word} + ' ' + std::to_string(value);
    };
    if (port.protocol != service_protocol::any) line += " protocol " + std::string{protocol_text(port)};
    say("port", port.port);
    say("target_port", port.target_port);
    say("node_port", port.node_port);
    auto const version = pod_version(service.pods, version_of(where));
    if (version != version_of(where)) line += version == 4 ? " nat4" : " nat6";
    say("new_len", service.ring_size);
    return line + '\n';
}

/// Which of several services of a prefix is meant. Those of any protocol stand first in the text, so that the port
/// alone tells them.
[[nodiscard]] inline std::string narrowing(service_port const& port) {
    auto words = " port " + std::to_string(port.port);
    if (port.protocol != service_protocol::any) words += " protocol " + std::string{protocol_text(port)};
    return words;
}

/// \param only narrowing(), or nothing
[[nodiscard]] inline std::string pod_lines(service_configuration const& service, std::string_view only) {
    constexpr std::size_t max_in_line = 16;
    auto const& pods = service.slices.front().endpoints;
    std::string lines;
    for (std::size_t i = 0; i < pods.size();) {
        auto const weight = pods[i].weight;
        lines += "ku pod " + to_text(service.addresses.front().where);
        for (auto const begin = i; i < pods.size() && i < begin + max_in_line && pods[i].weight == weight; ++i)
            lines += ' ' + to_text(pods[i].address);
        lines += only;
        if (weight != 1) lines += " weight " + std::to_string(weight);
        lines += '\n';
    }
    return lines;
}

/// What no line of the language says, so that nobody takes the text for the whole.
[[nodiscard]] inline std::string remarks(valid_configuration const& configuration, std::size_t others) {
    auto const& node = configuration.node();
    bool const is_more_than_ku = !node.name.empty() || !node.zone.empty() || !node.pod_ranges.empty() ||
                                 node.pod_links || !node.service_ranges.empty() || node.node_ports ||
                                 node.masquerade_all || !node.external_ips || node.localhost_node_ports ||
                                 (!node.addresses.empty() && !serves_node_ports_everywhere(node));
    std::string text;
    if (is_more_than_ku) text += "# and what the node's own file says\n";
    if (others != 0) text += "# and " + std::to_string(others) + " services of the cluster\n";
    return text;
}

} // namespace detail

/// What `ku` lines made, as lines that make it again; the rest is named in comments. O(services and pods)
[[nodiscard]] inline std::string config_text(valid_configuration const& configuration) {
    std::map<ip_prefix, std::size_t> services_of_prefix;
    std::vector<service_configuration const*> services, narrowed;
    for (auto const& service : configuration.services()) {
        if (service == nullptr || !is_ku_vip(*service)) continue;
        bool const is_any = service->ports.front().protocol == service_protocol::any;
        (is_any ? services : narrowed).push_back(service.get());
        ++services_of_prefix[service->addresses.front().where];
    }
    services.insert(services.end(), narrowed.begin(), narrowed.end());
    auto text = detail::conf_line(configuration.node());
    for (auto const* service : services) {
        bool const is_alone = services_of_prefix[service->addresses.front().where] == 1;
        text += detail::vip_line(*service);
        text += detail::pod_lines(*service, is_alone ? "" : detail::narrowing(service->ports.front()));
    }
    for (auto const& i : configuration.node().interfaces)
        text += std::string{"ku set interface "} + (i.pods == pod_family::ipv4 ? "nat4 in " : "nat6 in ") +
                i.interface + '\n';
    return text + detail::remarks(configuration, configuration.service_count() - services.size());
}

/// The same text as the member "ku" of an object.
[[nodiscard]] inline std::string config_json(valid_configuration const& configuration) {
    json_text out;
    out.begin_object().member("ku", config_text(configuration)).end_object();
    return std::move(out).finish();
}

} // namespace v0_2
} // namespace kubeproxy
