#pragma once

#include "kubeproxy/control/config/claim_register.hpp"
#include "kubeproxy/control/config/claims.hpp"
#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/node.hpp"
#include "kubeproxy/control/config/rules.hpp"
#include "kubeproxy/control/config/sharded.hpp"
#include "kubeproxy/service/paged_array.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {
/// What reading left over would stay as long as the service.
inline void give_back_room(service_configuration& service) {
    service.name.shrink_to_fit();
    service.addresses.shrink_to_fit();
    service.ports.shrink_to_fit();
    service.slices.shrink_to_fit();
    service.former_ports.shrink_to_fit();
    for (auto& slice : service.slices) {
        slice.ports.shrink_to_fit();
        slice.endpoints.shrink_to_fit();
    }
}

/// Those that are not among the others with the same rank.
[[nodiscard]] inline std::vector<ranked_claim> without(std::vector<ranked_claim> all,
                                                       std::vector<ranked_claim> const& others) {
    std::unordered_map<claim, claim_rank, claim_hash> known;
    for (auto const& c : others) known.emplace(c.what, c.rank);
    std::erase_if(all, [&](ranked_claim const& c) {
        auto const found = known.find(c.what);
        return found != known.end() && found->second == c.rank;
    });
    return all;
}

[[nodiscard]] inline std::vector<ip_prefix> node_port_prefixes(node_configuration const& node) {
    std::vector<ip_prefix> all;
    for (auto const& a : node_port_addresses<ipv4>(node)) all.emplace_back(prefix<ipv4>::of(a, address_bits<ipv4>));
    for (auto const& a : node_port_addresses<ipv6>(node)) all.emplace_back(prefix<ipv6>::of(a, address_bits<ipv6>));
    return all;
}

} // namespace detail

/// A configuration known to be consistent: having one is the proof. Every change keeps it so, or is rejected and
/// changes nothing.
///
/// Services may claim the same address and port, or the same node port: one of them serves it, which claim_register
/// decides, and the others have it among their lost claims and serve everything else. As soon as the first one gives it
/// up, the next one serves it.
///
/// A service keeps its slot as long as it is there, a service that is not changed keeps its object, and slots that are
/// not changed keep their page, so that whoever compiles tells by pointers what changed. Copies share all of them.
class valid_configuration {
  public:
    using slots = claim_register::slots;
    using shared_service = slots::value_type;

    valid_configuration() = default;
    [[nodiscard]] static std::variant<valid_configuration, config_error> from(configuration raw);

    [[nodiscard]] node_configuration const& node() const noexcept { return *node_; }
    [[nodiscard]] std::shared_ptr<node_configuration const> const& shared_node() const noexcept { return node_; }
    /// Slots; null: free.
    [[nodiscard]] slots const& services() const noexcept { return services_; }
    [[nodiscard]] std::size_t service_count() const noexcept { return services_.size() - free_.size(); }
    /// Services that have lost a claim to another service.
    [[nodiscard]] std::size_t contested_services() const noexcept { return contested_; }
    /// Null: there is none of that name.
    [[nodiscard]] shared_service find(std::string_view name) const {
        auto const slot = slot_of(name);
        return slot ? services_[*slot] : nullptr;
    }

    /// Adds a service, or replaces the one of that name. A service of the `ku` language that claims what another
    /// service has is rejected; a Kubernetes Service loses that claim only. Costs what the service has, not how many
    /// there are.
    [[nodiscard]] std::optional<config_error> put(service_configuration service);
    /// Whether there was one.
    bool remove(std::string_view name);
    [[nodiscard]] std::optional<config_error> set_node(node_configuration node);
    /// Ranges in which packets to addresses of no service are dropped: the node's, and those of ServiceCIDR objects.
    [[nodiscard]] std::vector<ip_prefix> service_ranges() const {
        auto all = node_->service_ranges;
        all.insert(all.end(), cluster_ranges_.begin(), cluster_ranges_.end());
        return all;
    }
    /// The ranges of the cluster's ServiceCIDR objects. \return whether they are others than before
    bool set_cluster_ranges(std::vector<ip_prefix> ranges) {
        if (ranges == cluster_ranges_) return false;
        cluster_ranges_ = std::move(ranges);
        return true;
    }

