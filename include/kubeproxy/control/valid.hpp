#pragma once

#include "kubeproxy/control/claims.hpp"
#include "kubeproxy/control/config.hpp"
#include "kubeproxy/control/rules.hpp"
#include "kubeproxy/control/sharded.hpp"
#include "kubeproxy/service/paged_array.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace kubeproxy::inline v0_2 {

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
} // namespace detail

/// A configuration known to be consistent: having one is the proof. Every change keeps it so, or is refused and changes
/// nothing.
///
/// A service keeps its slot as long as it is there, a service that is not changed keeps its object, and slots that are
/// not changed keep their page, so that whoever compiles tells by pointers what changed. Copies share all of them.
class valid_configuration {
  public:
    using shared_service = std::shared_ptr<service_configuration const>;
    using slots = paged_array<shared_service, 64>;

    valid_configuration() = default;
    [[nodiscard]] static std::variant<valid_configuration, config_error> from(configuration raw);

    [[nodiscard]] node_configuration const& node() const noexcept { return *node_; }
    [[nodiscard]] std::shared_ptr<node_configuration const> const& shared_node() const noexcept { return node_; }
    /// Slots; null: free.
    [[nodiscard]] slots const& services() const noexcept { return services_; }
    [[nodiscard]] std::size_t service_count() const noexcept { return services_.size() - free_.size(); }
    /// Null: there is none of that name.
    [[nodiscard]] shared_service find(std::string_view name) const {
        auto const slot = slot_of(name);
        return slot ? services_[*slot] : nullptr;
    }

    /// Adds a service, or replaces the one of that name. Costs what the service has, not how many there are.
    [[nodiscard]] std::optional<config_error> put(service_configuration service);
    /// Whether there was one.
    bool remove(std::string_view name);
    [[nodiscard]] std::optional<config_error> set_node(node_configuration node);

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
    [[nodiscard]] std::optional<config_error> move_claims(service_configuration const* before,
                                                          service_configuration const& next, std::uint32_t slot);

    std::shared_ptr<node_configuration const> node_ = std::make_shared<node_configuration const>();
    slots services_;
    std::vector<std::uint32_t> free_;
    /// By the hash of the name: services have their names already.
    sharded<std::unordered_multimap<std::size_t, std::uint32_t>> slots_of_;
    claim_register claims_;
};

inline std::variant<valid_configuration, config_error> valid_configuration::from(configuration raw) {
    valid_configuration result;
    if (auto wrong = result.set_node(std::move(raw.node))) return std::move(*wrong);
    for (auto& service : raw.services) {
        if (result.slot_of(service.name)) return config_error{service.name, "there are two of this name"};
        if (auto wrong = result.put(std::move(service))) return std::move(*wrong);
    }
    return result;
}

inline std::optional<config_error> valid_configuration::put(service_configuration service) {
    if (auto wrong = check_service(service)) return wrong;
    detail::give_back_room(service);
    auto const next = std::make_shared<service_configuration const>(std::move(service));
    auto const known = slot_of(next->name);
    auto const slot = known.value_or(next_slot());
    auto const before = known ? services_[slot] : nullptr;
    if (before == nullptr || before->addresses != next->addresses || before->ports != next->ports) {
        if (auto wrong = move_claims(before.get(), *next, slot)) return wrong;
    }
    if (before == nullptr) occupy(slot, next->name);
    services_.edit(slot) = next;
    return std::nullopt;
}

inline std::optional<config_error> valid_configuration::move_claims(service_configuration const* before,
                                                                    service_configuration const& next,
                                                                    std::uint32_t slot) {
    if (before != nullptr) claims_.release(*before);
    auto const conflict = claims_.take(next, slot);
    if (!conflict) return std::nullopt;
    auto const& owner = conflict->owner == slot ? next.name : services_[conflict->owner]->name;
    config_error wrong{next.name, "duplicate VIP: " + conflict->what.text() + " is served by " + owner};
    if (before != nullptr) static_cast<void>(claims_.take(*before, slot)); // free: they were its own
    return wrong;
}

inline bool valid_configuration::remove(std::string_view name) {
    auto const slot = slot_of(name);
    if (!slot) return false;
    claims_.release(*services_[*slot]);
    free_.push_back(*slot);
    auto& names = slots_of_.of(hash_of(name));
    auto const [first, last] = names.equal_range(hash_of(name));
    names.erase(std::find_if(first, last, [&](auto const& known) { return known.second == *slot; }));
    services_.edit(*slot) = nullptr;
    return true;
}

inline std::optional<config_error> valid_configuration::set_node(node_configuration node) {
    if (auto wrong = check_node(node)) return wrong;
    node_ = std::make_shared<node_configuration const>(std::move(node));
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

} // namespace kubeproxy::inline v0_2
