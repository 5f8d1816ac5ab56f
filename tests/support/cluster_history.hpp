#pragma once

#include "support/cluster_objects.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <utility>
#include <vector>

/// Random changes of a cluster, as its API server would let them be made and report them. Nothing here uses the
/// library.
namespace kubeproxy::cluster {

class dice {
  public:
    explicit dice(std::uint64_t seed) : random_{seed} {}

    /// 0 to n - 1
    [[nodiscard]] unsigned below(std::size_t n) {
        return static_cast<unsigned>(std::uniform_int_distribution<std::size_t>{0, n - 1}(random_));
    }
    [[nodiscard]] bool percent(unsigned n) { return below(100) < n; }
    template <class Range>
    [[nodiscard]] auto const& one_of(Range const& all) {
        return *std::next(all.begin(), static_cast<std::ptrdiff_t>(below(all.size())));
    }
    template <class T>
    [[nodiscard]] T one_of(std::initializer_list<T> all) {
        return *(all.begin() + below(all.size()));
    }
    [[nodiscard]] auto& engine() noexcept { return random_; }

  private:
    std::mt19937_64 random_;
};

/// What can stand in a cluster of these histories.
inline node random_node(dice& d) {
    node n{.zone = d.one_of<char const*>({"", "z1", "z1"}),
           .addresses = {"127.0.0.1", "192.0.2.10", "192.0.2.11", "10.244.1.1", "2001:db8::10", "2001:db8::11", "::1"},
           .masquerade_all = d.percent(15),
           .drain_seconds = d.one_of({0u, 0u, 30u})};
    if (d.percent(60)) n.pod_ranges = {"10.244.1.0/24"};
    if (d.percent(60)) n.pod_ranges.push_back("fd00:244:1::/64");
    if (d.percent(80)) n.service_ranges = {"10.96.0.0/24", "fd00:96::/112"};
    if (d.percent(50))
        n.node_port_addresses =
            d.one_of<texts>({{"192.0.2.0/24"}, {"192.0.2.11/32", "2001:db8::/64"}, {}, {"0.0.0.0/0"}});
    return n;
}

/// The API server, and the changes that people and controllers make.
class history {
  public:
    explicit history(dice& d) : dice_{&d} {
        for (unsigned i = 0; i < 8; ++i) {
            auto const net = std::to_string(1 + i % 2), host = std::to_string(10 + i);
            pod p{.address4 = "10.244." + net + '.' + host, .address6 = "fd00:244:" + net + "::" + host};
            if (i == 7) p.address4 = "192.0.2.10", p.address6 = "2001:db8::10"; // of the node's network
            now_.pods["p" + std::to_string(i)] = p;
            settle_pod("p" + std::to_string(i));
        }
        for (int i = 0; i < 3; ++i) create_service("s" + std::to_string(i));
        for (int i = 0; i < 4; ++i) create_slice("e" + std::to_string(i));
    }

    /// A change; what a watch would say about it is in events().
    void change() {
        auto const what = dice_->below(100);
        auto const name = 's' + std::to_string(dice_->below(4)), of_slice = 'e' + std::to_string(dice_->below(7));
        if (what < 10) return create_service(name);
        if (what < 25) return change_service(name);
        if (what < 31) return remove_service(name);
        if (what < 43) return create_slice(of_slice);
        if (what < 58) return change_slice(of_slice);
        if (what < 63) return remove_slice(of_slice);
        if (what < 68) return scale(name);
        change_pod('p' + std::to_string(dice_->below(8)));
    }

    [[nodiscard]] state const& now() const noexcept { return now_; }
    /// Since they were taken last, in order.
    [[nodiscard]] std::vector<json::object> take_events() { return std::exchange(events_, {}); }
    /// All objects, as a list has them.
    [[nodiscard]] json::array everything() const {
        json::array all;
        for (auto const& [name, s] : now_.services) all.push_back(printed(name, s));
        for (auto const& [name, s] : now_.slices) all.push_back(printed(name, s, now_));
        return all;
    }

