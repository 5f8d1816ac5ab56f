#pragma once

#include "kubeproxy/control/controller.hpp"
#include "support/kubernetes_files.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace examples {

namespace detail {

[[nodiscard]] inline bool is_same_vip(kubeproxy::service_configuration const& a,
                                      kubeproxy::service_configuration const& b) {
    return a.addresses == b.addresses && a.ports == b.ports && a.pods == b.pods && a.ring_size == b.ring_size &&
           a.slices.front().endpoints == b.slices.front().endpoints;
}

} // namespace detail

/// Makes the services of the `ku` language, and the node, those of a text: what is not in it goes, what is the same
/// stays untouched, and so do services of the cluster. \param node what was known of it before the first text
/// \return why the text is refused, as "line 3: …"; then nothing has changed
[[nodiscard]] inline std::optional<std::string>
replace_ku(kubeproxy::controller& control, kubeproxy::node_configuration const& node, std::string_view text) {
    kubeproxy::service_source nobody;
    kubeproxy::controller draft{nobody,
                                {.hooks = {.flows = [] { return std::vector<kubeproxy::flow_view>{}; },
                                           .clients = [] { return std::vector<kubeproxy::affinity_view>{}; },
                                           .counters = [] { return std::vector<kubeproxy::counter_view>{}; },
                                           .flush = [] {}}}};
    if (auto wrong = draft.configuration().set_node(node)) return wrong->text();
    if (auto const result = draft.apply(text); !result.ok())
        return "line " + std::to_string(result.error->line) + ": " + result.error->reason;
    auto const& wanted = draft.configuration();
    auto next = control.configuration();
    next.begin_changes(); // of one text
    for (auto const& service : control.configuration().services())
        if (service && kubeproxy::is_ku_vip(*service) && !wanted.find(service->name)) next.remove(service->name);
    for (auto const& service : wanted.services()) {
        if (!service) continue;
        auto const before = next.find(service->name);
        if (before && kubeproxy::is_ku_vip(*before) && detail::is_same_vip(*before, *service)) continue;
        if (auto const wrong = next.put(*service)) return wrong->text();
    }
    if (auto const wrong = next.set_node(wanted.node())) return wrong->text();
    next.end_changes();
    control.configuration() = std::move(next);
    control.publish();
    return std::nullopt;
}

} // namespace examples
