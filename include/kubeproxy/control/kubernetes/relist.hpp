#pragma once

#include "kubeproxy/version.hpp"

#include <cstddef>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// What a list of all objects of a kind has named so far, so that in the end it is known which are gone.
class kubernetes_relist {
  public:
    /// One that was begun before and has not ended is forgotten.
    void begin() {
        is_running_ = true;
        named_.clear();
    }
    void note(std::string const& name) {
        if (is_running_) named_.insert(name);
    }
    /// Of `known`, those that were not named; none if no list was begun.
    [[nodiscard]] std::vector<std::string> end(std::vector<std::string> known) {
        auto const named = std::exchange(named_, {});
        if (!std::exchange(is_running_, false)) return {};
        std::erase_if(known, [&](std::string const& name) { return named.contains(name); });
        return known;
    }

  private:
    std::unordered_set<std::string> named_;
    bool is_running_ = false;
};

} // namespace v0_2
} // namespace kubeproxy
