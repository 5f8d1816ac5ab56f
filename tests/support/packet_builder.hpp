#pragma once

#include "seed_packets.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

/// Packets as the domain speaks of them, on top of the octets of seed_packets.hpp, and a second reading of their
/// checksums. Nothing here uses the library.
namespace kubeproxy::build {

using seed::octets;

/// Of either version, in network order.
inline octets address(std::string const& text) {
    bool const is_ipv6 = text.find(':') != std::string::npos;
    octets result(is_ipv6 ? 16 : 4);
    if (::inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text.c_str(), result.data()) != 1)
        throw std::invalid_argument{"not an address: " + text};
    return result;
}

/// A whole packet; its version is that of its addresses. A row of a table names what is special about it.
struct packet {
    std::string source = "192.0.2.1";
    std::string destination = "198.51.100.7";
    unsigned protocol = 17;
    octets message = seed::udp(seed::counted(20)); ///< the transport message; its checksum is filled in
    unsigned ttl = 64;
    unsigned traffic_class = 0;
    std::size_t flow_label = 0;                   ///< IPv6
    unsigned identification = 0;                  ///< IPv4
    unsigned fragment = 0x4000;                   ///< IPv4: DF 0x4000, MF 0x2000, offset in units of 8
    octets options = {};                          ///< IPv4, a multiple of 4
    std::vector<seed::extension> extensions = {}; ///< IPv6
};

inline octets bytes_of(packet const& p) {
    auto const source = address(p.source), destination = address(p.destination);
    if (source.size() != destination.size()) throw std::invalid_argument{"addresses of two versions"};
    if (source.size() == 4)
        return seed::bytes_of(seed::ipv4_packet{.traffic_class = p.traffic_class,
                                                .identification = p.identification,
                                                .fragment = p.fragment,
                                                .ttl = p.ttl,
                                                .protocol = p.protocol,
                                                .source = source,
                                                .destination = destination,
                                                .options = p.options,
                                                .payload = p.message});
    return seed::bytes_of(seed::ipv6_packet{.traffic_class = p.traffic_class,
                                            .flow_label = p.flow_label,
                                            .hop_limit = p.ttl,
                                            .protocol = p.protocol,
                                            .source = source,
                                            .destination = destination,
                                            .extensions = p.extensions,
                                            .payload = p.message});
}

namespace detail {

inline std::size_t number(std::span<std::byte const> at, std::size_t size) {
    std::size_t value = 0;
    for (auto const octet : at.first(size)) value = value << 8 | std::to_integer<std::size_t>(octet);
    return value;
}

/// Where the transport message of a whole packet is, and the addresses that its checksum covers.
struct found {
    std::size_t transport = 0, end = 0, addresses = 0, addresses_size = 0;
    unsigned protocol = 0;
};

inline std::optional<found> look(std::span<std::byte const> b) {
    if (b.size() < 20) return std::nullopt;
    if (number(b, 1) >> 4 == 4) {
        if ((number(b.subspan(6), 2) & 0x3fff) != 0) return std::nullopt;
        return found{(number(b, 1) & 15) * 4, number(b.subspan(2), 2), 12, 8,
                     static_cast<unsigned>(number(b.subspan(9), 1))};
    }
    found f{40, 40 + number(b.subspan(4), 2), 8, 32, static_cast<unsigned>(number(b.subspan(6), 1))};
    while (f.protocol == 0 || f.protocol == 43 || f.protocol == 44 || f.protocol == 60) {
        if (f.protocol == 44 && (number(b.subspan(f.transport + 2), 2) & 0xfff9) != 0) return std::nullopt;
        auto const size = f.protocol == 44 ? 8 : 8 * (1 + number(b.subspan(f.transport + 1), 1));
        f.protocol = static_cast<unsigned>(number(b.subspan(f.transport), 1));
        f.transport += size;
    }
    return f;
}

} // namespace detail

/// By full recomputation. A packet without a checksum that can be told is valid: a fragment, another protocol, UDP 0
/// over IPv4, SCTP 0 (RFC 9653).
inline bool transport_checksum_is_valid(std::span<std::byte const> bytes) {
    auto const f = detail::look(bytes);
    if (!f) return true;
    auto const segment = bytes.subspan(f->transport, f->end - f->transport);
    octets message(segment.begin(), segment.end());
    if (f->protocol == 132) {
        octets const field(message.begin() + 8, message.begin() + 12);
        return field == octets(4) || seed::crc32c(seed::with(message, {{8, seed::be32(0)}})) == field;
    }
    constexpr unsigned with_checksum[]{6, 17, 1, 58, 33, 136};
    if (std::ranges::find(with_checksum, f->protocol) == std::end(with_checksum)) return true;
    auto const length = message.size();
    if (f->protocol == 136) // RFC 3828 section 3.1: the checksum coverage
        if (auto const coverage = detail::number(segment.subspan(4), 2); coverage != 0) message.resize(coverage);
    if (f->protocol == 17) {
        if (detail::number(segment.subspan(6), 2) == 0) return f->addresses_size == 8;
        message.resize(detail::number(segment.subspan(4), 2)); // RFC 768: what is behind is not covered
    }
    auto const addresses = bytes.subspan(f->addresses, f->addresses_size);
    auto const covered = f->protocol == 1 ? message
                                          : seed::joined({octets(addresses.begin(), addresses.end()),
                                                          seed::be32(f->protocol == 136 ? length : message.size()),
                                                          seed::be32(f->protocol), message});
    return seed::internet_checksum(covered) == seed::be16(0);
}

/// Of IPv4; IPv6 has none.
inline bool header_checksum_is_valid(std::span<std::byte const> bytes) {
    if (detail::number(bytes, 1) >> 4 != 4) return true;
    auto const header = bytes.first((detail::number(bytes, 1) & 15) * 4);
    return seed::internet_checksum({header.begin(), header.end()}) == seed::be16(0);
}

} // namespace kubeproxy::build
