#pragma once

#include "models/cluster_service_changes.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

/// Random changes of a cluster, as its API server would let them be made and report them. Nothing here uses the
/// library.
namespace kubeproxy::cluster {

/// The changes that people and controllers make.
class history {
  public:
    explicit history(dice& d) : dice_{&d}, api_{.random = &d} {
        for (unsigned i = 0; i < 8; ++i) {
            auto const net = std::to_string(1 + i % 2), host = std::to_string(10 + i);
            pod p{.address4 = "10.244." + net + '.' + host, .address6 = "fd00:244:" + net + "::" + host};
            if (i == 7) p.address4 = "192.0.2.10", p.address6 = "2001:db8::10"; // of the node's network
            api_.now.pods["p" + std::to_string(i)] = p;
        }
        for (unsigned i = 0; i < ghosts; ++i) api_.now.pods["g" + std::to_string(i)] = api_.now.pods.at(twin(i));
        for (auto const& [name, p] : api_.now.pods) settle_pod(name);
        settle_ties();
        for (int i = 0; i < 3; ++i) services_.create("s" + std::to_string(i));
        for (int i = 0; i < 4; ++i) create_slice("e" + std::to_string(i));
    }
    history(history const&) = delete;
    history& operator=(history const&) = delete;

    /// A change; what a watch would say about it is in events().
    void change() {
        auto const what = dice_->below(100);
        auto const name = 's' + std::to_string(dice_->below(4)), of_slice = 'e' + std::to_string(dice_->below(7));
        if (what < 9) return services_.create(name);
        if (what < 26) return change_service(name);
        if (what < 31) return services_.remove(name);
        if (what < 42) return create_slice(of_slice);
        if (what < 54) return change_slice(of_slice);
        if (what < 59) return remove_slice(of_slice);
        if (what < 64) return scale(name);
        if (what < 68) return move_endpoints(of_slice);
        if (what < 72) return write_slice(of_slice);
        change_pod(any_pod());
    }

    [[nodiscard]] state const& now() const noexcept { return api_.now; }
    /// Since they were taken last, in order.
    [[nodiscard]] std::vector<json::object> take_events() { return std::exchange(api_.events, {}); }
    [[nodiscard]] json::array everything() const { return api_.everything(); }
    /// The node knows all of it.
    void note_published() {
        for (auto const& [name, s] : api_.now.services) api_.published.insert(name);
    }

  private:
    static constexpr unsigned ghosts = 3; ///< pods whose addresses others have

    [[nodiscard]] static std::string twin(unsigned ghost) { return 'p' + std::to_string(2 * ghost); }
    [[nodiscard]] std::string any_pod() { return dice_->one_of(api_.now.pods).first; }

    void settle_pod(std::string const& name) {
        auto& p = api_.now.pods.at(name);
        p.node = dice_->one_of<std::optional<std::string>>({"here", "here", "there", std::nullopt});
        switch (dice_->below(7)) {
        case 0: p.ready = false, p.serving = false, p.terminating = std::nullopt; break;
        case 1: p.ready = false, p.serving = true, p.terminating = true; break;
        case 2: p.ready = false, p.serving = dice_->percent(50), p.terminating = dice_->percent(50); break;
        case 3: p.ready = p.serving = p.terminating = std::nullopt; break;
        case 4: p.ready = true, p.serving = true, p.terminating = dice_->percent(30); break;
        default: p.ready = true, p.serving = true, p.terminating = false; break;
        }
    }
    /// Nothing says which of two entries counts that terminate or not and are ready or not alike, so they are the same.
    void settle_ties() {
        for (unsigned i = 0; i < ghosts; ++i) {
            auto& ghost = api_.now.pods.at('g' + std::to_string(i));
            auto const& other = api_.now.pods.at(twin(i));
            bool const is_tie = ghost.terminating.value_or(false) == other.terminating.value_or(false) &&
                                ghost.ready.value_or(true) == other.ready.value_or(true);
            if (is_tie) ghost = other;
        }
    }

