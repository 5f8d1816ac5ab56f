#pragma once

#include "models/slow_model_flows.hpp"
#include "models/slow_model_rewrite.hpp"

#include <random>
#include <string>
#include <vector>

/// Random packets of a conversation: all that a packet may have beside its ends.
namespace kubeproxy::slow {

/// One direction of a conversation, and whether it is the one that asks.
struct speech {
    ends shown;
    side from = side::client;
    bool is_echo_request = true;
};

class packet_maker {
  public:
    explicit packet_maker(std::uint64_t seed) : random_{seed} {}

    [[nodiscard]] std::uint64_t number() { return random_(); }
    [[nodiscard]] unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
    [[nodiscard]] bool chance(unsigned percent) { return below(100) < percent; }
    void shuffle(std::vector<octets>& all) { std::ranges::shuffle(all, random_); }
    [[nodiscard]] octets data(std::size_t size);

    [[nodiscard]] octets message_for(speech const& s);
    [[nodiscard]] octets packet_for(speech const& s, octets const& message);
    [[nodiscard]] octets damaged(octets packet);
    [[nodiscard]] octets whole_packet(speech const& s) { return damaged(packet_for(s, message_for(s))); }
    [[nodiscard]] octets part_of(speech const& s, octets const& message, std::size_t at, std::size_t size,
                                 std::size_t identification);
    [[nodiscard]] std::size_t extend(octets& quoted, unsigned version);

  private:
    [[nodiscard]] std::size_t some_size();
    [[nodiscard]] unsigned flags_for(side from);
    [[nodiscard]] octets icmp_for(speech const& s);
    [[nodiscard]] octets ipv4_options();
    [[nodiscard]] std::vector<seed::extension> ipv6_extensions();

