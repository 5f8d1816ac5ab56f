#pragma once

#include "models/slow_model_packet.hpp"

#include <optional>
#include <vector>

/// What a packet becomes that must show other ends: the header by RFC 791 and 8200, or by RFC 7915 where the family
/// changes, and the transport message with its checksum computed over all of it, before and after.
namespace kubeproxy::slow {

/// Bytes that links take.
struct link_sizes {
    std::size_t lowest_ipv6 = 1280, ipv6 = 1500, ipv4 = 1500;
    [[nodiscard]] std::size_t cut() const { return std::min(lowest_ipv6, ipv6); }
};

/// An ICMP error about a packet.
struct told {
    std::size_t type = 0, code = 0, rest = 0;
};
struct refusal {
    drop_reason why = drop_reason::none;
    std::optional<told> answer{};
};

enum class role { packet, quotation };

namespace detail {

inline std::size_t get_or_zero(octets const& b, std::size_t at, std::size_t size) {
    return at + size <= b.size() ? get(b, at, size) : 0;
}
inline octets without(octets message, std::size_t at, std::size_t size) {
    put(message, at, size, 0);
    return message;
}

/// A message, what it showed and shall show, and how long its IP header says that it is.
struct change {
    octets message;
    reading const& r;
    ends after;
    std::size_t stated = 0;
    role as = role::packet;
    octets seen{}; ///< what came out, where the RFCs leave a choice

