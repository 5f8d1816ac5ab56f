#pragma once

#include "models/slow_model_bytes.hpp"

#include <arpa/inet.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

/// Services as the model knows them, and the `ku` lines that say the same to the library.
namespace kubeproxy::slow {

inline std::string text_of(octets const& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(address.size() == 4 ? AF_INET : AF_INET6, address.data(), text.data(), text.size());
    return text.data();
}

/// A pod in one service; gone, until it comes back there. (Its place in the snapshot waits for it while fewer than 256
/// others were removed; no run has that many.)
struct pod {
    octets address;
    bool is_gone = false;
};

struct prefix {
    octets address;
    unsigned length = 0;

    [[nodiscard]] bool contains(octets const& a) const {
        if (a.size() != address.size()) return false;
        for (unsigned bit = 0; bit < length; ++bit) {
            auto const mask = std::byte{0x80} >> (bit % 8);
            if ((a[bit / 8] & mask) != (address[bit / 8] & mask)) return false;
        }
        return true;
    }
    [[nodiscard]] std::string text() const { return text_of(address) + '/' + std::to_string(length); }
};

struct service {
    prefix where;
    unsigned protocol = 0; ///< 0: with a port TCP and UDP, without one everything
    unsigned port = 0, target_port = 0, node_port = 0;
    bool has_ipv6_pods = false;
    std::vector<std::shared_ptr<pod>> pods{};
    std::vector<std::shared_ptr<pod>> former{}; ///< that are gone
    unsigned version = 0;                       ///< of `pods`

    /// A pod at this address: the one that was there before, if there was one.
    [[nodiscard]] std::shared_ptr<pod> returning(octets const& address) {
        auto const at = std::ranges::find_if(former, [&](auto const& p) { return p->address == address; });
        if (at == former.end()) return std::make_shared<pod>(pod{address});
        auto known = *at;
        former.erase(at);
        known->is_gone = false;
        return known;
    }

    [[nodiscard]] std::string words() const {
        std::string line = where.text();
        if (protocol != 0)
            line += protocol == 6 ? " protocol tcp" : protocol == 17 ? " protocol udp" : " protocol sctp";
        if (port != 0) line += " port " + std::to_string(port);
        return line;
    }
    [[nodiscard]] std::string line() const {
        auto text = "ku vip " + words();
        if (target_port != 0) text += " target_port " + std::to_string(target_port);
        if (node_port != 0) text += " node_port " + std::to_string(node_port);
        return text + (has_ipv6_pods ? " nat6\n" : " nat4\n");
    }
    [[nodiscard]] bool serves(unsigned p) const {
        if (protocol != 0) return p == protocol;
        return port == 0 || p == 6 || p == 17;
    }
    [[nodiscard]] unsigned port_at_pod(ends const& packet) const {
        bool const has_port = packet.protocol == 6 || packet.protocol == 17 || packet.protocol == 132;
        if (!has_port || port == 0) return packet.dport;
        return target_port != 0 ? target_port : port;
    }
};

/// A service, and whether the packet came to it by a node port.
struct found_service {
    std::shared_ptr<service> what;
    bool by_node_port = false;
};

struct limits { ///< seconds: RFC 5382, RFC 4787, RFC 5508, RFC 9260 section 16
    unsigned tcp_open = 7440, tcp_other = 240, udp_replied = 300, udp_unreplied = 30, icmp = 60, sctp_open = 210,
             sctp_other = 120, other_replied = 300, other_unreplied = 30;

    void set_all(unsigned seconds) {
        for (auto* one : {&tcp_other, &udp_replied, &udp_unreplied, &icmp, &sctp_other, &other_unreplied})
            *one = seconds;
    }
};

struct cluster {
    std::vector<std::shared_ptr<service>> services{};
    octets pool4_first{}, pool4_last{}, pool6{}; ///< sources of ours
    octets nat64 = octets(16);                   ///< of length 96
    std::vector<octets> nodes{};
    limits times{};

    [[nodiscard]] octets embedded(octets const& ipv4) const { return seed::with(nat64, {{12, ipv4}}); }
    [[nodiscard]] bool is_embedded(octets const& ipv6) const { return prefix{nat64, 96}.contains(ipv6); }

