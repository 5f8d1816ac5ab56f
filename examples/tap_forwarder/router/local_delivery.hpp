#pragma once

#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/nat/tcp_reset.hpp"
#include "kubeproxy/wire/packet.hpp"
#include "tap_forwarder/link/packet_offloads.hpp"
#include "tap_forwarder/link/tap_packet.hpp"

#include <cstdint>

/// Packets to the router itself: it answers echo requests, and refuses what wants to talk to a program.
namespace examples {

enum class local_answer : std::uint8_t {
    none,    ///< the packet ends here
    echo,    ///< the buffer holds the reply
    refused, ///< the buffer holds an ICMP error or a TCP reset
};

namespace detail {

inline void turn_around(kubeproxy::parsed<kubeproxy::ipv4> const& p) noexcept {
    constexpr std::uint8_t hops = 64; // IANA's default, as in the library's answers
    kubeproxy::ipv4_editor const ip{p.bytes};
    auto const source = ip.source();
    ip.set_source(ip.destination());
    ip.set_destination(source);
    ip.set_ttl(hops);
    ip.set_checksum(0);
    ip.set_checksum(kubeproxy::checksum_of(kubeproxy::sum_of(ip.header())));
}
inline void turn_around(kubeproxy::parsed<kubeproxy::ipv6> const& p) noexcept {
    kubeproxy::ipv6_editor const ip{p.bytes};
    auto const source = ip.source();
    ip.set_source(ip.destination());
    ip.set_destination(source);
    ip.set_hop_limit(64);
}

/// RFC 792, RFC 4443 section 4.2: the same message with another type.
template <kubeproxy::ip_version V>
void make_echo_reply(kubeproxy::parsed<V> const& p) noexcept {
    using kubeproxy::icmp_at, kubeproxy::icmp_type;
    auto const message = p.payload();
    auto const checksum = kubeproxy::load_be<std::uint16_t>(message, icmp_at::checksum);
    constexpr std::uint16_t before = icmp_type<V>::echo_request << 8, after = icmp_type<V>::echo_reply << 8;
    kubeproxy::store_be(message, icmp_at::type, icmp_type<V>::echo_reply);
    kubeproxy::store_be(message, icmp_at::checksum, kubeproxy::checksum_after(checksum, before, after));
    turn_around(p);
}

template <kubeproxy::ip_version V>
[[nodiscard]] bool is_segment(kubeproxy::parsed<V> const& p) noexcept {
    return p.protocol == kubeproxy::ip_protocol::tcp && p.what == kubeproxy::content::ports && !p.is_fragment;
}

} // namespace detail

/// Makes of a packet to the router its answer, if it gets one. Fragments do not: the router does not reassemble.
/// \pre `p` was parsed from packet.bytes()
template <kubeproxy::ip_version V>
[[nodiscard]] local_answer answer_locally(tap_packet& packet, kubeproxy::parsed<V> const& p) noexcept {
    using kubeproxy::content;
    if (p.is_fragment || p.flaw != kubeproxy::drop_reason::none) return local_answer::none;
    if (p.what == content::echo) {
        auto const type = kubeproxy::load_be<std::uint8_t>(p.payload(), kubeproxy::icmp_at::type);
        if (type != kubeproxy::icmp_type<V>::echo_request) return local_answer::none;
        detail::make_echo_reply(p);
        return local_answer::echo;
    }
    if (p.what != content::ports) return local_answer::none;
    auto const key = kubeproxy::tuple_of(p);
    auto const why =
        detail::is_segment(p)
            ? kubeproxy::compose_tcp_reset<V>(packet, p)
            : kubeproxy::compose_icmp_error<V>(packet, p, kubeproxy::port_unreachable<V>(), key.destination);
    if (why != kubeproxy::drop_reason::none) return local_answer::none;
    packet.leave_over({});
    return local_answer::refused;
}

} // namespace examples
