#pragma once

#include "kubeproxy/control/kubernetes/fields.hpp"
#include "kubeproxy/control/kubernetes/meta.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

/// ServiceCIDR objects of networking.k8s.io (KEP-1880): the ranges that the cluster takes its cluster IPs from.
namespace kubeproxy {
inline namespace v0_2 {

/// spec.cidrs. An object that is being deleted still counts, because Services may still have addresses in its ranges.
/// Throws field_error.
[[nodiscard]] inline std::vector<ip_prefix> read_service_cidr(boost::json::object const& object) {
    std::vector<ip_prefix> ranges;
    auto const* spec = object_field(object, "spec");
    if (spec == nullptr) throw field_error{"spec", "is missing"};
    inside("spec", [&] {
        for_each_in(*spec, "cidrs", [&](auto const& element) { ranges.push_back(prefix_in(text_in(element))); });
        if (ranges.empty()) throw field_error{"cidrs", "there is none"};
    });
    return ranges;
}

/// The ranges of all ServiceCIDR objects of a cluster.
class kubernetes_service_cidrs {
  public:
    void put(std::string const& name, std::vector<ip_prefix> ranges) {
        ranges_.insert_or_assign(name, std::move(ranges));
    }
    void remove(std::string const& name) { ranges_.erase(name); }

    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (auto const& [name, ranges] : ranges_) all.push_back(name);
        return all;
    }
    /// Sorted. Objects may overlap; a range that several of them have is there once.
    [[nodiscard]] std::vector<ip_prefix> ranges() const {
        std::vector<ip_prefix> all;
        for (auto const& [name, ranges] : ranges_) all.insert(all.end(), ranges.begin(), ranges.end());
        std::ranges::sort(all);
        all.erase(std::unique(all.begin(), all.end()), all.end());
        return all;
    }

  private:
    std::map<std::string, std::vector<ip_prefix>> ranges_;
};

} // namespace v0_2
} // namespace kubeproxy
