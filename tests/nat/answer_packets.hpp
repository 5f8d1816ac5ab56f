#pragma once

#include "kubeproxy/wire/packet.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// Packets octet by octet, without the code under test, and a host's buffer to answer them in.
namespace kubeproxy::answers {

using octets = std::vector<std::uint8_t>;

inline octets operator+(octets first, octets const& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

/// Big-endian, `size` octets.
inline octets field(std::uint64_t value, std::size_t size) {
    octets result(size);
    for (std::size_t i = size; i-- > 0; value >>= 8) result[i] = static_cast<std::uint8_t>(value);
    return result;
}

inline std::uint32_t number(std::span<std::uint8_t const> bytes, std::size_t at, std::size_t size) {
    std::uint32_t value = 0;
    for (auto const octet : bytes.subspan(at, size)) value = value << 8 | octet;
    return value;
}

inline octets octets_of(std::string_view hex) {
    octets result;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        result.push_back(static_cast<std::uint8_t>(std::stoul(std::string{hex.substr(i, 2)}, nullptr, 16)));
    return result;
}

inline std::string hex(octets const& bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string result;
    for (auto const octet : bytes) result += {digits[octet >> 4], digits[octet & 15]};
    return result;
}

template <ip_version V>
typename V::address address(std::string_view text) {
    typename V::address result{};
    inet_pton(std::same_as<V, ipv4> ? AF_INET : AF_INET6, std::string{text}.c_str(), result.data());
    return result;
}

template <ip_version V>
octets address_octets(std::string_view text) {
    octets result;
    for (auto const byte : address<V>(text)) result.push_back(std::to_integer<std::uint8_t>(byte));
    return result;
}

/// RFC 1071 section 1, word by word as it says.
inline std::uint16_t internet_checksum(octets bytes) {
    if (bytes.size() % 2 != 0) bytes.push_back(0);
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
        sum += std::uint32_t{bytes[i]} << 8 | bytes[i + 1];
        if (sum > 0xffff) sum -= 0xffff;
    }
    return static_cast<std::uint16_t>(~sum);
}

/// A packet to be made; each field has a legal default, lengths and checksums are right.
template <ip_version V>
struct packet {
    std::string_view source = std::same_as<V, ipv4> ? "192.0.2.7" : "2001:db8::7";
    std::string_view destination = std::same_as<V, ipv4> ? "10.96.0.10" : "fd00:10:96::a";
    std::uint8_t traffic_class = 0;
    std::uint16_t identification = 0; ///< IPv4
    std::uint16_t flags = 0x4000;     ///< IPv4: with the offset
    std::uint8_t hop_limit = 64;
    octets headers{};       ///< options, or extension headers
    std::uint8_t first = 0; ///< IPv6: next header where there are extension headers
    std::uint8_t protocol = 17;
    octets payload = octets_of("9c40003500080000"); ///< its checksum is filled in

    [[nodiscard]] octets made() const {
        auto const transport = with_checksum();
        if constexpr (std::same_as<V, ipv4>) {
            auto header = octets{static_cast<std::uint8_t>(0x45 + headers.size() / 4), traffic_class} +
                          field(20 + headers.size() + transport.size(), 2) + field(identification, 2) +
                          field(flags, 2) + octets{hop_limit, protocol, 0, 0} + address_octets<V>(source) +
                          address_octets<V>(destination) + headers;
            auto const checksum = field(internet_checksum(header), 2);
            std::ranges::copy(checksum, header.begin() + 10);
            return header + transport;
        } else {
            return field(0x6000'0000u | std::uint32_t{traffic_class} << 20, 4) +
                   field(headers.size() + transport.size(), 2) + octets{headers.empty() ? protocol : first, hop_limit} +
                   address_octets<V>(source) + address_octets<V>(destination) + headers + transport;
        }
    }

  private:
    [[nodiscard]] octets with_checksum() const {
        auto const at = protocol == 6 ? 16u : protocol == 17 ? 6u : protocol == 1 || protocol == 58 ? 2u : 0u;
        if (at == 0 || payload.size() < at + 2) return payload;
        auto covered = payload;
        covered[at] = covered[at + 1] = 0;
        auto const pseudo = protocol == 1 ? octets{}
                                          : address_octets<V>(source) + address_octets<V>(destination) +
                                                field(protocol, 4) + field(payload.size(), 4);
        auto const checksum = internet_checksum(pseudo + covered);
        std::ranges::copy(field(protocol == 17 && checksum == 0 ? 0xffff : checksum, 2), covered.begin() + at);
        return covered;
    }
};

inline octets icmp_message(std::uint8_t type, std::uint8_t code, std::uint32_t rest, octets const& quote) {
    return octets{type, code, 0, 0} + field(rest, 4) + quote;
}

/// An ICMP message whose quote, if it has one, is a whole packet.
template <ip_version V>
octets icmp_about(std::uint8_t type) {
    return icmp_message(type, 0, 0, packet<V>{}.made());
}

inline octets const udp_header = octets_of("9c40003500080000");

struct segment {
    std::uint32_t sequence = 1000;
    std::uint32_t acknowledgment = 0;
    std::uint8_t flags = 0x02;
    std::uint16_t window = 65535;
    octets options{}; ///< a multiple of four
    octets data{};

    [[nodiscard]] octets made() const {
        return octets_of("9c400050") + field(sequence, 4) + field(acknowledgment, 4) +
               octets{static_cast<std::uint8_t>((5 + options.size() / 4) << 4), flags} + field(window, 2) + octets(4) +
               options + data;
    }
};

/// A packet in memory of exactly its size and headroom, so that a sanitizer sees one byte too far.
class held_packet {
  public:
    held_packet(octets const& bytes, std::size_t headroom, checksum_state state = checksum_state::complete)
        : memory_{octets(headroom, 0xee) + bytes}, packet_{std::as_writable_bytes(std::span{memory_}), headroom},
          state_{state} {}
    held_packet(held_packet const&) = delete;
    held_packet& operator=(held_packet const&) = delete;

    [[nodiscard]] mutable_byte_span bytes() const noexcept { return packet_.bytes(); }
    [[nodiscard]] std::size_t headroom() const noexcept { return packet_.headroom(); }
    void grow_front(std::size_t n) noexcept { packet_.grow_front(n); }
    void shrink_front(std::size_t n) noexcept { packet_.shrink_front(n); }
    void truncate(std::size_t size) noexcept { packet_.truncate(size); }
    [[nodiscard]] checksum_state transport_checksum() const noexcept { return state_; }

    /// What the host now has.
    [[nodiscard]] octets content() const {
        octets result;
        for (auto const byte : bytes()) result.push_back(std::to_integer<std::uint8_t>(byte));
        return result;
    }
    [[nodiscard]] octets const& memory() const { return memory_; }

    /// \pre it is a packet of this version
    template <ip_version V>
    [[nodiscard]] parsed<V> parse_as() const {
        return std::get<parsed<V>>(parse(bytes()));
    }

  private:
    octets memory_;
    span_packet packet_;
    checksum_state state_;
};
static_assert(packet_buffer<held_packet>);

} // namespace kubeproxy::answers