    /// Changes from here to end_changes() are made at the same time: what a service releases in between can still be
    /// claimed by an older one. Lost claims are up to date after end_changes(). Calls may be nested.
    void begin_changes() noexcept {
        if (open_++ == 0) claims_.begin_batch();
    }
    void end_changes() {
        if (--open_ == 0) award_claims();
    }
    /// Claims that services have lost since the last call and have not got back: each names the service, the claim and
    /// the service that serves it.
    [[nodiscard]] std::vector<config_error> take_lost_claims();

  private:
    [[nodiscard]] static std::size_t hash_of(std::string_view name) noexcept {
        return std::hash<std::string_view>{}(name);
    }
    [[nodiscard]] std::optional<std::uint32_t> slot_of(std::string_view name) const {
        auto [first, last] = slots_of_.of(hash_of(name)).equal_range(hash_of(name));
        for (; first != last; ++first)
            if (services_[first->second]->name == name) return first->second;
        return std::nullopt;
    }
    [[nodiscard]] std::uint32_t next_slot() const noexcept;
    void occupy(std::uint32_t slot, std::string const& name);
    [[nodiscard]] std::optional<config_error> find_conflict(service_configuration const& of_ku,
                                                            std::uint32_t slot) const;
    void replace(std::uint32_t slot, configured_service next);
    void move_claims(service_configuration const* before, service_configuration const& next, std::uint32_t slot);
    void award_claims();
    void note_lost(std::uint32_t slot, configured_service const& before, std::forward_list<claim> const& now);

    std::shared_ptr<node_configuration const> node_ = std::make_shared<node_configuration const>();
    std::vector<ip_prefix> cluster_ranges_;
    slots services_;
    std::vector<std::uint32_t> free_;
    /// By the hash of the name: services have their names already.
    sharded<std::unordered_multimap<std::size_t, std::uint32_t>> slots_of_;
    claim_register claims_;
    unsigned open_ = 0; ///< begin_changes() without end_changes()
    std::size_t contested_ = 0;
    std::vector<std::pair<std::uint32_t, claim>> unreported_; ///< slots and their lost claims
};

inline std::variant<valid_configuration, config_error> valid_configuration::from(configuration raw) {
    valid_configuration result;
    if (auto wrong = result.set_node(std::move(raw.node))) return std::move(*wrong);
    result.begin_changes();
    for (auto& service : raw.services) {
        if (result.slot_of(service.name)) return config_error{service.name, "there are two of this name"};
        if (auto wrong = result.put(std::move(service))) return std::move(*wrong);
    }
    result.end_changes();
    return result;
}

inline std::optional<config_error> valid_configuration::put(service_configuration service) {
    if (auto wrong = check_service(service)) return wrong;
    detail::give_back_room(service);
    auto const known = slot_of(service.name);
    auto const slot = known.value_or(next_slot());
    auto const before = known ? services_[slot] : nullptr;
    bool const claims_change = before == nullptr || std::tie(before->addresses, before->ports, before->created) !=
                                                        std::tie(service.addresses, service.ports, service.created);
    begin_changes();
    auto wrong = claims_change && is_of_ku(service) ? find_conflict(service, slot) : std::nullopt;
    if (!wrong) {
        if (before == nullptr) occupy(slot, service.name);
        replace(slot, {std::move(service), before ? before->lost : std::forward_list<claim>{}});
        if (claims_change) move_claims(before.get(), *services_[slot], slot);
    }
    end_changes();
    return wrong;
}

inline std::optional<config_error> valid_configuration::find_conflict(service_configuration const& of_ku,
                                                                      std::uint32_t slot) const {
    for (auto const& c : claims_of(of_ku))
        if (auto const owner = claims_.obstacle(services_, c.what, slot))
            return config_error{of_ku.name,
                                "duplicate VIP: " + c.what.text() + " is served by " + services_[*owner]->name};
    return std::nullopt;
}

inline void valid_configuration::replace(std::uint32_t slot, configured_service next) {
    auto& at = services_.edit(slot);
    if (at != nullptr && !at->lost.empty()) --contested_;
    if (!next.lost.empty()) ++contested_;
    at = std::make_shared<configured_service const>(std::move(next));
}

