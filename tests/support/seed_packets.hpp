#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

/// Packets put together octet by octet, without the code under test: a second reading of the RFCs. Every field
/// has a legal default, so that a row of a table shows only what is special about it.
namespace kubeproxy::seed {

using octets = std::vector<std::byte>;

inline octets of(std::initializer_list<unsigned> values) {
    octets result;
    for (auto const value : values) result.push_back(static_cast<std::byte>(value));
    return result;
}

/// 0, 1, 2 …: data in which a byte out of place shows.
inline octets counted(std::size_t size) {
    octets result;
    for (std::size_t i = 0; i < size; ++i) result.push_back(static_cast<std::byte>(i));
    return result;
}

inline octets joined(std::initializer_list<octets> parts) {
    octets result;
    for (auto const& part : parts) result.insert(result.end(), part.begin(), part.end());
    return result;
}

inline octets be16(std::size_t value) { return {static_cast<std::byte>(value >> 8), static_cast<std::byte>(value)}; }
inline octets be32(std::size_t value) { return joined({be16(value >> 16), be16(value)}); }

/// `packet` with other octets from each offset on.
inline octets with(octets packet, std::initializer_list<std::pair<std::size_t, octets>> changes) {
    for (auto const& [at, value] : changes)
        for (std::size_t i = 0; i < value.size(); ++i) packet.at(at + i) = value[i];
    return packet;
}

inline octets cut(octets packet, std::size_t size) {
    packet.resize(size);
    return packet;
}

/// RFC 1071, a word at a time.
inline octets internet_checksum(octets const& covered) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < covered.size(); ++i) {
        sum += std::to_integer<std::uint32_t>(covered[i]) << (i % 2 == 0 ? 8 : 0);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return be16(~sum & 0xffff);
}

/// RFC 9260 appendix A, a bit at a time.
inline octets crc32c(octets const& covered) {
    std::uint32_t crc = ~0u;
    for (auto const octet : covered) {
        crc ^= std::to_integer<std::uint32_t>(octet);
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f6'3b78u : 0u);
    }
    crc = ~crc;
    return of({crc & 0xff, crc >> 8 & 0xff, crc >> 16 & 0xff, crc >> 24});
}

// Transport messages; the checksum is filled in by the packet that they are put into.

inline octets udp(octets const& data, unsigned source_port = 40000, unsigned destination_port = 53) {
    return joined({be16(source_port), be16(destination_port), be16(8 + data.size()), be16(0), data});
}
inline octets tcp(octets const& data, unsigned flags = 0x10, unsigned source_port = 40000,
                  unsigned destination_port = 80) {
    return joined({be16(source_port), be16(destination_port), be32(1000), be32(2000), of({0x50, flags}), be16(8192),
                   be32(0), data});
}
inline octets sctp(octets const& chunks, unsigned source_port = 40000, unsigned destination_port = 5060) {
    return joined({be16(source_port), be16(destination_port), be32(0x0badcafe), be32(0), chunks});
}
/// RFC 3828 section 3.1; \param coverage 0: all of it
inline octets udp_lite(octets const& data, unsigned coverage = 0, unsigned source_port = 40000,
                       unsigned destination_port = 53) {
    return joined({be16(source_port), be16(destination_port), be16(coverage), be16(0), data});
}
/// A DCCP-Data packet with short sequence numbers (RFC 4340 sections 5.1, 5.4) whose checksum covers everything.
inline octets dccp(octets const& data, unsigned source_port = 40000, unsigned destination_port = 53) {
    return joined({be16(source_port), be16(destination_port), of({3, 0}), be16(0), of({4, 0, 0, 7}), data});
}
/// \param rest the second word: identifier and sequence number, an MTU, a pointer
inline octets icmp(unsigned type, unsigned code, std::size_t rest, octets const& data) {
    return joined({of({type, code}), be16(0), be32(rest), data});
}

/// Fills in the checksum of a whole message, where the protocol has one and it has room.
inline void complete(octets& message, unsigned protocol, octets const& pseudo_header) {
    bool const has_short_checksum = protocol == 17 || protocol == 33 || protocol == 136;
    std::size_t const at = protocol == 6 ? 16 : has_short_checksum ? 6 : 2;
    if (protocol == 132 && message.size() >= 12) message = with(message, {{8, crc32c(message)}});
    bool const has_checksum = protocol == 6 || has_short_checksum || protocol == 1 || protocol == 58;
    if (!has_checksum || message.size() < at + 2) return;
    auto covered = message;
    if (protocol == 136) // RFC 3828 section 3.1
        if (auto const coverage =
                std::to_integer<std::size_t>(message[4]) << 8 | std::to_integer<std::size_t>(message[5]);
            coverage >= 8 && coverage < covered.size())
            covered.resize(coverage);
    message = with(message, {{at, internet_checksum(joined({protocol == 1 ? octets{} : pseudo_header, covered}))}});
}

