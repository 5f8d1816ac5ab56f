#pragma once

#include "kubeproxy/wire/packet_buffer.hpp"
#include "support/proxy_invariants.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <variant>

/// Packets made whole again after something was changed in them, and packets made from others.
namespace kubeproxy::surgery {

using seed::octets;

template <class F>
void with_packet(octets& bytes, F f) {
    std::visit(
        [&](auto const& p) {
            if constexpr (!std::same_as<std::remove_cvref_t<decltype(p)>, drop_reason>) f(p);
        },
        parse(bytes));
}

/// Makes every length in the headers that of the bytes, as far as 16 bits go.
inline void say_length(octets& bytes) {
    auto const put = [&](std::size_t at, std::size_t value) {
        if (at + 2 <= bytes.size())
            store_be(bytes, at, static_cast<std::uint16_t>(std::min<std::size_t>(value, 65535)));
    };
    if (bytes.size() < 40) return;
    bool const is_ipv4 = (bytes[0] >> 4) == std::byte{4};
    auto const header = is_ipv4 ? (std::to_integer<std::size_t>(bytes[0]) & 15u) * 4 : 40;
    put(is_ipv4 ? 2 : 4, is_ipv4 ? bytes.size() : bytes.size() - 40);
    if (bytes[is_ipv4 ? 9 : 6] == std::byte{ip_protocol::udp}) put(header + 4, bytes.size() - header);
}

template <ip_version V>
void complete_header(parsed<V> const& p) {
    if constexpr (std::same_as<V, ipv4>) {
        store_be(p.bytes, 10, std::uint16_t{0});
        store_be(p.bytes, 10, static_cast<std::uint16_t>(~invariant::ones_sum(p.bytes.first(p.transport))));
    }
}

template <ip_version V>
void complete_transport(parsed<V> const& p, checksum_state state) {
    bool const is_icmp = p.protocol == V::icmp_protocol;
    if (p.flaw != drop_reason::none || p.is_fragment || p.protocol == ip_protocol::sctp) return;
    if (p.protocol == ip_protocol::udp_lite) store_be(p.payload(), 4, std::uint16_t{0}); // all of it is covered
    if (p.protocol == ip_protocol::dccp) p.payload()[5] &= std::byte{0xf0};
    if (p.what != content::ports && !is_icmp) return;
    std::size_t const at = is_icmp ? 2 : p.protocol == ip_protocol::tcp ? 16 : 6;
    auto const pseudo = std::same_as<V, ipv4> && is_icmp ? 0 : invariant::pseudo_sum(p);
    store_be(p.payload(), at, std::uint16_t{0});
    auto const sum = state == checksum_state::partial ? pseudo : ~invariant::ones_sum(p.payload(), pseudo);
    store_be(p.payload(), at, static_cast<std::uint16_t>(sum));
}

/// What cannot be guessed bit by bit.
inline void complete_checksums(octets& bytes, checksum_state state, bool header, bool transport) {
    with_packet(bytes, [&](auto const& p) {
        if (header) complete_header(p);
        if (transport) complete_transport(p, state);
    });
}

/// What the other side would send: addresses and ports change places, so every checksum stays.
template <ip_version V>
void turn_round(parsed<V> const& p) {
    constexpr std::size_t at = std::same_as<V, ipv4> ? 12 : 8, size = sizeof(typename V::address);
    std::swap_ranges(p.bytes.begin() + at, p.bytes.begin() + at + size, p.bytes.begin() + at + size);
    store_be(p.bytes, std::same_as<V, ipv4> ? 8 : 7, std::uint8_t{64}); // it comes from afar, too
    if (p.what == content::ports)
        std::swap_ranges(p.payload().begin(), p.payload().begin() + 2, p.payload().begin() + 2);
    if (p.what != content::echo) return;
    auto& type = p.payload()[0];
    constexpr bool is_ipv4 = std::same_as<V, ipv4>;
    type = is_ipv4 ? type ^ std::byte{8} : type ^ std::byte{1};
}

inline octets answer_to(octets bytes) {
    with_packet(bytes, [](auto const& p) { turn_round(p); });
    complete_checksums(bytes, checksum_state::complete, true, true);
    return bytes;
}

} // namespace kubeproxy::surgery
