#pragma once

#include "kubeproxy/nat/header.hpp"
#include "kubeproxy/nat/quoted.hpp"
#include "kubeproxy/nat/transport.hpp"

/// ICMP errors, rewritten inside out: the quoted packet as its sender knows it, then the error around it.
namespace kubeproxy {
inline namespace v0_2 {

/// What an ICMP error must become: its own addresses, and what the packet that it quotes must show.
template <ip_version To>
struct error_mapping {
    typename To::address source;
    typename To::address destination;
    tuple<To> quoted;
};

namespace detail {

/// Nothing but a hint for the sender of the quoted packet, so it changes just like the original did, where it is there.
template <ip_version From, ip_version To>
void rewrite_quoted_ports(quoted_packet<From> const& q, tuple<To> const& after, sum_changes changes,
                          std::size_t stated) noexcept {
    auto const segment = q.headers.payload();
    auto const before = load_be<std::uint32_t>(segment, ports_at::source);
    store_be(segment, ports_at::source, port_word(after));
    if (q.headers.protocol == ip_protocol::sctp) { // a CRC that covers more than is quoted cannot be checked anyway
        bool const is_whole = !q.headers.is_fragment && segment.size() >= stated;
        if (is_whole && stated >= transport_header_size(ip_protocol::sctp))
            update_sctp_checksum(segment, before, port_word(after), static_cast<std::uint32_t>(stated));
        return;
    }
    auto const at = checksum_offset(q.headers.protocol);
    if (segment.size() < at + sizeof(std::uint16_t)) return;
    auto const checksum = load_be<std::uint16_t>(segment, at);
    if (!zero_is_no_checksum(q.headers.protocol))
        store_be(segment, at, checksum_plus(checksum, changes.transport));
    else if (checksum != 0)
        store_be(segment, at, udp_checksum_after(checksum, changes.transport));
}

/// \param stated bytes that the transport message has by the quoted IP header
template <ip_version From, ip_version To>
void rewrite_quoted_transport(quoted_packet<From> const& q, tuple<To> const& after, std::size_t stated) noexcept {
    auto const changes = changes_of(q.key, after);
    auto const message = q.headers.payload();
    switch (q.headers.what) {
    case content::ports: return rewrite_quoted_ports(q, after, changes, stated);
    case content::echo:
        return rewrite_echo<From>(message, after, changes, static_cast<std::uint32_t>(stated),
                                  checksum_state::complete);
    case content::icmp_error:
    case content::other_icmp:
        if constexpr (std::same_as<From, To>)
            rewrite_other_icmp<From>(message, changes.network, checksum_state::complete);
        return;
    case content::opaque:
    case content::later_fragment: return;
    }
}

/// Carries a change of the covered data, and of the pseudo-header, over to the error's own checksum.
inline void update_error_checksum(mutable_byte_span message, std::uint16_t covered, std::uint16_t pseudo,
                                  checksum_state state) noexcept {
    auto const checksum = load_be<std::uint16_t>(message, icmp_at::checksum);
    store_be(message, icmp_at::checksum,
             state == checksum_state::partial ? fold(std::uint64_t{checksum} + pseudo)
                                              : checksum_plus(checksum, fold(std::uint64_t{covered} + pseudo)));
}

/// Rewrites an error within its family; a wrong checksum of the error stays wrong.
/// \pre nothing speaks against `p` or `q`
template <ip_version V>
void rewrite_error_in_place(parsed<V> const& p, quoted_packet<V> const& q, error_mapping<V> const& m,
                            checksum_state state) noexcept {
    constexpr std::size_t max_transport_header = 20;
    auto const message = p.payload();
    auto const end_of_changes = icmp_at::quoted + q.headers.transport + max_transport_header;
    auto const changed = message.first(std::min(message.size(), end_of_changes));
    auto const sum_before = sum_of(changed);
    rewrite_quoted_transport(q, m.quoted, carried_by(q.headers).payload);
    store_addresses(q.headers.bytes, m.quoted.source, m.quoted.destination, changes_of(q.key, m.quoted).network);

    auto const outer = changes_of(tuple_of(p), tuple<V>{.source = m.source, .destination = m.destination}).network;
    store_addresses(p.bytes, m.source, m.destination, outer);
    auto const pseudo = std::same_as<V, ipv6> ? outer : std::uint16_t{0};
    update_error_checksum(message, sum_change(sum_before, sum_of(changed)), pseudo, state);
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
