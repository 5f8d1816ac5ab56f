#pragma once

#include "models/cluster_objects.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <random>
#include <string>

/// What is drawn at random. Nothing here uses the library.
namespace kubeproxy::cluster {

class dice {
  public:
    explicit dice(std::uint64_t seed) : random_{seed} {}

    /// 0 to n - 1
    [[nodiscard]] unsigned below(std::size_t n) {
        return static_cast<unsigned>(std::uniform_int_distribution<std::size_t>{0, n - 1}(random_));
    }
    [[nodiscard]] bool percent(unsigned n) { return below(100) < n; }
    template <class Range>
    [[nodiscard]] auto const& one_of(Range const& all) {
        return *std::next(all.begin(), static_cast<std::ptrdiff_t>(below(all.size())));
    }
    template <class T>
    [[nodiscard]] T one_of(std::initializer_list<T> all) {
        return *(all.begin() + below(all.size()));
    }
    [[nodiscard]] auto& engine() noexcept { return random_; }

  private:
    std::mt19937_64 random_;
};

/// What can stand in a cluster of these histories.
inline node random_node(dice& d, bool resets_removed) {
    node n{.zone = d.one_of<char const*>({"", "z1", "z1"}),
           .addresses = {"127.0.0.1", "192.0.2.10", "192.0.2.11", "10.244.1.1", "2001:db8::10", "2001:db8::11", "::1"},
           .masquerade_all = d.percent(15),
           .drain_seconds = d.one_of({0u, 0u, 30u}),
           .resets_removed = resets_removed};
    if (d.percent(60)) n.pod_ranges = {"10.244.1.0/24"};
    if (d.percent(60)) n.pod_ranges.push_back("fd00:244:1::/64");
    if (d.percent(80)) n.service_ranges = {"10.96.0.0/24", "fd00:96::/112"};
    if (d.percent(50))
        n.node_port_addresses =
            d.one_of<texts>({{"192.0.2.0/24"}, {"192.0.2.11/32", "2001:db8::/64"}, {}, {"0.0.0.0/0"}});
    return n;
}

} // namespace kubeproxy::cluster
