#pragma once

#include <kubeproxy/wire/bytes.hpp>
#include <kubeproxy/wire/checksum.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

/// What the programs of this folder send: a UDP datagram from 192.0.2.<client>:4711 without a checksum (RFC 768).
inline constexpr std::size_t room = 128, datagram_size = 32;

inline std::array<std::byte, room + datagram_size> datagram(std::uint8_t client, std::uint32_t destination,
                                                            std::uint16_t port) {
    std::array<std::byte, room + datagram_size> memory{};
    auto const packet = std::span{memory}.subspan(room);
    kubeproxy::store_be<std::uint32_t>(packet, 0, 0x45000000 + datagram_size);
    kubeproxy::store_be<std::uint32_t>(packet, 8, 0x40110000); // 64 hops, UDP
    kubeproxy::store_be<std::uint32_t>(packet, 12, 0xc0000200u + client);
    kubeproxy::store_be(packet, 16, destination);
    kubeproxy::store_be<std::uint32_t>(packet, 20, 4711u << 16 | port);
    kubeproxy::store_be<std::uint32_t>(packet, 24, 12u << 16);
    kubeproxy::store_be(packet, 10, kubeproxy::checksum_of(kubeproxy::sum_of(packet.first(20))));
    return memory;
}
