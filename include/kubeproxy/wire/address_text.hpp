#pragma once

#include "kubeproxy/wire/address.hpp"

#include <array>
#include <charconv>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>

/// Addresses and prefixes as people write them: read in every form of RFC 4291 section 2.2, printed in the one form of
/// RFC 5952. For the control path: it makes strings.
namespace kubeproxy {
inline namespace v0_2 {

/// An address of either version.
using ip_address = std::variant<ipv4::address, ipv6::address>;
/// A prefix of either version.
using ip_prefix = std::variant<prefix<ipv4>, prefix<ipv6>>;

/// 4 or 6.
[[nodiscard]] constexpr unsigned version_of(ip_address const& a) noexcept { return a.index() == 0 ? 4 : 6; }
[[nodiscard]] constexpr unsigned version_of(ip_prefix const& p) noexcept { return p.index() == 0 ? 4 : 6; }

namespace detail {

/// Digits only, all of them, and no leading zero: some read one as octal (RFC 6943 section 3.1.1).
[[nodiscard]] inline std::optional<unsigned> parse_small_decimal(std::string_view text, unsigned most) noexcept {
    if (text.empty() || text.size() > 3 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
    unsigned value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > most) return std::nullopt;
    return value;
}

[[nodiscard]] inline std::optional<std::uint16_t> parse_group(std::string_view text) noexcept {
    if (text.empty() || text.size() > 4) return std::nullopt;
    std::uint16_t value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// The groups of an IPv6 address as they are read, and where "::" stood among them.
struct ipv6_groups {
    static constexpr std::size_t most = 8;
    std::array<std::uint16_t, most> values{};
    std::size_t count = 0;
    std::optional<std::size_t> gap;

    [[nodiscard]] bool add(std::uint16_t value) noexcept {
        if (count == most) return false;
        values[count++] = value;
        return true;
    }
    [[nodiscard]] bool is_whole() const noexcept { return gap ? count < most : count == most; }

    /// \pre is_whole()
    [[nodiscard]] ipv6::address address() const noexcept {
        ipv6::address result{};
        for (std::size_t i = 0; i < count; ++i) {
            auto const group = gap && i >= *gap ? i + (most - count) : i;
            result[2 * group] = static_cast<std::byte>(values[i] >> 8);
            result[2 * group + 1] = static_cast<std::byte>(values[i] & 0xff);
        }
        return result;
    }
};

[[nodiscard]] constexpr std::uint16_t group_of(ipv6::address const& a, std::size_t i) noexcept {
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(a[2 * i]) << 8 |
                                      std::to_integer<unsigned>(a[2 * i + 1]));
}

/// `::ffff:0:0/96` (RFC 4291 section 2.5.5.2)
[[nodiscard]] constexpr bool is_ipv4_mapped(ipv6::address const& a) noexcept {
    for (std::size_t i = 0; i < 5; ++i)
        if (group_of(a, i) != 0) return false;
    return group_of(a, 5) == 0xffff;
}

struct group_run {
    std::size_t first = 0;
    std::size_t count = 0;
};

/// What "::" replaces: the longest run of zero groups, the first of equal ones, and never a single group (RFC 5952
/// section 4.2).
[[nodiscard]] constexpr group_run longest_zero_run(ipv6::address const& a) noexcept {
    group_run longest, current;
    for (std::size_t i = 0; i < ipv6_groups::most; ++i) {
        current = group_of(a, i) != 0 ? group_run{i + 1, 0} : group_run{current.first, current.count + 1};
        if (current.count > longest.count) longest = current;
    }
    return longest.count > 1 ? longest : group_run{ipv6_groups::most, 0};
}

} // namespace detail

template <ip_version V>
[[nodiscard]] std::optional<typename V::address> parse_address(std::string_view text) noexcept;

/// Four decimal numbers with dots between.
template <>
[[nodiscard]] inline std::optional<ipv4::address> parse_address<ipv4>(std::string_view text) noexcept {
    ipv4::address result{};
    for (std::size_t i = 0; i < result.size(); ++i) {
        auto const dot = i + 1 < result.size() ? text.find('.') : text.size();
        if (dot == std::string_view::npos) return std::nullopt;
        auto const number = detail::parse_small_decimal(text.substr(0, dot), 255);
        if (!number) return std::nullopt;
        result[i] = static_cast<std::byte>(*number);
        text.remove_prefix(i + 1 < result.size() ? dot + 1 : dot);
    }
    return result;
}

/// The three forms of RFC 4291 section 2.2; no zone identifier.
template <>
[[nodiscard]] inline std::optional<ipv6::address> parse_address<ipv6>(std::string_view text) noexcept {
    detail::ipv6_groups groups;
    if (text.starts_with("::")) {
        groups.gap = 0;
        text.remove_prefix(2);
        if (text.empty()) return groups.address();
    }
    for (;;) {
        auto const colon = text.find(':');
        auto const word = text.substr(0, colon);
        if (colon == std::string_view::npos && word.find('.') != std::string_view::npos) {
            auto const tail = parse_address<ipv4>(word);
            if (!tail || !groups.add(static_cast<std::uint16_t>(to_number(*tail) >> 16)) ||
                !groups.add(static_cast<std::uint16_t>(to_number(*tail) & 0xffff)))
                return std::nullopt;
            break;
        }
        auto const group = detail::parse_group(word);
        if (!group || !groups.add(*group)) return std::nullopt;
        if (colon == std::string_view::npos) break;
        text.remove_prefix(colon + 1);
        if (!text.starts_with(':')) continue; // an empty rest is no group, and refused as one
        if (groups.gap) return std::nullopt;
        groups.gap = groups.count;
        text.remove_prefix(1);
        if (text.empty()) break;
    }
    if (!groups.is_whole()) return std::nullopt;
    return groups.address();
}

[[nodiscard]] inline std::optional<ip_address> parse_address(std::string_view text) noexcept {
    if (auto const a = parse_address<ipv4>(text)) return ip_address{*a};
    if (auto const a = parse_address<ipv6>(text)) return ip_address{*a};
    return std::nullopt;
}

/// "address/length"; an address alone is a prefix that holds nothing else. Bits behind the length are cleared.
template <ip_version V>
[[nodiscard]] std::optional<prefix<V>> parse_prefix(std::string_view text) noexcept {
    auto const slash = text.find('/');
    auto const address = parse_address<V>(text.substr(0, slash));
    if (!address) return std::nullopt;
    if (slash == std::string_view::npos) return prefix<V>::of(*address, address_bits<V>);
    auto const length = detail::parse_small_decimal(text.substr(slash + 1), address_bits<V>);
    if (!length) return std::nullopt;
    return prefix<V>::of(*address, *length);
}

[[nodiscard]] inline std::optional<ip_prefix> parse_prefix(std::string_view text) noexcept {
    if (auto const p = parse_prefix<ipv4>(text)) return ip_prefix{*p};
    if (auto const p = parse_prefix<ipv6>(text)) return ip_prefix{*p};
    return std::nullopt;
}

[[nodiscard]] inline std::string to_text(ipv4::address const& a) {
    std::string text;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (i != 0) text += '.';
        text += std::to_string(std::to_integer<unsigned>(a[i]));
    }
    return text;
}

/// RFC 5952 section 4; the IPv4-mapped addresses as section 5 recommends, "::ffff:192.0.2.1".
[[nodiscard]] inline std::string to_text(ipv6::address const& a) {
    if (detail::is_ipv4_mapped(a)) return "::ffff:" + to_text(ipv4::address{a[12], a[13], a[14], a[15]});
    auto const zeros = detail::longest_zero_run(a);
    std::string text;
    for (std::size_t i = 0; i < detail::ipv6_groups::most; ++i) {
        if (i == zeros.first) {
            text += "::";
            i += zeros.count - 1;
            continue;
        }
        if (!text.empty() && text.back() != ':') text += ':';
        std::array<char, 4> digits{};
        auto const end = std::to_chars(digits.data(), digits.data() + digits.size(), detail::group_of(a, i), 16).ptr;
        text.append(digits.data(), end);
    }
    return text;
}

[[nodiscard]] inline std::string to_text(ip_address const& a) {
    return std::visit([](auto const& address) { return to_text(address); }, a);
}

template <ip_version V>
[[nodiscard]] std::string to_text(prefix<V> const& p) {
    return to_text(p.address) + '/' + std::to_string(p.length);
}
[[nodiscard]] inline std::string to_text(ip_prefix const& p) {
    return std::visit([](auto const& prefix) { return to_text(prefix); }, p);
}

/// "192.0.2.1:80", "[2001:db8::1]:80" (RFC 5952 section 6).
[[nodiscard]] inline std::string to_text(ip_address const& a, std::uint16_t port) {
    auto const address = to_text(a);
    return (version_of(a) == 6 ? '[' + address + ']' : address) + ':' + std::to_string(port);
}

} // namespace v0_2
} // namespace kubeproxy
