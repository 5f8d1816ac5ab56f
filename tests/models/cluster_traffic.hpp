#pragma once

#include "models/cluster_flow.hpp"
#include "models/cluster_random.hpp"

#include <list>
#include <string>

/// Random packets on a node: of new connections, and of those that the model knows. Nothing here uses the library.
namespace kubeproxy::cluster {

struct planned {
    conversation in;
    segment what;
};

class traffic {
  public:
    /// \param all what is in force; must outlive the traffic
    traffic(dice& random, state const& all) : random_{&random}, all_{&all} {}

    [[nodiscard]] planned any_packet(std::list<flow> const& flows) {
        if (flows.empty() || random_->percent(35)) return first_packet();
        auto const& f = *std::next(flows.begin(), static_cast<std::ptrdiff_t>(random_->below(flows.size())));
        if (f.has_ended() && !f.is_over() && random_->percent(30)) return {f.original, segment::open};
        bool const is_reply = random_->percent(45);
        auto const in = is_reply ? f.translated.back() : f.original;
        if (in.protocol == 17) return {in, segment::data};
        if (in.protocol == 132) return {in, is_reply ? segment::accept : segment::open};
        if (f.now == stage::opening && is_reply) return {in, segment::accept};
        if (f.is_over() && !is_reply && random_->percent(70)) return {in, segment::open};
        auto const roll = random_->below(100);
        if (roll < 10 && !is_reply) return {in, segment::open};
        return {in, roll < 75 ? segment::data : roll < 95 || f.is_over() ? segment::fin : segment::reset};
    }

  private:
    [[nodiscard]] planned first_packet() {
        bool const is_ipv6 = random_->percent(40);
        conversation c{random_->one_of({6u, 17u, 6u, 17u, 132u}), {}, {}};
        c.destination = destination(c.protocol, is_ipv6 ? 6 : 4);
        c.source = {client(is_ipv6), 20000 + random_->below(20)};
        bool const is_joined = c.protocol == 6 && random_->percent(10);
        return {c, c.protocol == 17 || is_joined ? segment::data : segment::open};
    }
    [[nodiscard]] std::string client(bool is_ipv6) {
        if (random_->percent(40)) return address_of(random_->one_of(all_->pods).second, is_ipv6 ? 6 : 4);
        if (is_ipv6)
            return random_->one_of<char const*>(
                {"2001:db8:c::1", "2001:db8:c:1::2", "2001:db8:d::1", "2001:db8::10", "2001:db8::11"});
        return random_->one_of<char const*>({"203.0.113.200", "203.0.113.201", "203.0.113.90", "192.0.2.10",
                                             "192.0.2.11", "10.244.1.1", "198.51.100.101"});
    }
    [[nodiscard]] side destination(unsigned& protocol, unsigned version) {
        auto const any = [&] { return random_->one_of({80u, 443u, 53u, 8080u}); };
        if (all_->services.empty() || random_->percent(8))
            return {(version == 4 ? "10.96.0." : "fd00:96::") + std::to_string(1 + random_->below(9)), any()};
        if (random_->percent(3)) return {address_of(random_->one_of(all_->pods).second, version), any()};
        auto const& s = random_->one_of(all_->services).second;
        auto const& p = random_->one_of(s.ports);
        if (random_->percent(90)) protocol = build::number_of(p.protocol);
        texts doors;
        for (auto const* all : {&s.cluster_ips, &s.external_ips, &s.ingress})
            for (auto const& ip : *all)
                if (ip != "None" && version_of(ip) == version) doors.push_back(ip);
        if (doors.empty() || (p.node_port != 0 && random_->percent(40))) {
            auto const to = version == 4 ? random_->one_of<char const*>({"192.0.2.10", "192.0.2.11", "10.244.1.1"})
                                         : random_->one_of<char const*>({"2001:db8::10", "2001:db8::11"});
            return {to, p.node_port != 0 ? p.node_port : 30000 + random_->below(6)};
        }
        return {random_->one_of(doors), random_->percent(94) ? p.number : any()};
    }

    dice* random_;
    state const* all_;
};

} // namespace kubeproxy::cluster
