#pragma once

#include "kubeproxy/wire/bytes.hpp"

#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// Protocol and next-header numbers (IANA "Assigned Internet Protocol Numbers").
namespace ip_protocol {
inline constexpr std::uint8_t hop_by_hop = 0, icmp = 1, igmp = 2, tcp = 6, udp = 17, dccp = 33, routing = 43,
                              fragment = 44, esp = 50, ah = 51, icmpv6 = 58, no_next_header = 59,
                              destination_options = 60, sctp = 132, mobility = 135, udp_lite = 136, hip = 139,
                              shim6 = 140;
}

/// Whether the protocol's header starts with a source and a destination port that NAT rewrites.
[[nodiscard]] constexpr bool has_ports(std::uint8_t protocol) noexcept {
    switch (protocol) {
    case ip_protocol::tcp:
    case ip_protocol::udp:
    case ip_protocol::dccp:
    case ip_protocol::sctp:
    case ip_protocol::udp_lite: return true;
    default: return false;
    }
}

/// Bytes of the fixed transport header; 0 for a protocol that is not looked into.
[[nodiscard]] constexpr std::size_t transport_header_size(std::uint8_t protocol) noexcept {
    switch (protocol) {
    case ip_protocol::tcp: return 20;     // RFC 9293 section 3.1
    case ip_protocol::udp: return 8;      // RFC 768
    case ip_protocol::udp_lite: return 8; // RFC 3828 section 3.1
    case ip_protocol::dccp: return 12;    // RFC 4340 section 5.1, with short sequence numbers
    case ip_protocol::sctp: return 12;    // RFC 9260 section 3.1
    case ip_protocol::icmp:
    case ip_protocol::icmpv6: return 8; // RFC 792, RFC 4443 section 2.1
    default: return 0;
    }
}

/// Byte offsets inside transport headers.
struct ports_at {
    static constexpr std::size_t source = 0, destination = 2;
};
struct tcp_at { // RFC 9293 section 3.1
    static constexpr std::size_t sequence = 4, acknowledgment = 8, data_offset = 12, flags = 13, checksum = 16;
};
struct udp_at { // RFC 768
    static constexpr std::size_t length = 4, checksum = 6;
};
struct dccp_at { // RFC 4340 section 5.1
    static constexpr std::size_t checksum = 6;
};
struct udp_lite_at { // RFC 3828 section 3.1
    static constexpr std::size_t coverage = 4, checksum = 6;
};
struct sctp_at { // RFC 9260 section 3.1
    static constexpr std::size_t verification_tag = 4, checksum = 8, first_chunk_type = 12, first_chunk_flags = 13,
                                 initiate_tag = 16; ///< of INIT and INIT ACK
};

namespace tcp_flag {
inline constexpr std::uint8_t fin = 0x01, syn = 0x02, rst = 0x04, ack = 0x10;
}

namespace sctp_flag {
inline constexpr std::uint8_t reflected_tag =
    0x01; ///< the T bit of ABORT and SHUTDOWN COMPLETE (RFC 9260 section 3.3.7)
}

/// Where the protocol's Internet checksum stands. \pre the protocol is TCP, UDP, UDP-Lite, DCCP, ICMP or ICMPv6
[[nodiscard]] constexpr std::size_t checksum_offset(std::uint8_t protocol) noexcept {
    switch (protocol) {
    case ip_protocol::tcp: return tcp_at::checksum;
    case ip_protocol::udp: return udp_at::checksum;
    case ip_protocol::udp_lite: return udp_lite_at::checksum;
    case ip_protocol::dccp: return dccp_at::checksum;
    default: return 2; // ICMP, RFC 792
    }
}

/// Whether a checksum field of 0 holds no checksum, so that a computed 0 is sent as 0xffff (RFC 768). UDP-Lite forbids
/// the field to be 0 (RFC 3828 section 3.1), but computes in the same way.
[[nodiscard]] constexpr bool zero_is_no_checksum(std::uint8_t protocol) noexcept {
    return protocol == ip_protocol::udp || protocol == ip_protocol::udp_lite;
}

} // namespace v0_2
} // namespace kubeproxy
