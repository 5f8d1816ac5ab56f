#pragma once

#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/flow/table.hpp"
#include "support/guarded_packet.hpp"
#include "support/parse_invariants.hpp"
#include "support/seed_packets.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

/// What a proxy promises about every packet, whatever the packet was, and what holds for its flow table at any time.
/// Checksums are added up here, word by word; where headers end is parse()'s word, which is tested by itself.
namespace kubeproxy::invariant {

using testing_support::guarded_packet;

/// RFC 1071, without the final complement; 0 where all bytes are.
inline std::uint32_t ones_sum(byte_span bytes, std::uint64_t sum = 0) {
    for (; bytes.size() >= 2; bytes = bytes.subspan(2))
        sum += std::to_integer<std::uint64_t>(bytes[0]) << 8 | std::to_integer<std::uint64_t>(bytes[1]);
    if (!bytes.empty()) sum += std::to_integer<std::uint64_t>(bytes[0]) << 8;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint32_t>(sum);
}

template <ip_version V>
std::uint32_t pseudo_sum(parsed<V> const& p) {
    constexpr std::size_t at = std::same_as<V, ipv4> ? 12 : 8;
    return ones_sum(byte_span{p.bytes}.subspan(at, 2 * sizeof(typename V::address)), p.payload().size() + p.protocol);
}

template <ip_version V>
bool header_checksum_is_valid(parsed<V> const& p) {
    if constexpr (std::same_as<V, ipv6>)
        return true;
    else
        return ones_sum(byte_span{p.bytes}.first(p.transport)) == 0xffff;
}

enum class transport_state : std::uint8_t {
    unknown, ///< none that could be checked, or not all that it covers is there
    valid,
    wrong,
    missing, ///< UDP 0 over IPv4, SCTP 0 (RFC 9653)
};

template <ip_version V>
transport_state crc_state(parsed<V> const& p) {
    constexpr std::size_t at = 8, patience = 512;
    seed::octets message(p.payload().begin(), p.payload().end());
    if (message.size() > patience) return transport_state::unknown;
    seed::octets const field(message.begin() + at, message.begin() + at + 4);
    if (field == seed::octets(4)) return transport_state::missing;
    bool const is_valid = seed::crc32c(seed::with(message, {{at, seed::be32(0)}})) == field;
    return is_valid ? transport_state::valid : transport_state::wrong;
}

template <ip_version V>
bool is_whole(parsed<V> const& p) {
    return !p.is_fragment && p.flaw == drop_reason::none && p.segments_left == 0;
}

/// Of UDP-Lite (RFC 3828 section 3.1) and DCCP (RFC 4340 section 9), whose checksum may cover less than all bytes.
template <ip_version V>
transport_state lite_state(parsed<V> const& p) {
    byte_span const payload = p.payload();
    std::size_t covered = payload.size();
    if (p.protocol == ip_protocol::udp_lite) {
        auto const coverage = load_be<std::uint16_t>(payload, 4);
        if ((coverage != 0 && coverage < 8) || coverage > covered) return transport_state::unknown;
        if (coverage != 0) covered = coverage;
        if (load_be<std::uint16_t>(payload, 6) == 0) return transport_state::unknown;
    } else if (auto const cscov = std::to_integer<unsigned>(payload[5]) & 15; cscov != 0) {
        covered = std::to_integer<std::size_t>(payload[4]) * 4 + (cscov - 1) * std::size_t{4};
        if (covered > payload.size() || covered < 12) return transport_state::unknown;
    }
    auto const sum = ones_sum(payload.first(covered), pseudo_sum(p));
    if (sum == 0) return transport_state::unknown;
    return sum == 0xffff ? transport_state::valid : transport_state::wrong;
}

/// By full recomputation.
template <ip_version V>
transport_state state_of(parsed<V> const& p) {
    bool const is_icmp = p.protocol == V::icmp_protocol;
    if (!is_whole(p) || (p.what != content::ports && !is_icmp)) return transport_state::unknown;
    if (p.protocol == ip_protocol::sctp) return crc_state(p);
    if (p.protocol == ip_protocol::udp_lite || p.protocol == ip_protocol::dccp) return lite_state(p);
    byte_span const payload = p.payload();
    if (p.protocol == ip_protocol::udp) {
        bool const is_zero = payload[6] == std::byte{0} && payload[7] == std::byte{0};
        if (is_zero) return std::same_as<V, ipv4> ? transport_state::missing : transport_state::unknown;
        if (load_be<std::uint16_t>(payload, 4) != payload.size()) return transport_state::unknown;
    }
    bool const has_pseudo_header = !(std::same_as<V, ipv4> && is_icmp);
    auto const sum = ones_sum(payload, has_pseudo_header ? pseudo_sum(p) : 0);
    if (sum == 0) return transport_state::unknown; // both zeros of one's complement at once
    return sum == 0xffff ? transport_state::valid : transport_state::wrong;
}

/// Whether the field holds the sum of the pseudo-header; nothing to say about what has no such field.
template <ip_version V>
std::optional<bool> holds_partial_sum(parsed<V> const& p) {
    if (!is_whole(p) || p.what != content::ports || p.protocol == ip_protocol::sctp) return std::nullopt;
    std::size_t const at = p.protocol == ip_protocol::tcp ? 16 : 6;
    return load_be<std::uint16_t>(p.payload(), at) % 0xffffu == pseudo_sum(p) % 0xffffu;
}

template <ip_version From, ip_version To>
broken in_transport(parsed<From> const& in, parsed<To> const& out, checksum_state state) {
    if (state == checksum_state::partial) {
        auto const before = holds_partial_sum(in), after = holds_partial_sum(out);
        return before && after && *before && !*after ? "a partial checksum is no longer one" : none;
    }
    auto const before = state_of(in), after = state_of(out);
    if (before == transport_state::valid && after == transport_state::wrong) return "a right checksum became wrong";
    if (before == transport_state::wrong && after == transport_state::valid) return "a wrong checksum became right";
    if (before != transport_state::missing) return none;
    if (std::same_as<From, To>) return after == transport_state::missing ? none : "a checksum where there was none";
    return after == transport_state::wrong ? "a computed checksum is wrong" : none;
}

template <ip_version From, ip_version To>
broken in_forwarded(guarded_packet const& p, parsed<From> const& in, parsed<To> const& out) {
    if (out.flaw != drop_reason::none) return "a forwarded packet has a flaw";
    if (out.bytes.size() != p.bytes().size()) return "padding is left behind a forwarded packet";
    if (header_checksum_is_valid(in) && !header_checksum_is_valid(out)) return "a header checksum became wrong";
    return in_transport(in, out, p.traits().checksum);
}

inline bool is_same(byte_span a, byte_span b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }
inline bool is_prefix_of(byte_span shorter, byte_span longer) {
    return shorter.size() <= longer.size() && is_same(shorter, longer.first(shorter.size()));
}

/// RFC 1812 section 4.3.2, RFC 4443 section 2.4, RFC 9293 section 3.10.7.1.
template <ip_version V>
broken in_reply(guarded_packet const& p, parsed<V> const& in, parsed<V> const& out) {
    if (out.flaw != drop_reason::none || out.is_fragment) return "a reply has a flaw, or is a fragment";
    if (out.bytes.size() != p.bytes().size()) return "padding is left behind a reply";
    if (out.transport != V::minimum_header) return "a reply has options";
    if (tuple_of(out).destination != tuple_of(in).source) return "a reply goes elsewhere";
    if (!header_checksum_is_valid(out) || state_of(out) != transport_state::valid) return "a reply's checksum is wrong";
    if (in.what == content::icmp_error || in.flaw != drop_reason::none) return "a reply to an error, or to a flaw";
    if (out.protocol == ip_protocol::tcp) {
        bool const is_reset = (out.payload()[13] & std::byte{4}) != std::byte{0};
        return is_reset && tuple_of(out) == tuple_of(in).mirrored() ? none : "a TCP reply that is not the reset";
    }
    if (out.what != content::icmp_error) return "a reply that is neither an ICMP error nor a reset";
    bool const is_too_big = std::same_as<V, ipv6> && out.payload()[0] == std::byte{2};
    if (in.what == content::later_fragment && !is_too_big) return "a reply to a later fragment";
    if (out.bytes.size() > (std::same_as<V, ipv4> ? 576u : 1280u)) return "a reply is too long";
    return is_prefix_of(out.payload().subspan(8), p.original()) ? none : "a reply quotes something else";
}

/// What was settled about a packet that the host handed in.
inline broken in_outcome(guarded_packet& p, outcome const& o) {
    if (!p.is_intact()) return "a byte outside the packet was written, or the buffer's contract broken";
    bool const has_reason = o.what.why() != drop_reason::none;
    auto const what = o.what.what();
    if (has_reason != (what == action::drop || what == action::reply)) return "a reason too many, or too few";
    if (o.is_oversized) return "the host was told of a packet that is too long";
    if (what == action::drop) return none;
    if (what == action::pass) return is_same(p.bytes(), p.original()) ? none : "a passed packet changed";
    auto original = p.original();
    return std::visit(
        [&](auto const& in, auto const& out) -> broken {
            if constexpr (std::same_as<std::remove_cvref_t<decltype(in)>, drop_reason>)
                return "what is no packet was not dropped";
            else if constexpr (std::same_as<std::remove_cvref_t<decltype(out)>, drop_reason>)
                return "what leaves is no packet";
            else if (what == action::forward)
                return in_forwarded(p, in, out);
            else if constexpr (std::same_as<decltype(in), decltype(out)>)
                return in_reply(p, in, out);
            else
                return "a reply of another version";
        },
        parse(original), parse(p.bytes()));
}

/// What was settled about a buffer that the host lent: a piece of a packet, or a fragment that had waited.
inline broken in_outcome_of_spare(guarded_packet& p, outcome const& o) {
    if (!p.is_intact()) return "a byte outside a spare packet was written";
    if (o.is_oversized) return "the host was told of a piece that is too long";
    if (o.what == verdict::drop(drop_reason::fragment_held)) return "a fragment that was let go is held again";
    if ((o.what.why() != drop_reason::none) != (o.what.what() == action::drop || o.what.what() == action::reply))
        return "a reason too many, or too few";
    if (o.what.what() == action::drop) return none;
    auto const out = parse(p.bytes());
    return std::visit(
        [](auto const& packet) -> broken {
            if constexpr (std::same_as<std::remove_cvref_t<decltype(packet)>, drop_reason>)
                return "what leaves in a spare is no packet";
            else
                return packet.flaw == drop_reason::none ? none : "what leaves in a spare has a flaw";
        },
        out);
}

/// Every flow is found by both of its tuples, and there are as many as were counted, not more than there is room for.
template <class Table>
broken in_table(Table const& flows) {
    std::array<std::uint64_t, 2> count{};
    broken found = none;
    flows.for_each([&](flow_ref ref) {
        ++count[ref.is_wide() ? 1 : 0];
        flows.visit_tuples(ref, [&](auto const& original, auto const& translated) {
            if (flows.find(original) != ref.as(flow_direction::original)) found = "a flow is lost to its client";
            if (flows.find(translated.mirrored()) != ref.as(flow_direction::reply))
                found = "a flow is lost to its backend";
        });
    });
    if (found != none) return found;
    if (count[0] > flows.capacity().narrow || count[1] > flows.capacity().wide) return "more flows than there is room";
    return count[0] + count[1] == flows.counters().flows() ? none : "flows are not counted right";
}

} // namespace kubeproxy::invariant
