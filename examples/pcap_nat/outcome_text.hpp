#pragma once

#include "pcap_nat/frame.hpp"

#include "kubeproxy/dataplane/proxy.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/wire/address_text.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

/// Texts of a packet's outcome for the report.
namespace examples::pcap_nat {

[[nodiscard]] inline std::string_view name_of(kubeproxy::flow_relation relation) noexcept {
    switch (relation) {
    case kubeproxy::flow_relation::none: break;
    case kubeproxy::flow_relation::fresh: return "new";
    case kubeproxy::flow_relation::original: return "original";
    case kubeproxy::flow_relation::reply: return "reply";
    case kubeproxy::flow_relation::related: return "related";
    }
    return "none";
}

/// The address alone if the port is 0.
[[nodiscard]] inline std::string endpoint_text(kubeproxy::ip_address const& address, std::uint16_t port) {
    return port != 0 ? kubeproxy::to_text(address, port) : kubeproxy::to_text(address);
}

namespace detail {

/// The backend's port in a packet of a service that does not translate ports; 0 if the packet has none.
[[nodiscard]] inline std::uint16_t untranslated_port(frame& f, kubeproxy::flow_relation relation) noexcept {
    auto const port = [relation]<kubeproxy::ip_version V>(kubeproxy::parsed<V> const& p) -> std::uint16_t {
        if (p.what != kubeproxy::content::ports) return 0;
        auto const key = kubeproxy::tuple_of(p);
        return relation == kubeproxy::flow_relation::reply ? key.source_port : key.destination_port;
    };
    auto const packet = kubeproxy::parse(f.bytes());
    if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv4>>(&packet)) return port(*p);
    if (auto const* p = std::get_if<kubeproxy::parsed<kubeproxy::ipv6>>(&packet)) return port(*p);
    return 0;
}

} // namespace detail

/// Address and port of the backend that the outcome names.
/// \pre o.backend != no_backend; the frame has not changed since the library returned `o`
[[nodiscard]] inline std::string backend_text(kubeproxy::snapshot const& services, frame& f,
                                              kubeproxy::outcome const& o) {
    auto const& b = services.backend_at(o.backend);
    auto const port = b.port != 0 ? b.port : detail::untranslated_port(f, o.relation);
    if (services.service_at(b.service).pod_version == 4) return endpoint_text(b.address_as<kubeproxy::ipv4>(), port);
    return endpoint_text(b.address_as<kubeproxy::ipv6>(), port);
}

} // namespace examples::pcap_nat
