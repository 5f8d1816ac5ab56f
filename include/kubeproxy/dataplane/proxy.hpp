#pragma once

#include "kubeproxy/dataplane/bind.hpp"
#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/fragments.hpp"
#include "kubeproxy/dataplane/host_contract.hpp"
#include "kubeproxy/dataplane/locate.hpp"
#include "kubeproxy/dataplane/parse.hpp"
#include "kubeproxy/dataplane/preselect.hpp"
#include "kubeproxy/dataplane/proxy_settings.hpp"
#include "kubeproxy/dataplane/reject.hpp"
#include "kubeproxy/dataplane/removed_probe.hpp"
#include "kubeproxy/dataplane/rewrite.hpp"
#include "kubeproxy/dataplane/select.hpp"
#include "kubeproxy/dataplane/split_packet.hpp"
#include "kubeproxy/dataplane/track.hpp"
#include "kubeproxy/service/publication.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

/// The data path of one worker: a pipeline of all stages, in the order in which a packet meets them. The states between
/// the stages are in packet_states.hpp.
///
///     parse      reads the headers; an ICMP error belongs to the flow of the packet that it quotes
///     fragments  gives a later fragment the ports of its first one; holds a later fragment that arrives early
///     (own)      the host's own stage, if there is one: an access list, a counter, a sampler
///     locate     looks the packet up in the index of the flow table            (prefetches the index)
///     preselect  selects the backend of a packet that the index does not have  (prefetches the reply's index entry)
///     track      finds the flow and what the packet becomes, or no flow        (prefetches the flow's record)
///     select     without a flow: service, policy, session affinity, ring, backend
///     bind       enters the flow, with a source port of this node if the source must change
///     rewrite    addresses, ports, checksums, IP version
///     reject     tells the sender why its packet is not forwarded: an ICMP error or a TCP reset
///
/// A host's own stage is a type with `step<seen<P, V>> operator()(seen<P, V>&) noexcept` for one IP version or for
/// both. It returns its argument, or ends the packet's path: `return s.drop(drop_reason::denied_by_host);`.
///
/// The table and the source outlive the proxy. With a shared table, each worker has a proxy of its own. A proxy cannot
/// be moved, because its stages point to its members. P is a packet_buffer.
template <class P, class Table = flow_table, class OwnStage = no_stage>
class proxy {
    static_assert(detail::has_bytes<P>, "proxy<P>: P needs `mutable_byte_span bytes() noexcept`, see packet_buffer");
    static_assert(detail::has_headroom<P>, "proxy<P>: P needs `std::size_t headroom() const noexcept`");
    static_assert(detail::has_grow_front<P>, "proxy<P>: P needs `void grow_front(std::size_t) noexcept`");
    static_assert(detail::has_shrink_front<P>, "proxy<P>: P needs `void shrink_front(std::size_t) noexcept`");
    static_assert(detail::has_truncate<P>, "proxy<P>: P needs `void truncate(std::size_t) noexcept`");
    static_assert(detail::takes_some_packet<OwnStage, P>,
                  "a host's stage takes no packet of this proxy: it needs `step<seen<P, V>> operator()(seen<P, V>&) "
                  "noexcept` for V = ipv4, ipv6 or both, with the P of proxy<P>");
    static_assert(detail::never_throws<OwnStage, P>, "a host's stage may throw: declare its operator() noexcept");
    static_assert(detail::returns_packets<OwnStage, P>,
                  "a host's stage returns `step<seen<P, V>>`, with what it took or settled, or `settled`");

  public:
    /// Whose session affinity is shared as the flows are.
    using affinity_type = basic_affinity_table<typename Table::sharing_type>;

    static constexpr std::size_t burst_size = 32;
    /// What a packet must have in front of it for every translation and answer to be possible.
    static constexpr std::size_t headroom =
        std::max({rewriter<ipv4, ipv6>::headroom, icmp_error_headroom<ipv4>, icmp_error_headroom<ipv6>});

