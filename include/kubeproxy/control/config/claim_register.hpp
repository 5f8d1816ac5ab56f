#pragma once

#include "kubeproxy/control/config/claims.hpp"
#include "kubeproxy/control/config/sharded.hpp"
#include "kubeproxy/service/paged_array.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Decides which service serves each claim. Services are known by their slots.
///
///     claim --> the holder: the service that has it                       for every claim
///     claim --> the waiting services: those that would like to have it    for contested claims only
///
/// A holder keeps its claim until it releases it, or until a service of a better rank takes it. Who becomes the holder
/// in a batch of changes, among services of the same rank, does not depend on the order of the changes: services of the
/// `ku` language come first, then the older ones, then those whose name comes first.
///
/// A node port has precedence over an external or load-balancer IP of another service that is an address of this node
/// at which node ports are served. The holder of that address and port remains its holder meanwhile, but does not serve
/// it.
///
/// A change costs in proportion to the services that make the same claim.
class claim_register {
  public:
    using slots = paged_array<std::shared_ptr<configured_service const>, 64>;

    /// Changes from here to the next call are made at the same time.
    void begin_batch() noexcept { ++batch_; }

    /// \pre the service in this slot of `services` makes the claim, and has not taken it yet
    void take(slots const& services, claim const& c, std::uint32_t slot);
    /// \pre it took the claim
    void release(slots const& services, claim const& c, std::uint32_t slot);
    /// \param addresses of the node, at which node ports are served. O(claims) if they have changed
    void set_node_port_addresses(std::vector<ip_prefix> addresses);

    /// The service that serves the claim; none: no service makes it.
    [[nodiscard]] std::optional<std::uint32_t> server(slots const& services, claim const& c) const;
    /// Another service that keeps this service of the `ku` language from having the claim; none: it may take it. What
    /// an object gained in this batch, because another `ku` line released it, can be taken.
    [[nodiscard]] std::optional<std::uint32_t> obstacle(slots const& services, claim const& c,
                                                        std::uint32_t slot) const;

    void note_affected(std::uint32_t slot) { affected_.push_back(slot); }
    /// Services that may serve more or less than before, since the last call; each once, in order.
    [[nodiscard]] std::vector<std::uint32_t> take_affected() {
        std::ranges::sort(affected_);
        affected_.erase(std::unique(affected_.begin(), affected_.end()), affected_.end());
        return std::exchange(affected_, {});
    }

  private:
    struct holding {
        std::uint32_t slot = 0;
        std::uint32_t since = 0; ///< a batch
    };
    using holders = std::unordered_map<claim, holding, claim_hash>;
    using waiting_list = std::vector<std::uint32_t>;

    /// The order of services that take the claim in the same batch.
    [[nodiscard]] static bool comes_before(slots const& services, claim const& c, std::uint32_t a, std::uint32_t b) {
        auto const key = [&](configured_service const& s) {
            return std::tuple{rank_of(s, c), !is_of_ku(s), s.created, std::string_view{s.name}};
        };
        return key(*services[a]) < key(*services[b]);
    }
    [[nodiscard]] bool displaces(slots const& services, claim const& c, std::uint32_t slot, holding const& is) const {
        if (is.since == batch_) return comes_before(services, c, slot, is.slot);
        return rank_of(*services[slot], c) < rank_of(*services[is.slot], c);
    }
    [[nodiscard]] holding const* find(claim const& c) const {
        auto const& table = holders_.of(claim_hash{}(c));
        auto const found = table.find(c);
        return found == table.end() ? nullptr : &found->second;
    }
    [[nodiscard]] std::optional<std::uint32_t> node_port_holder(claim const& c) const;
    [[nodiscard]] std::uint32_t take_first_waiting(slots const& services, claim const& c, waiting_list& waiting) const;
    void note_all(claim const& c);
    void note_at_node_addresses(claim const& node_port) {
        for (auto const& address : node_port_addresses_)
            if (version_of(address) == node_port.version) note_all(at_address(node_port, address));
    }
    [[nodiscard]] static claim at_address(claim const& node_port, ip_prefix const& address) {
        return {address, node_port.version, node_port.protocol, node_port.port};
    }
    [[nodiscard]] bool is_at_node(claim const& c) const {
        return c.where && std::ranges::find(node_port_addresses_, *c.where) != node_port_addresses_.end();
    }