    /// RFC 1812 section 5.3.7, RFC 3927, RFC 4291 section 2; of an embedded address, the same (RFC 6052 section 3.1).
    [[nodiscard]] bool is_illegal(octets const& a) const {
        auto const first = get(a, 0, 1), second = get(a, 1, 1);
        if (a.size() == 4) return first == 0 || first == 127 || first > 223 || (first == 169 && second == 254);
        if (first == 0xff || (first == 0xfe && second >> 6 == 2)) return true;
        if (get(a, 0, 8) == 0 && get(a, 8, 8) <= 1) return true;
        bool const stands_for_ipv4 =
            is_embedded(a) || text_of(a).starts_with("64:ff9b::") || (get(a, 0, 8) == 0 && get(a, 8, 4) == 0xffff);
        return stands_for_ipv4 && is_illegal(part(a, 12));
    }

    /// The longest prefix wins; there a port before all ports, a protocol before all protocols.
    [[nodiscard]] found_service find(ends const& packet) const {
        found_service best;
        unsigned best_rank = 0;
        auto const offer = [&](std::shared_ptr<service> const& s, bool by_node_port, unsigned length) {
            auto const rank = 1 + length * 4 + (s->port != 0 ? 2 : 0) + (s->protocol != 0 ? 1 : 0);
            if (rank <= best_rank) return;
            best_rank = rank;
            best = {s, by_node_port};
        };
        for (auto const& s : services) {
            bool const is_node = s->node_port != 0 && s->where.address.size() == packet.destination.size() &&
                                 std::ranges::find(nodes, packet.destination) != nodes.end();
            if (is_node && packet.dport == s->node_port && s->serves(packet.protocol))
                offer(s, true, static_cast<unsigned>(packet.destination.size()) * 8);
            bool const is_port = s->port == 0 || s->port == packet.dport;
            if (s->where.contains(packet.destination) && is_port && s->serves(packet.protocol))
                offer(s, false, s->where.length);
        }
        return best;
    }
    /// Whether flows may get it as their source.
    [[nodiscard]] bool is_source(octets const& a) const {
        return a == pool6 || (a.size() == 4 && pool4_first <= a && a <= pool4_last);
    }
    /// Whether a part of a message may have to do with us, when its ports are not known.
    [[nodiscard]] bool may_own(ends const& packet) const {
        if (is_source(packet.destination)) return true;
        return std::ranges::any_of(services, [&](auto const& s) {
            bool const from_pod =
                std::ranges::any_of(s->pods, [&](auto const& p) { return p->address == packet.source; });
            bool const to_node = s->node_port != 0 && s->where.address.size() == packet.destination.size() &&
                                 std::ranges::find(nodes, packet.destination) != nodes.end();
            return from_pod || to_node || s->where.contains(packet.destination);
        });
    }
    /// From the lowest to the highest in use.
    [[nodiscard]] bool is_in_node_port_range(unsigned port) const {
        unsigned lowest = 65536, highest = 0;
        for (auto const& s : services) {
            if (s->node_port == 0) continue;
            lowest = std::min(lowest, s->node_port);
            highest = std::max(highest, s->node_port);
        }
        return lowest <= port && port <= highest;
    }

    std::string add(service s) {
        services.push_back(std::make_shared<service>(std::move(s)));
        return services.back()->line();
    }
    /// Every service of the prefix that is like this one, as far as the line can say.
    std::string remove(service const& like) {
        std::erase_if(services, [&](auto const& s) {
            bool const is_like = s->where.text() == like.where.text() && s->has_ipv6_pods == like.has_ipv6_pods &&
                                 (like.port == 0 || s->port == like.port) &&
                                 (like.protocol == 0 || s->protocol == like.protocol);
            if (is_like)
                for (auto const& p : s->pods) p->is_gone = true;
            return is_like;
        });
        return "ku vip " + like.words() + (like.has_ipv6_pods ? " nat6" : " nat4") + " del\n";
    }
    /// A pod goes to every service of the prefix that has pods of its family.
    std::string add_pod(prefix const& where, octets const& address) {
        for (auto const& s : services) {
            if (s->where.text() != where.text() || s->has_ipv6_pods != (address.size() == 16)) continue;
            if (std::ranges::any_of(s->pods, [&](auto const& p) { return p->address == address; })) continue;
            s->pods.push_back(s->returning(address));
            ++s->version;
        }
        return "ku pod " + where.text() + ' ' + text_of(address) + '\n';
    }
    std::string remove_pod(prefix const& where, octets const& address) {
        for (auto const& s : services) {
            if (s->where.text() != where.text()) continue;
            for (auto const& p : s->pods)
                if (p->address == address) p->is_gone = true;
            for (auto const& p : s->pods)
                if (p->is_gone) s->former.push_back(p);
            if (std::erase_if(s->pods, [](auto const& p) { return p->is_gone; }) != 0) ++s->version;
        }
        return "ku pod " + where.text() + ' ' + text_of(address) + " del\n";
    }
};

} // namespace kubeproxy::slow
