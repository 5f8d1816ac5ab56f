#pragma once

#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

/// Many packets, one at a time, and what it takes to make them quickly. All have correct checksums.
namespace kubeproxy::flood {

using testing_support::octets;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::size_t slower = 20; // the same behaviour on fewer packets: the optimised build runs them all
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr std::size_t slower = 20;
#else
inline constexpr std::size_t slower = 1;
#endif
#else
inline constexpr std::size_t slower = 1;
#endif

/// A proxy of its own, without a copy of the packet for the test.
class fast_bed {
  public:
    fast_bed(std::string_view ku, flow_table_size size)
        : flows_{size, secret{1}}, control_{services_}, proxy_{flows_, services_} {
        EXPECT_TRUE(control_.apply(ku).ok());
    }
    /// What became of `packet`; its bytes are rewritten in place.
    outcome send(octets& packet, std::chrono::nanoseconds now) {
        octets& memory = memory_;
        memory.resize(128 + packet.size());
        std::ranges::copy(packet, memory.begin() + 128);
        span_packet p{memory, 128};
        outcome result;
        proxy_.process(std::span{&p, 1}, now, [&](span_packet&, outcome const& o) { result = o; });
        auto const out = p.bytes();
        packet.assign(out.begin(), out.end());
        return result;
    }
    [[nodiscard]] flow_table& flows() noexcept { return flows_; }
    [[nodiscard]] verdict_counters const& verdicts() const noexcept { return proxy_.verdicts(); }

  private:
    service_source services_;
    flow_table flows_;
    controller control_;
    proxy<span_packet> proxy_;
    octets memory_;
};

inline unsigned word_at(octets const& packet, std::size_t at) {
    return std::to_integer<unsigned>(packet[at]) << 8 | std::to_integer<unsigned>(packet[at + 1]);
}
inline void set_word(octets& packet, std::size_t at, unsigned value) {
    packet[at] = static_cast<std::byte>(value >> 8);
    packet[at + 1] = static_cast<std::byte>(value & 0xff);
}
/// Another word at `at`, which the checksum at `field` covers (RFC 1624 section 3).
inline void change(octets& packet, std::size_t field, std::size_t at, unsigned value) {
    auto sum = (~word_at(packet, field) & 0xffffu) + (~word_at(packet, at) & 0xffffu) + value;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    set_word(packet, at, value);
    set_word(packet, field, ~sum & 0xffff);
}

constexpr std::size_t tcp_checksum = 36, tcp_flags = 32; ///< in an IPv4 packet without options; the word of the flags

/// TCP from `client`, to port 80 of 90.0.0.1.
inline octets segment(unsigned flags, std::uint32_t client, unsigned port) {
    static auto const plain =
        build::bytes_of({.destination = "90.0.0.1", .protocol = 6, .message = seed::tcp({}, 0, 0, 80)});
    auto packet = plain;
    change(packet, tcp_checksum, 12, client >> 16);
    change(packet, tcp_checksum, 14, client & 0xffff);
    change(packet, tcp_checksum, 20, port);
    change(packet, tcp_checksum, tcp_flags, 0x5000 | flags);
    return packet;
}

/// The answer of whoever got the IPv4 packet: addresses and ports swapped, which no checksum notices.
inline octets answer_to(octets const& packet) {
    auto answer = packet;
    std::swap_ranges(answer.begin() + 12, answer.begin() + 16, answer.begin() + 16);
    std::swap_ranges(answer.begin() + 20, answer.begin() + 22, answer.begin() + 22);
    return answer;
}
/// The same of a segment, with other flags.
inline octets answer_to(octets const& packet, unsigned flags) {
    auto answer = answer_to(packet);
    change(answer, tcp_checksum, tcp_flags, 0x5000 | flags);
    return answer;
}

} // namespace kubeproxy::flood
