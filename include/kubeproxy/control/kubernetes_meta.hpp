#pragma once

#include "kubeproxy/control/config.hpp"
#include "kubeproxy/control/kubernetes_fields.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

/// What all objects of Kubernetes have.
namespace kubeproxy::inline v0_2 {

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

} // namespace kubeproxy::inline v0_2