    /// A worker with a memory of its own for session affinity: for hosts with one worker.
    proxy(Table& flows, service_source& services, proxy_settings const& settings = {}, OwnStage own = {})
        : proxy{std::make_unique<affinity_type>(settings.affinity_clients, flows.key()), flows, services, settings,
                std::move(own)} {}
    /// \param clients shared by all workers, as the flows are
    proxy(Table& flows, affinity_type& clients, service_source& services, proxy_settings const& settings = {},
          OwnStage own = {})
        : flows_{&detail::in_domain_of(flows, services)}, services_{services}, probe_{flows, settings.share},
          cut_size_{detail::cut_size(settings.translation)}, sweep_per_burst_{settings.sweep_per_burst},
          path_{parse_stage<P>{},
                fragment_stage<P, burst_size>{burst_, flows.key().derive(secret_use::fragments), settings.fragments},
                std::move(own),
                locate_stage<P, Table>{flows},
                preselect_stage<P, Table, affinity_type>{flows, burst_, settings.ring_seed},
                track_stage<P, Table>{flows, burst_},
                select_stage<P, affinity_type>{burst_, settings.ring_seed, clients, settings.track_direct},
                bind_stage<P, Table>{
                    flows, burst_, {flows.key().derive(secret_use::source_ports), settings.share, settings.new_flows}},
                rewrite_stage<P>{burst_,
                                 settings.translation,
                                 {flows.key().derive(secret_use::identifications), settings.share,
                                  settings.fragments.table.messages, settings.fragments.table.lifetime}},
                reject_stage<P>{burst_, settings.rejects}} {}
    template <class Sharing> // does not compile
        requires(!std::same_as<Sharing, typename Table::sharing_type>)
    proxy(Table& flows, basic_affinity_table<Sharing>&, service_source& services, proxy_settings const& = {},
          OwnStage = {})
        : proxy{flows, services} {
        static_assert(std::is_same_v<Sharing, typename Table::sharing_type>,
                      "a shared_flow_table goes with a shared_affinity_table, a flow_table with an affinity_table");
    }
    proxy(proxy const&) = delete;
    /// Does not compile, and says why where a container would move proxies. A template: the class may be instantiated.
    template <std::same_as<proxy> Other>
    proxy(Other&& other) noexcept // NOLINT(bugprone-forwarding-reference-overload): takes proxies only, and fails
        : proxy{*other.flows_, detail::a_proxy_cannot_be_moved<Other>::services} {}
    proxy& operator=(proxy const&) = delete;

    /// Settles each packet, in order: `settle(packet, outcome)` is called once for every one when its burst is done.
    ///
    /// A packet that becomes several needs buffers: `spare(like, size)` returns a P*, whose bytes() are `size` bytes of
    /// any value behind `headroom`, and which goes where `like` would go; null when there is none. What it returned is
    /// given to `settle` once, with its own outcome. `like` may have been settled before: a host that gives buffers
    /// back at once keeps what `spare` needs of them until process() returns. \param now of the host's clock, from any
    /// start; it should not go back
    ///
    /// A callback may throw. The exception leaves process(), and the proxy can be used again. The host must release the
    /// packets that `settle` did not get, and the buffers from `spare`. The counters contain exactly the packets that
    /// `settle` got.
    template <class Settle, class Spare = no_spares>
    void process(std::span<P> packets, std::chrono::nanoseconds now, Settle&& settle, Spare&& spare = {}) {
        static_assert(std::is_invocable_v<Settle&, P&, outcome const&>, "process() calls settle(P&, outcome const&)");
        static_assert(spare_source<Spare, P>, "process() calls `P* spare(P& like, std::size_t size)`");
        detail::one_call_at_a_time::scope const alone{calls_};
        while (!packets.empty()) {
            auto const burst = packets.first(std::min(packets.size(), burst_size));
            process_burst(burst, now, settle, spare);
            packets = packets.subspan(burst.size());
        }
    }

