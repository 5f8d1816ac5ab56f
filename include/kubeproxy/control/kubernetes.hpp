#pragma once

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/control/kubernetes_cluster.hpp"
#include "kubeproxy/control/kubernetes_node.hpp"
#include "kubeproxy/control/kubernetes_relist.hpp"
#include "kubeproxy/control/kubernetes_service.hpp"
#include "kubeproxy/control/kubernetes_slice.hpp"
#include "kubeproxy/control/kubernetes_text.hpp"

#include <boost/json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Services and EndpointSlices of a cluster, as `kubectl get -o json` prints them, once or as they change.
/// Opt-in: needs Boost.JSON, to be linked.
namespace kubeproxy::inline v0_2 {

/// What was not taken, and why: a whole object, or an address and port that a Service lost to another one. Everything
/// else goes on.
struct kubernetes_refusal {
    std::string kind{};  ///< "Service"; empty: the text is no JSON
    std::string name{};  ///< "default/web", as far as it could be read
    std::string field{}; ///< "spec.ports[1].port"; empty: the whole object
    std::string reason{};
    std::uint64_t offset = 0; ///< where the text is no JSON, from the beginning of the input

    [[nodiscard]] std::string text() const {
        if (kind.empty()) return "at byte " + std::to_string(offset) + ": " + reason;
        return kind + (name.empty() ? "" : ' ' + name) + ": " + (field.empty() ? "" : field + ": ") + reason;
    }
};

enum class kubernetes_kind : std::uint8_t { service, endpoint_slice };

struct kubernetes_counters {
    std::uint64_t services = 0; ///< put, deleted, or left alone as kube-proxy leaves them alone
    std::uint64_t slices = 0;
    std::uint64_t bookmarks = 0;
    std::uint64_t other_kinds = 0; ///< passed over
    std::uint64_t vanished = 0;    ///< not named by a relist
    std::uint64_t refused = 0;
};

/// Keeps a controller's configuration as the cluster's objects say.
///
/// Reads objects, Lists, arrays and watch events ({"type":"ADDED","object":…}), one behind the other, in bytes cut
/// anywhere. An object replaces the one of its kind and name. A broken object is refused and changes nothing. A Service
/// that claims the same address and port as another one is served everywhere else, and is reported once with the other
/// one's name (see claim_register for the order). See json_stream for broken text.
///
/// A list only adds and replaces, for nobody can tell whether it is of all namespaces and kinds. begin_relist() and
/// end_relist() say that what came between them is all there is.
class kubernetes_reader {
  public:
    /// \param control outlives this; its other services, of `ku` lines, are left alone
    explicit kubernetes_reader(controller& control) : control_{&control}, cluster_{control.configuration()} {}
    kubernetes_reader(kubernetes_reader const&) = delete;
    kubernetes_reader& operator=(kubernetes_reader const&) = delete;

    /// Reads more bytes. What they change is in force when flush() has been called.
    void read(std::string_view bytes) {
        text_.read(
            bytes, [this](boost::json::value const& value) { take(value); },
            [this](json_text_error const& wrong) { refuse({.reason = wrong.reason, .offset = wrong.offset}); });
    }
    /// The input is over; more may come, as another one.
    void finish() {
        text_.finish(
            [this](json_text_error const& wrong) { refuse({.reason = wrong.reason, .offset = wrong.offset}); });
    }
    /// After a watch that broke, before the objects are listed anew; call finish() first, half an object may be left.
    /// Nothing vanishes yet, so that connections go on.
    void begin_relist() {
        for (auto& one : relists_) one.begin();
    }
    void begin_relist(kubernetes_kind kind) { relist(kind).begin(); }
    /// All objects have been named: the others were deleted. A broken one that was named stays as it was. In force with
    /// flush(). A BOOKMARK event with the annotation k8s.io/initial-events-end (a watch with sendInitialEvents) does
    /// this for its kind. Without begin_relist() nothing happens.
    void end_relist() {
        end_relist(kubernetes_kind::service);
        end_relist(kubernetes_kind::endpoint_slice);
    }
    void end_relist(kubernetes_kind kind);
    /// Publishes all changes at once, if there are any. \return what was refused since the last call
    std::vector<kubernetes_refusal> flush() {
        bool const changed = cluster_.commit([this](std::string const& name, config_error const& wrong) {
            refuse({.kind = "Service", .name = name, .reason = wrong.rule});
        });
        if (changed || control_->current() == nullptr) control_->publish();
        return take_refusals();
    }
    /// What was refused since the last call, before anything is published.
    std::vector<kubernetes_refusal> take_refusals() { return std::exchange(refusals_, {}); }
    /// Reads and publishes: for a watch stream, whose bytes come when something has changed.
    std::vector<kubernetes_refusal> feed(std::string_view bytes) {
        read(bytes);
        return flush();
    }

