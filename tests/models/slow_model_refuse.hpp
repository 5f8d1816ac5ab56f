#pragma once

#include "models/slow_model_rewrite.hpp"

/// What must not be translated, and what its sender is told.
namespace kubeproxy::slow {

namespace detail {

/// RFC 791 section 3.1: a source route whose pointer is not behind its end has hops left.
inline bool has_hops_left(octets const& options) {
    for (std::size_t at = 0; at < options.size();) {
        auto const type = get(options, at, 1);
        if (type == 0) return false;
        if (type == 1) {
            ++at;
            continue;
        }
        if (at + 2 > options.size()) return false;
        auto const length = get(options, at + 1, 1);
        if (length < 2 || at + length > options.size()) return false;
        if ((type == 131 || type == 137) && length >= 3) return get(options, at + 2, 1) <= length;
        at += length;
    }
    return false;
}

/// ICMP stands for its counterpart. IGMP has none; AH covers the addresses; extension headers are IPv6's own.
inline bool survives(unsigned protocol, unsigned version) {
    if (protocol == (version == 4 ? 1u : 58u)) return true;
    return protocol != 1 && protocol != 58 && protocol != 2 && protocol != 51 && !is_extension_header(protocol);
}

/// RFC 7915 sections 4.1, 4.5
inline void refuse_from_ipv4(std::vector<refusal>& all, octets const& packet, reading const& r,
                             link_sizes const& links) {
    if (residue(part(packet, 0, r.transport)) != 0) all.push_back({drop_reason::bad_ipv4_checksum});
    auto const payload = r.end - r.transport;
    if (r.what == kind::ports && r.shown.protocol == 17 && get(packet, r.transport + 6, 2) == 0) {
        auto const length = get(packet, r.transport + 4, 2);
        if (r.is_fragment())
            all.push_back({drop_reason::zero_udp_checksum, told{3, 13, 0}});
        else if (length < 8 || length > payload)
            all.push_back({drop_reason::truncated_transport});
    }
    std::size_t const extra = r.is_fragment() ? 8 : 0, size = 40 + extra + payload;
    bool const is_cut = !r.dont_fragment && size > links.cut();
    if (r.what != kind::error && !is_cut && size > links.ipv6)
        all.push_back({drop_reason::too_big, told{3, 4, links.ipv6 - 20 - extra}});
}

/// RFC 7915 sections 5.1, 5.1.1
inline void refuse_from_ipv6(std::vector<refusal>& all, reading const& r, link_sizes const& links) {
    bool const is_extended = r.shown.protocol == 51 || is_extension_header(r.shown.protocol);
    if (r.extension_after_fragment || (r.fragment_header != 0 && is_extended))
        all.push_back({drop_reason::extension_after_fragment, told{1, 1, 0}});
    auto const fits = std::max<std::size_t>(links.ipv4, 1260);
    if (r.what != kind::error && r.fragment_header == 0 && 20 + r.end - r.transport > fits)
        all.push_back({drop_reason::too_big, told{2, 0, fits + 20}});
}

} // namespace detail

/// Everything that speaks against it; which is said first is nobody's rule.
inline std::vector<refusal> refusals_of(octets const& packet, reading const& r, ends const& after,
                                        link_sizes const& links) {
    std::vector<refusal> all;
    bool const changes_family = r.shown.is_ipv6() != after.is_ipv6();
    if (r.version == 4 && detail::has_hops_left(part(packet, 20, r.transport - 20)))
        all.push_back({drop_reason::source_route, told{3, 5, 0}}); // RFC 792: source route failed
    if (r.segments_left != 0) all.push_back({drop_reason::source_route, told{4, 0, r.segments_left}});
    bool const changes_ports = r.shown.sport != after.sport || r.shown.dport != after.dport;
    bool const is_sctp_part = r.is_fragment() && r.what == kind::ports && r.shown.protocol == 132;
    if (is_sctp_part && changes_ports && get(packet, r.transport + 8, 4) != 0)
        all.push_back({drop_reason::sctp_fragment}); // RFC 9260: the CRC covers what is elsewhere
    if (!changes_family) return all;
    if (r.version == 4)
        detail::refuse_from_ipv4(all, packet, r, links);
    else
        detail::refuse_from_ipv6(all, r, links);
    if (!detail::survives(r.shown.protocol, r.version)) all.push_back({drop_reason::protocol_unsupported});
    bool const is_icmp = r.shown.protocol == (r.version == 4 ? 1u : 58u);
    if (r.is_fragment() && is_icmp) all.push_back({drop_reason::icmp_fragment}); // RFC 7915 sections 4.2, 5.2
    if (r.what == kind::other_icmp) all.push_back({drop_reason::icmp_type});
    return all;
}

namespace detail {

inline bool is_one_node(octets const& a) { // RFC 1122 section 3.2.1.3; RFC 4443 section 2.4 e.6
    auto const first = get(a, 0, 1);
    if (a.size() == 4) return first != 0 && first != 127 && first < 224;
    return first != 0xff && get(a, 0, 8) + (get(a, 8, 8) & ~std::size_t{1}) != 0;
}

inline bool is_many_nodes(octets const& a) { // RFC 1112 section 4 and RFC 919; RFC 4291 section 2.7
    return get(a, 0, 1) >= (a.size() == 4 ? 224u : 255u);
}

} // namespace detail

/// RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e)
inline bool may_be_told(octets const& packet, reading const& r, told const& what) {
    if (!detail::is_one_node(r.shown.source) || r.what == kind::error || r.flaw != drop_reason::none) return false;
    if (r.version == 4)
        return residue(part(packet, 0, r.transport)) == 0 && get(r.shown.destination, 0, 1) < 224 &&
               r.what != kind::later;
    bool const is_redirect = r.what == kind::other_icmp && get(packet, r.transport, 1) == 137;
    bool const is_too_big = what.type == 2;
    return !is_redirect && (is_too_big || (r.what != kind::later && get(r.shown.destination, 0, 1) != 0xff));
}

/// The ICMP error itself, from the address that the packet was for: RFC 792 with RFC 1812 section 4.3.2, RFC 4443
/// section 2.4. An atomic packet's answer is atomic, another's takes its identification (RFC 6864 section 4).
inline octets icmp_error_about(octets const& packet, reading const& r, told const& what) {
    std::size_t const most = r.version == 4 ? 576 : 1280, header = r.version == 4 ? 20 : 40;
    auto const quote = part(packet, 0, std::min(r.end, most - header - 8));
    auto message = seed::joined(
        {seed::icmp(static_cast<unsigned>(what.type), static_cast<unsigned>(what.code), what.rest, quote)});
    bool const is_atomic = r.dont_fragment && !r.is_fragment();
    if (r.version == 4)
        return seed::bytes_of(
            seed::ipv4_packet{.traffic_class = static_cast<unsigned>(0xc0 | (r.traffic_class & 0x1c)),
                              .identification = is_atomic ? 0 : static_cast<unsigned>(r.identification),
                              .fragment = is_atomic ? 0x4000u : 0u,
                              .protocol = 1,
                              .source = r.shown.destination,
                              .destination = r.shown.source,
                              .payload = message});
    return seed::bytes_of(seed::ipv6_packet{
        .protocol = 58, .source = r.shown.destination, .destination = r.shown.source, .payload = message});
}

/// What a closed port answers, or nothing (RFC 9293 sections 3.10.7.1 and 3.9.2.3).
inline std::optional<octets> reset_about(octets const& packet, reading const& r) {
    auto const segment = part(packet, r.transport, r.end - r.transport);
    auto const header = (get(segment, 12, 1) >> 4) * 4, flags = get(segment, 13, 1);
    bool const is_intact = header >= 20 && header <= segment.size() &&
                           (pseudo_header(r.shown, segment.size()) + residue(segment)) % ones == 0 &&
                           (r.version == 6 || residue(part(packet, 0, r.transport)) == 0);
    bool const is_between_nodes = detail::is_one_node(r.shown.source) && !detail::is_many_nodes(r.shown.destination);
    if (!is_intact || (flags & 4) != 0 || r.segments_left != 0 || !is_between_nodes) return std::nullopt;
    auto const length = segment.size() - header + ((flags & 2) != 0 ? 1 : 0) + (flags & 1);
    bool const has_ack = (flags & 16) != 0;
    auto const message = seed::joined({seed::be16(r.shown.dport), seed::be16(r.shown.sport),
                                       has_ack ? part(segment, 8, 4) : seed::be32(0),
                                       has_ack ? seed::be32(0) : seed::be32(get(segment, 4, 4) + length),
                                       seed::of({0x50, has_ack ? 4u : 20u}), seed::be16(0), seed::be32(0)});
    if (r.version == 4)
        return seed::bytes_of(seed::ipv4_packet{.identification = 0,
                                                .fragment = 0x4000,
                                                .protocol = 6,
                                                .source = r.shown.destination,
                                                .destination = r.shown.source,
                                                .payload = message});
    return seed::bytes_of(seed::ipv6_packet{
        .protocol = 6, .source = r.shown.destination, .destination = r.shown.source, .payload = message});
}

} // namespace kubeproxy::slow