  private:
    void tell(char const* type, json::object object) {
        events_.push_back({{"type", type}, {"object", std::move(object)}});
    }
    void tell_service(std::string const& name) {
        tell(dice_->percent(50) ? "ADDED" : "MODIFIED", printed(name, now_.services.at(name)));
    }
    void tell_slice(std::string const& name) {
        tell(dice_->percent(50) ? "ADDED" : "MODIFIED", printed(name, now_.slices.at(name), now_));
    }

    /// Cluster IPs and node ports belong to one service at a time.
    [[nodiscard]] bool is_used(std::string const& ip) const {
        return std::ranges::any_of(now_.services, [&](auto const& s) {
            return std::ranges::find(s.second.cluster_ips, ip) != s.second.cluster_ips.end();
        });
    }
    [[nodiscard]] bool is_used(std::string const& protocol, unsigned node_port) const {
        for (auto const& [name, s] : now_.services)
            for (auto const& p : s.ports)
                if (p.protocol == protocol && p.node_port == node_port) return true;
        return false;
    }
    [[nodiscard]] std::string free_ip(unsigned version) {
        for (;;) {
            auto const ip = (version == 4 ? "10.96.0." : "fd00:96::") + std::to_string(1 + dice_->below(8));
            if (!is_used(ip)) return ip;
        }
    }

    void settle_pod(std::string const& name) {
        auto& p = now_.pods.at(name);
        p.node = dice_->one_of<std::optional<std::string>>({"here", "here", "there", std::nullopt});
        switch (dice_->below(6)) {
        case 0: p.ready = false, p.serving = false, p.terminating = std::nullopt; break;
        case 1: p.ready = false, p.serving = true, p.terminating = true; break;
        case 2: p.ready = false, p.serving = dice_->percent(50), p.terminating = dice_->percent(50); break;
        case 3: p.ready = p.serving = p.terminating = std::nullopt; break;
        default: p.ready = true, p.serving = true, p.terminating = false; break;
        }
    }

    void ports_of(service& s) {
        auto const count = dice_->one_of({1u, 1u, 2u, 3u});
        s.ports.clear();
        for (unsigned i = 0; i < count; ++i) {
            port p{.name = {},
                   .protocol = dice_->one_of<char const*>({"TCP", "UDP", "TCP", "UDP", "SCTP"}),
                   .number = dice_->one_of({80u, 443u, 53u})};
            // A port keeps its name: the model does not know which names slices had before.
            if (p.protocol != "TCP" || p.number != 80) p.name = p.protocol + std::to_string(p.number);
            auto const is_same = [&](port const& q) { return q.number == p.number && q.protocol == p.protocol; };
            if (std::ranges::any_of(s.ports, is_same)) continue;
            auto const node_port = 30000 + dice_->below(6);
            auto const has_it = [&](port const& q) { return q.node_port == node_port && q.protocol == p.protocol; };
            bool const is_free = !is_used(p.protocol, node_port) && std::ranges::none_of(s.ports, has_it);
            if (s.type != "ClusterIP" && s.type != "ExternalName" && is_free) p.node_port = node_port;
            s.ports.push_back(p);
        }
    }
    void doors_of(std::string const& name, service& s) {
        auto const host = std::to_string(s_number(name));
        s.external_ips.clear(), s.ingress.clear(), s.source_ranges.clear();
        if (dice_->percent(30)) s.external_ips = {"203.0.113." + host, "2001:db8:e::" + host};
        if (s.type != "LoadBalancer") return;
        s.ingress = {"198.51.100.10" + host, "2001:db8:1b::" + host};
        if (dice_->percent(20) && !s.external_ips.empty()) s.ingress.push_back(s.external_ips.front());
        if (dice_->percent(50)) s.source_ranges = {"203.0.113.128/25", " 10.244.0.0/16 ", "192.0.2.0/24"};
        if (dice_->percent(30)) s.source_ranges.push_back("2001:db8:c::/48");
        for (auto& range : s.source_ranges) std::erase(range, ' ');
    }
    [[nodiscard]] static int s_number(std::string const& name) { return name.back() - '0' + 1; }

