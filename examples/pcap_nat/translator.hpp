#pragma once

#include "pcap_nat/frame.hpp"
#include "pcap_nat/outcome_text.hpp"

#include "support/configuration.hpp"
#include "support/report.hpp"

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/dataplane/proxy.hpp"

#include <pcap/pcap.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace examples::pcap_nat {

/// The library, configured from files: control path and data path of one worker.
class translator {
  public:
    translator(configuration_files const& files, std::optional<std::uint64_t> seed, bool track_direct)
        : control_{services_, {.seed = ring_seed_of(seed), .hooks = hooks()}}, notes_{configure(control_, files)},
          flows_{table_size(control_.configuration().node()), kubeproxy::secret{seed.value_or(1)}},
          proxy_{flows_, services_, {.ring_seed = ring_seed_of(seed), .track_direct = track_direct}} {}

    /// Calls settle(frame, outcome) for each frame in order, and for the frames that it took from `spares`.
    template <class Settle>
    void process(std::span<frame> frames, std::chrono::nanoseconds now, spare_frames& spares, Settle&& settle) {
        auto const count_and_settle = [&](frame& f, kubeproxy::outcome const& o) {
            count_unforwarded(o);
            settle(f, o);
        };
        proxy_.process(frames, now, count_and_settle,
                       [&](frame const& like, std::size_t size) { return spares.take(like, size); });
    }
    [[nodiscard]] kubeproxy::verdict_counters const& verdicts() const noexcept { return proxy_.verdicts(); }

    /// \pre the library settled `f` with `o`, and the frame has not changed since
    [[nodiscard]] packet_report describe(frame& f, kubeproxy::outcome const& o) const {
        packet_report report{.verdict = o.what, .flow = name_of(o.relation)};
        if (o.masqueraded) report.from = packet_report::source::masqueraded;
        if (o.service != kubeproxy::no_service) report.service = *control_.current()->service_at(o.service).name;
        if (o.backend != kubeproxy::no_backend) report.backend = backend_text(*control_.current(), f, o);
        return report;
    }

    [[nodiscard]] std::vector<service_report> services() const;

    /// Whether an address of the packet is a service's or a backend's, so that a packet with a damaged header may be
    /// meant for a service. O(services + backends)
    [[nodiscard]] bool may_be_ours(frame& f) const {
        if (ip_version(f.bytes()) == 4) return concerns<kubeproxy::ipv4>(f.bytes());
        return concerns<kubeproxy::ipv6>(f.bytes());
    }

    /// The link type to write: a capture of a single IP version cannot hold packets that a service translates to the
    /// other one.
    [[nodiscard]] int written_data_link(int captured) const noexcept {
        bool const is_too_narrow = (captured == DLT_IPV4 && changes_version<kubeproxy::ipv4>()) ||
                                   (captured == DLT_IPV6 && changes_version<kubeproxy::ipv6>());
        return is_too_narrow ? DLT_RAW : captured;
    }

    /// The answers to the configuration's `show` lines.
    [[nodiscard]] std::string const& answers() const noexcept { return notes_.answers; }
    /// A line for each rejected object of the cluster, with the reason.
    [[nodiscard]] std::vector<std::string> const& rejected_objects() const noexcept { return notes_.refused; }

  private:
    /// The file is read before the first packet, so there are no flows yet to show or to flush.
    [[nodiscard]] static kubeproxy::controller_hooks hooks() {
        return {.flows = [] { return std::vector<kubeproxy::flow_view>{}; },
                .clients = [] { return std::vector<kubeproxy::affinity_view>{}; },
                .counters = [] { return std::vector<kubeproxy::counter_view>{}; },
                .flush = [] {}};
    }

    template <kubeproxy::ip_version V>
    [[nodiscard]] bool concerns(kubeproxy::byte_span packet) const {
        constexpr std::size_t source = std::same_as<V, kubeproxy::ipv4> ? 12 : 8;
        using address = typename V::address;
        if (packet.size() < source + 2 * sizeof(address)) return false;
        auto const from = kubeproxy::load_object<address>(packet, source);
        auto const to = kubeproxy::load_object<address>(packet, source + sizeof(address));
        auto const is_ours = [&](auto const& service) {
            if (service == nullptr) return false;
            for (auto const& a : service->addresses)
                if (auto const* where = std::get_if<kubeproxy::prefix<V>>(&a.where); where && where->contains(to))
                    return true;
            for (auto const& slice : service->slices)
                for (auto const& e : slice.endpoints)
                    if (e.address == kubeproxy::ip_address{from}) return true;
            return false;
        };
        return std::ranges::any_of(control_.configuration().services(), is_ours);
    }

    template <kubeproxy::ip_version V>
    [[nodiscard]] bool changes_version() const noexcept {
        auto const* services = control_.current();
        return services != nullptr &&
               std::ranges::any_of(services->frontends<V>().all(), [&](kubeproxy::frontend<V> const& f) {
                   return f.service != kubeproxy::no_service &&
                          services->service_at(f.service).pod_version != V::number;
               });
    }

    /// The library counts forwarded packets only; without this, a service without backends would seem to be unused.
    void count_unforwarded(kubeproxy::outcome const& o) {
        using kubeproxy::action;
        if (o.service == kubeproxy::no_service || o.what.what() == action::forward) return;
        if (unforwarded_.size() <= o.service) unforwarded_.resize(o.service + 1);
        ++unforwarded_[o.service];
    }
    [[nodiscard]] std::uint64_t unforwarded(std::uint32_t service) const noexcept {
        return service < unforwarded_.size() ? unforwarded_[service] : 0;
    }

    kubeproxy::service_source services_;
    kubeproxy::controller control_;
    configuration_notes notes_;
    kubeproxy::flow_table flows_;
    kubeproxy::proxy<frame> proxy_;
    std::vector<std::uint64_t> unforwarded_; ///< rejected and dropped packets by service
};

inline std::vector<service_report> translator::services() const {
    std::vector<service_report> reports;
    for (auto const& service : control_.compiled().services()) {
        for (auto const& port : service.ports) {
            auto const view =
                view_of(*service.source, port, control_.compiled().node(), *control_.current(), services_);
            auto const packets = view.counted.packets + unforwarded(port.service) + unforwarded(port.guarded);
            auto& report = reports.emplace_back();
            report.all = {view.name, packets, view.counted.flows};
            for (auto const& e : view.endpoints)
                report.backends.push_back({endpoint_text(e.address, e.port), e.counted.packets, e.counted.flows});
        }
    }
    return reports;
}

} // namespace examples::pcap_nat
