#pragma once

#include "kubeproxy/dataplane/proxy.hpp"
#include "support/proxy_invariants.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

/// A host that trusts its proxy in nothing, and services with all four translations for packets to run into.
namespace kubeproxy::testing_support {

/// Packets by verdict, as the host was told, held against how the proxy counts them.
class told_verdicts {
  public:
    void tell(verdict v) { ++told_[static_cast<std::size_t>(v.what())][static_cast<std::size_t>(v.why())]; }
    [[nodiscard]] std::uint64_t of(action what, drop_reason why) const {
        return told_[static_cast<std::size_t>(what)][static_cast<std::size_t>(why)];
    }

    /// A fragment that is held is counted when it is known what becomes of it; the host is told at once.
    [[nodiscard]] invariant::broken held_against(verdict_counters const& counted) const {
        std::uint64_t of_held = 0;
        for (auto const what : {action::pass, action::forward})
            if (counted.packets(what) != of(what, drop_reason::none)) return "passed or forwarded packets miscounted";
        for (std::size_t i = 0; i < drop_reason_count; ++i) {
            auto const why = static_cast<drop_reason>(i);
            if (counted.replied(why) != of(action::reply, why)) return "replies miscounted";
            if (why == drop_reason::fragment_held) continue;
            if (counted.dropped(why) < of(action::drop, why)) return "fewer drops were counted than told";
            auto const more = counted.dropped(why) - of(action::drop, why);
            if (more != 0 && !may_end_a_held_one(why)) return "more drops were counted than told";
            of_held += more;
        }
        if (counted.dropped(drop_reason::fragment_held) != 0) return "a held fragment was counted";
        return of_held <= of(action::drop, drop_reason::fragment_held) ? invariant::none
                                                                       : "more fragments let go than were held";
    }

  private:
    [[nodiscard]] static bool may_end_a_held_one(drop_reason why) {
        return why == drop_reason::fragment_timeout || why == drop_reason::fragment_store_full ||
               why == drop_reason::no_spare_packet;
    }
    std::array<std::array<std::uint64_t, drop_reason_count>, action_count> told_{};
};

struct host_settings {
    proxy_settings proxy;
    flow_table_size flows{64, 64};
};

/// Runs bursts and checks every promise; what was broken first is kept.
class hostile_host {
  public:
    hostile_host(service_source& services, host_settings const& settings)
        : flows_{settings.flows, secret{1}}, proxy_{flows_, services, settings.proxy} {}

    /// \param spares how many buffers the host has for packets that become several; none is also said by type
    void run(std::vector<guarded_packet>& burst, std::chrono::nanoseconds now, std::size_t spares) {
        burst_ = &burst;
        outcomes_.assign(burst.size(), outcome{});
        is_settled_.assign(burst.size(), 0);
        lent_.clear();
        auto const settle = [this](guarded_packet& p, outcome const& o) { take(p, o); };
        auto const spare = [&](guarded_packet& like, std::size_t size) -> guarded_packet* {
            if (lent_.size() >= spares) return nullptr;
            return &lent_.emplace_back(like.traits(), size).packet;
        };
        if (spares == 0)
            proxy_.process(std::span{burst}, now, settle);
        else
            proxy_.process(std::span{burst}, now, settle, spare);
        if (std::ranges::count(is_settled_, 1) != std::ssize(burst)) breaks("a packet was settled not once");
        for (auto const& one : lent_)
            if (one.settled != 1) breaks("a spare packet was settled not once");
        breaks(told_.held_against(proxy_.verdicts()));
        breaks(invariant::in_table(flows_));
    }

    /// After run(): what became of packet i of the burst.
    [[nodiscard]] outcome const& outcome_of(std::size_t i) const { return outcomes_[i]; }
    [[nodiscard]] told_verdicts const& told() const { return told_; }
    [[nodiscard]] flow_table& flows() { return flows_; }
    [[nodiscard]] invariant::broken broken() const { return broken_; }

  private:
    struct lent_packet {
        lent_packet(packet_traits const& traits, std::size_t size)
            : packet{seed::octets(size, std::byte{0xee}), {.headroom = traits.headroom}} {}
        guarded_packet packet;
        int settled = 0;
    };

    void breaks(invariant::broken what) {
        if (broken_ == invariant::none) broken_ = what;
    }
    void take(guarded_packet& p, outcome const& o) {
        told_.tell(o.what);
        if (auto const of_burst = std::span{*burst_}; &p >= of_burst.data() && &p < of_burst.data() + of_burst.size()) {
            auto const i = static_cast<std::size_t>(&p - of_burst.data());
            ++is_settled_[i];
            outcomes_[i] = o;
            breaks(invariant::in_outcome(p, o));
            return;
        }
        auto const spare = std::ranges::find(lent_, &p, [](lent_packet& one) { return &one.packet; });
        if (spare == lent_.end()) return breaks("a packet was settled that is not the host's");
        ++spare->settled;
        breaks(invariant::in_outcome_of_spare(p, o));
    }

    flow_table flows_;
    proxy<guarded_packet> proxy_;
    told_verdicts told_;
    std::vector<guarded_packet>* burst_ = nullptr;
    std::vector<outcome> outcomes_;
    std::vector<int> is_settled_;
    std::deque<lent_packet> lent_;
    invariant::broken broken_ = invariant::none;
};

} // namespace kubeproxy::testing_support