    std::mt19937_64 random_;
};

inline octets packet_maker::data(std::size_t size) {
    octets d;
    while (d.size() < size) d.push_back(static_cast<std::byte>(random_()));
    return d;
}

inline std::size_t packet_maker::some_size() {
    if (chance(80)) return below(80);
    if (chance(70)) return 1180 + below(360); // around 1260, 1280 and 1500
    return below(5000);
}

inline unsigned packet_maker::flags_for(side from) {
    constexpr unsigned fin = 1, syn = 2, rst = 4, ack = 16;
    auto const n = below(100);
    if (n < 15) return from == side::client ? syn : syn | ack;
    if (n < 19) return from == side::client ? syn | ack : syn;
    if (n < 29) return fin | ack;
    if (n < 33) return n % 2 != 0 ? rst : rst | ack;
    return n < 35 ? below(64) : ack;
}

inline octets packet_maker::icmp_for(speech const& s) {
    bool const is_ipv6 = s.shown.is_ipv6();
    if (s.shown.sport == 0 && s.shown.dport == 0 && chance(30)) // Timestamp; a Neighbour Solicitation
        return seed::icmp(is_ipv6 ? 135 : 13, 0, below(1000), data(12));
    auto const identifier = s.is_echo_request ? s.shown.sport : s.shown.dport;
    auto const type = is_ipv6 ? (s.is_echo_request ? 128u : 129u) : s.is_echo_request ? 8u : 0u;
    return seed::icmp(type, 0, std::size_t{identifier} << 16 | below(100), data(some_size()));
}

inline octets packet_maker::message_for(speech const& s) {
    auto const size = some_size();
    switch (s.shown.protocol) {
    case 6: return seed::tcp(data(size), flags_for(s.from), s.shown.sport, s.shown.dport);
    case 17: return seed::udp(data(size), s.shown.sport, s.shown.dport);
    case 33: return seed::dccp(data(size), s.shown.sport, s.shown.dport);
    case 136: return seed::udp_lite(data(size), chance(50) ? 0 : 8 + below(20), s.shown.sport, s.shown.dport);
    case 132: {
        static constexpr unsigned chunks[]{0, 1, 2, 3, 6, 7, 8, 10, 11, 14};
        auto const chunk = seed::joined({seed::of({chunks[below(10)], 0, 0, 4}), data(size)});
        return seed::sctp(chunk, s.shown.sport, s.shown.dport);
    }
    case 1: return s.shown.is_ipv6() ? data(size) : icmp_for(s);
    case 58: return s.shown.is_ipv6() ? icmp_for(s) : data(size);
    default: return data(size);
    }
}

inline octets packet_maker::ipv4_options() {
    if (!chance(6)) return {};
    auto const n = below(10);
    if (n < 4) return octets(4 * (1 + below(4)), std::byte{1});                    // no operation
    if (n < 7) return seed::of({7, 7, 4, 0, 0, 0, 0, 0});                          // record route
    if (n < 9) return seed::of({131, 7, 8, 192, 0, 2, 9, 0});                      // source route, at its end
    return seed::of({1, chance(50) ? 131u : 137u, 7, 4 + below(5), 192, 0, 2, 9}); // source route
}

inline std::vector<seed::extension> packet_maker::ipv6_extensions() {
    std::vector<seed::extension> all;
    if (!chance(6)) return all;
    if (chance(40)) all.push_back(seed::options(0, below(2)));
    if (chance(30)) all.push_back(seed::routing(chance(25) ? 1 : 0));
    if (chance(30)) all.push_back(seed::fragment(0, 0, random_() & 0xffff'ffff)); // RFC 6946
    if (chance(30)) all.push_back(seed::options(60, below(3)));
    return all;
}

inline octets packet_maker::packet_for(speech const& s, octets const& message) {
    if (s.shown.is_ipv6())
        return seed::bytes_of(seed::ipv6_packet{.traffic_class = below(256),
                                                .flow_label = chance(50) ? below(0x10'0000) : 0,
                                                .hop_limit = 1 + below(255),
                                                .protocol = s.shown.protocol,
                                                .source = s.shown.source,
                                                .destination = s.shown.destination,
                                                .extensions = ipv6_extensions(),
                                                .payload = message});
    return seed::bytes_of(seed::ipv4_packet{.traffic_class = below(256),
                                            .identification = below(65536),
                                            .fragment = chance(50) ? 0x4000u : 0u,
                                            .ttl = 1 + below(255),
                                            .protocol = s.shown.protocol,
                                            .source = s.shown.source,
                                            .destination = s.shown.destination,
                                            .options = ipv4_options(),
                                            .payload = message});
}

/// Now and then: no UDP checksum, a wrong one, a wrong header, too little, or padding behind.
inline octets packet_maker::damaged(octets packet) {
    auto const r = read(packet);
    auto const n = below(100);
    auto const p = r.shown.protocol;
    std::size_t const field = p == 6 ? 16 : p == 17 || p == 33 || p == 136 ? 6 : p == 132 ? 8 : 2;
    bool const has_field = detail::header_size(r.version, p) != 0 && r.transport + field + 2 <= packet.size();
    if (n < 6 && p == 17) put(packet, r.transport + 6, 2, 0);
    if (n < 6 && p == 132 && has_field && r.what != kind::later) put(packet, r.transport + 8, 4, 0); // RFC 9653
    if (n >= 6 && n < 10 && has_field && r.what != kind::later)
        put(packet, r.transport + field, 2, get(packet, r.transport + field, 2) ^ (1 + below(65535)));
    if (n == 10 && r.version == 4) put(packet, 10, 2, get(packet, 10, 2) ^ (1 + below(65535)));
    if (n == 11 && packet.size() > r.transport) { // cut, and said so: the header knows
        packet.resize(r.transport +
                      below(static_cast<unsigned>(std::min<std::size_t>(16, packet.size() - r.transport))));
        put(packet, r.version == 4 ? 2 : 4, 2, packet.size() - (r.version == 4 ? 0 : 40));
        if (r.version == 4) {
            put(packet, 10, 2, 0);
            put(packet, 10, seed::internet_checksum(part(packet, 0, r.transport)));
        }
    }
    if (n >= 12 && n < 16) packet = seed::joined({packet, data(1 + below(20))});
    return packet;
}

inline octets packet_maker::part_of(speech const& s, octets const& message, std::size_t at, std::size_t size,
                                    std::size_t identification) {
    auto const payload = part(message, at, size);
    bool const more = at + payload.size() < message.size();
    if (s.shown.is_ipv6())
        return seed::bytes_of(seed::ipv6_packet{
            .hop_limit = 60,
            .protocol = s.shown.protocol,
            .source = s.shown.source,
            .destination = s.shown.destination,
            .extensions = {seed::fragment(static_cast<unsigned>(at / 8), more ? 1 : 0, identification)},
            .payload = payload});
    return seed::bytes_of(seed::ipv4_packet{.identification = static_cast<unsigned>(identification & 0xffff),
                                            .fragment = (more ? 0x2000u : 0u) | static_cast<unsigned>(at / 8),
                                            .ttl = 60,
                                            .protocol = s.shown.protocol,
                                            .source = s.shown.source,
                                            .destination = s.shown.destination,
                                            .payload = payload});
}

/// Puts an extension behind a quotation (RFC 4884 section 7), and returns what the second word says about it; now and
/// then that is not so.
inline std::size_t packet_maker::extend(octets& quoted, unsigned version) {
    auto const unit = detail::length_unit(version);
    auto const size = std::max<std::size_t>(128, (quoted.size() + unit - 1) / unit * unit);
    if (size / unit > 255) return 0;
    quoted.resize(size);
    auto const object = data(4 + 4 * below(chance(10) ? 200 : 6));
    quoted = seed::joined({quoted, seed::of({0x20, 0, 0, 0}), seed::be16(4 + object.size()), seed::of({1, 1}), object});
    auto const length = chance(90) ? size / unit : below(256);
    return length << (version == 4 ? 16 : 24);
}

} // namespace kubeproxy::slow
