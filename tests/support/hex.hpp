#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Bytes as people write them down.
namespace kubeproxy::hex {

/// \pre only hexadecimal digits, and an even number of them
inline std::vector<std::byte> bytes_of(std::string_view digits) {
    auto const value = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10); };
    std::vector<std::byte> result;
    result.reserve(digits.size() / 2);
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        result.push_back(static_cast<std::byte>(value(digits[i]) << 4 | value(digits[i + 1])));
    return result;
}

inline std::string text_of(std::span<std::byte const> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string result;
    for (auto const b : bytes) {
        result += digits[std::to_integer<std::size_t>(b) >> 4];
        result += digits[std::to_integer<std::size_t>(b) & 0xf];
    }
    return result;
}

} // namespace kubeproxy::hex
