#pragma once

#include "kubeproxy/flow/tuple_words.hpp"

#include <algorithm>

/// IP headers of the other family (RFC 7915 sections 4.1, 5.1 and 5.1.1). A packet that an ICMP error quotes gets
/// them by the same rules, though less of it may be there than its header says.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// What a header says that outlives a change of family.
struct carried_fields {
    std::uint8_t traffic_class = 0;
    std::uint8_t hops = 0;
    std::uint8_t protocol = 0; ///< in the old family's numbers
    bool has_fragment_fields =
        false; ///< IPv4: a part of a message. IPv6: a fragment header, even one that says "whole"
    bool more_fragments = false;
    bool dont_fragment = false;
    std::uint16_t fragment_offset = 0; ///< in bytes
    std::uint32_t identification = 0;
    std::size_t payload = 0; ///< bytes from the transport header to the end, by the lengths in the header
};

/// \pre p.bytes holds the whole header
[[nodiscard]] inline carried_fields carried_by(parsed<ipv4> const& p) noexcept {
    using at = ipv4_view::at;
    auto const fragment = load_be<std::uint16_t>(p.bytes, at::fragment);
    std::size_t const total = load_be<std::uint16_t>(p.bytes, at::total_length);
    return {.traffic_class = load_be<std::uint8_t>(p.bytes, at::traffic_class),
            .hops = load_be<std::uint8_t>(p.bytes, at::ttl),
            .protocol = p.protocol,
            .has_fragment_fields = p.is_fragment,
            .more_fragments = (fragment & 0x2000u) != 0,
            .dont_fragment = (fragment & 0x4000u) != 0,
            .fragment_offset = static_cast<std::uint16_t>((fragment & 0x1fffu) * 8u),
            .identification = load_be<std::uint16_t>(p.bytes, at::identification),
            .payload = total > p.transport ? total - p.transport : 0};
}

