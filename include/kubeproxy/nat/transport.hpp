#pragma once

#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/flow/tuple_words.hpp"
#include "kubeproxy/wire/crc32c.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

/// What a translation does behind the IP header: ports, echo identifiers, checksums.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// Both ports as they stand in the header.
template <ip_version V>
[[nodiscard, gnu::always_inline]] constexpr std::uint32_t port_word(tuple<V> const& t) noexcept {
    if (std::is_constant_evaluated() || std::endian::native != std::endian::little)
        return std::uint32_t{t.source_port} << 16 | t.destination_port;
    return std::rotl(static_cast<std::uint32_t>(words_of(t).back()), 16); // one load
}

[[nodiscard]] inline std::uint16_t udp_checksum_after(std::uint16_t checksum, std::uint16_t change) noexcept {
    return udp_checksum(checksum_plus(checksum, change));
}

/// UDP without a checksum is not allowed over IPv6 (RFC 8200 section 8.1, RFC 7915 section 4.5).
/// \pre the UDP length is inside `datagram`
inline void compute_udp_checksum(mutable_byte_span datagram, tuple<ipv6> const& after) noexcept {
    auto const length = load_be<std::uint16_t>(datagram, udp_at::length);
    auto const sum =
        pseudo_header_sum(after.source, after.destination, ip_protocol::udp, length) + sum_of(datagram.first(length));
    store_be(datagram, udp_at::checksum, udp_checksum(checksum_of(sum)));
}

/// The CRC32c of an SCTP packet whose ports changed. A zero checksum stays zero: the ends have agreed to send none
/// (RFC 9653 section 5.2), and a CRC32c made of it would be wrong.
/// \param size of the whole packet, of which `segment` holds at least the fixed header
inline void update_sctp_checksum(mutable_byte_span segment, std::uint32_t ports_before, std::uint32_t ports_after,
                                 std::uint32_t size) noexcept {
    auto const crc = load_crc32c(segment, sctp_at::checksum);
    if (crc == 0 || ports_before == ports_after) return;
    store_crc32c(segment, sctp_at::checksum, crc32c_after(crc, ports_before, ports_after, size));
}

/// \pre `segment` holds a whole fixed header of a protocol that has ports; for SCTP with a checksum the whole message,
/// unless no port changes
template <ip_version From, ip_version To>
void rewrite_ports(mutable_byte_span segment, std::uint8_t protocol, tuple<To> const& after, sum_changes changes,
                   checksum_state state) noexcept {
    auto const before = load_be<std::uint32_t>(segment, ports_at::source);
    store_be(segment, ports_at::source, port_word(after));
    if (protocol == ip_protocol::sctp) {
        if (state != checksum_state::partial)
            update_sctp_checksum(segment, before, port_word(after), static_cast<std::uint32_t>(segment.size()));
        return;
    }
    auto const at = checksum_offset(protocol);
    auto const checksum = load_be<std::uint16_t>(segment, at);
    if (state == checksum_state::partial)
        store_be(segment, at, fold(std::uint64_t{checksum} + changes.network));
    else if (!zero_is_no_checksum(protocol))
        store_be(segment, at, checksum_plus(checksum, changes.transport));
    else if (checksum != 0)
        store_be(segment, at, udp_checksum_after(checksum, changes.transport));
    else if constexpr (std::same_as<From, ipv4> && std::same_as<To, ipv6>)
        if (protocol == ip_protocol::udp) compute_udp_checksum(segment, after);
}

/// The same for a packet that is_plain, with a complete checksum; false, and nothing done, for UDP that has none.
template <ip_version To>
[[gnu::always_inline]] inline bool rewrite_plain_ports(mutable_byte_span segment, std::uint8_t protocol,
                                                       tuple<To> const& after, std::uint16_t change) noexcept {
    // No branch tells TCP from UDP: which comes next cannot be foreseen.
    auto const is_udp = static_cast<std::uint32_t>(protocol == ip_protocol::udp);
    auto const at = tcp_at::checksum - is_udp * (tcp_at::checksum - udp_at::checksum);
    auto const checksum = load_be<std::uint16_t>(segment, at);
    if ((checksum | (1u - is_udp)) == 0) [[unlikely]]
        return false;
    auto const next = checksum_plus(checksum, change);
    auto const zero_becomes = static_cast<std::uint16_t>(0u - is_udp); // see udp_checksum()
    store_be(segment, ports_at::source, port_word(after));
    store_be(segment, at, next == 0 ? zero_becomes : next);
    return true;
}

