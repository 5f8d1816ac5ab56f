#pragma once

#include "kubeproxy/version.hpp"

#include <boost/endian/conversion.hpp>

#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

/// All access to packet memory: the one file with a cast.
namespace kubeproxy {
inline namespace v0_2 {

using byte_span = std::span<std::byte const>;
using mutable_byte_span = std::span<std::byte>;

/// The big-endian value at `offset`, in host order; the memory needs no alignment.
/// \pre offset + sizeof(T) <= bytes.size()
template <std::unsigned_integral T>
[[nodiscard]] inline T load_be(byte_span bytes, std::size_t offset) noexcept {
    assert(offset + sizeof(T) <= bytes.size());
    auto const* field = reinterpret_cast<unsigned char const*>(bytes.data()) + offset;
    return boost::endian::endian_load<T, sizeof(T), boost::endian::order::big>(field);
}

/// \pre offset + sizeof(T) <= bytes.size()
template <std::unsigned_integral T>
inline void store_be(mutable_byte_span bytes, std::size_t offset, T value) noexcept {
    assert(offset + sizeof(T) <= bytes.size());
    auto* field = reinterpret_cast<unsigned char*>(bytes.data()) + offset;
    boost::endian::endian_store<T, sizeof(T), boost::endian::order::big>(field, value);
}

/// The value whose bytes in memory are those of `value` in the opposite order.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T reversed_bytes(T value) noexcept {
    return boost::endian::endian_reverse(value);
}

/// The object whose representation stands at `offset`: addresses, tuples.
/// \pre offset + sizeof(T) <= bytes.size()
template <class T>
    requires std::is_trivially_copyable_v<T>
[[nodiscard]] inline T load_object(byte_span bytes, std::size_t offset) noexcept {
    assert(offset + sizeof(T) <= bytes.size());
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

/// \pre offset + sizeof(T) <= bytes.size()
template <class T>
    requires std::is_trivially_copyable_v<T>
inline void store_object(mutable_byte_span bytes, std::size_t offset, T const& value) noexcept {
    assert(offset + sizeof(T) <= bytes.size());
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

/// Moves `size` bytes inside one buffer; the ranges may overlap.
/// \pre both ranges lie inside `bytes`
inline void move_bytes(mutable_byte_span bytes, std::size_t to, std::size_t from, std::size_t size) noexcept {
    assert(to + size <= bytes.size() && from + size <= bytes.size());
    std::memmove(bytes.data() + to, bytes.data() + from, size);
}

/// \pre to.size() >= from.size(), and they do not overlap
inline void copy_bytes(mutable_byte_span to, byte_span from) noexcept {
    assert(to.size() >= from.size());
    std::ranges::copy(from, to.begin());
}

} // namespace v0_2
} // namespace kubeproxy
