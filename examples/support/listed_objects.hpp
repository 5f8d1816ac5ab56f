#pragma once

#include "kubeproxy/control/kubernetes.hpp"

#include <boost/json.hpp>

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Which objects have gone while nobody wrote a stream.
///
/// kubernetes_reader's relist is of a whole cluster in one stream. `kubectl get --watch` takes one kind, or one
/// namespace of it, so there are several, and each begins anew for itself: what counts is what that stream has named.
namespace examples {

struct listed_object {
    kubeproxy::kubernetes_kind kind;
    std::string space, name;
    friend auto operator<=>(listed_object const&, listed_object const&) = default;

    /// The event that tells a reader that it is gone.
    [[nodiscard]] std::string deletion() const {
        bool const is_service = kind == kubeproxy::kubernetes_kind::service;
        boost::json::object const object{{"kind", is_service ? "Service" : "EndpointSlice"},
                                         {"metadata", {{"namespace", space}, {"name", name}}}};
        return boost::json::serialize(boost::json::object{{"type", "DELETED"}, {"object", object}});
    }
};

/// Where a writer of a stream stands in its list of all objects.
///
/// kubectl does not say where the list ends: it prints the list at once, as ADDED events, and then what changes. So the
/// list is over a while after the last ADDED event before any other. Where much changes ADDED events come without end.
class stream_list {
  public:
    using time = std::chrono::nanoseconds;
    /// A list comes in one go: this is for a writer that waits for a processor or the network in between. It only
    /// delays the end of what is gone.
    static constexpr std::chrono::seconds patience{5};

    /// Another writer names all that there is.
    void begin() noexcept {
        ++number_;
        is_open_ = true;
        has_changes_ = false;
        end_.reset();
    }
    /// Something may have been missed: this list does not tell what is gone.
    void give_up() noexcept {
        is_open_ = false;
        end_.reset();
    }
    void saw_addition(time now) noexcept {
        if (is_open_ && !has_changes_) end_ = now + patience;
    }
    void saw_change() noexcept {
        if (!end_) return give_up(); // no list, but changes only (--watch-only)
        has_changes_ = true;
    }
    /// Whether it is over by now. Once for each list.
    [[nodiscard]] bool has_ended(time now) noexcept {
        if (!end_ || now < *end_) return false;
        give_up();
        return true;
    }
    [[nodiscard]] bool is_open() const noexcept { return is_open_; }
    /// How many have begun.
    [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

  private:
    std::uint64_t number_ = 0;
    bool is_open_ = false;
    bool has_changes_ = false;
    std::optional<time> end_; ///< none: nothing has come
};

namespace detail {

[[nodiscard]] inline std::string_view text_at(boost::json::object const& object, std::string_view name) noexcept {
    auto const* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string_view{value->get_string()} : std::string_view{};
}
[[nodiscard]] inline boost::json::object const* object_at(boost::json::object const& object,
                                                          std::string_view name) noexcept {
    auto const* value = object.if_contains(name);
    return value == nullptr ? nullptr : value->if_object();
}

/// Others have a kind Service, too (Knative).
[[nodiscard]] inline std::optional<kubeproxy::kubernetes_kind> kind_of(std::string_view kind,
                                                                       std::string_view api) noexcept {
    if (kind == "Service" && (api.empty() || api == "v1")) return kubeproxy::kubernetes_kind::service;
    if (kind == "EndpointSlice" && (api.empty() || api.starts_with("discovery.k8s.io/")))
        return kubeproxy::kubernetes_kind::endpoint_slice;
    return std::nullopt;
}

/// KEP-3157
[[nodiscard]] inline bool ends_list(boost::json::object const& bookmark) noexcept {
    auto const* metadata = object_at(bookmark, "metadata");
    auto const* annotations = metadata == nullptr ? nullptr : object_at(*metadata, "annotations");
    return annotations != nullptr && text_at(*annotations, "k8s.io/initial-events-end") == "true";
}

} // namespace detail

/// Calls f(type, kind, object) for all that a value names, as kubernetes_reader takes it: an object, a list, an array
/// or an event, whose type it is; else ADDED. \param kind of objects that do not say theirs
template <class F>
void for_each_event(boost::json::value const& value, F&& f, std::string_view kind = {}) {
    if (auto const* all = value.if_array())
        for (auto const& each : *all) for_each_event(each, f);
    auto const* object = value.if_object();
    if (object == nullptr) return;
    auto const type = detail::text_at(*object, "type");
    auto const* inner = detail::object_at(*object, "object");
    if (!type.empty() && inner != nullptr) return f(type, detail::text_at(*inner, "kind"), *inner);
    if (auto const own = detail::text_at(*object, "kind"); !own.empty()) kind = own;
    if (kind != "List" && kind != "ServiceList" && kind != "EndpointSliceList") return f("ADDED", kind, *object);
    auto const* items = object->if_contains("items");
    if (items == nullptr || !items->is_array()) return;
    kind.remove_suffix(std::string_view{"List"}.size());
    for (auto const& item : items->get_array()) for_each_event(item, f, kind);
}

/// The objects of all streams; each is of the stream that named it last.
class listed_objects {
  public:
    /// What an event of a stream says. \param list where the stream is, which outlives this
    /// \return what is gone by that: all that a list has not named, if this is the event that ends it
    [[nodiscard]] std::vector<listed_object> take(stream_list& list, std::string_view type, std::string_view kind_text,
                                                  boost::json::object const& object, stream_list::time now) {
        if (type == "ERROR") list.give_up(); // the watch has failed, perhaps within the list
        auto const kind = detail::kind_of(kind_text, detail::text_at(object, "apiVersion"));
        if (!kind) return {};
        if (type == "BOOKMARK" && list.is_open() && detail::ends_list(object)) return unnamed(list, kind);
        if (type == "ADDED") list.saw_addition(now);
        if (type == "MODIFIED" || type == "DELETED") list.saw_change();
        try {
            auto name = kubeproxy::name_of(object);
            listed_object const one{*kind, std::move(name.space), std::move(name.name)};
            if (type == "ADDED" || type == "MODIFIED") owners_.insert_or_assign(one, owner{&list, list.number()});
            if (type == "DELETED") owners_.erase(one);
        } catch (kubeproxy::field_error const&) { // the reader refuses it
        }
        return {};
    }
    /// What the stream has named, and not in this list of it. It is forgotten here.
    [[nodiscard]] std::vector<listed_object> unnamed(stream_list const& list,
                                                     std::optional<kubeproxy::kubernetes_kind> kind = std::nullopt) {
        std::vector<listed_object> gone;
        std::erase_if(owners_, [&](auto const& entry) {
            auto const& [object, by] = entry;
            if (by.list != &list || by.number == list.number() || (kind && object.kind != *kind)) return false;
            gone.push_back(object);
            return true;
        });
        return gone;
    }

  private:
    struct owner {
        stream_list const* list;
        std::uint64_t number;
    };
    std::map<listed_object, owner> owners_;
};

} // namespace examples
