#pragma once

#include "support/kubernetes_files.hpp"

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/flow/table.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// A controller's configuration, from the files that a command line names.
namespace examples {

/// Where the configuration is; what is empty is not there.
struct configuration_files {
    std::string ku;
    std::string node;
    std::vector<std::string> kubernetes;
};

struct configuration_notes {
    std::string answers;              ///< what the `show` lines of the ku file said
    std::vector<std::string> refused; ///< objects of the cluster that were not taken, and why
};

/// A capture may hold a million flows at once; memory that no flow touches costs nothing.
[[nodiscard]] inline kubeproxy::flow_table_size table_size(kubeproxy::node_configuration const& node) noexcept {
    constexpr std::uint32_t min_flows = 1u << 20, max_flows = 1u << 24;
    auto const flows = std::clamp(node.buckets.value_or(min_flows), min_flows, max_flows);
    return {.narrow = flows, .wide = flows};
}

/// The secret of a repeatable run, or one that nobody else knows.
[[nodiscard]] inline kubeproxy::secret secret_of(std::optional<std::uint64_t> seed) {
    return seed ? kubeproxy::secret{*seed} : kubeproxy::secret::from_system();
}
/// Backends are chosen as on every node that is not told otherwise.
[[nodiscard]] inline std::uint64_t ring_seed_of(std::optional<std::uint64_t> seed) noexcept {
    return seed.value_or(kubeproxy::compiler::default_seed);
}

/// A file that is not there, or a ku line that is refused, is a file_error.
[[nodiscard]] inline configuration_notes configure(kubeproxy::controller& control, configuration_files const& files) {
    configuration_notes notes;
    if (!files.node.empty()) load_node(control, files.node);
    if (!files.ku.empty()) {
        auto input = open_text(files.ku);
        std::string const text{std::istreambuf_iterator<char>{input}, {}};
        auto result = control.apply(text);
        if (!result.ok()) throw file_error{files.ku + ':' + std::to_string(result.error->line), result.error->reason};
        notes.answers = std::move(result.text);
    }
    if (!files.kubernetes.empty()) notes.refused = load_objects(control, files.kubernetes);
    return notes;
}

} // namespace examples