/// What the service claims already stays with its holder. A Service that was deleted and created again meanwhile, as
/// its creation time says, is another one.
inline void valid_configuration::move_claims(service_configuration const* before, service_configuration const& next,
                                             std::uint32_t slot) {
    constexpr auto unknown = std::chrono::sys_seconds::max();
    auto released = before == nullptr ? std::vector<ranked_claim>{} : claims_of(*before);
    auto taken = claims_of(next);
    if (before != nullptr &&
        (before->created == next.created || before->created == unknown || next.created == unknown)) {
        auto const had = released;
        released = detail::without(std::move(released), taken);
        taken = detail::without(std::move(taken), had);
    }
    for (auto const& c : released) claims_.release(services_, c.what, slot);
    for (auto const& c : taken) claims_.take(services_, c.what, slot);
    if (!services_[slot]->lost.empty()) claims_.note_affected(slot);
}

/// Services that have won or lost claims get a new object, so that they are compiled again.
inline void valid_configuration::award_claims() {
    for (auto const slot : claims_.take_affected()) {
        if (slot >= services_.size() || services_[slot] == nullptr) continue;
        auto const now = services_[slot];
        std::forward_list<claim> lost;
        auto end = lost.before_begin();
        for (auto const& c : claims_of(*now))
            if (claims_.server(services_, c.what) != slot) end = lost.insert_after(end, c.what);
        if (lost == now->lost) continue;
        note_lost(slot, *now, lost);
        replace(slot, {*now, std::move(lost)});
    }
}

inline void valid_configuration::note_lost(std::uint32_t slot, configured_service const& before,
                                           std::forward_list<claim> const& now) {
    auto const has = [](auto const& list, claim const& c) { return std::ranges::find(list, c) != list.end(); };
    std::erase_if(unreported_, [&](auto const& u) { return u.first == slot && !has(now, u.second); });
    for (auto const& c : now)
        if (!has(before.lost, c)) unreported_.emplace_back(slot, c);
}

inline std::vector<config_error> valid_configuration::take_lost_claims() {
    std::vector<config_error> all;
    for (auto const& [slot, c] : std::exchange(unreported_, {})) {
        auto const server = claims_.server(services_, c);
        if (server && *server != slot)
            all.push_back({services_[slot]->name, c.text() + " is served by " + services_[*server]->name});
    }
    auto const key = [](config_error const& e) { return std::tie(e.subject, e.rule); };
    std::ranges::sort(all, {}, key);
    // A node port of both IP versions is lost twice, and told once.
    all.erase(std::unique(all.begin(), all.end(), [&](auto const& a, auto const& b) { return key(a) == key(b); }),
              all.end());
    return all;
}

inline bool valid_configuration::remove(std::string_view name) {
    auto const slot = slot_of(name);
    if (!slot) return false;
    begin_changes();
    auto const service = services_[*slot];
    for (auto const& c : claims_of(*service)) claims_.release(services_, c.what, *slot);
    if (!service->lost.empty()) --contested_;
    std::erase_if(unreported_, [&](auto const& u) { return u.first == *slot; });
    auto& names = slots_of_.of(hash_of(name));
    auto const [first, last] = names.equal_range(hash_of(name));
    names.erase(std::find_if(first, last, [&](auto const& known) { return known.second == *slot; }));
    free_.push_back(*slot);
    services_.edit(*slot) = nullptr;
    end_changes();
    return true;
}

inline std::optional<config_error> valid_configuration::set_node(node_configuration node) {
    if (auto wrong = check_node(node)) return wrong;
    begin_changes();
    claims_.set_node_port_addresses(detail::node_port_prefixes(node));
    node_ = std::make_shared<node_configuration const>(std::move(node));
    end_changes();
    return std::nullopt;
}

inline std::uint32_t valid_configuration::next_slot() const noexcept {
    return free_.empty() ? static_cast<std::uint32_t>(services_.size()) : free_.back();
}

inline void valid_configuration::occupy(std::uint32_t slot, std::string const& name) {
    slots_of_.of(hash_of(name)).emplace(hash_of(name), slot);
    if (free_.empty())
        services_.grow_to(services_.size() + 1);
    else
        free_.pop_back();
}

} // namespace v0_2
} // namespace kubeproxy
