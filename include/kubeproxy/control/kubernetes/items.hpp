#pragma once

#include "kubeproxy/version.hpp"

#include <boost/json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

/// Objects of a cluster, found inside whatever kubectl and the API server put around them.
namespace kubeproxy {
inline namespace v0_2 {

/// The kinds of objects that kubernetes_reader reads.
enum class kubernetes_kind : std::uint8_t { service, endpoint_slice, service_cidr };

inline constexpr std::array kubernetes_kinds{kubernetes_kind::service, kubernetes_kind::endpoint_slice,
                                             kubernetes_kind::service_cidr};

[[nodiscard]] constexpr std::string_view kind_name(kubernetes_kind kind) noexcept {
    switch (kind) {
    case kubernetes_kind::service: return "Service";
    case kubernetes_kind::endpoint_slice: return "EndpointSlice";
    case kubernetes_kind::service_cidr: return "ServiceCIDR";
    }
    return {};
}

namespace detail {
/// Of apiVersion: "discovery.k8s.io/v1" is version v1 of group discovery.k8s.io; the core group has no name.
[[nodiscard]] constexpr std::string_view api_group(std::string_view api_version) noexcept {
    auto const slash = api_version.find('/');
    return slash == std::string_view::npos ? std::string_view{} : api_version.substr(0, slash);
}
[[nodiscard]] constexpr std::string_view group_of(kubernetes_kind kind) noexcept {
    switch (kind) {
    case kubernetes_kind::service: return "";
    case kubernetes_kind::endpoint_slice: return "discovery.k8s.io";
    case kubernetes_kind::service_cidr: return "networking.k8s.io";
    }
    return {};
}
[[nodiscard]] inline std::string_view text_or_empty(boost::json::object const& object, std::string_view name) noexcept {
    auto const* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string_view{value->get_string()} : std::string_view{};
}
[[nodiscard]] inline boost::json::object const* object_or_null(boost::json::object const* outer,
                                                               std::string_view name) noexcept {
    auto const* value = outer == nullptr ? nullptr : outer->if_contains(name);
    return value == nullptr ? nullptr : value->if_object();
}
} // namespace detail

/// None if the kind is another one. Other API groups use the same names (Knative has a kind Service). An object
/// without apiVersion is assumed to be of the right group.
[[nodiscard]] constexpr std::optional<kubernetes_kind> known_kind(std::string_view kind,
                                                                  std::string_view api_version) noexcept {
    for (auto const known : kubernetes_kinds)
        if (kind == kind_name(known) &&
            (api_version.empty() || detail::api_group(api_version) == detail::group_of(known)))
            return known;
    return std::nullopt;
}

/// One object, and what was said around it.
struct kubernetes_item {
    std::string_view event;       ///< type of the watch event around it; "ADDED" if there is none
    std::string_view kind;        ///< its own, or the one of the typed list around it; may be empty
    std::string_view api_version; ///< likewise
    boost::json::object const* object;
};

/// KEP-3157: whether a BOOKMARK event ends the initial events of a watch, so that every object has been named.
[[nodiscard]] inline bool ends_initial_events(boost::json::object const& bookmark) noexcept {
    auto const* annotations = detail::object_or_null(detail::object_or_null(&bookmark, "metadata"), "annotations");
    return annotations != nullptr && detail::text_or_empty(*annotations, "k8s.io/initial-events-end") == "true";
}

namespace detail {

template <class OnItem, class OnError>
class item_finder {
  public:
    item_finder(OnItem& on_item, OnError& on_error) noexcept : on_item_{&on_item}, on_error_{&on_error} {}

    /// \param around what the surrounding event and typed list say about the value
    void find(boost::json::value const& value, kubernetes_item const& around) {
        if (auto const* all = value.if_array()) {
            for (auto const& each : *all) find(each, around);
        } else if (auto const* object = value.if_object()) {
            find(*object, around);
        } else {
            (*on_error_)("value", "", "an object is wanted");
        }
    }

  private:
    void find(boost::json::object const& object, kubernetes_item const& around) {
        auto const type = text_or_empty(object, "type");
        if (auto const* inner = object_or_null(&object, "object"); inner != nullptr && !type.empty())
            return find_in_event(*inner, type);
        kubernetes_item item{around.event, text_or_empty(object, "kind"), text_or_empty(object, "apiVersion"), &object};
        if (item.kind.empty()) item.kind = around.kind;
        if (item.api_version.empty()) item.api_version = around.api_version;
        if (item.kind.ends_with(list_suffix) && object.contains("items")) return find_in_list(item);
        if (item.kind != "List") (*on_item_)(item);
    }
    /// Bookmarks and errors are about a watch, so that their objects are no objects of the cluster.
    void find_in_event(boost::json::object const& inner, std::string_view type) {
        kubernetes_item const item{type, text_or_empty(inner, "kind"), text_or_empty(inner, "apiVersion"), &inner};
        if (type == "ADDED" || type == "MODIFIED" || type == "DELETED")
            find(inner, {.event = type, .kind = {}, .api_version = {}, .object = nullptr});
        else
            (*on_item_)(item);
    }
    /// Items of a typed list (ServiceList) need not repeat kind and apiVersion.
    void find_in_list(kubernetes_item const& list) {
        auto const& items = list.object->at("items");
        if (items.is_null()) return;
        if (!items.is_array()) return (*on_error_)(list.kind, "items", "an array is wanted");
        kubernetes_item around{list.event, list.kind, list.api_version, nullptr};
        around.kind.remove_suffix(list_suffix.size());
        if (around.kind.empty()) around.api_version = {}; // kind List: its apiVersion is not that of the items
        for (auto const& each : items.get_array()) find(each, around);
    }

    static constexpr std::string_view list_suffix = "List";
    OnItem* on_item_;
    OnError* on_error_;
};

} // namespace detail

/// Calls on_item(kubernetes_item const&) for each object in `value`: the object itself, or those in watch events, in
/// lists (typed or not) and in arrays, one inside the other in any order. kubectl puts whole lists into ADDED events
/// when there are more than 500 objects. Calls on_error(kind, field, reason) for what can hold no object.
template <class OnItem, class OnError>
void for_each_item(boost::json::value const& value, OnItem&& on_item, OnError&& on_error) {
    detail::item_finder<OnItem, OnError>{on_item, on_error}.find(
        value, {.event = "ADDED", .kind = {}, .api_version = {}, .object = nullptr});
}

} // namespace v0_2
} // namespace kubeproxy
