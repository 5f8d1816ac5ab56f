#pragma once

#include "kubeproxy/wire/address_text.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// Fields of Kubernetes' objects: absent and null are the same, and whatever else is of the wrong type or out of its
/// bounds is an error that knows its place.
namespace kubeproxy {
inline namespace v0_2 {

/// Why an object is refused, and which field of it is wrong.
class field_error : public std::runtime_error {
  public:
    field_error(std::string_view field, std::string const& reason) : std::runtime_error{reason}, field_{field} {}

    [[nodiscard]] std::string const& field() const noexcept { return field_; } ///< "spec.ports[1].port"
    /// The error is inside this one.
    void stands_in(std::string_view outer) {
        field_ = std::string{outer} + (field_.empty() || field_.front() == '[' ? "" : ".") + field_;
    }

  private:
    std::string field_;
};

/// What stands in a text of the cluster as it may stand in a message of ours.
[[nodiscard]] inline std::string shown(std::string_view text) {
    constexpr std::size_t longest = 60;
    std::string result{'"'};
    for (char const c : text.substr(0, longest)) result += c >= ' ' && c < 0x7f ? c : '?';
    return result + (text.size() > longest ? "…\"" : "\"");
}

/// Null: it is absent.
[[nodiscard]] inline boost::json::value const* field_of(boost::json::object const& object, std::string_view name) {
    auto const* value = object.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
}

[[nodiscard]] inline std::optional<std::string_view> text_field(boost::json::object const& object,
                                                                std::string_view name) {
    auto const* value = field_of(object, name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) throw field_error{name, "a string is wanted"};
    return std::string_view{value->get_string()};
}

[[nodiscard]] inline std::optional<bool> flag_field(boost::json::object const& object, std::string_view name) {
    auto const* value = field_of(object, name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_bool()) throw field_error{name, "true or false is wanted"};
    return value->get_bool();
}

[[nodiscard]] inline std::optional<std::uint32_t> number_field(boost::json::object const& object, std::string_view name,
                                                               std::uint32_t least, std::uint32_t most) {
    auto const* value = field_of(object, name);
    if (value == nullptr) return std::nullopt;
    boost::json::error_code wrong;
    auto const number = value->is_number() ? value->to_number<std::int64_t>(wrong) : -1;
    if (!value->is_number() || wrong || number < least || number > most)
        throw field_error{name, boost::json::serialize(*value).substr(0, 60) + ": a number from " +
                                    std::to_string(least) + " to " + std::to_string(most) + " is wanted"};
    return static_cast<std::uint32_t>(number);
}

[[nodiscard]] inline std::optional<std::uint16_t> port_field(boost::json::object const& object, std::string_view name,
                                                             std::uint16_t least = 1) {
    auto const number = number_field(object, name, least, 65535);
    return number ? std::optional{static_cast<std::uint16_t>(*number)} : std::nullopt;
}

/// Null: it is absent.
[[nodiscard]] inline boost::json::object const* object_field(boost::json::object const& object, std::string_view name) {
    auto const* value = field_of(object, name);
    if (value != nullptr && !value->is_object()) throw field_error{name, "an object is wanted"};
    return value == nullptr ? nullptr : &value->get_object();
}

/// Calls f(), and tells in its errors what they stand in.
template <class F>
void inside(std::string_view name, F&& f) {
    try {
        f();
    } catch (field_error& wrong) {
        wrong.stands_in(name);
        throw;
    }
}

/// Calls f(object) if the object is there.
template <class F>
void inside(boost::json::object const& object, std::string_view name, F&& f) {
    if (auto const* found = object_field(object, name)) inside(name, [&] { f(*found); });
}

/// Calls f(value) for each element of an array, which may be absent.
template <class F>
void for_each_in(boost::json::object const& object, std::string_view name, F&& f) {
    auto const* value = field_of(object, name);
    if (value == nullptr) return;
    if (!value->is_array()) throw field_error{name, "an array is wanted"};
    std::size_t i = 0;
    try {
        for (auto const& element : value->get_array()) {
            f(element);
            ++i;
        }
    } catch (field_error& wrong) {
        wrong.stands_in(std::string{name} + '[' + std::to_string(i) + ']');
        throw;
    }
}

[[nodiscard]] inline boost::json::object const& object_in(boost::json::value const& element) {
    if (!element.is_object()) throw field_error{"", "an object is wanted"};
    return element.get_object();
}
[[nodiscard]] inline std::string_view text_in(boost::json::value const& element) {
    if (!element.is_string()) throw field_error{"", "a string is wanted"};
    return element.get_string();
}

namespace detail {
/// Objects from before Go 1.17 may have leading zeros in decimal numbers, which mean nothing: the API server and
/// kube-proxy still read them (k8s.io/utils/net ParseIPSloppy and ParseCIDRSloppy), also in the IPv4 part of an IPv6
/// address and in the length of a prefix.
[[nodiscard]] inline std::string without_leading_zeros(std::string_view text) {
    constexpr std::string_view separators = ".:/", digits = "0123456789abcdefABCDEF";
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        bool const is_first = result.empty() || separators.find(result.back()) != std::string_view::npos;
        bool const is_followed = i + 1 < text.size() && digits.find(text[i + 1]) != std::string_view::npos;
        if (text[i] != '0' || !is_first || !is_followed) result += text[i];
    }
    return result;
}

/// An IPv4-mapped address means the IPv4 address, as it does for the API server (Go's net.IP.To4).
[[nodiscard]] inline ipv4::address unmapped(ipv6::address const& mapped) noexcept {
    ipv4::address result;
    std::ranges::copy(mapped.end() - result.size(), mapped.end(), result.begin());
    return result;
}
} // namespace detail

[[nodiscard]] inline ip_address address_in(std::string_view text) {
    auto const address = parse_address(detail::without_leading_zeros(text));
    if (!address) throw field_error{"", shown(text) + " is no address"};
    auto const* v6 = std::get_if<ipv6::address>(&*address);
    if (v6 == nullptr || !detail::is_ipv4_mapped(*v6)) return *address;
    return detail::unmapped(*v6);
}
/// The API server lets white space around a prefix pass; so does kube-proxy.
[[nodiscard]] inline ip_prefix prefix_in(std::string_view text) {
    constexpr std::string_view space = " \t\r\n";
    auto const first = std::min(text.find_first_not_of(space), text.size());
    auto const trimmed = text.substr(first, text.find_last_not_of(space) + 1 - first);
    auto const prefix_of_text = trimmed.find('/') == std::string_view::npos
                                    ? std::nullopt
                                    : parse_prefix(detail::without_leading_zeros(trimmed));
    if (!prefix_of_text) throw field_error{"", shown(text) + " is no prefix"};
    auto const* v6 = std::get_if<prefix<ipv6>>(&*prefix_of_text);
    constexpr unsigned mapped_bits = address_bits<ipv6> - address_bits<ipv4>;
    if (v6 == nullptr || !detail::is_ipv4_mapped(v6->address) || v6->length < mapped_bits) return *prefix_of_text;
    return prefix<ipv4>::of(detail::unmapped(v6->address), v6->length - mapped_bits);
}

[[nodiscard]] inline ip_prefix host_prefix(ip_address const& address) {
    if (auto const* v4 = std::get_if<ipv4::address>(&address)) return prefix<ipv4>::of(*v4, address_bits<ipv4>);
    return prefix<ipv6>::of(std::get<ipv6::address>(address), address_bits<ipv6>);
}

} // namespace v0_2
} // namespace kubeproxy
