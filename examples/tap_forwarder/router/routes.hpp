#pragma once

#include "kubeproxy/wire/address.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace examples {

template <kubeproxy::ip_version V>
struct route {
    kubeproxy::prefix<V> to{};
    std::uint32_t link = 0;
    std::optional<typename V::address> gateway{}; ///< none: the destination is on the link

    [[nodiscard]] typename V::address next_hop(typename V::address const& destination) const noexcept {
        return gateway.value_or(destination);
    }
};

/// Where packets go by their destination: the longest prefix wins, the first one of two that are equal. A handful of
/// routes, looked at one by one.
template <kubeproxy::ip_version V>
class route_table {
  public:
    void add(route<V> const& next) {
        auto const longer = [&](route<V> const& r) { return r.to.length >= next.to.length; };
        routes_.insert(std::ranges::find_if_not(routes_, longer), next);
    }
    /// Null: there is none. O(routes)
    [[nodiscard]] route<V> const* find(typename V::address const& destination) const noexcept {
        for (auto const& r : routes_)
            if (r.to.contains(destination)) return &r;
        return nullptr;
    }
    /// Longest prefix first.
    [[nodiscard]] std::span<route<V> const> all() const noexcept { return routes_; }

  private:
    std::vector<route<V>> routes_;
};

} // namespace examples
