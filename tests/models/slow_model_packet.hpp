#pragma once

#include "kubeproxy/verdict.hpp"
#include "models/slow_model_bytes.hpp"

namespace kubeproxy::slow {

enum class kind { ports, echo, error, other_icmp, opaque, later };

/// Where the parts of a packet are, and what it shows.
struct reading {
    drop_reason malformed = drop_reason::none; ///< no IP packet
    drop_reason flaw = drop_reason::none;      ///< one, but nothing that could be rewritten
    unsigned version = 0;
    std::size_t transport = 0, end = 0;
    std::size_t offset = 0, identification = 0, fragment_header = 0, segments_left = 0; ///< the last two: places
    bool more = false, dont_fragment = false, extension_after_fragment = false;
    std::size_t traffic_class = 0, hops = 0;
    kind what = kind::opaque;
    ends shown;

    [[nodiscard]] bool is_fragment() const { return more || offset != 0; }
};

inline bool is_extension_header(std::size_t n) { // RFC 8200 section 4; RFC 6275, RFC 7401, RFC 5533
    return n == 0 || n == 43 || n == 44 || n == 60 || n == 135 || n == 139 || n == 140;
}

namespace detail {

inline void read_ipv4(octets const& b, reading& r) { // RFC 791 section 3.1
    auto const flags = get(b, 6, 2);
    r.version = 4;
    r.transport = (get(b, 0, 1) & 15) * 4;
    r.traffic_class = get(b, 1, 1);
    r.identification = get(b, 4, 2);
    r.dont_fragment = (flags & 0x4000) != 0;
    r.more = (flags & 0x2000) != 0;
    r.offset = (flags & 0x1fff) * 8;
    r.hops = get(b, 8, 1);
    r.shown = {part(b, 12, 4), part(b, 16, 4), 0, 0, static_cast<unsigned>(get(b, 9, 1))};
}

inline void read_fragment_header(octets const& b, std::size_t at, reading& r) { // RFC 8200 section 4.5
    r.fragment_header = at;
    r.offset = get(b, at + 2, 2) & 0xfff8;
    r.more = (get(b, at + 2, 2) & 1) != 0;
    r.identification = get(b, at + 4, 4);
}

inline void read_ipv6(octets const& b, reading& r) { // RFC 8200 sections 3 and 4
    r.version = 6;
    r.traffic_class = get(b, 0, 2) >> 4 & 0xff;
    r.hops = get(b, 7, 1);
    r.shown = {part(b, 8, 16), part(b, 24, 16), 0, 0, 0};
    r.transport = 40;
    auto next = get(b, 6, 1);
    while (is_extension_header(next)) {
        auto const at = r.transport;
        bool const is_fragment = next == 44;
        bool const is_misplaced = (next == 0 && at != 40) || (is_fragment && r.fragment_header != 0);
        if (is_misplaced || at + 8 > b.size() || at + (is_fragment ? 8 : 8 + 8 * get(b, at + 1, 1)) > b.size()) {
            r.flaw = drop_reason::bad_extension_header;
            break;
        }
        if (next == 43 && get(b, at + 3, 1) != 0 && r.segments_left == 0) r.segments_left = at + 3;
        if (r.fragment_header != 0) r.extension_after_fragment = true;
        if (is_fragment) read_fragment_header(b, at, r);
        r.transport += is_fragment ? 8 : 8 + 8 * get(b, at + 1, 1);
        next = get(b, at, 1);
        if (r.offset != 0) break; // what follows is from the middle of a message
    }
    r.shown.protocol = static_cast<unsigned>(next);
}

inline kind icmp_kind(unsigned version, std::size_t type) {
    if (version == 4) { // RFC 792
        if (type == 0 || type == 8) return kind::echo;
        return type == 3 || type == 4 || type == 5 || type == 11 || type == 12 ? kind::error : kind::other_icmp;
    }
    if (type == 128 || type == 129) return kind::echo;
    return type < 128 ? kind::error : kind::other_icmp; // RFC 4443 section 2.1
}

inline bool has_ports(unsigned protocol) {
    return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

inline void read_transport(octets const& b, reading& r) {
    bool const is_icmp = r.shown.protocol == (r.version == 4 ? 1u : 58u);
    if (has_ports(r.shown.protocol)) {
        r.what = kind::ports;
        r.shown.sport = static_cast<unsigned>(get(b, r.transport, 2));
        r.shown.dport = static_cast<unsigned>(get(b, r.transport + 2, 2));
    } else if (is_icmp) {
        auto const type = get(b, r.transport, 1);
        r.what = icmp_kind(r.version, type);
        if (r.what != kind::echo) return;
        auto& port = type == 8 || type == 128 ? r.shown.sport : r.shown.dport;
        port = static_cast<unsigned>(get(b, r.transport + 4, 2));
    }
}

inline std::size_t header_size(unsigned version, unsigned protocol) {
    if (protocol == 6) return 20;
    if (protocol == 132 || protocol == 33) return 12;
    return protocol == 17 || protocol == 136 || protocol == (version == 4 ? 1u : 58u) ? 8 : 0;
}

inline drop_reason malformed(octets const& b) {
    if (b.empty()) return drop_reason::truncated;
    auto const version = get(b, 0, 1) >> 4;
    if (version != 4 && version != 6) return drop_reason::bad_version;
    if (b.size() < (version == 4 ? 20u : 40u)) return drop_reason::truncated;
    if (version == 6) return 40 + get(b, 4, 2) > b.size() ? drop_reason::bad_length : drop_reason::none;
    auto const header = (get(b, 0, 1) & 15) * 4, total = get(b, 2, 2);
    if (header < 20) return drop_reason::bad_header_length;
    if (header > b.size()) return drop_reason::truncated;
    return total < header || total > b.size() ? drop_reason::bad_length : drop_reason::none;
}

} // namespace detail

/// The length that the packet's own header says, which a quotation may not have.
inline std::size_t stated_size(octets const& b) { return get(b, 0, 1) >> 4 == 4 ? get(b, 2, 2) : 40 + get(b, 4, 2); }

inline reading read(octets const& packet) {
    reading r;
    r.malformed = detail::malformed(packet);
    if (r.malformed != drop_reason::none) return r;
    r.end = stated_size(packet);
    auto const b = part(packet, 0, r.end);
    (get(b, 0, 1) >> 4 == 4 ? detail::read_ipv4 : detail::read_ipv6)(b, r);
    if (r.flaw != drop_reason::none) return r;
    if (r.offset != 0) {
        r.what = kind::later;
    } else if (r.end - r.transport < detail::header_size(r.version, r.shown.protocol)) {
        r.flaw = r.more ? drop_reason::tiny_fragment : drop_reason::truncated_transport;
    } else {
        detail::read_transport(b, r);
    }
    return r;
}

/// The packet that an ICMP error of this version quotes: an IP header and 8 bytes are enough (RFC 792).
inline reading read_quoted(octets const& quote, unsigned version) {
    reading r;
    r.flaw = drop_reason::quoted_truncated;
    r.end = quote.size();
    if (quote.size() < (version == 4 ? 20u : 40u) || get(quote, 0, 1) >> 4 != version) return r;
    r.flaw = drop_reason::none;
    (version == 4 ? detail::read_ipv4 : detail::read_ipv6)(quote, r);
    if (r.transport < (version == 4 ? 20u : 40u) || r.transport > quote.size()) r.flaw = drop_reason::quoted_truncated;
    if (r.flaw != drop_reason::none) r.flaw = drop_reason::quoted_truncated;
    if (r.flaw != drop_reason::none) return r;
    if (r.offset != 0) {
        r.what = kind::later;
        return r;
    }
    bool const needs_more = detail::header_size(version, r.shown.protocol) != 0 && quote.size() - r.transport < 8;
    if (needs_more)
        r.flaw = drop_reason::quoted_truncated;
    else
        detail::read_transport(quote, r);
    if (r.what == kind::error) r.flaw = drop_reason::quoted_icmp_error; // RFC 1122 section 3.2.2
    return r;
}

/// A packet that is one, and the flow that it asks for.
struct subject {
    octets const& packet;
    reading r;
    ends key;
    drop_reason flaw;
    octets quote{};     ///< of an ICMP error
    octets extension{}; ///< behind it (RFC 4884 section 7)
    reading q{};
};

namespace detail {

/// Whether messages of this type say how long the quotation is (RFC 4884 section 4), and in what unit.
inline bool says_length(unsigned version, std::size_t type) {
    return version == 4 ? type == 3 || type == 11 || type == 12 : type == 1 || type == 3;
}
inline std::size_t length_unit(unsigned version) { return version == 4 ? 4 : 8; }
inline std::size_t length_at(unsigned version) { return version == 4 ? 5 : 4; }

} // namespace detail

inline subject look_at(octets const& packet, reading const& r) {
    subject s{packet, r, r.shown, r.flaw};
    if (r.what != kind::error) return s;
    auto const message = part(packet, r.transport, r.end - r.transport);
    s.quote = part(message, 8);
    auto const length = get(message, detail::length_at(r.version), 1) * detail::length_unit(r.version);
    std::size_t const header = r.version == 4 ? 20 : 40;
    if (detail::says_length(r.version, get(message, 0, 1)) && length >= header && length < s.quote.size()) {
        s.extension = part(s.quote, length);
        s.quote = part(s.quote, 0, std::min(length, stated_size(s.quote)));
    }
    s.q = read_quoted(s.quote, r.version);
    s.flaw = s.q.flaw;
    if (s.q.flaw != drop_reason::none) return s;
    s.key = s.q.shown.mirrored(); // an error travels against what it quotes, and to its sender (RFC 4443 section 2.2)
    if (s.q.shown.source != r.shown.destination) s.flaw = drop_reason::quoted_other_source;
    return s;
}

} // namespace kubeproxy::slow
