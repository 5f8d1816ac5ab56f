#pragma once

#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/crc32c.hpp"
#include "kubeproxy/wire/packet.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

/// \param message what the checksum covers behind the pseudo-header
template <ip_version V>
[[nodiscard]] bool has_valid_sum(parsed<V> const& p, byte_span message) noexcept {
    std::conditional_t<std::same_as<V, ipv4>, ipv4_view, ipv6_view> const ip{p.bytes};
    auto const length = static_cast<std::uint32_t>(message.size());
    auto const pseudo = pseudo_header_sum(ip.source(), ip.destination(), p.protocol, length);
    return fold(pseudo + sum_of(message)) == 0xffff;
}

/// UDP's length field says what is covered (RFC 768). A field of 0 says that there is no checksum; over IPv6 only
/// tunnels send it (RFC 6935).
template <ip_version V>
[[nodiscard]] bool has_valid_udp_checksum(parsed<V> const& p) noexcept {
    byte_span const message = p.payload();
    if (load_be<std::uint16_t>(message, udp_at::checksum) == 0) return true;
    std::size_t const length = load_be<std::uint16_t>(message, udp_at::length);
    if (length < transport_header_size(ip_protocol::udp) || length > message.size()) return false;
    return has_valid_sum(p, message.first(length));
}

/// A field of 0 says that the association uses another error detection (RFC 9653).
[[nodiscard]] inline bool has_valid_crc(byte_span message) noexcept {
    auto const field = load_be<std::uint32_t>(message, sctp_at::checksum);
    if (field == 0) return true;
    auto const to_end = static_cast<std::uint32_t>(message.size() - sctp_at::checksum);
    return crc32c_after(crc32c(message), field, 0, to_end) == load_crc32c(message, sctp_at::checksum);
}

} // namespace detail

/// Whether the packet's transport checksum is right, by full recomputation. Also true where there is none to check:
/// UDP without checksum, and protocols whose checksum is not known. O(bytes).
/// \pre `p` is whole: not a fragment, and without a flaw
template <ip_version V>
[[nodiscard]] bool has_valid_transport_checksum(parsed<V> const& p) noexcept {
    if (p.what == content::opaque || p.what == content::later_fragment) return true;
    switch (p.protocol) {
    case ip_protocol::tcp: return detail::has_valid_sum(p, p.payload());
    case ip_protocol::udp: return detail::has_valid_udp_checksum(p);
    case ip_protocol::sctp: return detail::has_valid_crc(p.payload());
    case ip_protocol::icmp: return fold(sum_of(p.payload())) == 0xffff;
    case ip_protocol::icmpv6: return detail::has_valid_sum(p, p.payload());
    default: return true;
    }
}

} // namespace v0_2
} // namespace kubeproxy
