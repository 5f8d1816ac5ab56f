#pragma once

#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/wire/packet.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>

/// What every result of parse() and tuple_of() promises to the code behind it, whatever the bytes were.
namespace kubeproxy::invariant {

/// The result of a promise kept, or what was broken.
using broken = char const*;
inline constexpr broken none = nullptr;

inline bool is_reason_to_refuse(drop_reason why) {
    return why == drop_reason::truncated || why == drop_reason::bad_version || why == drop_reason::bad_header_length ||
           why == drop_reason::bad_length;
}

template <ip_version V>
broken in_places(parsed<V> const& p, byte_span input) {
    if (p.bytes.data() != input.data() || p.bytes.size() > input.size()) return "bytes outside the input";
    if (p.transport < V::minimum_header || p.transport > p.bytes.size()) return "transport outside the packet";
    if (std::same_as<V, ipv4> && (p.fragment_header != 0 || p.segments_left != 0 || p.extension_after_fragment))
        return "extension headers in IPv4";
    if (p.fragment_header != 0 && (p.fragment_header < V::minimum_header || p.fragment_header + 8 > p.transport))
        return "fragment header out of place";
    if (p.segments_left != 0 && (p.segments_left < V::minimum_header || p.segments_left >= p.transport ||
                                 p.bytes[p.segments_left] == std::byte{0}))
        return "segments left out of place, or none left";
    return none;
}

template <ip_version V>
broken in_flaw(parsed<V> const& p) {
    if (p.flaw == drop_reason::none) return none;
    if (p.flaw == drop_reason::bad_extension_header) {
        if (std::same_as<V, ipv4>) return "extension headers in IPv4";
    } else if (p.flaw != (p.is_fragment ? drop_reason::tiny_fragment : drop_reason::truncated_transport)) {
        return "a flaw that parsing cannot find, or that of a fragment in a whole packet";
    }
    return p.what == content::opaque ? none : "content in spite of a flaw";
}

template <ip_version V>
broken in_content(parsed<V> const& p) {
    auto const room = p.payload().size();
    switch (p.what) {
    case content::ports: return has_ports(p.protocol) && room >= 8 ? none : "ports without room or reason";
    case content::echo:
    case content::icmp_error:
    case content::other_icmp: return p.protocol == V::icmp_protocol && room >= 8 ? none : "ICMP without room or reason";
    case content::later_fragment: return p.is_fragment ? none : "a later fragment that is no fragment";
    case content::opaque:
        return p.flaw != drop_reason::none || (!has_ports(p.protocol) && p.protocol != V::icmp_protocol)
                   ? none
                   : "a known protocol not looked into";
    }
    return "content that has no name";
}

template <ip_version V>
broken in_tuple(parsed<V> const& p) {
    auto const t = tuple_of(p);
    if (t.mirrored().mirrored() != t) return "a tuple that is not the mirror of its mirror";
    if (t.protocol != p.protocol) return "a tuple of another protocol";
    constexpr std::size_t source = std::same_as<V, ipv4> ? 12 : 8;
    if (!std::ranges::equal(t.source, p.bytes.subspan(source, t.source.size()))) return "a tuple of another source";
    if (p.what != content::ports && p.what != content::echo && (t.source_port != 0 || t.destination_port != 0))
        return "ports where the packet shows none";
    if (p.what == content::echo && t.source_port != 0 && t.destination_port != 0) return "an echo with two ports";
    return none;
}

template <ip_version V>
bool are_alike(parsed<V> const& a, parsed<V> const& b) {
    return a.bytes.data() == b.bytes.data() && a.bytes.size() == b.bytes.size() && a.transport == b.transport &&
           a.fragment_header == b.fragment_header && a.segments_left == b.segments_left && a.protocol == b.protocol &&
           a.what == b.what && a.is_fragment == b.is_fragment &&
           a.extension_after_fragment == b.extension_after_fragment && a.flaw == b.flaw;
}

template <ip_version V>
broken in_packet(parsed<V> const& p, byte_span input) {
    if (auto const what = in_places(p, input); what != none) return what;
    if (auto const what = in_flaw(p); what != none) return what;
    if (auto const what = in_content(p); what != none) return what;
    if (auto const what = in_tuple(p); what != none) return what;
    auto const again = parse(p.bytes);
    auto const* const same = std::get_if<parsed<V>>(&again);
    return same != nullptr && are_alike(*same, p) ? none : "the packet is another without its padding";
}

/// What `result`, the parse of `input`, breaks.
inline broken in_result(parse_result const& result, byte_span input) {
    if (auto const* const why = std::get_if<drop_reason>(&result))
        return is_reason_to_refuse(*why) ? none : "refused for a reason that parsing cannot find";
    if (auto const* const p = std::get_if<parsed<ipv4>>(&result)) return in_packet(*p, input);
    return in_packet(std::get<parsed<ipv6>>(result), input);
}

} // namespace kubeproxy::invariant
