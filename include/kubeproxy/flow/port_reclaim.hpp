#pragma once

#include "kubeproxy/flow/flow_state.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/flow/tuple.hpp"

#include <cstdint>
#include <optional>

namespace kubeproxy {
inline namespace v0_2 {

/// Looks for a source port among those that are taken: the one whose flow is worth least and silent for longest.
///
/// Half-open flows must not keep ports from new clients. As many candidates are looked at as the search for a free
/// port tried, and some more at random places; a flow that is assured never loses its port.
template <class Table, ip_version V>
class port_reclaim {
  public:
    port_reclaim(Table& flows, flow_time now) noexcept : flows_{&flows}, now_{now} {}

    /// Whether no live flow's replies look like replies to `translated`; else that flow is a candidate.
    [[nodiscard]] bool is_free(tuple<V> const& translated) noexcept {
        auto const holder = flows_->find_reply(translated, now_);
        if (!holder) return true;
        auto const& body = flows_->body(holder);
        auto const worth = worth_of(body.state());
        auto const silence = now_.since(flow_time::of(body.last_seen.load()));
        bool const is_better =
            worth < worth_ || (worth == worth_ && worth != flow_worth::assured && silence > silence_);
        if (is_better) {
            best_ = translated;
            holder_ = holder;
            worth_ = worth;
            silence_ = silence;
        }
        return false;
    }
    /// The best candidate, whose flow has ended; nullopt when there was none.
    [[nodiscard]] std::optional<tuple<V>> take() noexcept {
        if (!holder_ || !flows_->evict(holder_)) return std::nullopt;
        return best_;
    }

  private:
    Table* flows_;
    flow_time now_;
    tuple<V> best_{};
    flow_ref holder_{};
    flow_worth worth_ = flow_worth::assured;
    std::uint32_t silence_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