    /// The endpoint slice controller follows, perhaps later.
    void change_service(std::string const& name) {
        if (!services_.change(name)) return;
        for (auto& [of, e] : api_.now.slices)
            if (e.service == name && dice_->percent(60)) write_slice(of);
    }
    void write_slice(std::string const& name) {
        if (!api_.now.slices.contains(name)) return;
        targets_of(api_.now.slices.at(name));
        api_.tell_slice(name);
    }
    void targets_of(slice& e) {
        e.ports.clear();
        auto const owner = api_.now.services.find(e.service);
        if (owner == api_.now.services.end() || dice_->percent(5)) return;
        for (auto const& p : owner->second.ports)
            if (dice_->percent(92))
                e.ports.push_back({p.name, p.protocol, dice_->one_of({8080u, 8081u, p.number}), p.number});
    }
    void create_slice(std::string const& name) {
        slice e{.service = 's' + std::to_string(dice_->below(4)), .version = dice_->percent(60) ? 4u : 6u};
        targets_of(e);
        for (auto const& [pod, is] : api_.now.pods)
            if (dice_->percent(35)) e.pods.insert(pod);
        api_.now.slices[name] = e;
        api_.tell_slice(name);
    }
    void change_slice(std::string const& name) {
        if (!api_.now.slices.contains(name)) return;
        auto& e = api_.now.slices.at(name);
        for (int i = 0; i < 2; ++i) {
            auto const pod = any_pod();
            if (e.pods.erase(pod) == 0) e.pods.insert(pod);
        }
        api_.tell_slice(name);
    }
    void remove_slice(std::string const& name) {
        if (!api_.now.slices.contains(name)) return;
        api_.tell("DELETED", printed(name, api_.now.slices.at(name), api_.now));
        api_.now.slices.erase(name);
    }
    /// To another slice of the same Service, new or not; the watch may tell the two changes in either order.
    void move_endpoints(std::string const& name) {
        if (!api_.now.slices.contains(name)) return;
        auto& from = api_.now.slices.at(name);
        for (auto& [other, to] : api_.now.slices) {
            if (other == name || to.service != from.service || to.version != from.version) continue;
            to.pods.merge(std::exchange(from.pods, {}));
            to.ports = from.ports;
            bool const is_taken_first = dice_->percent(50);
            api_.tell_slice(is_taken_first ? name : other);
            return api_.tell_slice(is_taken_first ? other : name);
        }
    }
    /// To zero, or up again.
    void scale(std::string const& service) {
        for (auto& [name, e] : api_.now.slices) {
            if (e.service != service) continue;
            if (e.pods.empty())
                e.pods = {"p0", "p3"};
            else
                e.pods.clear();
            api_.tell_slice(name);
        }
    }
    void change_pod(std::string const& name) {
        auto& p = api_.now.pods.at(name);
        if (dice_->percent(70)) settle_pod(name);
        if (dice_->percent(40)) p.zone_hints = dice_->one_of<texts>({{}, {"z1"}, {"z2"}, {"z2", "z1"}});
        if (dice_->percent(30)) p.node_hints = dice_->one_of<texts>({{}, {"here"}, {"there"}});
        bool const all = dice_->percent(15); // or hints would hardly ever be followed
        if (all)
            for (auto& [other, q] : api_.now.pods) q.zone_hints = dice_->one_of<texts>({{"z1"}, {"z2"}});
        settle_ties();
        bool const is_twin = name.front() == 'p' && (name.back() - '0') % 2 == 0; // its ghost may have changed, too
        for (auto const& [of, e] : api_.now.slices) {
            bool const has_ghost = std::ranges::any_of(e.pods, [](auto const& pod) { return pod.front() == 'g'; });
            if (all || e.pods.contains(name) || (is_twin && has_ghost)) api_.tell_slice(of);
        }
    }

    dice* dice_;
    api_server api_;
    service_changes services_{api_};
};

} // namespace kubeproxy::cluster
