#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace examples {

/// Metrics in Prometheus' text format 0.0.4: a family's samples stand behind its help and type.
class metrics_text {
  public:
    static constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

    enum class kind : std::uint8_t { counter, gauge, summary, histogram };
    using label = std::pair<std::string_view, std::string_view>;

    /// Samples that follow are of this family.
    void family(std::string_view name, kind what, std::string_view help) {
        name_ = name;
        text_ +=
            "# HELP " + name_ + ' ' + escaped(help, false) + "\n# TYPE " + name_ + ' ' + std::string{word(what)} + '\n';
    }
    void sample(std::initializer_list<label> labels, std::uint64_t value) { sample("", labels, std::to_string(value)); }
    void sample(std::initializer_list<label> labels, double value) { sample("", labels, to_text(value)); }
    /// \param suffix "_sum", "_count", "_bucket" of a summary or histogram
    void part(std::string_view suffix, std::initializer_list<label> labels, std::uint64_t value) {
        sample(suffix, labels, std::to_string(value));
    }
    void part(std::string_view suffix, std::initializer_list<label> labels, double value) {
        sample(suffix, labels, to_text(value));
    }
    /// A family of one sample.
    template <class T>
    void single(std::string_view name, kind what, std::string_view help, T value) {
        family(name, what, help);
        sample({}, value);
    }
    [[nodiscard]] std::string finish() && { return std::move(text_); }

  private:
    [[nodiscard]] static std::string_view word(kind what) noexcept {
        switch (what) {
        case kind::counter: return "counter";
        case kind::gauge: return "gauge";
        case kind::summary: return "summary";
        case kind::histogram: return "histogram";
        }
        return "untyped";
    }
    [[nodiscard]] static std::string escaped(std::string_view text, bool is_label) {
        std::string result;
        for (char const c : text) {
            if (c == '\n')
                result += "\\n";
            else if (c == '\\' || (is_label && c == '"'))
                result += {'\\', c};
            else
                result += c;
        }
        return result;
    }
    [[nodiscard]] static std::string to_text(double value);
    void sample(std::string_view suffix, std::span<label const> labels, std::string const& value) {
        text_ += name_;
        text_ += suffix;
        char before = '{';
        for (auto const& [name, content] : labels) {
            text_ += before;
            text_ += name;
            text_ += "=\"" + escaped(content, true) + '"';
            before = ',';
        }
        if (!labels.empty()) text_ += '}';
        text_ += ' ' + value + '\n';
    }
    void sample(std::string_view suffix, std::initializer_list<label> labels, std::string const& value) {
        sample(suffix, std::span<label const>{labels.begin(), labels.size()}, value);
    }

    std::string name_;
    std::string text_;
};

inline std::string metrics_text::to_text(double value) {
    char digits[32];
    auto const length = std::snprintf(digits, sizeof digits, "%.9g", value);
    return {digits, static_cast<std::size_t>(length)};
}

} // namespace examples