/// RFC 791 section 3.1
struct ipv4_packet {
    unsigned traffic_class = 0;
    unsigned identification = 0x1234;
    unsigned fragment = 0; ///< DF 0x4000, MF 0x2000, offset in units of 8
    unsigned ttl = 64;
    unsigned protocol = 17;
    octets source = of({192, 0, 2, 1});
    octets destination = of({198, 51, 100, 7});
    octets options = {}; ///< a multiple of 4
    octets payload = udp(of({'d', 'a', 't', 'a'}));
};

inline octets bytes_of(ipv4_packet p) {
    auto const pseudo_header = joined({p.source, p.destination, of({0, p.protocol}), be16(p.payload.size())});
    if ((p.fragment & 0x3fffu) == 0) complete(p.payload, p.protocol, pseudo_header);
    auto const header_size = 20 + p.options.size();
    auto const header = joined({of({0x40u + static_cast<unsigned>(header_size / 4), p.traffic_class}),
                                be16(header_size + p.payload.size()), be16(p.identification), be16(p.fragment),
                                of({p.ttl, p.protocol}), be16(0), p.source, p.destination, p.options});
    return joined({with(header, {{10, internet_checksum(header)}}), p.payload});
}

/// An IPv6 extension header; the first octet, the next header, is filled in by the packet.
struct extension {
    unsigned number = 0;
    octets content;
};

/// Hop-by-Hop (0) or Destination Options (60) with PadN of 8 * (1 + units) octets (RFC 8200 sections 4.2, 4.3, 4.6);
/// any other header of that form too.
inline extension options(unsigned number, unsigned units = 0) {
    return {number, joined({of({0, units, 1, 4 + 8 * units}), octets(4 + 8 * units)})};
}
/// RFC 8200 section 4.4
inline extension routing(unsigned segments_left, unsigned units = 2, unsigned type = 0) {
    return {43, joined({of({0, units, type, segments_left}), octets(4 + 8 * units)})};
}
/// RFC 8200 section 4.5
inline extension fragment(unsigned offset_in_units, unsigned more, std::size_t identification = 0x01020304) {
    return {44, joined({of({0, 0}), be16(offset_in_units << 3 | more), be32(identification)})};
}

