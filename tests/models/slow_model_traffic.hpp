#pragma once

#include "models/slow_model_packets.hpp"

#include <string>
#include <utility>

/// Random packets that mean something: to services and past them, of flows that live, about them, and in parts.
namespace kubeproxy::slow {

/// How many of a hundred packets are what.
struct traffic_mix {
    unsigned fresh = 25, errors = 8, fragments = 5, odd = 3;
};

class traffic : private packet_maker {
  public:
    traffic(std::uint64_t seed, cluster const& services, flow_map const& flows, traffic_mix mix)
        : packet_maker{seed}, services_{&services}, flows_{&flows}, mix_{mix} {}

    [[nodiscard]] std::vector<octets> burst(std::size_t size);
    using packet_maker::below;
    using packet_maker::chance;

  private:
    [[nodiscard]] unsigned some_port();
    [[nodiscard]] octets some_client(bool is_ipv6);
    [[nodiscard]] octets some_router(bool is_ipv6);
    [[nodiscard]] speech fresh_speech();
    [[nodiscard]] speech known_speech();
    [[nodiscard]] speech some_speech() { return flows_->all().empty() ? fresh_speech() : known_speech(); }
    void queue_parts(speech const& s);
    [[nodiscard]] octets error_packet();
    [[nodiscard]] octets quotation(speech const& s);
    [[nodiscard]] octets malformed_packet();
    [[nodiscard]] octets one_packet();

