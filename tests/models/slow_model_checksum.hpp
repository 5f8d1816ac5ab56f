#pragma once

#include "models/slow_model_packet.hpp"

/// Which packets may change what a NAT remembers: their receiver accepts them, as far as their checksum tells.
namespace kubeproxy::slow {

namespace detail {

/// RFC 1071. All zeros never have a right checksum: it would be 0xffff.
inline bool sums_up(octets const& covered, std::size_t pseudo) {
    bool const is_zero = std::ranges::all_of(covered, [](std::byte b) { return b == std::byte{}; });
    return (residue(covered) + pseudo) % ones == 0 && !(is_zero && pseudo == 0);
}

} // namespace detail

/// \pre no fragment
inline bool has_right_checksum(octets const& packet, reading const& r) {
    if (r.what == kind::opaque || r.what == kind::later) return true;
    auto message = part(packet, r.transport, r.end - r.transport);
    auto const protocol = r.shown.protocol;
    if (protocol == 132) { // RFC 9260 appendix A: lowest octet first; RFC 9653: zero stands for none
        auto const field = get(message, 8, 4);
        put(message, 8, 4, 0);
        auto const crc = crc32c(message);
        return field == 0 || field == ((crc & 0xff) << 24 | (crc & 0xff00) << 8 | (crc >> 8 & 0xff00) | crc >> 24);
    }
    if (protocol == 17) { // RFC 768: its own length says what is covered
        auto const length = get(message, 4, 2);
        if (get(message, 6, 2) == 0) return true;
        if (length < 8 || length > message.size()) return false;
        message = part(message, 0, length);
    }
    if (protocol == 1) return detail::sums_up(message, 0); // RFC 792: no pseudo-header
    if (protocol != 6 && protocol != 17 && protocol != 58) return true;
    return detail::sums_up(message, pseudo_header(r.shown, message.size()));
}

/// Of a flow that is not known yet.
inline bool may_open(octets const& packet, reading const& r) {
    return r.is_fragment() || has_right_checksum(packet, r);
}
/// Of a flow that is. Parts of TCP and SCTP messages cannot be verified, and neither protocol needs them.
inline bool may_change(octets const& packet, reading const& r) {
    if (r.is_fragment()) return r.shown.protocol != 6 && r.shown.protocol != 132;
    return has_right_checksum(packet, r);
}

} // namespace kubeproxy::slow
