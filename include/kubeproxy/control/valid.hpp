#pragma once

#include "kubeproxy/control/claims.hpp"
#include "kubeproxy/control/config.hpp"
#include "kubeproxy/control/rules.hpp"
#include "kubeproxy/service/paged_array.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace kubeproxy::inline v0_2 {

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
    [[nodiscard]] std::size_t service_count() const noexcept { return slot_of_.size(); }
    /// Null: there is none of that name.
    [[nodiscard]] shared_service find(std::string_view name) const {
        auto const found = slot_of_.find(std::string{name});
        return found == slot_of_.end() ? nullptr : services_[found->second];
    }

    /// Adds a service, or replaces the one of that name. Costs what the service has, not how many there are.
    [[nodiscard]] std::optional<config_error> put(service_configuration service);
    /// Whether there was one.
    bool remove(std::string_view name);
    [[nodiscard]] std::optional<config_error> set_node(node_configuration node);

  private:
    [[nodiscard]] std::uint32_t next_slot() const noexcept;
    void occupy(std::uint32_t slot, std::string const& name);
    [[nodiscard]] std::optional<config_error> move_claims(service_configuration const* before,
                                                          service_configuration const& next, std::uint32_t slot);

    std::shared_ptr<node_configuration const> node_ = std::make_shared<node_configuration const>();
    slots services_;
    std::vector<std::uint32_t> free_;
    std::unordered_map<std::string, std::uint32_t> slot_of_;
    claim_register claims_;
};

inline std::variant<valid_configuration, config_error> valid_configuration::from(configuration raw) {
    valid_configuration result;
    if (auto wrong = result.set_node(std::move(raw.node))) return std::move(*wrong);
    for (auto& service : raw.services) {
        if (result.slot_of_.contains(service.name)) return config_error{service.name, "there are two of this name"};
        if (auto wrong = result.put(std::move(service))) return std::move(*wrong);
    }
    return result;
}

inline std::optional<config_error> valid_configuration::put(service_configuration service) {
    if (auto wrong = check_service(service)) return wrong;
    auto const next = std::make_shared<service_configuration const>(std::move(service));
    auto const found = slot_of_.find(next->name);
    auto const slot = found != slot_of_.end() ? found->second : next_slot();
    auto const before = found != slot_of_.end() ? services_[slot] : nullptr;
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
    auto const found = slot_of_.find(std::string{name});
    if (found == slot_of_.end()) return false;
    claims_.release(*services_[found->second]);
    services_.edit(found->second) = nullptr;
    free_.push_back(found->second);
    slot_of_.erase(found);
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
    slot_of_.emplace(name, slot);
    if (free_.empty())
        services_.grow_to(services_.size() + 1);
    else
        free_.pop_back();
}

} // namespace kubeproxy::inline v0_2
