#pragma once

#include "kubeproxy/version.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// Allocates indices into an array of the snapshot. Each index has one owner at a time.
///
/// A released index stays in quarantine before another owner gets it: until the next begin_update(), so that no single
/// snapshot moves an index from one owner to another, and then until `quarantine` more indices were released.
/// Meanwhile the former owner can take it back. A flow distinguishes 256 owners of an index one after the other; so a
/// flow would have to be idle during 256 * `quarantine` releases to be mistaken for one of the present owner.
class index_allocator {
  public:
    static constexpr std::size_t quarantine = 256;

    [[nodiscard]] std::uint32_t take() {
        drop_outdated();
        if (quarantined_count_ <= quarantine) {
            states_.emplace_back();
            return static_cast<std::uint32_t>(states_.size() - 1);
        }
        auto const index = quarantined_.front().index;
        quarantined_.pop_front();
        give_owner(index);
        renewed_.push_back(index);
        return index;
    }
    void release(std::uint32_t index) {
        states_[index].where = phase::leaving;
        leaving_.push_back({index, states_[index].stamp});
    }
    /// Gives a released index back to its former owner. \pre take() has not returned it since its release
    void take_back(std::uint32_t index) { give_owner(index); }

    /// To be called before the changes that become one snapshot.
    void begin_update() {
        for (auto const& one : leaving_) {
            if (!is_valid(one)) continue;
            states_[one.index].where = phase::quarantined;
            ++quarantined_count_;
            quarantined_.push_back(one);
        }
        leaving_.clear();
        renewed_.clear();
        if (quarantined_.size() > 2 * (quarantined_count_ + quarantine))
            std::erase_if(quarantined_, [this](entry const& one) { return !is_valid(one); });
    }

    /// The size that the array must have.
    [[nodiscard]] std::size_t count() const noexcept { return states_.size(); }
    /// Indices that take() has returned since begin_update() and that had an owner before.
    [[nodiscard]] std::span<std::uint32_t const> renewed() const noexcept { return renewed_; }

  private:
    enum class phase : std::uint8_t { owned, leaving, quarantined };
    struct index_state {
        std::uint32_t stamp = 0; ///< changes when the index gets an owner; list entries with another stamp are void
        phase where = phase::owned;
    };
    struct entry {
        std::uint32_t index;
        std::uint32_t stamp;
    };

    [[nodiscard]] bool is_valid(entry const& one) const noexcept { return states_[one.index].stamp == one.stamp; }
    void give_owner(std::uint32_t index) noexcept {
        auto& state = states_[index];
        if (state.where == phase::quarantined) --quarantined_count_;
        ++state.stamp;
        state.where = phase::owned;
    }
    void drop_outdated() {
        while (!quarantined_.empty() && !is_valid(quarantined_.front())) quarantined_.pop_front();
    }

    std::vector<index_state> states_;
    std::deque<entry> quarantined_;
    std::vector<entry> leaving_;
    std::vector<std::uint32_t> renewed_;
    std::size_t quarantined_count_ = 0; ///< valid entries of quarantined_
};

} // namespace v0_2
} // namespace kubeproxy
