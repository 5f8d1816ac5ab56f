#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/config/port_names.hpp"
#include "kubeproxy/control/config/valid_configuration.hpp"
#include "kubeproxy/control/kubernetes/slice.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Services and their slices, joined: they come in any order, and go in any order.
///
///     put, remove -> staged_ -- commit() --> the configuration    Services with their slices
///                      ^                 \-> aside_               slices without a Service; rejected Services
///                      \-- when they are touched again
///
/// What is in force is held by the configuration alone: there is one copy of each endpoint.
class kubernetes_cluster {
  public:
    /// \param in_force outlives this
    explicit kubernetes_cluster(valid_configuration& in_force) noexcept : in_force_{&in_force} {}

    void put_service(service_configuration service) {
        auto& entry = stage(service.name);
        if (entry.is_there) service.former_ports = former_ports_after(entry.service, service.ports);
        service.slices = std::move(entry.service.slices);
        entry.service = std::move(service);
        entry.is_there = true;
    }
    /// Its slices stay: they are objects of their own.
    void remove_service(std::string const& name) {
        if (is_there(name)) stage(name).is_there = false;
    }
    /// Of Services and of slices ("namespace/name") that are there.
    [[nodiscard]] std::vector<std::string> services() const;
    [[nodiscard]] std::vector<std::string> slices() const {
        std::vector<std::string> all;
        for (auto const& [key, owner] : owners_) all.push_back(key);
        return all;
    }

    /// \param key the slice's namespace and name: "default/web-x7v2q"
    void put_slice(std::string const& key, owned_slice owned) {
        auto const [owner, is_new] = owners_.try_emplace(key, owned.service);
        if (!is_new && owner->second != owned.service) {
            drop_slice(owner->second, owned.slice.name);
            owner->second = owned.service;
        }
        auto& service = stage(owned.service).service;
        auto& slices = service.slices;
        auto const at = std::ranges::lower_bound(slices, owned.slice.name, {}, &endpoint_slice::name);
        if (at != slices.end() && at->name == owned.slice.name)
            *at = std::move(owned.slice);
        else
            slices.insert(at, std::move(owned.slice));
    }
    void remove_slice(std::string const& key) {
        auto const owner = owners_.find(key);
        if (owner == owners_.end()) return;
        drop_slice(owner->second, key.substr(key.find('/') + 1));
        owners_.erase(owner);
    }

    /// Brings everything that has changed into force at the same time. on_refusal(name, config_error) is called for
    /// each Service that breaks a rule together with its slices, which is no longer served, and for each address and
    /// port that a Service loses to another one. \return whether the configuration has changed
    template <class OnRefusal>
    bool commit(OnRefusal&& on_refusal);

  private:
    struct joined {
        service_configuration service{}; ///< without a Service, its slices only
        bool is_there = false;
    };
    using entries = std::map<std::string, joined>;

    /// A Service of this name was put and not removed, whether it is in force or not.
    [[nodiscard]] bool is_there(std::string const& name) const {
        for (auto const* entries_of : {&staged_, &aside_})
            if (auto const known = entries_of->find(name); known != entries_of->end()) return known->second.is_there;
        auto const in_force = in_force_->find(name);
        return in_force != nullptr && !is_of_ku(*in_force);
    }
    [[nodiscard]] joined& stage(std::string const& name);
    void drop_slice(std::string const& service, std::string const& name) {
        auto& owner = stage(service).service;
        std::erase_if(owner.slices, [&](endpoint_slice const& s) { return s.name == name; });
    }
    void leave(std::string const& name) { changed_ = in_force_->remove(name) || changed_; }
    void set_aside(std::string const& name, joined&& entry) {
        if (entry.is_there || !entry.service.slices.empty()) aside_.insert_or_assign(name, std::move(entry));
    }
    [[nodiscard]] std::optional<config_error> enter(joined const& entry);

    valid_configuration* in_force_;
    entries staged_;
    entries aside_;
    std::vector<std::string> order_;                      ///< of staged_, as they came
    std::unordered_map<std::string, std::string> owners_; ///< slice -> service
    bool changed_ = false;                                ///< the configuration has
};

inline std::vector<std::string> kubernetes_cluster::services() const {
    std::vector<std::string> all;
    for (auto const& service : in_force_->services())
        if (service != nullptr && !is_of_ku(*service)) all.push_back(service->name);
    for (auto const* entries_of : {&staged_, &aside_})
        for (auto const& [name, entry] : *entries_of) all.push_back(name);
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    std::erase_if(all, [this](std::string const& name) { return !is_there(name); });
    return all;
}

inline kubernetes_cluster::joined& kubernetes_cluster::stage(std::string const& name) {
    auto const [at, is_new] = staged_.try_emplace(name);
    auto& entry = at->second;
    if (!is_new) return entry;
    order_.push_back(name);
    if (auto waiting = aside_.extract(name)) {
        entry = std::move(waiting.mapped());
    } else if (auto const known = in_force_->find(name)) {
        entry = {*known, true};
    }
    return entry;
}

/// What is said again as it was is no change.
inline std::optional<config_error> kubernetes_cluster::enter(joined const& entry) {
    auto const before = in_force_->find(entry.service.name);
    if (before != nullptr && *before == entry.service) return std::nullopt;
    if (auto wrong = in_force_->put(entry.service)) return wrong;
    changed_ = true;
    return std::nullopt;
}

template <class OnRefusal>
bool kubernetes_cluster::commit(OnRefusal&& on_refusal) {
    in_force_->begin_changes();
    for (auto const& name : order_) {
        auto& entry = staged_.at(name);
        forget_unused_former_ports(entry.service); // not before: of what is read together, anything may come first
        auto const wrong = entry.is_there ? enter(entry) : std::nullopt;
        if (entry.is_there && !wrong) continue;
        leave(name);
        if (wrong) on_refusal(name, *wrong);
        set_aside(name, std::move(entry));
    }
    in_force_->end_changes();
    for (auto const& lost : in_force_->take_lost_claims()) on_refusal(lost.subject, lost);
    staged_.clear();
    order_ = std::vector<std::string>{}; // with its memory: the first time it is the whole cluster
    return std::exchange(changed_, false);
}

} // namespace v0_2
} // namespace kubeproxy