    /// Resets TCP connections that are silent, where their endpoints were removed (`ku conf removed reset`) or their
    /// drain time is over: each end gets a probe, and what it answers with goes through process() as any packet. For
    /// hosts that let either happen, about ten times a second. A call costs at most some microseconds, and nothing
    /// between changes. \param settle as of process(); what it gets is to be forwarded by its destination \param make
    /// `make(size)` returns a P* whose bytes() are `size` bytes, or null
    template <class Settle, class Make>
    void tick(std::chrono::nanoseconds now, Settle&& settle, Make&& make) {
        static_assert(std::is_invocable_v<Settle&, P&, outcome const&>, "tick() calls settle(P&, outcome const&)");
        static_assert(std::is_invocable_r_v<P*, Make&, std::size_t>, "tick() calls `P* make(std::size_t size)`");
        detail::one_call_at_a_time::scope const alone{calls_};
        flow_time const at{std::chrono::duration_cast<std::chrono::milliseconds>(now)};
        auto const emit = [&](P& packet) { settle(packet, outcome{.what = verdict::forward()}); };
        read_side_section const section{services_};
        if (section.services() != nullptr) probe_.step(*section.services(), at, make, emit);
    }

    [[nodiscard]] verdict_counters const& verdicts() const noexcept { return verdicts_; }
    [[nodiscard]] Table& flows() const noexcept { return *flows_; }

  private:
    using fragments_type = fragment_stage<P, burst_size>;
    using path = pipeline<frame<P>, burst_size, parse_stage<P>, fragments_type, OwnStage, locate_stage<P, Table>,
                          preselect_stage<P, Table, affinity_type>, track_stage<P, Table>,
                          select_stage<P, affinity_type>, bind_stage<P, Table>, rewrite_stage<P>, reject_stage<P>>;

    proxy(std::unique_ptr<affinity_type> clients, Table& flows, service_source& services,
          proxy_settings const& settings, OwnStage own)
        : proxy{flows, *clients, services, settings, std::move(own)} {
        own_clients_ = std::move(clients);
    }

    [[nodiscard]] static burst_context context_of(snapshot const* services, std::chrono::nanoseconds now,
                                                  bool can_spare) noexcept {
        return {.services = services,
                .backends = services != nullptr ? std::span{services->status} : std::span<backend_status const>{},
                .clock = now,
                .now = flow_time{std::chrono::duration_cast<std::chrono::milliseconds>(now)},
                .can_spare = can_spare};
    }
    [[nodiscard]] frame<P> frame_of(P& packet, std::size_t i) noexcept {
        return {&packet, &outcomes_[i], &ipv4_storage_[i], &ipv6_storage_[i]};
    }

    template <class Settle, class Spare>
    void process_burst(std::span<P> burst, std::chrono::nanoseconds now, Settle& settle, Spare& spare) {
        constexpr bool can_spare = !std::same_as<std::remove_cvref_t<Spare>, no_spares>;
        read_side_section const section{services_};
        path_.template stage<fragments_type>().forget_due(); // of a burst that a callback's exception has ended
        burst_ = context_of(section.services(), now, can_spare);
        outcomes_ = nothing_yet;
        path_.run(burst.size(), [&](std::size_t i) { return frame_of(burst[i], i); });
        finish(burst, settle, spare);
        release_fragments<ipv4>(settle, spare);
        release_fragments<ipv6>(settle, spare);
        tidy();
    }

    /// Nearly all packets are forwarded. They are counted at once: when all are settled, or a callback throws.
    struct forwarded_count {
        verdict_counters& total;
        std::size_t packets = 0, bytes = 0;
        ~forwarded_count() { total.count(verdict::forward(), packets, bytes); }
    };
    template <class Settle, class Spare>
    void finish(std::span<P> burst, Settle& settle, Spare& spare) {
        forwarded_count forwarded{verdicts_};
        for (std::size_t i = 0; i < burst.size(); ++i) {
            auto const& o = outcomes_[i];
            if (o.what != verdict::forward() || o.is_oversized) {
                finish(burst[i], o, settle, spare);
                continue;
            }
            std::size_t const bytes = mutable_byte_span{burst[i].bytes()}.size();
            count_traffic(o, bytes);
            ++forwarded.packets;
            forwarded.bytes += bytes;
            settle(burst[i], o);
        }
    }
    template <class Settle, class Spare>
    void finish(P& packet, outcome o, Settle& settle, Spare& spare) {
        if (o.is_oversized) {
            auto const tell = [&](P& piece, outcome const& of_piece) { this->tell(piece, of_piece, settle); };
            return cut_packet(packet, o, cut_size_, spare, tell);
        }
        tell(packet, o, settle);
    }

