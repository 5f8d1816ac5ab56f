#pragma once

#include "kubeproxy/control/compile/frontends.hpp"
#include "kubeproxy/control/config/node.hpp"
#include "kubeproxy/service/frontend.hpp"
#include "kubeproxy/service/frontend_index.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Keeps an index of frontends as services come and go. Costs what the service has, and what the node has addresses for
/// node ports.
///
/// The configuration decides which of several services serves an address and port or a node port (claim_register). But
/// a cluster IP, or a service's own external IP, may be an address of the node and have the number of a node port, and
/// a range of services may be the prefix of one service. Then the service's address has precedence over the node port,
/// as in kube-proxy's nftables mode, and both over the range. When the first one is removed, the next one is served.
template <ip_version V>
class frontend_register {
  public:
    /// Starts anew, without ranges of services.
    void set_node(frontend_index<V>& index, node_configuration const& node) {
        index = {};
        node_ports_.clear();
        serving_node_ports_ = node_port_destinations<V>(node);
        ranges_.clear();
    }
    /// The ranges in which packets to addresses of no service are dropped; the ones before are withdrawn.
    void set_service_ranges(frontend_index<V>& index, std::vector<prefix<V>> ranges) {
        if (ranges == ranges_) return;
        for (auto const& before : ranges_)
            if (auto const* found = index.at(before, 0, 0);
                found != nullptr && found->kind == frontend_kind::drop_others)
                index.erase(before, 0, 0);
        ranges_ = std::move(ranges);
        for (auto const& range : ranges_) static_cast<void>(index.insert(drop_others(range)));
    }

    void add(frontend_index<V>& index, configured_service const& service, std::span<compiled_port const> ports) {
        for (auto const& f : frontends_of<V>(service, ports)) {
            if (index.insert(f)) continue;
            if (auto const* other = index.at(f.vip, f.port, f.protocol); other != nullptr) note_superseded(*other);
            index.erase(f.vip, f.port, f.protocol);
            static_cast<void>(index.insert(f));
        }
        for (auto const& p : node_ports_of(service, ports, V::number)) {
            node_ports_.insert_or_assign({p.port, p.protocol}, p.service);
            for (auto const& where : serving_node_ports_) static_cast<void>(index.insert(at_node(where, p)));
        }
    }
    /// \pre it was added with these ports
    void remove(frontend_index<V>& index, configured_service const& service, std::span<compiled_port const> ports) {
        for (auto const& p : node_ports_of(service, ports, V::number)) {
            node_ports_.erase({p.port, p.protocol});
            for (auto const& where : serving_node_ports_) erase_equal(index, at_node(where, p));
        }
        for (auto const& f : frontends_of<V>(service, ports)) {
            index.erase(f.vip, f.port, f.protocol);
            restore(index, f);
        }
    }

    /// Services whose frontends others took over since the last call.
    [[nodiscard]] std::vector<std::uint32_t> take_superseded() { return std::exchange(superseded_, {}); }

    /// From the lowest to the highest in use; 0 to 0: none.
    [[nodiscard]] port_range node_ports() const noexcept {
        if (node_ports_.empty()) return {};
        return {node_ports_.begin()->first.first, node_ports_.rbegin()->first.first};
    }

  private:
    [[nodiscard]] static frontend<V> drop_others(prefix<V> const& range) noexcept {
        return {range, 0, 0, frontend_kind::drop_others, no_service};
    }
    [[nodiscard]] static frontend<V> at_node(prefix<V> const& where, node_port const& p) noexcept {
        return {where, p.port, p.protocol, frontend_kind::external, p.service};
    }
    void note_superseded(frontend<V> const& gone) {
        if (gone.service != no_service) superseded_.push_back(gone.service);
    }
    /// Leaves alone what stands before it.
    static void erase_equal(frontend_index<V>& index, frontend<V> const& gone) {
        auto const* found = index.at(gone.vip, gone.port, gone.protocol);
        if (found != nullptr && found->service == gone.service) index.erase(gone.vip, gone.port, gone.protocol);
    }
    /// What stood behind the one that is gone.
    void restore(frontend_index<V>& index, frontend<V> const& gone) {
        if (auto const p = node_ports_.find({gone.port, gone.protocol});
            p != node_ports_.end() && std::ranges::find(serving_node_ports_, gone.vip) != serving_node_ports_.end())
            static_cast<void>(index.insert({gone.vip, gone.port, gone.protocol, frontend_kind::external, p->second}));
        if (gone.port == 0 && gone.protocol == 0 && std::ranges::find(ranges_, gone.vip) != ranges_.end())
            static_cast<void>(index.insert(drop_others(gone.vip)));
    }

    std::map<std::pair<std::uint16_t, std::uint8_t>, std::uint32_t> node_ports_; ///< and their services
    std::vector<prefix<V>> serving_node_ports_;
    std::vector<prefix<V>> ranges_;
    std::vector<std::uint32_t> superseded_;
};

/// The smallest range that contains both; 0 to 0 is none.
[[nodiscard]] constexpr port_range covering(port_range a, port_range b) noexcept {
    if (a.last == 0) return b;
    if (b.last == 0) return a;
    return {std::min(a.first, b.first), std::max(a.last, b.last)};
}

} // namespace v0_2
} // namespace kubeproxy
