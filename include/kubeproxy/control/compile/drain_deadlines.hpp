#pragma once

#include "kubeproxy/service/snapshot.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// How long endpoints have been terminating, and whose flows are to end.
///
/// Kubernetes deletes an endpoint when its pod is gone, and that ends its flows. A drain time ends them before, where
/// pods take too long. An endpoint's time runs from the first look at it.
class drain_deadlines {
  public:
    /// Places of backends whose time is over, each once. Costs what backends there are if the snapshot is another one
    /// than last time, else what endpoints terminate.
    /// \param now of any clock that does not go back
    /// \param drain none: flows last as long as their endpoints
    [[nodiscard]] std::vector<std::uint32_t> due(snapshot const& services, std::chrono::nanoseconds now,
                                                 std::optional<std::chrono::seconds> drain) {
        if (!drain) {
            *this = {};
            return {};
        }
        if (std::exchange(seen_, services.generation) != services.generation) look(services, now);
        std::vector<std::uint32_t> over;
        for (auto& [place, endpoint] : leaving_) {
            if (endpoint.is_over || now - endpoint.since < *drain) continue;
            endpoint.is_over = true;
            endpoint.status.begin_life(); // whoever asked ends its flows by that
            over.push_back(place);
        }
        return over;
    }

  private:
    struct leaving {
        std::chrono::nanoseconds since{};
        backend_status status{};
        bool is_over = false;
    };

    void look(snapshot const& services, std::chrono::nanoseconds now) {
        auto const before = std::exchange(leaving_, {});
        for (std::uint32_t place = 0; place < services.status.size(); ++place) {
            auto const& status = services.status[place];
            if (!status.in_use || !status.terminating) continue;
            auto const known = before.find(place);
            bool const is_same = known != before.end() && known->second.status.is_same_life(status.generation);
            leaving_.emplace(place, is_same ? known->second : leaving{now, status});
        }
    }

    std::unordered_map<std::uint32_t, leaving> leaving_; ///< by place
    std::uint64_t seen_ = 0;                             ///< generation of the snapshot that was looked at
};

} // namespace v0_2
} // namespace kubeproxy
