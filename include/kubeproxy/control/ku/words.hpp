#pragma once

#include "kubeproxy/wire/address_text.hpp"

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

/// The words of a line of the `ku` language, and what single words mean.
namespace kubeproxy {
inline namespace v0_2 {

/// Why a line is refused.
class ku_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A word as it may stand in a message: what was read may be anything.
[[nodiscard]] inline std::string quoted(std::string_view word) {
    constexpr std::size_t longest = 60;
    std::string text{'"'};
    for (char const c : word.substr(0, longest)) text += c > ' ' && c < 0x7f ? c : '?';
    return text + (word.size() > longest ? "…\"" : "\"");
}

/// A line's words one after the other, up to a comment.
class ku_words {
  public:
    explicit ku_words(std::string_view line) noexcept : rest_{line} { skip_space(); }

    [[nodiscard]] bool empty() const noexcept { return rest_.empty() || rest_.front() == '#'; }
    /// \pre not empty()
    [[nodiscard]] std::string_view next() noexcept {
        auto const word = rest_.substr(0, rest_.find_first_of(space));
        rest_.remove_prefix(word.size());
        skip_space();
        return word;
    }
    /// What next() would be. \pre not empty()
    [[nodiscard]] std::string_view peek() const noexcept { return rest_.substr(0, rest_.find_first_of(space)); }
    [[nodiscard]] std::string_view next(std::string_view wanted) {
        if (empty()) throw ku_error{"the line ends where " + std::string{wanted} + " is wanted"};
        return next();
    }

  private:
    static constexpr std::string_view space = " \t\r\v\f";
    void skip_space() noexcept { rest_.remove_prefix(std::min(rest_.find_first_not_of(space), rest_.size())); }

    std::string_view rest_;
};

/// A decimal number in these bounds.
template <std::unsigned_integral T>
[[nodiscard]] T ku_number(std::string_view what, std::string_view word, T least, T most) {
    T value{};
    auto const [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error == std::errc{} && end == word.data() + word.size() && value >= least && value <= most) return value;
    throw ku_error{std::string{what} + ' ' + quoted(word) + ": a number from " + std::to_string(least) + " to " +
                   std::to_string(most) + " is wanted"};
}

[[nodiscard]] inline ip_address ku_address(std::string_view word) {
    if (auto const address = parse_address(word)) return *address;
    throw ku_error{quoted(word) + " is no address"};
}
template <ip_version V>
[[nodiscard]] typename V::address ku_address_of(std::string_view what, std::string_view word) {
    if (auto const address = parse_address<V>(word)) return *address;
    throw ku_error{std::string{what} + ' ' + quoted(word) + ": an IPv" + std::to_string(V::number) +
                   " address is wanted"};
}

/// An address alone is a prefix, too.
[[nodiscard]] inline ip_prefix ku_prefix(std::string_view word) {
    if (auto const found = parse_prefix(word)) return *found;
    auto const slash = word.find('/');
    auto const address = parse_address(word.substr(0, slash));
    if (!address) throw ku_error{quoted(word) + " is no prefix"};
    auto const longest = version_of(*address) == 4 ? address_bits<ipv4> : address_bits<ipv6>;
    throw ku_error{quoted(word) + ": the length of an IPv" + std::to_string(version_of(*address)) + " prefix is 0 to " +
                   std::to_string(longest)};
}

/// What a word says is said once.
template <class T>
void say_once(std::optional<T>& slot, std::string_view word, T value) {
    if (slot) throw ku_error{std::string{word} + " is said twice"};
    slot = std::move(value);
}

namespace detail {

[[noreturn]] inline void refuse_word(std::string_view word, std::string_view after, std::string_view known) {
    throw ku_error{"unknown word " + quoted(word) + " after \"" + std::string{after} +
                   "\" (known: " + std::string{known} + ')'};
}

inline void expect_end(ku_words words, std::string_view after) {
    if (!words.empty())
        throw ku_error{"unknown word " + quoted(words.next()) + ": nothing comes after \"" + std::string{after} + '"'};
}

} // namespace detail

} // namespace v0_2
} // namespace kubeproxy