/// RFC 8200 section 3
struct ipv6_packet {
    unsigned traffic_class = 0;
    std::size_t flow_label = 0;
    unsigned hop_limit = 64;
    unsigned protocol = 17;
    octets source = of({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    octets destination = of({0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7});
    std::vector<extension> extensions = {};
    octets payload = udp(of({'d', 'a', 't', 'a'}));
};

inline octets bytes_of(ipv6_packet p) {
    octets chain;
    bool is_whole = true;
    for (std::size_t i = 0; i < p.extensions.size(); ++i) {
        auto content = p.extensions[i].content;
        if (p.extensions[i].number == 44)
            is_whole = content.at(2) == std::byte{0} && (content.at(3) & std::byte{0xf9}) == std::byte{0};
        content.at(0) = static_cast<std::byte>(i + 1 < p.extensions.size() ? p.extensions[i + 1].number : p.protocol);
        chain = joined({chain, content});
    }
    if (is_whole)
        complete(p.payload, p.protocol,
                 joined({p.source, p.destination, be32(p.payload.size()), of({0, 0, 0, p.protocol})}));
    auto const first = p.extensions.empty() ? p.protocol : p.extensions.front().number;
    return joined({be32(std::size_t{6} << 28 | std::size_t{p.traffic_class} << 20 | p.flow_label),
                   be16(chain.size() + p.payload.size()), of({first, p.hop_limit}), p.source, p.destination, chain,
                   p.payload});
}

struct named_packet {
    std::string_view name;
    octets bytes;
};

inline octets long_chain() {
    ipv6_packet packet{.extensions = {options(0)}};
    for (unsigned i = 0; i < 6; ++i) packet.extensions.push_back(options(60));
    return bytes_of(packet);
}

/// Valid packets, one of each kind that a parser tells apart; none is longer than 200 octets.
inline std::vector<named_packet> all_kinds() {
    auto const quoted4 = bytes_of(ipv4_packet{.source = of({198, 51, 100, 7}), .destination = of({192, 0, 2, 1})});
    auto const quoted6 = bytes_of(ipv6_packet{});
    auto const data = counted(24);
    return {
        {"v4 UDP", bytes_of(ipv4_packet{})},
        {"v4 TCP SYN", bytes_of(ipv4_packet{.protocol = 6, .payload = tcp({}, 0x02)})},
        {"v4 TCP", bytes_of(ipv4_packet{.fragment = 0x4000, .protocol = 6, .payload = tcp(data)})},
        {"v4 SCTP", bytes_of(ipv4_packet{.protocol = 132, .payload = sctp(of({1, 0, 0, 4}))})},
        {"v4 UDP-Lite", bytes_of(ipv4_packet{.protocol = 136, .payload = udp_lite(data, 8)})},
        {"v6 DCCP", bytes_of(ipv6_packet{.protocol = 33, .payload = dccp(data)})},
        {"v4 options", bytes_of(ipv4_packet{.options = of({7, 7, 4, 0, 0, 0, 0, 0})})}, // record route, RFC 791
        {"v4 all options", bytes_of(ipv4_packet{.options = octets(40, std::byte{1})})}, // no-operation
        {"v4 echo request", bytes_of(ipv4_packet{.protocol = 1, .payload = icmp(8, 0, 0x7777'0001, data)})},
        {"v4 echo reply", bytes_of(ipv4_packet{.protocol = 1, .payload = icmp(0, 0, 0x7777'0001, data)})},
        {"v4 timestamp", bytes_of(ipv4_packet{.protocol = 1, .payload = icmp(13, 0, 1, counted(12))})},
        {"v4 unreachable", bytes_of(ipv4_packet{.protocol = 1, .payload = icmp(3, 3, 0, quoted4)})},
        {"v4 too big", bytes_of(ipv4_packet{.protocol = 1, .payload = icmp(3, 4, 1400, quoted4)})},
        {"v4 GRE", bytes_of(ipv4_packet{.protocol = 47, .payload = data})},
        {"v4 first fragment", bytes_of(ipv4_packet{.fragment = 0x2000, .payload = udp(data)})},
        {"v4 middle fragment", bytes_of(ipv4_packet{.fragment = 0x2004, .payload = data})},
        {"v4 last fragment", bytes_of(ipv4_packet{.fragment = 0x0007, .payload = counted(3)})},
        {"v4 padded", joined({bytes_of(ipv4_packet{}), octets(14)})},
        {"v6 UDP", bytes_of(ipv6_packet{})},
        {"v6 TCP", bytes_of(ipv6_packet{.protocol = 6, .payload = tcp(data)})},
        {"v6 SCTP", bytes_of(ipv6_packet{.protocol = 132, .payload = sctp(of({1, 0, 0, 4}))})},
        {"v6 echo request", bytes_of(ipv6_packet{.protocol = 58, .payload = icmp(128, 0, 0x7777'0001, data)})},
        {"v6 echo reply", bytes_of(ipv6_packet{.protocol = 58, .payload = icmp(129, 0, 0x7777'0001, data)})},
        {"v6 neighbour", bytes_of(ipv6_packet{.hop_limit = 255, .protocol = 58, .payload = icmp(135, 0, 0, data)})},
        {"v6 unreachable", bytes_of(ipv6_packet{.protocol = 58, .payload = icmp(1, 4, 0, quoted6)})},
        {"v6 too big", bytes_of(ipv6_packet{.protocol = 58, .payload = icmp(2, 0, 1280, quoted6)})},
        {"v6 hop-by-hop", bytes_of(ipv6_packet{.extensions = {options(0, 1)}})},
        {"v6 source route", bytes_of(ipv6_packet{.extensions = {routing(1)}})},
        {"v6 three extensions", bytes_of(ipv6_packet{.extensions = {options(0), routing(0), options(60, 2)}})},
        {"v6 long chain", long_chain()},
        {"v6 atomic fragment", bytes_of(ipv6_packet{.extensions = {fragment(0, 0)}})},
        {"v6 first fragment", bytes_of(ipv6_packet{.extensions = {fragment(0, 1)}, .payload = udp(data)})},
        {"v6 later fragment", bytes_of(ipv6_packet{.extensions = {fragment(4, 1)}, .payload = data})},
        {"v6 extension in fragment",
         bytes_of(ipv6_packet{.extensions = {fragment(0, 1), options(60)}, .payload = udp(data)})},
        {"v6 mobility", bytes_of(ipv6_packet{.protocol = 59, .extensions = {options(135)}, .payload = {}})},
        {"v6 ESP", bytes_of(ipv6_packet{.protocol = 50, .payload = data})},
        {"v6 AH", bytes_of(ipv6_packet{.protocol = 51, .payload = data})},
        {"v6 no next header", bytes_of(ipv6_packet{.protocol = 59, .payload = {}})},
        {"v6 padded", joined({bytes_of(ipv6_packet{}), octets(6)})},
    };
}

} // namespace kubeproxy::seed
