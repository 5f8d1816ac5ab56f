#pragma once

#include "kubeproxy/control/kubernetes/fields.hpp"
#include "kubeproxy/control/kubernetes/items.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// What was not taken, and why: a whole object, or an address and port that a Service lost to another one. Everything
/// else goes on.
struct kubernetes_refusal {
    std::string kind{};  ///< "Service"; empty: the text is no JSON
    std::string name{};  ///< "default/web", as far as it could be read
    std::string field{}; ///< "spec.ports[1].port"; empty: the whole object
    std::string reason{};
    std::uint64_t offset = 0; ///< where the text is no JSON, from the beginning of the input

    [[nodiscard]] std::string text() const {
        if (kind.empty()) return "at byte " + std::to_string(offset) + ": " + reason;
        return kind + (name.empty() ? "" : ' ' + name) + ": " + (field.empty() ? "" : field + ": ") + reason;
    }
};

namespace detail {

/// "Pod (v1)", printable whatever the text of the object is.
[[nodiscard]] inline std::string full_kind(kubernetes_item const& item) {
    auto const printable = [](std::string_view text) {
        auto const quoted = shown(text);
        return quoted.substr(1, quoted.size() - 2);
    };
    return printable(item.kind) + (item.api_version.empty() ? "" : " (" + printable(item.api_version) + ')');
}

} // namespace detail

/// Node objects are for the host, which reads them with kubernetes_node.hpp.
[[nodiscard]] inline bool is_node(kubernetes_item const& item) noexcept {
    return item.kind == "Node" && (item.api_version.empty() || item.api_version == "v1");
}

/// Objects whose kind nobody reads, counted by kind. Each kind is reported once.
class kubernetes_ignored_kinds {
  public:
    void count(kubernetes_item const& item) {
        constexpr std::size_t max_kinds = 64; // a text may name any number of kinds
        auto kind = detail::full_kind(item);
        if (counts_.size() >= max_kinds && !counts_.contains(kind)) kind = "(further kinds)";
        if (++counts_[kind] == 1) unreported_.push_back(std::move(kind));
    }
    /// Adds a line for each kind that was not reported before. Nothing is wrong with these objects.
    void report(std::vector<kubernetes_refusal>& lines) {
        for (auto& kind : std::exchange(unreported_, {})) {
            auto const count = std::to_string(counts_.at(kind));
            auto const objects = count == "1" ? " object" : " objects";
            lines.push_back({.kind = std::move(kind), .reason = count + objects + " ignored: this kind is not read"});
        }
    }
    /// "Pod (v1)" -> 37
    [[nodiscard]] std::map<std::string, std::uint64_t> const& counts() const noexcept { return counts_; }

  private:
    std::map<std::string, std::uint64_t> counts_;
    std::vector<std::string> unreported_;
};

} // namespace v0_2
} // namespace kubeproxy
