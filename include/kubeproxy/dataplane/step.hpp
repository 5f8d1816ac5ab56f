#pragma once

#include "kubeproxy/version.hpp"

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kubeproxy {
inline namespace v0_2 {

/// Says that a packet's way has ended. What became of it stands where its frame says.
struct settled {};

/// How far a packet is, as a type, and where the rest of it stands: a pointer, or as little as that.
template <class T>
concept waypoint = std::is_trivially_copyable_v<T> &&
    (sizeof(T) == sizeof(std::uint64_t) || sizeof(T) == sizeof(std::uint32_t));

/// What a stage returns: the packet as it now is, of one type or another, or that it is settled.
///
/// Two plain words, which a compiler keeps in registers, so that a stage and the next one become one piece of code.
/// (A std::variant of the same is moved through memory by g++ 12, for each packet and stage.)
template <class... Next>
class step {
  public:
    constexpr step() noexcept = default;
    constexpr step(settled) noexcept {}
    template <class T>
        requires(std::same_as<T, Next> || ...)
    constexpr step(T const& next) noexcept : which_{number<T>}, value_{to_word(next)} {
        static_assert(waypoint<T>, "keep the packet elsewhere, and hand on a pointer to it");
    }

    [[nodiscard]] constexpr bool is_settled() const noexcept { return which_ == 0; }
    template <class T>
    [[nodiscard]] constexpr bool is() const noexcept {
        return which_ == number<T>;
    }
    /// \pre is<T>()
    template <class T>
    [[nodiscard]] constexpr T as() const noexcept {
        if constexpr (sizeof(T) == sizeof(std::uint64_t))
            return std::bit_cast<T>(value_);
        else
            return std::bit_cast<T>(static_cast<std::uint32_t>(value_));
    }

  private:
    /// From 1, in the order of Next; 0 is settled.
    template <class T>
    static constexpr std::uint64_t number = [] {
        std::uint64_t n = 1;
        bool const is_known = ((std::same_as<T, Next> || (static_cast<void>(++n), false)) || ...);
        return is_known ? n : 0;
    }();

    template <class T>
    [[nodiscard]] static constexpr std::uint64_t to_word(T const& next) noexcept {
        if constexpr (sizeof(T) == sizeof(std::uint64_t))
            return std::bit_cast<std::uint64_t>(next);
        else
            return std::bit_cast<std::uint32_t>(next);
    }

    std::uint64_t which_ = 0;
    std::uint64_t value_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
