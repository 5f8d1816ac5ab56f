#pragma once

#include "support/hostile_host.hpp"
#include "support/packet_surgery.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

/// What the fuzz targets of the data path read from their input.
namespace kubeproxy::fuzz {

using seed::octets;
using surgery::complete_checksums;
using testing_support::guarded_packet;
using testing_support::packet_traits;

inline void check(invariant::broken what) {
    if (what == invariant::none) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

/// Bytes one after the other; zeros where there are no more.
class input {
  public:
    explicit input(std::span<std::uint8_t const> bytes) : rest_{bytes} {}
    [[nodiscard]] bool empty() const { return rest_.empty(); }
    std::uint8_t next() {
        if (rest_.empty()) return 0;
        auto const byte = rest_.front();
        rest_ = rest_.subspan(1);
        return byte;
    }
    octets take(std::size_t size) {
        auto const part = rest_.first(std::min(size, rest_.size()));
        rest_ = rest_.subspan(part.size());
        octets result(part.size());
        std::transform(part.begin(), part.end(), result.begin(), [](std::uint8_t byte) { return std::byte{byte}; });
        return result;
    }
    octets rest() { return take(rest_.size()); }

  private:
    std::span<std::uint8_t const> rest_;
};

/// Bits: 1 decrement, 2 TCP resets, 4 no flow is entered, 8 and 16 MTUs. \param table one of four sizes
inline testing_support::host_settings settings_of(unsigned bits, unsigned table) {
    struct mtus {
        std::uint16_t lowest_ipv6, ipv6, ipv4;
    };
    constexpr std::array<mtus, 4> links{
        {{1280, 1500, 1500}, {1280, 1280, 68}, {1500, 9000, 576}, {65535, 65535, 65535}}};
    constexpr std::array<std::uint32_t, 4> sizes{32, 8, 1, 0};
    auto const& link = links[bits >> 3 & 3u];
    testing_support::host_settings s;
    s.flows = {sizes[table], sizes[table]};
    s.proxy.translation = {.decrement_ttl = (bits & 1u) != 0,
                           .lowest_ipv6_mtu = link.lowest_ipv6,
                           .ipv6_mtu = link.ipv6,
                           .ipv4_mtu = link.ipv4};
    if ((bits & 2u) != 0) s.proxy.rejects = {.no_endpoints = tcp_rejection::reset};
    s.proxy.affinity_clients = 16;
    if ((bits & 4u) != 0) s.proxy.new_flows = {.per_second = 1, .burst = 0};
    s.proxy.fragments = {.table = {.messages = 4}, .store = {.slots = 6, .slot_size = 256, .per_message = 4}};
    s.proxy.share = {.index = 0, .count = 4096}; // few source ports and identifications: they run out
    return s;
}

/// How the host hands a packet in.
struct packet_shape {
    packet_traits traits;
    bool completes_header = false;
    bool completes_transport = false;
    std::size_t spares = 0;
    std::size_t stretch = 0; ///< bytes added at the end

    [[nodiscard]] static packet_shape read(input& in) {
        constexpr std::array<std::size_t, 8> headrooms{128, 0, 8, 20, 28, 48, 68, 127};
        auto const bits = in.next(), more = in.next();
        packet_shape s;
        s.traits = {.headroom = headrooms[bits & 7u],
                    .checksum = (bits & 8u) != 0 ? checksum_state::partial : checksum_state::complete,
                    .gso_size = (bits & 16u) != 0 ? 16 + more * std::size_t{8} : 0,
                    .maps_stateless_replies = (more & 64u) != 0};
        s.completes_header = (bits & 32u) == 0;
        s.completes_transport = (bits & 64u) == 0;
        s.spares = (bits & 128u) != 0 ? 3 + (more & 63u) : 0;
        s.stretch = stretch_of(in.next());
        return s;
    }
    /// Mostly around the MTUs, else about as long as a packet can be: those take a hundred times as long.
    [[nodiscard]] static constexpr std::size_t stretch_of(std::size_t byte) {
        return byte < 240 ? byte * 12 : byte * 257;
    }
    [[nodiscard]] guarded_packet packet_of(octets bytes) const {
        if (stretch != 0) {
            bytes.resize(std::min<std::size_t>(bytes.size() + stretch, 65535 + 40));
            surgery::say_length(bytes);
        }
        complete_checksums(bytes, traits.checksum, completes_header, completes_transport);
        return guarded_packet{bytes, traits};
    }
};

} // namespace kubeproxy::fuzz