    [[nodiscard]] bool changes_family() const { return r.shown.is_ipv6() != after.is_ipv6(); }
    [[nodiscard]] bool is_part() const { return r.is_fragment() || stated > message.size(); }
};

inline octets sctp_after(change const& c, octets message) {
    if (c.is_part() || c.stated < 12 || message == c.message) return message;
    if (get(message, 8, 4) == 0) return message; // RFC 9653
    auto const before = crc32c(part(without(c.message, 8, 4), 0, c.stated));
    auto const after = crc32c(part(without(message, 8, 4), 0, c.stated));
    auto const error =
        seed::of({static_cast<unsigned>((before ^ after) & 0xff), static_cast<unsigned>((before ^ after) >> 8 & 0xff),
                  static_cast<unsigned>((before ^ after) >> 16 & 0xff), static_cast<unsigned>((before ^ after) >> 24)});
    for (std::size_t i = 0; i < 4; ++i) message[8 + i] ^= error[i];
    return message;
}

/// RFC 3828 section 3.1, RFC 4340 section 9: what is covered beside the ports and the pseudo-header stays, so that it
/// is enough to compare those. The pseudo-header of UDP-Lite has the length of the whole message.
inline octets lite_after(change const& c, octets message) {
    bool const is_udp_lite = c.after.protocol == 136;
    auto const field = get(message, 6, 2);
    if (is_udp_lite && field == 0) return message; // illegal, and stays so
    auto const of = [&](octets const& m, ends const& e) {
        return pseudo_header(e, c.stated) + residue(part(without(m, 6, 2), 0, 4));
    };
    auto const needed = carried_over(field, of(c.message, c.r.shown), of(message, c.after), get_or_zero(c.seen, 6, 2));
    put(message, 6, 2, is_udp_lite && needed == 0 ? ones : needed);
    return message;
}

inline octets ports_after(change const& c) {
    auto message = c.message;
    put(message, 0, 2, c.after.sport);
    put(message, 2, 2, c.after.dport);
    if (c.after.protocol == 132) return sctp_after(c, message);
    if (c.after.protocol == 33 || c.after.protocol == 136) return lite_after(c, message);
    bool const is_udp = c.after.protocol == 17;
    std::size_t const at = is_udp ? 6 : 16;
    if (message.size() < at + 2) return message;
    auto const field = get(message, at, 2);
    bool const is_missing = is_udp && field == 0; // RFC 768: the sender computed none
    bool const is_wanted = c.changes_family() && c.after.is_ipv6() && c.as == role::packet; // RFC 7915 section 4.5
    if (is_missing && !is_wanted) return message;
    auto length = is_udp ? get(message, 4, 2) : c.stated;
    if (length > message.size() || length < at + 2) length = message.size();
    auto const of = [&](octets const& m, ends const& e) {
        return pseudo_header(e, length) + residue(part(without(m, at, 2), 0, length));
    };
    auto const after = of(message, c.after);
    auto const needed = is_missing ? (ones - after % ones) % ones
                                   : carried_over(field, of(c.message, c.r.shown), after, get_or_zero(c.seen, at, 2));
    put(message, at, 2, is_udp && needed == 0 ? ones : needed);
    return message;
}

/// ICMP of either version: RFC 792 covers the message, RFC 4443 section 2.3 a pseudo-header, too.
inline octets icmp_after(change const& c, octets message) {
    auto const of = [&](octets const& m, ends const& e) {
        return (e.is_ipv6() ? pseudo_header(e, c.stated) : 0) + residue(without(m, 2, 2));
    };
    auto const field = get(message, 2, 2);
    put(message, 2, 2, carried_over(field, of(c.message, c.r.shown), of(message, c.after), get_or_zero(c.seen, 2, 2)));
    return message;
}

inline octets echo_after(change const& c) {
    auto message = c.message;
    auto const type = get(message, 0, 1);
    bool const is_request = type == 8 || type == 128;
    put(message, 0, 1, c.after.is_ipv6() ? (is_request ? 128 : 129) : (is_request ? 8 : 0));
    put(message, 4, 2, is_request ? c.after.sport : c.after.dport);
    return icmp_after(c, message);
}

} // namespace detail

inline octets message_after(detail::change const& c) {
    switch (c.r.what) {
    case kind::ports: return detail::ports_after(c);
    case kind::echo: return detail::echo_after(c);
    case kind::error:
    case kind::other_icmp: return detail::icmp_after(c, c.message);
    case kind::opaque:
    case kind::later: break;
    }
    return c.message;
}

/// Within a family: other addresses, and RFC 791's checksum, wrong where it was.
inline octets header_with(octets header, ends const& after, octets const& seen) {
    bool const is_ipv4 = get(header, 0, 1) >> 4 == 4;
    auto const before = header;
    put(header, is_ipv4 ? 12 : 8, after.source);
    put(header, is_ipv4 ? 16 : 24, after.destination);
    if (is_ipv4)
        put(header, 10, 2,
            carried_over(get(header, 10, 2), residue(detail::without(before, 10, 2)),
                         residue(detail::without(header, 10, 2)), detail::get_or_zero(seen, 10, 2)));
    return header;
}

/// Of the other family: ICMP has a number in each, every other protocol keeps its own (RFC 7915 sections 4.1, 5.1).
inline unsigned protocol_across(reading const& r) {
    if (r.shown.protocol == (r.version == 4 ? 1u : 58u)) return r.version == 4 ? 58 : 1;
    return r.shown.protocol;
}

/// RFC 7915 section 4.1
inline octets ipv6_header(reading const& r, ends const& after, std::size_t payload, bool with_fragment_header) {
    auto header = seed::joined(
        {seed::be32(std::size_t{6} << 28 | r.traffic_class << 20), seed::be16(payload + (with_fragment_header ? 8 : 0)),
         seed::of({with_fragment_header ? 44u : protocol_across(r), static_cast<unsigned>(r.hops)}), after.source,
         after.destination});
    if (!with_fragment_header) return header;
    return seed::joined({header, seed::of({protocol_across(r), 0}), seed::be16(r.offset | (r.more ? 1u : 0u)),
                         seed::be32(r.identification)});
}

/// RFC 7915 section 5.1. The identification of a packet that may be cut later on is the translator's to make up: `seen`
/// tells it.
inline octets ipv4_header(reading const& r, ends const& after, std::size_t payload, octets const& seen) {
    auto const total = 20 + payload;
    bool const is_atomic = r.fragment_header == 0 && total > 1260;
    auto identification = r.identification & 0xffff;
    if (r.fragment_header == 0) identification = is_atomic ? 0 : detail::get_or_zero(seen, 4, 2);
    auto const flags = is_atomic ? 0x4000u : (r.more ? 0x2000u : 0u) | static_cast<unsigned>(r.offset / 8);
    auto header = seed::joined({seed::of({0x45, static_cast<unsigned>(r.traffic_class)}), seed::be16(total),
                                seed::be16(identification), seed::be16(flags),
                                seed::of({static_cast<unsigned>(r.hops), protocol_across(r)}), seed::be16(0),
                                after.source, after.destination});
    put(header, 10, seed::internet_checksum(header));
    return header;
}

/// The packets that one becomes: several where an IPv4 router might have cut it and IPv6 ones will not.
inline std::vector<octets> pieces_of(reading r, ends const& after, octets const& payload, link_sizes const& links) {
    bool const is_cut = !r.dont_fragment && 40 + (r.is_fragment() ? 8 : 0) + payload.size() > links.cut();
    if (!is_cut) return {seed::joined({ipv6_header(r, after, payload.size(), r.is_fragment()), payload})};
    auto const step = (links.cut() - 48) / 8 * 8;
    std::vector<octets> pieces;
    auto whole = r;
    for (std::size_t at = 0; at == 0 || at < payload.size(); at += step) {
        auto const piece = part(payload, at, step);
        r.offset = whole.offset + at;
        r.more = whole.more || at + piece.size() < payload.size();
        pieces.push_back(seed::joined({ipv6_header(r, after, piece.size(), true), piece}));
    }
    return pieces;
}

/// What `packet` becomes, if nothing speaks against it. `seen` is what came out.
inline std::vector<octets> rewritten(octets const& packet, reading const& r, ends const& after, link_sizes const& links,
                                     octets const& seen) {
    auto const message = part(packet, r.transport, r.end - r.transport);
    bool const changes_family = r.shown.is_ipv6() != after.is_ipv6();
    auto const front = changes_family ? (after.is_ipv6() ? (r.is_fragment() ? 48u : 40u) : 20u) : r.transport;
    auto const payload = message_after(
        {.message = message, .r = r, .after = after, .stated = message.size(), .seen = part(seen, front)});
    if (!changes_family) return {seed::joined({header_with(part(packet, 0, r.transport), after, seen), payload})};
    if (after.is_ipv6()) return pieces_of(r, after, payload, links);
    return {seed::joined({ipv4_header(r, after, payload.size(), seen), payload})};
}

} // namespace kubeproxy::slow
