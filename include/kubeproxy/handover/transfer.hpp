#pragma once

#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/handover/image.hpp"
#include "kubeproxy/service/select.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/sync/setup_error.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// Flows out of one process's table and into another's, so that connections outlive an upgrade:
///
///     table ─▶ images_of ─▶ flow_file_of ─▶ file ─▶ read_flow_file ─▶ restore_flows ─▶ table
///
/// A flow finds its service by name and address, and its backend by its address and port; what has neither any more is
/// left out. All this is for the control path.
namespace kubeproxy {
inline namespace v0_2 {

/// What became of the flows of a file.
struct restore_counts {
    std::size_t restored = 0;
    std::size_t expired = 0;  ///< silent for their timeout
    std::size_t orphaned = 0; ///< their service or backend is not there, or serves another address
    std::size_t refused = 0;  ///< the table has no room, or has other flows in their place

    [[nodiscard]] friend bool operator==(restore_counts const&, restore_counts const&) = default;
};

namespace detail {

/// Inside a domain for a step of a walk, so that no record is held back for long.
class control_visit {
  public:
    explicit control_visit(quiescent_domain* domain) : domain_{domain} {
        if (domain_ == nullptr) return;
        auto const place = domain_->attach();
        if (!place) fail_setup(std::length_error{"more workers than a quiescent_domain has places for"});
        place_ = *place;
        domain_->enter(place_);
    }
    control_visit(control_visit const&) = delete;
    control_visit& operator=(control_visit const&) = delete;
    ~control_visit() {
        if (domain_ == nullptr) return;
        domain_->leave(place_);
        domain_->detach(place_);
    }

  private:
    quiescent_domain* domain_;
    std::size_t place_ = 0;
};

inline constexpr std::size_t flows_per_step = 1024;

/// Backends by address.
class backend_finder {
  public:
    explicit backend_finder(snapshot const& services) : services_{&services} {
        for (std::uint32_t i = 0; i < services.backends.size(); ++i)
            if (services.status[i].in_use) places_.push_back(i);
        std::ranges::sort(places_, {}, [&](std::uint32_t place) { return services.backends[place].address; });
    }
    /// The backend to which such a flow of the service goes. O(log backends)
    template <ip_version V>
    [[nodiscard]] std::uint32_t find(std::string_view service, tuple<V> const& translated) const noexcept {
        ipv6::address address{};
        std::ranges::copy(translated.destination, address.begin());
        auto const of_place = [&](std::uint32_t place) { return services_->backends[place].address; };
        auto at = std::ranges::lower_bound(places_, address, {}, of_place);
        for (; at != places_.end() && of_place(*at) == address; ++at) {
            auto const place = *at;
            auto const& b = services_->backends[place];
            auto const& owner = services_->services[b.service];
            bool const is_port =
                b.port == 0 || !has_ports(translated.protocol) || b.port == translated.destination_port;
            if (is_port && owner.pod_version == V::number && owner.name && *owner.name == service) return place;
        }
        return no_backend;
    }

  private:
    snapshot const* services_;
    std::vector<std::uint32_t> places_;
};

/// The service that meets such packets, if it has this name.
template <ip_version V>
[[nodiscard]] std::uint32_t service_of(snapshot const& services, std::string_view name,
                                       tuple<V> const& original) noexcept {
    auto const* front =
        services.frontends<V>().find(original.destination, original.destination_port, original.protocol);
    if (front == nullptr || front->service == no_service) return no_service;
    auto const& its_name = services.services[front->service].name;
    return its_name && *its_name == name ? front->service : no_service;
}

template <class Table>
class flow_restorer {
  public:
    flow_restorer(Table& flows, snapshot const& services, flow_time now, std::vector<flow_image>* orphans)
        : flows_{&flows}, services_{&services}, backends_{services}, now_{now}, orphans_{orphans} {}

    void operator()(flow_image const& f, std::string_view service) {
        if (f.silent >= f.timeout) {
            ++counts_.expired;
            return;
        }
        std::visit([&](auto const& original, auto const& translated) { enter(f, service, original, translated); },
                   f.original, f.translated);
    }
    [[nodiscard]] restore_counts const& counts() const noexcept { return counts_; }

  private:
    template <ip_version O, ip_version T>
    void enter(flow_image const& f, std::string_view name, tuple<O> const& original, tuple<T> const& translated) {
        auto const service = service_of(*services_, name, original);
        auto const backend = backends_.find(name, translated);
        if (service == no_service || backend == no_backend) {
            ++counts_.orphaned;
            if (orphans_ != nullptr) orphans_->push_back(f);
            return;
        }
        new_flow const what{.service = service,
                            .backend = backend,
                            .generation = services_->status[backend].generation,
                            .state = f.state,
                            .flags = f.masqueraded ? flow_flag::masqueraded : std::uint8_t{0},
                            .timeout = std::chrono::seconds{f.timeout / 1000}};
        auto const then = flow_time::of(now_.milliseconds() - f.silent);
        auto const inserted = flows_->insert(original, translated, what, then);
        if (inserted.what != insert_outcome::inserted) {
            ++counts_.refused;
            return;
        }
        auto& packets = flows_->body(inserted.ref).packets;
        for (std::size_t i = 0; i < packets.size(); ++i) packets[i].store(packets[i].load() + f.packets[i]);
        ++counts_.restored;
    }

    Table* flows_;
    snapshot const* services_;
    backend_finder backends_;
    flow_time now_;
    std::vector<flow_image>* orphans_;
    restore_counts counts_;
};

} // namespace detail

/// All flows whose backend still is the one that they were given; those of removed ones could
/// not be found again by a service and its endpoints, so they are only counted. Workers of a shared table may
/// go on meanwhile: each flow is told as it is at one moment. \param services what the caller published last
template <class Table>
[[nodiscard]] flow_images images_of(Table const& flows, snapshot const& services, flow_time now) {
    flow_images images;
    std::vector<std::uint32_t> names(services.services.size(), no_service); // of what is in images.services
    auto const take = [&](flow_ref ref) {
        auto const& body = flows.body(ref);
        auto const backend = body.backend.load();
        if (body.is_expired(now)) return;
        if (!services.is_alive(backend, body.generation.load())) {
            ++images.left_out;
            return;
        }
        auto const owner = services.backends[backend].service;
        auto& name = names[owner];
        if (name == no_service) {
            name = static_cast<std::uint32_t>(images.services.size());
            images.services.push_back(*services.services[owner].name);
        }
        flow_image f{.service = name,
                     .state = body.state(),
                     .masqueraded = body.is_masqueraded(),
                     .silent = now.since(flow_time::of(body.last_seen.load())),
                     .timeout = body.timeout.load(),
                     .packets = {body.packets[0].load(), body.packets[1].load()}};
        flows.visit_tuples(ref, [&f](auto const& original, auto const& translated) {
            f.original = original;
            f.translated = translated;
        });
        if (f.state != flow_state::none) images.flows.push_back(f); // none: it has just ended
    };
    for (std::size_t at = 0; at < flows.positions();) {
        detail::control_visit const inside{flows.quiescence()};
        at = flows.for_each(at, detail::flows_per_step, take);
    }
    return images;
}

/// Enters the flows of another table, so that nobody else gets their source ports. What is in the table stays. Workers
/// of a shared table may go on meanwhile.
/// \param services what the caller published last
/// \param now of which the images' silences are told
/// \param orphans gets those that found no service or backend, for services that are known later; or null
template <class Table>
restore_counts restore_flows(Table& flows, flow_images const& images, snapshot const& services, flow_time now,
                             std::vector<flow_image>* orphans = nullptr) {
    detail::flow_restorer<Table> restore{flows, services, now, orphans};
    for (std::span<flow_image const> left{images.flows}; !left.empty();) {
        detail::control_visit const inside{flows.quiescence()};
        auto const step = left.first(std::min(left.size(), detail::flows_per_step));
        for (auto const& f : step) restore(f, images.services[f.service]);
        left = left.subspan(step.size());
    }
    return restore.counts();
}

} // namespace v0_2
} // namespace kubeproxy
