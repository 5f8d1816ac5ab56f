#pragma once

#include "kubeproxy/version.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

/// Hash tables instead of one large one: a table that grows moves all that it has, and a change of the cluster must not
/// wait for that.
template <class Table>
class sharded {
  public:
    /// The table for what has this hash.
    [[nodiscard]] Table& of(std::size_t hash) noexcept { return tables_[number(hash)]; }
    [[nodiscard]] Table const& of(std::size_t hash) const noexcept { return tables_[number(hash)]; }
    [[nodiscard]] auto begin() const noexcept { return tables_.begin(); }
    [[nodiscard]] auto end() const noexcept { return tables_.end(); }

  private:
    static constexpr std::size_t count = 64;

    /// By a multiplication, for the tables use the low bits, and some hashes have no others (Knuth, TAOCP 6.4).
    [[nodiscard]] static std::size_t number(std::size_t hash) noexcept {
        return static_cast<std::size_t>(std::uint64_t{hash} * 0x9e37'79b9'7f4a'7c15u >> 58);
    }

    std::array<Table, count> tables_;
};

} // namespace v0_2
} // namespace kubeproxy
