#pragma once

#include "support/packet_builder.hpp"

#include <array>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>

/// Packets as two ends that talk to each other, in texts; nothing here uses the library.
namespace kubeproxy::build {

struct side {
    std::string address;
    unsigned port = 0;

    [[nodiscard]] friend bool operator==(side const&, side const&) = default;
    [[nodiscard]] friend auto operator<=>(side const&, side const&) = default;
    [[nodiscard]] bool is_ipv6() const { return address.find(':') != std::string::npos; }
    [[nodiscard]] std::string text() const {
        return (is_ipv6() ? '[' + address + ']' : address) + ':' + std::to_string(port);
    }
};

/// Who speaks to whom.
struct conversation {
    unsigned protocol = 6;
    side source, destination;

    [[nodiscard]] friend bool operator==(conversation const&, conversation const&) = default;
    [[nodiscard]] friend auto operator<=>(conversation const&, conversation const&) = default;
    [[nodiscard]] conversation back() const { return {protocol, destination, source}; }
    [[nodiscard]] std::string text() const {
        return std::to_string(protocol) + ' ' + source.text() + " > " + destination.text();
    }
};
inline void PrintTo(conversation const& c, std::ostream* out) { *out << c.text(); }

inline unsigned number_of(std::string_view protocol) {
    return protocol == "TCP" ? 6 : protocol == "UDP" ? 17 : protocol == "SCTP" ? 132 : 0;
}

/// What a packet means to its connection. UDP only has data; SCTP has INIT and INIT ACK for the first two.
enum class segment { open, accept, data, fin, reset };

inline octets packet_of(conversation const& c, segment what) {
    packet p{.source = c.source.address, .destination = c.destination.address, .protocol = c.protocol};
    constexpr std::array<unsigned, 5> tcp_flags{0x02, 0x12, 0x10, 0x11, 0x04}; // RFC 9293 section 3.1
    auto const data = seed::counted(8);
    bool const is_first = what == segment::open;
    auto const flags = tcp_flags.at(static_cast<std::size_t>(what));
    if (c.protocol == 6)
        p.message = seed::tcp(what == segment::data ? data : octets{}, flags, c.source.port, c.destination.port);
    if (c.protocol == 17) p.message = seed::udp(data, c.source.port, c.destination.port);
    if (c.protocol == 132) // RFC 9260 sections 3.3.2 and 3.3.3
        p.message = seed::sctp(seed::joined({seed::of({is_first ? 1u : 2u, 0}), seed::be16(20), seed::counted(16)}),
                               c.source.port, c.destination.port);
    return bytes_of(p);
}

inline std::string address_at(octets const& bytes, std::size_t at, std::size_t size) {
    std::array<char, INET6_ADDRSTRLEN> name{};
    ::inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes.data() + at, name.data(), name.size());
    return name.data();
}

/// Of a packet without options or extension headers. Where ports would be, ICMP has its type and code.
inline conversation read(octets const& bytes) {
    bool const is_ipv6 = std::to_integer<unsigned>(bytes.at(0)) >> 4 == 6;
    std::size_t const source = is_ipv6 ? 8 : 12, size = is_ipv6 ? 16 : 4, header = is_ipv6 ? 40 : 20;
    auto const port = [&](std::size_t at) {
        return std::to_integer<unsigned>(bytes.at(at)) << 8 | std::to_integer<unsigned>(bytes.at(at + 1));
    };
    return {std::to_integer<unsigned>(bytes.at(is_ipv6 ? 6 : 9)),
            {address_at(bytes, source, size), port(header)},
            {address_at(bytes, source + size, size), port(header + 2)}};
}

inline bool is_whole(octets const& bytes) {
    return header_checksum_is_valid(bytes) && transport_checksum_is_valid(bytes);
}

} // namespace kubeproxy::build
