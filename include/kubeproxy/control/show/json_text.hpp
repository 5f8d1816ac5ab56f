#pragma once

#include "kubeproxy/version.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

/// Writes JSON (RFC 8259) from its beginning to its end, in one line.
/// \pre each member has its key; what is begun is ended
class json_text {
  public:
    json_text& begin_object() { return begin('{'); }
    json_text& end_object() { return end('}'); }
    json_text& begin_array() { return begin('['); }
    json_text& end_array() { return end(']'); }

    json_text& key(std::string_view name) {
        separate();
        quote(name);
        text_ += ':';
        wants_comma_ = false;
        return *this;
    }
    json_text& value(std::string_view text) {
        separate();
        quote(text);
        return *this;
    }
    json_text& value(char const* text) { return value(std::string_view{text}); }
    json_text& value(std::uint64_t number) {
        separate();
        text_ += std::to_string(number);
        return *this;
    }
    /// True or false.
    json_text& truth(bool is_so) {
        separate();
        text_ += is_so ? "true" : "false";
        return *this;
    }
    template <class T>
    json_text& member(std::string_view name, T const& what) {
        return key(name).value(what);
    }

    /// With a line's end.
    [[nodiscard]] std::string finish() && { return std::move(text_) + '\n'; }

  private:
    json_text& begin(char bracket) {
        separate();
        text_ += bracket;
        wants_comma_ = false;
        return *this;
    }
    json_text& end(char bracket) {
        text_ += bracket;
        wants_comma_ = true;
        return *this;
    }
    void separate() {
        if (wants_comma_) text_ += ',';
        wants_comma_ = true;
    }
    /// RFC 8259 section 7.
    void quote(std::string_view text) {
        constexpr std::string_view digits = "0123456789abcdef";
        text_ += '"';
        for (char const c : text) {
            auto const code = static_cast<unsigned char>(c);
            if (c == '"' || c == '\\') {
                text_ += {'\\', c};
            } else if (code < 0x20) {
                text_ += {'\\', 'u', '0', '0', digits[code >> 4], digits[code & 15]};
            } else {
                text_ += c;
            }
        }
        text_ += '"';
    }

    std::string text_;
    bool wants_comma_ = false;
};

} // namespace v0_2
} // namespace kubeproxy