    void create_service(std::string const& name) {
        now_.services.erase(name);
        service s{.type = dice_->one_of<char const*>(
                      {"ClusterIP", "ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer", "ExternalName"})};
        if (s.type != "ExternalName") {
            switch (dice_->below(7)) {
            case 0: s.cluster_ips = {"None"}; break;
            case 1: s.cluster_ips = {free_ip(6)}; break;
            case 2: s.cluster_ips = {free_ip(6), free_ip(4)}; break;
            case 3: s.cluster_ips = {free_ip(4), free_ip(6)}; break;
            default: s.cluster_ips = {free_ip(4)}; break;
            }
            if (s.cluster_ips.front() == "None") s.type = "ClusterIP";
        }
        ports_of(s);
        doors_of(name, s);
        policies_of(s);
        now_.services[name] = s;
        tell_service(name);
    }
    void policies_of(service& s) {
        s.internal_policy = dice_->percent(25) ? "Local" : "Cluster";
        s.external_policy = dice_->percent(35) && s.type != "ExternalName" ? "Local" : "Cluster";
        s.affinity_seconds.reset();
        if (dice_->percent(30)) s.affinity_seconds = dice_->one_of({10u, 120u, 10800u});
    }
    void change_service(std::string const& name) {
        if (!now_.services.contains(name)) return;
        auto& s = now_.services.at(name);
        switch (dice_->below(3)) {
        case 0: ports_of(s); break;
        case 1: doors_of(name, s); break;
        default: policies_of(s); break;
        }
        tell_service(name);
        for (auto& [of, e] : now_.slices)
            if (e.service == name && dice_->percent(70)) targets_of(e), tell_slice(of);
    }
    void remove_service(std::string const& name) {
        if (!now_.services.contains(name)) return;
        tell("DELETED", printed(name, now_.services.at(name)));
        now_.services.erase(name);
    }

    /// The endpoint slice controller's part.
    void targets_of(slice& e) {
        e.ports.clear();
        auto const owner = now_.services.find(e.service);
        if (owner == now_.services.end() || dice_->percent(5)) return;
        for (auto const& p : owner->second.ports)
            if (dice_->percent(92)) e.ports.push_back({p.name, p.protocol, dice_->one_of({8080u, 8081u, p.number}), 0});
    }
    void create_slice(std::string const& name) {
        slice e{.service = 's' + std::to_string(dice_->below(4)), .version = dice_->percent(60) ? 4u : 6u};
        targets_of(e);
        for (auto const& [pod, is] : now_.pods)
            if (dice_->percent(35)) e.pods.insert(pod);
        now_.slices[name] = e;
        tell_slice(name);
    }
    void change_slice(std::string const& name) {
        if (!now_.slices.contains(name)) return;
        auto& e = now_.slices.at(name);
        for (int i = 0; i < 2; ++i) {
            auto const pod = 'p' + std::to_string(dice_->below(8));
            if (e.pods.erase(pod) == 0) e.pods.insert(pod);
        }
        tell_slice(name);
    }
    void remove_slice(std::string const& name) {
        if (!now_.slices.contains(name)) return;
        tell("DELETED", printed(name, now_.slices.at(name), now_));
        now_.slices.erase(name);
    }
    /// To zero, or up again.
    void scale(std::string const& service) {
        for (auto& [name, e] : now_.slices) {
            if (e.service != service) continue;
            if (e.pods.empty())
                e.pods = {"p0", "p3"};
            else
                e.pods.clear();
            tell_slice(name);
        }
    }
    void change_pod(std::string const& name) {
        auto& p = now_.pods.at(name);
        if (dice_->percent(70)) settle_pod(name);
        if (dice_->percent(40)) p.zone_hints = dice_->one_of<texts>({{}, {"z1"}, {"z2"}, {"z2", "z1"}});
        if (dice_->percent(30)) p.node_hints = dice_->one_of<texts>({{}, {"here"}, {"there"}});
        bool const all = dice_->percent(15); // or hints would hardly ever be followed
        if (all)
            for (auto& [other, q] : now_.pods) q.zone_hints = dice_->one_of<texts>({{"z1"}, {"z2"}});
        for (auto const& [of, e] : now_.slices)
            if (all || e.pods.contains(name)) tell_slice(of);
    }

    dice* dice_;
    state now_;
    std::vector<json::object> events_;
};

} // namespace kubeproxy::cluster