/// What the pseudo-header adds to the sum under an ICMP checksum, and takes from it: ICMPv6 covers one, ICMP does
/// not (RFC 4443 section 2.3). \param length of the whole message
template <ip_version From, ip_version To>
[[nodiscard]] constexpr std::uint16_t icmp_pseudo_change(tuple<To> const& after, sum_changes changes,
                                                         std::uint32_t length) noexcept {
    constexpr auto protocol = ipv6::icmp_protocol;
    if constexpr (std::same_as<From, ipv4> && std::same_as<To, ipv4>)
        return 0;
    else if constexpr (std::same_as<From, To>)
        return changes.network;
    else if constexpr (std::same_as<To, ipv6>)
        return fold(pseudo_header_sum(after.source, after.destination, protocol, length));
    else // the addresses before are those after, less the change
        return opposite(
            fold(pseudo_header_sum(after.source, after.destination, protocol, length) + opposite(changes.network)));
}

/// \param length of the whole message, of which `message` holds at least the first eight bytes: an echo request or
/// reply
template <ip_version From, ip_version To>
void rewrite_echo(mutable_byte_span message, tuple<To> const& after, sum_changes changes, std::uint32_t length,
                  checksum_state state) noexcept {
    auto const old_type = load_be<std::uint8_t>(message, icmp_at::type);
    bool const is_request = old_type == icmp_type<From>::echo_request;
    auto const new_type = is_request ? icmp_type<To>::echo_request : icmp_type<To>::echo_reply;
    auto const old_identifier = load_be<std::uint16_t>(message, icmp_at::identifier);
    auto const new_identifier = is_request ? after.source_port : after.destination_port;
    store_be(message, icmp_at::type, new_type);
    store_be(message, icmp_at::identifier, new_identifier);

    auto const checksum = load_be<std::uint16_t>(message, icmp_at::checksum);
    auto const pseudo = icmp_pseudo_change<From>(after, changes, length);
    if (state == checksum_state::partial)
        return store_be(message, icmp_at::checksum, fold(std::uint64_t{checksum} + pseudo));
    // Not the flow's change: where the identifier is 0 a request and a reply have one tuple, and only one port shows.
    std::uint64_t const identifier = sum_change(old_identifier, new_identifier);
    std::uint64_t const type = sum_change(std::uint64_t{old_type} << 8, std::uint64_t{new_type} << 8);
    auto const change = fold(type + pseudo + identifier);
    store_be(message, icmp_at::checksum, checksum_plus(checksum, change));
}

/// Any other message, within a family.
template <ip_version V>
void rewrite_other_icmp(mutable_byte_span message, std::uint16_t network_change, checksum_state state) noexcept {
    if constexpr (std::same_as<V, ipv6>) {
        auto const checksum = load_be<std::uint16_t>(message, icmp_at::checksum);
        store_be(message, icmp_at::checksum,
                 state == checksum_state::partial ? fold(std::uint64_t{checksum} + network_change)
                                                  : checksum_plus(checksum, network_change));
    }
}

/// \pre no refusal stands against `p`
template <ip_version From, ip_version To>
void rewrite_transport(parsed<From> const& p, tuple<To> const& after, sum_changes changes,
                       checksum_state state) noexcept {
    switch (p.what) {
    case content::ports: return rewrite_ports<From>(p.payload(), p.protocol, after, changes, state);
    case content::echo:
        return rewrite_echo<From>(p.payload(), after, changes, static_cast<std::uint32_t>(p.payload().size()), state);
    case content::icmp_error:
    case content::other_icmp:
        if constexpr (std::same_as<From, To>) rewrite_other_icmp<From>(p.payload(), changes.network, state);
        return;
    case content::opaque:
    case content::later_fragment: return;
    }
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