    template <class Settle>
    void tell(P& packet, outcome const& o, Settle& settle) {
        count(o, packet.bytes().size());
        settle(packet, o);
    }

    template <ip_version V, class Settle, class Spare>
    void release_fragments(Settle& settle, Spare& spare) {
        path_.template stage<fragments_type>().template release<V>([&](mutable_byte_span held, P& first) {
            P* const packet = spare(first, held.size());
            if (packet == nullptr) return verdicts_.count(verdict::drop(drop_reason::no_spare_packet));
            copy_bytes(packet->bytes(), held);
            outcomes_[0] = {};
            path_.run(1, [&](std::size_t i) { return frame_of(*packet, i); });
            finish(*packet, outcomes_[0], settle, spare);
        });
    }

    void count(outcome const& o, std::size_t bytes) noexcept {
        if (o.what == verdict::drop(drop_reason::fragment_held)) return;
        verdicts_.count(o.what, bytes);
        if (o.what.what() == action::forward) count_traffic(o, bytes);
    }
    void count_traffic(outcome const& o, std::size_t bytes) noexcept {
        if (o.service == no_service) return;
        std::size_t const flows = o.relation == flow_relation::fresh ? 1 : 0;
        services_.counters().services.count(o.service, bytes, flows);
        if (o.backend != no_backend) services_.counters().backends.count(o.backend, bytes, flows);
    }

    /// What every burst does a little of.
    void tidy() noexcept {
        sweep();
        auto& fragments = path_.template stage<fragments_type>();
        for (auto n = fragments.expire(); n > 0; --n) verdicts_.count(verdict::drop(drop_reason::fragment_timeout));
        for (auto n = fragments.take_evicted(); n > 0; --n)
            verdicts_.count(verdict::drop(drop_reason::fragment_store_full));
    }

    /// As much as time has passed: a whole pass takes sweep_pass, or longer where bursts are rare.
    void sweep() noexcept {
        auto const passed = burst_.now.since(swept_to_);
        if (passed != 0) {
            swept_to_ = burst_.now;
            auto const most = std::uint64_t{flows_->positions()};
            auto const pass = static_cast<std::uint64_t>(sweep_pass.count());
            unswept_ = std::min(most, unswept_ + most * passed / pass + 1);
        }
        auto const share = std::min<std::uint64_t>(unswept_, sweep_per_burst_);
        if (share == 0) return;
        unswept_ -= share;
        (void)flows_->sweep(static_cast<std::size_t>(share), burst_.now);
    }

    /// Short beside every timeout, and long enough that the sweep of a table of any size costs the path nothing.
    static constexpr std::chrono::milliseconds sweep_pass{4000};

    Table* flows_;
    std::unique_ptr<affinity_type> own_clients_; ///< null: they are shared
    service_reader services_;
    removed_probe<Table> probe_;
    std::size_t cut_size_;
    std::size_t sweep_per_burst_;
    flow_time swept_to_{};
    std::uint64_t unswept_ = 0; ///< records
    burst_context burst_;
    verdict_counters verdicts_;
    static constexpr std::array<outcome, burst_size> nothing_yet{};
    std::array<outcome, burst_size> outcomes_{};
    std::array<detail::packet_storage<P, ipv4>, burst_size> ipv4_storage_{};
    std::array<detail::packet_storage<P, ipv6>, burst_size> ipv6_storage_{};
    path path_;
    detail::one_call_at_a_time calls_;
};

} // namespace v0_2
} // namespace kubeproxy
