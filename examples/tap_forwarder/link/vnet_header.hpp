#pragma once

#include "kubeproxy/wire/bytes.hpp"

#include <boost/endian/conversion.hpp>

#include <cstddef>
#include <cstdint>

/// What stands before each frame of a TAP device with IFF_VNET_HDR: which work the sender has left to the receiver
/// (struct virtio_net_hdr, OASIS virtio 1.2 section 5.1.6), little-endian as TUNSETVNETLE asks for.
namespace examples {

struct vnet_header {
    static constexpr std::size_t size = 10;
    static constexpr std::uint8_t needs_checksum = 1;
    static constexpr std::uint8_t no_gso = 0, gso_tcpv4 = 1, gso_tcpv6 = 4, gso_udp = 5, gso_ecn = 0x80;

    std::uint8_t flags = 0;
    std::uint8_t gso_type = no_gso;
    std::uint16_t header_length = 0;   ///< of a GSO frame: what each segment repeats
    std::uint16_t gso_size = 0;        ///< transport payload of each segment
    std::uint16_t checksum_start = 0;  ///< where the sum starts, from the beginning of the frame
    std::uint16_t checksum_offset = 0; ///< where the checksum stands, from there
};

namespace detail {
[[nodiscard]] inline std::uint16_t load_le16(kubeproxy::byte_span bytes, std::size_t at) noexcept {
    return boost::endian::endian_reverse(kubeproxy::load_be<std::uint16_t>(bytes, at));
}
inline void store_le16(kubeproxy::mutable_byte_span bytes, std::size_t at, std::uint16_t value) noexcept {
    kubeproxy::store_be(bytes, at, boost::endian::endian_reverse(value));
}
} // namespace detail

/// \pre bytes.size() >= vnet_header::size
[[nodiscard]] inline vnet_header read_vnet(kubeproxy::byte_span bytes) noexcept {
    return {kubeproxy::load_be<std::uint8_t>(bytes, 0),
            kubeproxy::load_be<std::uint8_t>(bytes, 1),
            detail::load_le16(bytes, 2),
            detail::load_le16(bytes, 4),
            detail::load_le16(bytes, 6),
            detail::load_le16(bytes, 8)};
}
/// \pre bytes.size() >= vnet_header::size
inline void write_vnet(kubeproxy::mutable_byte_span bytes, vnet_header const& h) noexcept {
    kubeproxy::store_be(bytes, 0, h.flags);
    kubeproxy::store_be(bytes, 1, h.gso_type);
    detail::store_le16(bytes, 2, h.header_length);
    detail::store_le16(bytes, 4, h.gso_size);
    detail::store_le16(bytes, 6, h.checksum_start);
    detail::store_le16(bytes, 8, h.checksum_offset);
}

} // namespace examples