    cluster const* services_;
    flow_map const* flows_;
    traffic_mix mix_;
    std::vector<octets> parts_{}; ///< of messages, still to come; the last one is next
};

inline unsigned traffic::some_port() { return chance(80) ? 40000 + below(30) : 900 + below(30); }

inline octets traffic::some_client(bool is_ipv6) {
    if (chance(10)) { // a pod as client: perhaps its own
        for (auto const& s : services_->services)
            if (!s->pods.empty() && s->has_ipv6_pods == is_ipv6 && chance(30))
                return s->pods[below(static_cast<unsigned>(s->pods.size()))]->address;
    }
    if (is_ipv6 && chance(2)) { // nobody's
        if (chance(50)) return services_->embedded(seed::of({chance(50) ? 127u : 240u, 0, 0, 1}));
        return seed::with(octets(16), {{0, seed::of({chance(50) ? 0xfeu : 0xffu, 0x80})}, {15, seed::of({1})}});
    }
    if (is_ipv6) return seed::with(octets(16), {{0, seed::of({0x20, 1, 0xd, 0xb8})}, {15, seed::of({1 + below(30)})}});
    if (chance(2)) return seed::of({chance(50) ? 127u : 224u, 0, 0, 1}); // nobody to answer to
    return seed::of({192, 0, 2, 1 + below(30)});
}

inline octets traffic::some_router(bool is_ipv6) {
    auto const ipv4 = seed::of({203, 0, 113, 1 + below(3)});
    if (!is_ipv6) return ipv4;
    if (chance(30)) return services_->embedded(ipv4);
    return seed::with(octets(16), {{0, seed::of({0x20, 1, 0xd, 0xb8, 0xff})}, {15, seed::of({1 + below(3)})}});
}

inline speech traffic::fresh_speech() {
    auto const& s = *services_->services[below(static_cast<unsigned>(services_->services.size()))];
    bool const is_ipv6 = s.where.address.size() == 16;
    auto destination = s.where.address;
    if (s.where.length < destination.size() * 8)
        destination.back() = static_cast<std::byte>(get(destination, destination.size() - 1, 1) + 1 + below(3));
    auto port = s.port != 0 ? s.port : below(4) + 7000;
    if (s.node_port != 0 && chance(40)) {
        for (auto const& node : services_->nodes)
            if (node.size() == destination.size()) destination = node;
        port = s.node_port;
    }
    if (chance(4)) port = below(9000); // past the service
    auto protocol = s.protocol;
    if (protocol == 0 || chance(4)) {
        static constexpr unsigned often[]{6, 17}, all[]{6, 17, 132, 1, 58, 47, 33, 136, 50, 51, 2, 253};
        protocol = s.port != 0 || chance(40) ? often[below(2)] : all[below(12)];
        if ((protocol == 1 || protocol == 58) && !chance(5)) protocol = is_ipv6 ? 58 : 1;
    }
    speech fresh{{some_client(is_ipv6), destination, some_port(), port, protocol}, side::client, !chance(4)};
    if (chance(5)) fresh.shown = fresh.shown.mirrored(); // a reply to nobody
    return fresh;
}

inline speech traffic::known_speech() {
    auto const& f = *flows_->all()[below(static_cast<unsigned>(flows_->all().size()))];
    if (!f.is_source_known || chance(50)) return {f.original, side::client, f.original.dport == 0};
    return {f.translated.mirrored(), side::pod, f.translated.dport != 0};
}

/// A message in parts: most in order, some out of order, doubled, or without a part.
inline void traffic::queue_parts(speech const& s) {
    auto const whole = packet_for(s, seed::joined({message_for(s), data(200 + below(2500))}));
    auto const message = part(damaged(whole), read(whole).transport);
    auto const identification = number() & 0xffff'ffff;
    std::vector<octets> parts;
    for (std::size_t at = 0; at < message.size();) {
        std::size_t const size = at == 0 && chance(4) ? 8 : 24 + 8 * below(200);
        parts.push_back(part_of(s, message, at, size, identification));
        if (chance(5)) parts.push_back(parts.back());
        at += size;
        if (chance(3)) parts.pop_back();
    }
    if (chance(30)) shuffle(parts);
    for (auto& p : parts) parts_.insert(parts_.begin(), std::move(p));
}

/// The packet that an error is about, as its sender or a router saw it.
inline octets traffic::quotation(speech const& s) {
    octets quoted;
    if (chance(8)) {
        auto const message = seed::joined({message_for(s), data(100)});
        auto const at = chance(50) ? 0 : 24;
        quoted = part_of(s, message, static_cast<std::size_t>(at), 48, number() & 0xffff'ffff);
    } else {
        quoted = whole_packet(s);
    }
    auto const r = read(quoted);
    if (r.malformed != drop_reason::none) return quoted;
    quoted.resize(r.end);
    auto const n = below(10);
    if (n < 4) quoted = part(quoted, 0, r.transport + 8);
    if (n == 4) quoted = part(quoted, 0, r.transport + 8 + below(40));
    if (n == 5 && chance(20)) quoted = part(quoted, 0, below(static_cast<unsigned>(r.transport) + 8));
    return quoted;
}

inline octets traffic::error_packet() {
    auto const about = chance(10) ? fresh_speech() : some_speech();
    auto const other = about.from == side::client ? side::pod : side::client; // who got its packet complains
    auto const quoted_speech = speech{about.shown.mirrored(), other, !about.is_echo_request};
    bool const is_ipv6 = about.shown.is_ipv6();
    static constexpr unsigned types4[]{3, 3, 3, 11, 12, 12, 4, 5}, types6[]{1, 1, 2, 3, 4, 4, 100};
    auto const type = is_ipv6 ? types6[below(7)] : types4[below(8)];
    auto const code = chance(50) ? below(5) : below(17);
    std::size_t rest = 0;
    if (!is_ipv6 && type == 12) rest = std::size_t{below(24)} << 24;
    if (!is_ipv6 && type == 3 && chance(80)) rest = chance(20) ? 0 : 500 + below(1200);
    if (is_ipv6 && type == 2) rest = 1000 + below(9000);
    if (is_ipv6 && type == 4) rest = below(48);
    auto quoted = quotation(quoted_speech);
    if (chance(2)) // an error about an error
        quoted = packet_for({{about.shown.destination, about.shown.source, 0, 0, is_ipv6 ? 58u : 1u}},
                            seed::icmp(is_ipv6 ? 1 : 3, 0, 0, quoted));
    if (detail::says_length(is_ipv6 ? 6 : 4, type) && chance(20)) rest |= extend(quoted, is_ipv6 ? 6 : 4);
    speech error{about.shown};
    error.shown.protocol = is_ipv6 ? 58 : 1;
    if (chance(50)) error.shown.source = some_router(is_ipv6);
    if (chance(3)) error.shown.source = some_client(is_ipv6);
    if (chance(3)) error.shown.destination = some_client(is_ipv6); // another one than what it quotes has
    auto packet = packet_for(error, seed::icmp(type, code, rest, quoted));
    if (chance(3)) put(packet, read(packet).transport + 2, 2, below(65536));
    return packet;
}

/// What is no packet, or ends before its headers do.
inline octets traffic::malformed_packet() {
    auto packet = whole_packet(some_speech());
    switch (below(5)) {
    case 0: packet.resize(below(static_cast<unsigned>(std::min<std::size_t>(packet.size(), 60)))); break;
    case 1: put(packet, 0, 1, number() & 0xff); break;
    case 2: put(packet, get(packet, 0, 1) >> 4 == 4 ? 2 : 4, 2, number() & 0xffff); break;
    case 3: put(packet, get(packet, 0, 1) >> 4 == 4 ? 9 : 6, 1, number() & 0xff); break;
    default: packet = data(below(100));
    }
    return packet;
}

inline octets traffic::one_packet() {
    if (!parts_.empty() && chance(50)) {
        auto next = std::move(parts_.back());
        parts_.pop_back();
        return next;
    }
    auto const n = below(100);
    if (n < mix_.odd) return malformed_packet();
    if (n < mix_.odd + mix_.errors) return error_packet();
    if (n < mix_.odd + mix_.errors + mix_.fragments) {
        auto const s = chance(30) ? fresh_speech() : some_speech();
        if (parts_.size() < 40) queue_parts(s);
    }
    return whole_packet(chance(mix_.fresh) ? fresh_speech() : some_speech());
}

inline std::vector<octets> traffic::burst(std::size_t size) {
    std::vector<octets> packets;
    while (packets.size() < size) packets.push_back(!packets.empty() && chance(5) ? packets.back() : one_packet());
    return packets;
}

} // namespace kubeproxy::slow
