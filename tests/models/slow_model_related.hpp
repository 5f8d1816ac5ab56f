#pragma once

#include "models/slow_model_refuse.hpp"

/// ICMP errors inside out: what they quote goes back to what its sender sent, the error around it follows
/// (RFC 5508 section 4, RFC 7915 sections 4.2, 4.3, 5.2, 5.3).
namespace kubeproxy::slow {

/// What an error must become.
struct error_ends {
    octets source, destination;
    ends quoted;
};

namespace detail {

inline std::size_t mtu_for_ipv6(std::size_t mtu, std::size_t quoted_size, link_sizes const& links) {
    if (mtu == 0) { // RFC 1191 section 7.1
        mtu = 68;
        for (std::size_t const plateau : {296u, 508u, 1006u, 1492u, 2002u, 4352u, 8166u, 17914u, 32000u, 65535u})
            if (plateau < quoted_size) mtu = plateau;
    }
    return std::max<std::size_t>(1280, std::min({mtu + 20, links.ipv6, links.ipv4 + 20}));
}

/// RFC 7915 section 4.2
inline std::optional<told> told_in_ipv6(octets const& message, std::size_t quoted_size, link_sizes const& links) {
    auto const type = get(message, 0, 1), code = get(message, 1, 1), rest = get(message, 4, 4);
    if (type == 11) return told{3, code, 0};
    if (type == 3) {
        if (code == 2) return told{4, 1, 6};
        if (code == 3) return told{1, 4, 0};
        if (code == 4) return told{2, 0, mtu_for_ipv6(rest & 0xffff, quoted_size, links)};
        if (code == 9 || code == 10 || code == 13 || code == 15) return told{1, 1, 0};
        if (code <= 12 && code != 14) return told{1, 0, 0};
        return std::nullopt;
    }
    if (type != 12 || (code != 0 && code != 2)) return std::nullopt;
    switch (rest >> 24) { // Figure 3
    case 0: return told{4, 0, 0};
    case 1: return told{4, 0, 1};
    case 2:
    case 3: return told{4, 0, 4};
    case 8: return told{4, 0, 7};
    case 9: return told{4, 0, 6};
    case 12:
    case 13:
    case 14:
    case 15: return told{4, 0, 8};
    case 16:
    case 17:
    case 18:
    case 19: return told{4, 0, 24};
    default: return std::nullopt;
    }
}

/// RFC 7915 section 5.2
inline std::optional<told> told_in_ipv4(octets const& message, bool has_fragment_header, link_sizes const& links) {
    auto const type = get(message, 0, 1), code = get(message, 1, 1), rest = get(message, 4, 4);
    if (type == 3) return told{11, code, 0};
    if (type == 2) {
        std::size_t const growth = has_fragment_header ? 28 : 20;
        auto const mtu = std::min({std::max(rest, 68 + growth) - growth, links.ipv4, links.ipv6 - growth});
        return told{3, 4, mtu};
    }
    if (type == 1) {
        if (code == 1) return told{3, 10, 0};
        if (code == 4) return told{3, 3, 0};
        return code <= 3 ? std::optional{told{3, 1, 0}} : std::nullopt;
    }
    if (type != 4) return std::nullopt;
    if (code == 1) return told{3, 2, 0};
    if (code != 0) return std::nullopt;
    std::size_t pointer = 0; // Figure 6
    if (rest <= 1)
        pointer = rest;
    else if (rest == 4 || rest == 5)
        pointer = 2;
    else if (rest == 6)
        pointer = 9;
    else if (rest == 7)
        pointer = 8;
    else if (rest >= 8 && rest < 40)
        pointer = rest < 24 ? 12 : 16;
    else
        return std::nullopt;
    return told{12, 0, pointer << 24};
}

inline std::optional<told> told_after(octets const& message, octets const& quote, unsigned from,
                                      link_sizes const& links) {
    if (from == 4) return told_in_ipv6(message, stated_size(quote), links);
    return told_in_ipv4(message, read_quoted(quote, 6).fragment_header != 0, links);
}

inline octets quoted_message(octets const& quote, reading const& q, ends const& after, octets const& seen) {
    auto const all = stated_size(quote);
    return message_after({.message = part(quote, q.transport),
                          .r = q,
                          .after = after,
                          .stated = all > q.transport ? all - q.transport : 0,
                          .as = role::quotation,
                          .seen = seen});
}

} // namespace detail

/// What speaks against an error that changes family.
inline std::vector<refusal> refusals_of_error(subject const& s, error_ends const& after, link_sizes const& links) {
    auto const outer = ends{after.source, after.destination, 0, 0, 0};
    auto const &r = s.r, &q = s.q;
    auto all = refusals_of(s.packet, r, outer, links);
    if (r.shown.is_ipv6() == outer.is_ipv6()) return all;
    auto const message = part(s.packet, r.transport, r.end - r.transport);
    auto const sum = residue(message) + (r.version == 6 ? pseudo_header(r.shown, message.size()) : 0);
    if (sum % ones != 0) all.push_back({drop_reason::bad_icmp_checksum});
    if (!detail::survives(q.shown.protocol, r.version)) all.push_back({drop_reason::protocol_unsupported});
    if (q.is_fragment() && q.shown.protocol == (r.version == 4 ? 1u : 58u))
        all.push_back({drop_reason::quoted_icmp_fragment});
    bool const is_said = detail::told_after(message, s.quote, r.version, links).has_value();
    if (q.what == kind::other_icmp || !is_said) all.push_back({drop_reason::icmp_type});
    return all;
}

/// Within a family only addresses, ports and the sums over them change.
inline octets error_in_place(subject const& s, error_ends const& after, octets const& seen) {
    auto const &r = s.r, &q = s.q;
    auto const seen_inner = part(seen, r.transport + 8), before = part(s.packet, r.transport, r.end - r.transport);
    auto message =
        seed::joined({part(before, 0, 8), header_with(part(s.quote, 0, q.transport), after.quoted, seen_inner),
                      detail::quoted_message(s.quote, q, after.quoted, part(seen_inner, q.transport)),
                      part(before, 8 + s.quote.size())});
    auto const outer = ends{after.source, after.destination, 0, 0, r.shown.protocol};
    auto const of = [&](octets const& m, ends const& e) {
        return (r.version == 6 ? pseudo_header(e, m.size()) : 0) + residue(detail::without(m, 2, 2));
    };
    put(message, 2, 2,
        carried_over(get(before, 2, 2), of(before, r.shown), of(message, outer),
                     detail::get_or_zero(seen, r.transport + 2, 2)));
    return seed::joined({header_with(part(s.packet, 0, r.transport), outer, seen), message});
}

namespace detail {

/// The quotation, and the extension where the new type may have one and there is room for it: then the quotation has
/// 128 octets at least and whole units of the new family (RFC 4884 section 3).
inline octets quotation_with(octets const& extension, octets quotation, std::size_t room, told& said,
                             unsigned version) {
    bool const is_kept = !extension.empty() && says_length(version, said.type) && extension.size() + 128 <= room;
    if (!is_kept) return part(quotation, 0, room);
    auto const unit = length_unit(version);
    auto const fits = std::min(quotation.size(), room - extension.size()) / unit * unit;
    quotation.resize(std::max<std::size_t>(128, fits)); // cut, or padded with zeros
    said.rest |= quotation.size() / unit << (version == 4 ? 16 : 24);
    return seed::joined({quotation, extension});
}

} // namespace detail

/// RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 (c) bound its length. \pre refusals_of_error is empty
inline octets error_across(subject const& s, error_ends const& after, link_sizes const& links, octets const& seen) {
    auto const &r = s.r, &q = s.q;
    bool const to_ipv6 = r.version == 4;
    auto said = *detail::told_after(part(s.packet, r.transport), s.quote, r.version, links);
    std::size_t const header = to_ipv6 ? 40 : 20, most = to_ipv6 ? 1280 : 576;
    auto const seen_inner = part(seen, header + 8);
    std::size_t const inner_header = header + (to_ipv6 && q.is_fragment() ? 8 : 0);
    auto const all = stated_size(s.quote), stated = all > q.transport ? all - q.transport : 0;
    auto const front = to_ipv6 ? ipv6_header(q, after.quoted, stated, q.is_fragment())
                               : ipv4_header(q, after.quoted, stated, seen_inner);
    auto const quoted = detail::quoted_message(s.quote, q, after.quoted, part(seen_inner, inner_header));
    auto const quotation =
        detail::quotation_with(s.extension, seed::joined({front, quoted}), most - header - 8, said, to_ipv6 ? 6 : 4);
    auto message = seed::icmp(static_cast<unsigned>(said.type), static_cast<unsigned>(said.code), said.rest, quotation);
    auto const outer = ends{after.source, after.destination, 0, 0, to_ipv6 ? 58u : 1u};
    auto const sum = residue(message) + (to_ipv6 ? pseudo_header(outer, message.size()) : 0);
    put(message, 2, 2, (ones - sum % ones) % ones);
    return seed::joined(
        {to_ipv6 ? ipv6_header(r, outer, message.size(), false) : ipv4_header(r, outer, message.size(), seen),
         message});
}

} // namespace kubeproxy::slow
