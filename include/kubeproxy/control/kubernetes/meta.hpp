#pragma once

#include "kubeproxy/control/config/configuration.hpp"
#include "kubeproxy/control/kubernetes/fields.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

/// What all objects of Kubernetes have.
namespace kubeproxy {
inline namespace v0_2 {

/// What an object is called.
struct kubernetes_name {
    std::string space{}; ///< "default"
    std::string name{};

    [[nodiscard]] std::string text() const { return space + '/' + name; }
};

namespace detail {

/// RFC 1123 section 2.1, as Kubernetes has it: what else there is could be a name in the `ku` language.
[[nodiscard]] inline bool is_name(std::string_view text, std::string_view beside_letters) noexcept {
    constexpr std::size_t longest = 253;
    return !text.empty() && text.size() <= longest && std::ranges::all_of(text, [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || beside_letters.find(c) != std::string_view::npos;
    });
}

/// The number that these digits are; none: another character is there.
[[nodiscard]] inline std::optional<int> digits_at(std::string_view text, std::size_t at, std::size_t count) noexcept {
    int number = 0;
    for (char const c : text.substr(at, count)) {
        if (c < '0' || c > '9') return std::nullopt;
        number = number * 10 + (c - '0');
    }
    return number;
}

/// "Z", or the minutes of "+02:00".
[[nodiscard]] inline std::optional<std::chrono::minutes> time_offset(std::string_view text) noexcept {
    if (text == "Z" || text == "z") return std::chrono::minutes{0};
    if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
    auto const hours = digits_at(text, 1, 2), minutes = digits_at(text, 4, 2);
    if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
    std::chrono::minutes const offset{*hours * 60 + *minutes};
    return text[0] == '-' ? -offset : offset;
}

/// A date-time of RFC 3339 section 5.6, to the second.
[[nodiscard]] inline std::optional<std::chrono::sys_seconds> parse_time(std::string_view text) noexcept {
    using namespace std::chrono;
    if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') ||
        text[13] != ':' || text[16] != ':')
        return std::nullopt;
    auto const y = digits_at(text, 0, 4), mon = digits_at(text, 5, 2), d = digits_at(text, 8, 2);
    auto const h = digits_at(text, 11, 2), min = digits_at(text, 14, 2), s = digits_at(text, 17, 2);
    if (!y || !mon || !d || !h || !min || !s || *h > 23 || *min > 59 || *s > 60) return std::nullopt;
    year_month_day const date{year{*y}, month{static_cast<unsigned>(*mon)}, day{static_cast<unsigned>(*d)}};
    auto rest = text.substr(19);
    if (rest.front() == '.') rest.remove_prefix(std::min(rest.find_first_not_of("0123456789", 1), rest.size()));
    auto const offset = time_offset(rest);
    if (!date.ok() || !offset) return std::nullopt;
    return sys_days{date} + hours{*h} + minutes{*min} + seconds{*s} - *offset;
}

} // namespace detail

/// Where none is said, the namespace is that which kubectl takes: "default".
[[nodiscard]] inline kubernetes_name name_of(boost::json::object const& object) {
    auto const* meta = object_field(object, "metadata");
    if (meta == nullptr) throw field_error{"metadata", "is missing"};
    kubernetes_name result{.space = "default"};
    inside("metadata", [&] {
        if (auto const space = text_field(*meta, "namespace")) result.space = *space;
        if (!detail::is_name(result.space, "-")) throw field_error{"namespace", shown(result.space) + " is no name"};
        auto const name = text_field(*meta, "name");
        if (!name) throw field_error{"name", "is missing"};
        if (!detail::is_name(*name, "-.")) throw field_error{"name", shown(*name) + " is no name"};
        result.name = *name;
    });
    return result;
}

/// metadata.creationTimestamp, which the API server sets; max() if the object does not have it.
[[nodiscard]] inline std::chrono::sys_seconds creation_time_of(boost::json::object const& object) {
    auto created = std::chrono::sys_seconds::max();
    inside(object, "metadata", [&](auto const& meta) {
        auto const text = text_field(meta, "creationTimestamp");
        if (!text) return;
        auto const time = detail::parse_time(*text);
        if (!time)
            throw field_error{"creationTimestamp", shown(*text) + ": a time like 2024-05-31T12:00:00Z is wanted"};
        created = *time;
    });
    return created;
}

[[nodiscard]] inline std::optional<std::string_view> label_of(boost::json::object const& object,
                                                              std::string_view label) {
    std::optional<std::string_view> found;
    inside(object, "metadata", [&](auto const& meta) {
        inside(meta, "labels", [&](auto const& labels) { found = text_field(labels, label); });
    });
    return found;
}

/// Objects with one of these labels are for others; kube-proxy does not even ask for them.
[[nodiscard]] inline bool is_for_others(boost::json::object const& object) {
    return label_of(object, "service.kubernetes.io/service-proxy-name").has_value() ||
           label_of(object, "service.kubernetes.io/headless").has_value();
}

/// TCP where none is said: the API's default.
[[nodiscard]] inline service_protocol protocol_field(boost::json::object const& port) {
    auto const text = text_field(port, "protocol").value_or("TCP");
    if (text.empty() || text == "TCP") return service_protocol::tcp;
    if (text == "UDP") return service_protocol::udp;
    if (text == "SCTP") return service_protocol::sctp;
    throw field_error{"protocol", shown(text) + ": TCP, UDP or SCTP is wanted"};
}

} // namespace v0_2
} // namespace kubeproxy