    sharded<holders> holders_;
    sharded<std::unordered_map<claim, waiting_list, claim_hash>> waiting_; ///< no list is empty
    std::vector<ip_prefix> node_port_addresses_;
    std::vector<std::uint32_t> affected_;
    std::uint32_t batch_ = 0;
};

inline void claim_register::take(slots const& services, claim const& c, std::uint32_t slot) {
    auto const hash = claim_hash{}(c);
    auto const [place, is_new] = holders_.of(hash).try_emplace(c, holding{slot, batch_});
    auto& holder = place->second;
    if (!is_new) {
        affected_.insert(affected_.end(), {slot, holder.slot});
        auto loser = slot;
        if (displaces(services, c, slot, holder)) loser = std::exchange(holder, holding{slot, batch_}).slot;
        waiting_.of(hash)[c].push_back(loser);
    }
    if (!c.where) note_at_node_addresses(c);
    if (is_at_node(c)) note_all(c);
}

inline void claim_register::release(slots const& services, claim const& c, std::uint32_t slot) {
    auto const hash = claim_hash{}(c);
    auto const holder = holders_.of(hash).find(c);
    auto& lists = waiting_.of(hash);
    auto const waiting = lists.find(c);
    if (holder->second.slot != slot) {
        std::erase(waiting->second, slot);
    } else if (waiting == lists.end()) {
        holders_.of(hash).erase(holder);
    } else {
        holder->second = {take_first_waiting(services, c, waiting->second), batch_};
        affected_.push_back(holder->second.slot);
    }
    if (waiting != lists.end() && waiting->second.empty()) lists.erase(waiting);
    if (!c.where) note_at_node_addresses(c);
    if (is_at_node(c)) note_all(c);
}

inline std::uint32_t claim_register::take_first_waiting(slots const& services, claim const& c,
                                                        waiting_list& waiting) const {
    auto const first =
        std::ranges::min_element(waiting, [&](auto const a, auto const b) { return comes_before(services, c, a, b); });
    auto const slot = *first;
    waiting.erase(first);
    return slot;
}

inline std::optional<std::uint32_t> claim_register::node_port_holder(claim const& c) const {
    if (!is_at_node(c)) return std::nullopt;
    auto const* holder = find({std::nullopt, c.version, c.protocol, c.port});
    return holder == nullptr ? std::nullopt : std::optional{holder->slot};
}

inline std::optional<std::uint32_t> claim_register::server(slots const& services, claim const& c) const {
    auto const* holder = find(c);
    if (holder == nullptr) return std::nullopt;
    if (rank_of(*services[holder->slot], c) == claim_rank::own_address) return holder->slot;
    return node_port_holder(c).value_or(holder->slot);
}

inline std::optional<std::uint32_t> claim_register::obstacle(slots const& services, claim const& c,
                                                             std::uint32_t slot) const {
    auto const* holder = find(c);
    if (holder == nullptr || holder->slot == slot) return std::nullopt;
    if (holder->since == batch_ && !is_of_ku(*services[holder->slot])) return std::nullopt;
    return holder->slot;
}

/// Every service that makes the claim may be affected: at an address of the node, one of them may serve it though it is
/// not the holder, because it has the node port.
inline void claim_register::note_all(claim const& c) {
    auto const* holder = find(c);
    if (holder == nullptr) return;
    affected_.push_back(holder->slot);
    auto const& lists = waiting_.of(claim_hash{}(c));
    auto const waiting = lists.find(c);
    if (waiting != lists.end()) affected_.insert(affected_.end(), waiting->second.begin(), waiting->second.end());
}

inline void claim_register::set_node_port_addresses(std::vector<ip_prefix> addresses) {
    if (addresses == node_port_addresses_) return;
    auto const note_node_ports = [this] {
        for (auto const& table : holders_)
            for (auto const& [c, holder] : table)
                if (!c.where) note_at_node_addresses(c);
    };
    note_node_ports();
    node_port_addresses_ = std::move(addresses);
    note_node_ports();
}

} // namespace v0_2
} // namespace kubeproxy
