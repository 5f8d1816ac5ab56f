#pragma once

#include "models/slow_model_comparison.hpp"
#include "models/slow_model_flows.hpp"

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

/// What is the path's to choose, once for a flow: learned from the first packet that shows it, and held against what
/// the design promises about it.
namespace kubeproxy::slow {

/// No packet shows it.
inline constexpr unsigned unknown_port = 0x1'0000;

class choices {
  public:
    explicit choices(cluster const& services) : services_{&services} {}

    /// One of the service's pods; the same for the same packet as long as the pods are.
    [[nodiscard]] octets backend_for(subject const& s, found_service const& to, observed const& o);
    /// The new source of a flow, as far as this packet of the client's shows it.
    void learn_source(subject const& s, flow& f, flow_map& flows, std::int64_t now, observed const& o);
    /// A flow without ports whose first packet was too big: its source shows when a reply to it is taken for one.
    [[nodiscard]] bool reveal_source(subject const& s, flow_map& flows, observed const& o) const;

  private:
    [[nodiscard]] static std::optional<unsigned> shown_port(subject const& s, reading const& out);
    void want_port(subject const& s, unsigned port, observed const& o) const;

    cluster const* services_;
    std::map<std::tuple<std::shared_ptr<service>, unsigned, ends>, octets> ring_{};
    std::map<std::pair<octets, bool>, octets> paired_{}; ///< a client's address, and the one of ours that it has
};

inline octets choices::backend_for(subject const& s, found_service const& to, observed const& o) {
    auto const& pods = to.what->pods;
    bool const is_one = std::ranges::any_of(pods, [&](auto const& p) { return p->address == o.backend; });
    want(is_one, o, "backend is none of the service's pods: " + (o.backend.empty() ? "none" : text_of(o.backend)));
    auto const [known, is_new] = ring_.try_emplace({to.what, to.what->version, s.key}, o.backend);
    want(known->second == o.backend, o, "the ring gave " + text_of(known->second) + " before");
    return o.backend;
}

/// The source port, or identifier, of a packet that came out; none where its flow has one that it does not show.
inline std::optional<unsigned> choices::shown_port(subject const& s, reading const& out) {
    auto const protocol = s.key.protocol;
    if (s.r.what == kind::ports) return out.shown.sport;
    if (s.r.what == kind::echo) {
        auto const type = get(s.packet, s.r.transport, 1);
        if (type == 8 || type == 128) return out.shown.sport;
    }
    bool const has_one = detail::has_ports(protocol) || protocol == 1 || protocol == 58;
    return has_one ? std::nullopt : std::optional{0u};
}

inline void choices::learn_source(subject const& s, flow& f, flow_map& flows, std::int64_t now, observed const& o) {
    if (o.what.what != verdict::forward()) return;
    auto const out = read(o.bytes);
    auto const& chosen = out.shown.source;
    if (f.is_masqueraded) {
        want(services_->is_source(chosen), o, "source is none of ours: " + text_of(chosen));
        f.translated.source = chosen;
    }
    auto const port = shown_port(s, out);
    if (!port) return;
    f.translated.sport = *port;
    if (detail::has_ports(s.key.protocol)) want_port(s, *port, o);
    bool const has_pair = f.is_masqueraded && (s.r.what == kind::ports || s.r.what == kind::echo);
    if (has_pair) { // RFC 4787 REQ-2
        auto const [known, is_new] = paired_.try_emplace({s.key.source, f.translated.is_ipv6()}, chosen);
        want(known->second == chosen, o, "the client had " + text_of(known->second));
    }
    want(!flows.find(f.translated.mirrored(), now, services_->times), o, "source of another live flow");
    flows.know_source(f);
}

inline void choices::want_port(subject const& s, unsigned port, observed const& o) const {
    auto const text = "source port " + std::to_string(port) + " for " + std::to_string(s.key.sport);
    want(port != 0 && !services_->is_in_node_port_range(port), o, text);
    if (s.key.protocol != 17) return want(port >= 1024, o, text);
    want(port % 2 == s.key.sport % 2 && (port < 1024) == (s.key.sport < 1024), o, text); // RFC 4787 REQ-3 and REQ-4
}

inline bool choices::reveal_source(subject const& s, flow_map& flows, observed const& o) const {
    if (o.what.what == verdict::pass() || !services_->is_source(s.key.destination)) return false;
    for (auto const& f : flows.all()) {
        auto const& t = f->translated;
        if (f->is_source_known || t.destination != s.key.source || t.protocol != s.key.protocol) continue;
        if (t.sport + t.dport + s.key.sport + s.key.dport != 0) continue;
        f->translated.source = s.key.destination;
        flows.know_source(*f);
        return true;
    }
    return false;
}

} // namespace kubeproxy::slow