/// An identification for a packet that had none: the same for a repeated packet, different in all likelihood for
/// others between the same hosts, for the transport checksum depends on all of it (RFC 6864 section 4.3).
[[nodiscard]] inline std::uint16_t made_up_identification(byte_span payload) noexcept {
    std::uint64_t mixed = payload.size();
    if (payload.size() >= 8) mixed ^= load_be<std::uint64_t>(payload, 0);        // all of UDP's header
    if (payload.size() >= 20) mixed += load_be<std::uint64_t>(payload, 12) << 1; // the rest of TCP's that varies
    return static_cast<std::uint16_t>((mixed ^ mixed >> 32) * 0x9e37'79b9'7f4a'7c15 >> 48); // 2^64 / golden ratio
}

/// \pre p.bytes holds the whole header and the extension headers
[[nodiscard]] inline carried_fields carried_by(parsed<ipv6> const& p) noexcept {
    using at = ipv6_view::at;
    auto const total = ipv6::minimum_header + load_be<std::uint16_t>(p.bytes, at::payload_length);
    auto const first_word = load_be<std::uint16_t>(p.bytes, at::version_class_label);
    carried_fields c{.traffic_class = static_cast<std::uint8_t>(first_word >> 4),
                     .hops = load_be<std::uint8_t>(p.bytes, at::hop_limit),
                     .protocol = p.protocol,
                     .has_fragment_fields = p.fragment_header != 0,
                     .payload = total > p.transport ? total - p.transport : 0};
    if (!c.has_fragment_fields) {
        c.identification = made_up_identification(p.payload());
        return c;
    }
    fragment_header_view const fragment{p.bytes.subspan(p.fragment_header)};
    c.more_fragments = fragment.more_fragments();
    c.fragment_offset = static_cast<std::uint16_t>(fragment.offset());
    c.identification = fragment.identification();
    return c;
}

/// The addresses at the front of `bytes`, which may hold less than a whole packet. An IPv4 header checksum that was
/// wrong stays wrong (RFC 1624).
inline void store_addresses(mutable_byte_span bytes, ipv4::address const& source, ipv4::address const& destination,
                            std::uint16_t network_change) noexcept {
    using at = ipv4_view::at;
    store_object(bytes, at::source, source);
    store_object(bytes, at::destination, destination);
    store_be(bytes, at::checksum, checksum_plus(load_be<std::uint16_t>(bytes, at::checksum), network_change));
}
inline void store_addresses(mutable_byte_span bytes, ipv6::address const& source, ipv6::address const& destination,
                            std::uint16_t) noexcept {
    using at = ipv6_view::at;
    store_object(bytes, at::source, source);
    store_object(bytes, at::destination, destination);
}

template <ip_version V>
[[gnu::always_inline]] inline void store_addresses(mutable_byte_span bytes, tuple<V> const& t,
                                                   std::uint16_t network_change) noexcept {
    constexpr auto at = std::same_as<V, ipv4> ? ipv4_view::at::source : ipv6_view::at::source;
    auto const words = words_of(t);
    for (std::size_t i = 0; i + 1 < words.size(); ++i) store_object(bytes, at + i * sizeof(std::uint64_t), words[i]);
    if constexpr (std::same_as<V, ipv4>) {
        constexpr auto checksum = ipv4_view::at::checksum;
        store_be(bytes, checksum, checksum_plus(load_be<std::uint16_t>(bytes, checksum), network_change));
    }
}

/// ICMP has a number in each family; every other protocol keeps its own.
template <ip_version From>
[[nodiscard]] constexpr std::uint8_t protocol_after(std::uint8_t protocol) noexcept {
    return protocol == From::icmp_protocol ? From::other::icmp_protocol : protocol;
}

/// Both IPv6 headers of a translated packet, in `front`, which is 40 or 48 bytes long.
inline void write_front(mutable_byte_span front, carried_fields const& c, ipv6::address const& source,
                        ipv6::address const& destination) noexcept {
    auto const protocol = protocol_after<ipv4>(c.protocol);
    auto const extra = front.size() - ipv6::minimum_header;
    write_header(front, ipv6_header{.traffic_class = c.traffic_class,
                                    .payload_length = static_cast<std::uint16_t>(c.payload + extra),
                                    .next_header = extra != 0 ? ip_protocol::fragment : protocol,
                                    .hop_limit = c.hops,
                                    .source = source,
                                    .destination = destination});
    if (extra == 0) return;
    auto const offset_and_more = static_cast<std::uint16_t>(c.fragment_offset | (c.more_fragments ? 1u : 0u));
    write_header(front.subspan(ipv6::minimum_header), fragment_header{.next_header = protocol,
                                                                      .offset_and_more = offset_and_more,
                                                                      .identification = c.identification});
}

/// No IPv6 sender would ever be asked to send less than IPv6's 1280 bytes, so what is not longer must be cut where
/// it does not fit (RFC 7915 section 5.1).
inline constexpr std::size_t always_cuttable = 1280 - (ipv6::minimum_header - ipv4::minimum_header);

/// The IPv4 header of a translated packet, in `front`. What came without a fragment header and is not always_cuttable
/// may not be cut further on.
inline void write_front(mutable_byte_span front, carried_fields const& c, ipv4::address const& source,
                        ipv4::address const& destination) noexcept {
    constexpr std::uint16_t dont_fragment = 0x4000, more_fragments = 0x2000;
    auto const total = c.payload + ipv4::minimum_header;
    unsigned flags = c.more_fragments ? more_fragments : 0;
    if (!c.has_fragment_fields && total > always_cuttable) flags = dont_fragment;
    write_header(
        front, ipv4_header{.traffic_class = c.traffic_class,
                           .total_length = static_cast<std::uint16_t>(total),
                           .identification = static_cast<std::uint16_t>(flags == dont_fragment ? 0 : c.identification),
                           .flags_and_offset = static_cast<std::uint16_t>(flags | c.fragment_offset / 8u),
                           .ttl = c.hops,
                           .protocol = protocol_after<ipv6>(c.protocol),
                           .source = source,
                           .destination = destination});
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