    [[nodiscard]] kubernetes_counters const& counters() const noexcept { return counters_; }
    /// Services that claim an address and port, or a node port, that another service serves.
    [[nodiscard]] std::size_t contested_services() const noexcept {
        return control_->configuration().contested_services();
    }

  private:
    enum class change : std::uint8_t { put, remove };

    void take(boost::json::value const& value);
    void take(boost::json::object const& object);
    void take_event(std::string_view type, boost::json::object const& object);
    void take_list(boost::json::object const& list, std::string_view kind);
    void take_bookmark(boost::json::object const& object, std::string_view kind);
    void take_object(boost::json::object const& object, std::string_view kind, change what);
    void take_service(boost::json::object const& object, change what);
    void take_slice(boost::json::object const& object, change what);
    void refuse(kubernetes_refusal why) {
        ++counters_.refused;
        refusals_.push_back(std::move(why));
    }

    [[nodiscard]] kubernetes_relist& relist(kubernetes_kind kind) noexcept {
        return relists_[static_cast<std::size_t>(kind)];
    }

    controller* control_;
    kubernetes_cluster cluster_;
    topology_pool topologies_;
    std::array<kubernetes_relist, 2> relists_;
    json_stream text_;
    kubernetes_counters counters_;
    std::vector<kubernetes_refusal> refusals_;
};

namespace detail {

/// Kind and API group, so that others' Services (Knative has some) are not taken for the core's.
[[nodiscard]] inline std::string_view kind_of(boost::json::object const& object) noexcept {
    auto const text = [&](std::string_view name) {
        auto const* value = object.if_contains(name);
        return value != nullptr && value->is_string() ? std::string_view{value->get_string()} : std::string_view{};
    };
    auto const kind = text("kind"), api = text("apiVersion");
    if ((kind == "Service" || kind == "ServiceList") && !api.empty() && api != "v1") return "";
    if ((kind == "EndpointSlice" || kind == "EndpointSliceList") && !api.empty() &&
        !api.starts_with("discovery.k8s.io/"))
        return "";
    return kind;
}

/// As far as it can be told.
[[nodiscard]] inline std::string name_if_any(boost::json::object const& object) {
    auto const* meta = object.if_contains("metadata");
    if (meta == nullptr || !meta->is_object()) return {};
    auto const text = [&](std::string_view name) {
        auto const* value = meta->get_object().if_contains(name);
        return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
    };
    auto const space = text("namespace"), name = text("name");
    return space.empty() ? name : space + '/' + name;
}

/// KEP-3157: the bookmark that tells a watch that all that was there has been named.
[[nodiscard]] inline bool ends_initial_events(boost::json::object const& object) noexcept {
    auto const inner = [](boost::json::object const* outer, std::string_view name) {
        auto const* value = outer == nullptr ? nullptr : outer->if_contains(name);
        return value == nullptr ? nullptr : value->if_object();
    };
    auto const* annotations = inner(inner(&object, "metadata"), "annotations");
    auto const* mark = annotations == nullptr ? nullptr : annotations->if_contains("k8s.io/initial-events-end");
    return mark != nullptr && mark->is_string() && mark->get_string() == "true";
}

} // namespace detail

inline void kubernetes_reader::take(boost::json::value const& value) {
    if (auto const* all = value.if_array()) {
        for (auto const& each : *all) take(each);
    } else if (auto const* object = value.if_object()) {
        take(*object);
    } else {
        refuse({.kind = "value", .reason = "an object is wanted"});
    }
}

inline void kubernetes_reader::take(boost::json::object const& object) {
    auto const* type = object.if_contains("type");
    auto const* inner = object.if_contains("object");
    if (type != nullptr && type->is_string() && inner != nullptr && inner->is_object())
        return take_event(type->get_string(), inner->get_object());
    if (auto const* kind = object.if_contains("kind"); kind == nullptr || !kind->is_string())
        return refuse({.kind = "object", .name = detail::name_if_any(object), .field = "kind", .reason = "is missing"});
    auto const kind = detail::kind_of(object);
    if (kind == "List" || kind == "ServiceList" || kind == "EndpointSliceList") return take_list(object, kind);
    take_object(object, kind, change::put);
}

inline void kubernetes_reader::take_event(std::string_view type, boost::json::object const& object) {
    auto const kind = detail::kind_of(object);
    if (type == "BOOKMARK") {
        take_bookmark(object, kind);
    } else if (type == "ADDED" || type == "MODIFIED") {
        take_object(object, kind, change::put);
    } else if (type == "DELETED") {
        take_object(object, kind, change::remove);
    } else if (type == "ERROR") {
        auto const* message = object.if_contains("message");
        auto const text =
            message != nullptr && message->is_string() ? shown(message->get_string()) : "without a message";
        refuse({.kind = "watch", .reason = "the API server reports an error: " + text});
    } else {
        refuse({.kind = "watch", .field = "type", .reason = shown(type) + " is no event"});
    }
}

inline void kubernetes_reader::take_bookmark(boost::json::object const& object, std::string_view kind) {
    ++counters_.bookmarks;
    if (!detail::ends_initial_events(object)) return;
    if (kind == "Service") end_relist(kubernetes_kind::service);
    if (kind == "EndpointSlice") end_relist(kubernetes_kind::endpoint_slice);
}

inline void kubernetes_reader::end_relist(kubernetes_kind kind) {
    bool const is_service = kind == kubernetes_kind::service;
    for (auto const& name : relist(kind).end(is_service ? cluster_.services() : cluster_.slices())) {
        ++counters_.vanished;
        if (is_service)
            cluster_.remove_service(name);
        else
            cluster_.remove_slice(name);
    }
}

/// The objects of a list of one kind do not always say which.
inline void kubernetes_reader::take_list(boost::json::object const& list, std::string_view kind) {
    auto const* items = list.if_contains("items");
    if (items == nullptr || items->is_null()) return;
    if (!items->is_array())
        return refuse({.kind = std::string{kind}, .field = "items", .reason = "an array is wanted"});
    for (auto const& item : items->get_array()) {
        if (kind == "List" || !item.is_object() || item.get_object().contains("kind"))
            take(item);
        else
            take_object(item.get_object(), kind.substr(0, kind.size() - std::string_view{"List"}.size()), change::put);
    }
}

inline void kubernetes_reader::take_object(boost::json::object const& object, std::string_view kind, change what) {
    try {
        if (kind == "Service")
            take_service(object, what);
        else if (kind == "EndpointSlice")
            take_slice(object, what);
        else
            ++counters_.other_kinds;
    } catch (field_error const& wrong) {
        refuse({.kind = std::string{kind},
                .name = detail::name_if_any(object),
                .field = wrong.field(),
                .reason = wrong.what()});
    }
}

inline void kubernetes_reader::take_service(boost::json::object const& object, change what) {
    auto const name = name_of(object).text();
    if (what == change::put) relist(kubernetes_kind::service).note(name);
    auto service = what == change::put ? read_service(object) : std::nullopt;
    if (service)
        if (auto const wrong = check_service(*service)) throw field_error{"", wrong->rule};
    ++counters_.services;
    if (service)
        cluster_.put_service(std::move(*service));
    else
        cluster_.remove_service(name);
}

inline void kubernetes_reader::take_slice(boost::json::object const& object, change what) {
    auto const name = name_of(object).text();
    if (what == change::put) relist(kubernetes_kind::endpoint_slice).note(name);
    auto slice = what == change::put ? read_slice(object, topologies_) : std::nullopt;
    ++counters_.slices;
    if (slice && slice->skipped.count != 0)
        refuse({.kind = "EndpointSlice", .name = name, .field = slice->skipped.field, .reason = slice->skipped.text()});
    if (slice)
        cluster_.put_slice(name, std::move(*slice));
    else
        cluster_.remove_slice(name);
}

} // namespace kubeproxy::inline v0_2
