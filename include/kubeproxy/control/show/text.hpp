#pragma once

#include "kubeproxy/control/show/flows.hpp"
#include "kubeproxy/control/show/services.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// `show` as a person reads it.
namespace kubeproxy {
inline namespace v0_2 {

/// Rows of cells in columns as wide as they must be. Columns of numbers stand to the right.
class text_table {
  public:
    enum class align : std::uint8_t { left, right };
    struct column {
        std::string_view title;
        align to = align::left;
    };

    explicit text_table(std::vector<column> columns) : columns_{std::move(columns)} {
        std::vector<std::string> titles;
        for (auto const& c : columns_) titles.emplace_back(c.title);
        rows_.push_back(std::move(titles));
    }
    /// \pre as many cells as columns
    void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

    [[nodiscard]] std::string text(std::size_t indent) const {
        std::vector<std::size_t> widths(columns_.size());
        for (auto const& row : rows_)
            for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
        std::string all;
        for (auto const& row : rows_) {
            std::string line(indent, ' ');
            for (std::size_t i = 0; i < row.size(); ++i) {
                std::string const space(widths[i] - row[i].size(), ' ');
                line += (i == 0 ? "" : "  ") + (columns_[i].to == align::left ? row[i] + space : space + row[i]);
            }
            line.erase(line.find_last_not_of(' ') + 1);
            all += line + '\n';
        }
        return all;
    }

  private:
    std::vector<column> columns_;
    std::vector<std::vector<std::string>> rows_; ///< the titles first
};

[[nodiscard]] inline std::string percent_text(std::size_t part, std::size_t whole) {
    auto const tenths = whole == 0 ? 0 : (part * 1000 + whole / 2) / whole;
    return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " %";
}

[[nodiscard]] inline std::string port_text(std::uint16_t port, std::string_view if_none) {
    return port == 0 ? std::string{if_none} : std::to_string(port);
}

[[nodiscard]] inline std::string_view protocol_text(service_port const& port) noexcept {
    switch (port.protocol) {
    case service_protocol::any: break;
    case service_protocol::tcp: return "tcp";
    case service_protocol::udp: return "udp";
    case service_protocol::sctp: return "sctp";
    }
    return port.port == 0 ? "all" : "tcp, udp";
}

[[nodiscard]] inline std::string_view state_text(endpoint const& e) noexcept {
    if (e.ready) return e.weight == 0 ? "drained" : "ready";
    if (e.terminating) return e.serving ? "terminating, serving" : "terminating";
    return e.serving ? "serving" : "not ready";
}

/// "NAT64": from the client's version to the pods'.
[[nodiscard]] inline std::string translation_text(service_view const& view) {
    return "NAT" + std::to_string(view.client_version) + std::to_string(view.pod_version);
}

[[nodiscard]] inline std::string services_text(std::span<service_view const> views) {
    using enum text_table::align;
    text_table table{{{"service"},
                      {"protocol"},
                      {"port", right},
                      {"target", right},
                      {"node port", right},
                      {"kind"},
                      {"pods", right},
                      {"ring", right},
                      {"packets", right},
                      {"flows", right}}};
    for (auto const& v : views)
        table.add({v.name, std::string{protocol_text(v.port)}, port_text(v.port.port, "all"),
                   port_text(v.port.target_port, "same"), port_text(v.port.node_port, "-"), translation_text(v),
                   std::to_string(v.endpoints.size()), std::to_string(v.ring_size), std::to_string(v.counted.packets),
                   std::to_string(v.counted.flows)});
    return table.text(0);
}

[[nodiscard]] inline std::string endpoints_text(service_view const& view) {
    using enum text_table::align;
    if (view.endpoints.empty()) return "  no pods: new flows are rejected\n";
    text_table table{{{"pod"},
                      {"weight", right},
                      {"state"},
                      {"ring", right},
                      {"share", right},
                      {"packets", right},
                      {"flows", right}}};
    for (auto const& e : view.endpoints)
        table.add({e.port == 0 ? to_text(e.address) : to_text(e.address, e.port), std::to_string(e.is.weight),
                   std::string{state_text(e.is)}, std::to_string(e.ring_entries),
                   percent_text(e.ring_entries, view.ring_size), std::to_string(e.counted.packets),
                   std::to_string(e.counted.flows)});
    return table.text(2);
}

/// The services, and after each its endpoints.
[[nodiscard]] inline std::string verbose_text(std::span<service_view const> views) {
    std::string text;
    for (auto const& v : views) {
        if (!text.empty()) text += '\n';
        text += services_text({&v, 1});
        for (auto const& claim : v.lost) text += "  another service serves " + claim + '\n';
        text += endpoints_text(v);
    }
    return text;
}

/// One row for each endpoint of each service.
[[nodiscard]] inline std::string all_endpoints_text(std::span<service_view const> views) {
    using enum text_table::align;
    text_table table{{{"service"},
                      {"endpoint"},
                      {"state"},
                      {"node"},
                      {"weight", right},
                      {"share", right},
                      {"packets", right},
                      {"flows", right}}};
    for (auto const& v : views)
        for (auto const& e : v.endpoints)
            table.add({v.name, e.port == 0 ? to_text(e.address) : to_text(e.address, e.port),
                       std::string{state_text(e.is)}, e.on_this_node ? "this" : "another", std::to_string(e.is.weight),
                       percent_text(e.ring_entries, v.ring_size), std::to_string(e.counted.packets),
                       std::to_string(e.counted.flows)});
    return table.text(0);
}

[[nodiscard]] inline std::string ip_protocol_text(std::uint8_t protocol) {
    if (protocol == 1 || protocol == 58) return "icmp";
    if (protocol == 6) return "tcp";
    if (protocol == 17) return "udp";
    return protocol == 132 ? "sctp" : std::to_string(protocol);
}

namespace detail {
[[nodiscard]] inline std::string side_text(flow_side const& s) {
    return s.port == 0 ? to_text(s.address) : to_text(s.address, s.port);
}
} // namespace detail

[[nodiscard]] inline std::string flows_text(std::span<flow_view const> flows) {
    using enum text_table::align;
    text_table table{{{"service"},
                      {"protocol"},
                      {"client"},
                      {"spoken to"},
                      {"source"},
                      {"backend"},
                      {"state"},
                      {"idle", right},
                      {"left", right},
                      {"packets", right}}};
    auto const text = detail::side_text;
    for (auto const& f : flows)
        table.add({f.service, ip_protocol_text(f.protocol), text(f.client), text(f.spoken_to),
                   f.masqueraded ? text(f.source) : "kept", text(f.backend), std::string{f.state},
                   std::to_string(f.idle.count()) + " s", std::to_string(f.left.count()) + " s",
                   std::to_string(f.packets)});
    return table.text(0);
}

[[nodiscard]] inline std::string affinity_text(std::span<affinity_view const> clients) {
    text_table table{{{"service"}, {"client"}, {"backend"}, {"left", text_table::align::right}}};
    for (auto const& a : clients)
        table.add({a.service, to_text(a.client), detail::side_text(a.backend), std::to_string(a.left.count()) + " s"});
    return table.text(0);
}

[[nodiscard]] inline std::string counters_text(std::span<counter_view const> counters) {
    text_table table{{{"counter"}, {"value", text_table::align::right}}};
    for (auto const& c : counters) table.add({c.name, std::to_string(c.value)});
    return table.text(0);
}

namespace detail {
[[nodiscard]] inline std::string node_text(node_configuration const& node) {
    text_table table{{{"setting"}, {"value"}}};
    auto const v4 = compile_node<ipv4>(node);
    auto const v6 = compile_node<ipv6>(node);
    table.add({"buckets", node.buckets ? std::to_string(*node.buckets) : "the host's"});
    table.add({"timeout udp", std::to_string(node.lifetimes.udp_replied.count()) + " s, unreplied " +
                                  std::to_string(node.lifetimes.udp_unreplied.count()) + " s"});
    table.add({"timeout tcp", std::to_string(node.lifetimes.tcp_established.count()) + " s, half-open " +
                                  std::to_string(node.lifetimes.tcp_transitory.count()) + " s"});
    table.add({"drain", node.drain ? std::to_string(node.drain->count()) + " s" : "no limit"});
    table.add({"removed", node.removed == removed_endpoints::keep ? "keep" : "reset"});
    table.add({"snat4", to_text(v4.pool_first) + (v4.pool_first == v4.pool_last ? "" : '-' + to_text(v4.pool_last))});
    table.add({"snat6", to_text(v6.pool_first)});
    table.add({"nat64_prefix", to_text(node.nat64_prefix)});
    for (auto const& a : node.addresses) table.add({"node", to_text(a)});
    if (node.pod_links)
        table.add({"local pods", (node.pod_links->is_prefix ? "links " : "link ") + node.pod_links->name +
                                     (node.pod_links->is_prefix ? "*" : "")});
    if (!node.external_ips) table.add({"external IPs", "ignored"});
    if (node.localhost_node_ports) table.add({"node ports", "also on localhost"});
    for (auto const& i : node.interfaces)
        table.add({"interface", i.interface + (i.pods == pod_family::ipv4 ? " nat4" : " nat6")});
    return table.text(0);
}
} // namespace detail

/// `show ku`: the settings as they are in force, and how much there is.
[[nodiscard]] inline std::string overview_text(node_configuration const& node, std::span<service_view const> views) {
    std::size_t pods = 0;
    traffic sum;
    for (auto const& v : views) {
        pods += v.endpoints.size();
        sum += v.counted;
    }
    return detail::node_text(node) + '\n' + std::to_string(views.size()) + " services, " + std::to_string(pods) +
           " pods, " + std::to_string(sum.packets) + " packets, " + std::to_string(sum.flows) + " flows\n";
}

} // namespace v0_2
} // namespace kubeproxy
