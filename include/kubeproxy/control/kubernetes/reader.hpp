#pragma once

#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/control/kubernetes/cluster.hpp"
#include "kubeproxy/control/kubernetes/items.hpp"
#include "kubeproxy/control/kubernetes/json_stream.hpp"
#include "kubeproxy/control/kubernetes/node.hpp"
#include "kubeproxy/control/kubernetes/refusal.hpp"
#include "kubeproxy/control/kubernetes/relist.hpp"
#include "kubeproxy/control/kubernetes/service.hpp"
#include "kubeproxy/control/kubernetes/service_cidr.hpp"
#include "kubeproxy/control/kubernetes/slice.hpp"

#include <boost/json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Services, EndpointSlices and ServiceCIDRs of a cluster, as `kubectl get -o json` prints them, once or as they
/// change. Opt-in: needs Boost.JSON, to be linked.
namespace kubeproxy {
inline namespace v0_2 {

struct kubernetes_counters {
    std::uint64_t services = 0; ///< put, deleted, or left alone as kube-proxy leaves them alone
    std::uint64_t slices = 0;
    std::uint64_t service_cidrs = 0;
    std::uint64_t bookmarks = 0;
    std::uint64_t other_kinds = 0; ///< ignored; see kubernetes_reader::ignored_kinds()
    std::uint64_t vanished = 0;    ///< not named by a relist
    std::uint64_t refused = 0;
};

/// Keeps a controller's configuration as the cluster's objects say.
///
/// Reads objects, lists, arrays and watch events ({"type":"ADDED","object":…}), one inside the other or one behind the
/// other, in bytes cut anywhere. An object replaces the one of its kind and name. A broken object is refused and
/// changes nothing. A Service that claims the same address and port as another one is served everywhere else, and is
/// reported once with the other one's name (see claim_register for the order). See json_stream for broken text.
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
        for (auto const kind : kubernetes_kinds) end_relist(kind);
    }
    void end_relist(kubernetes_kind kind);
    /// Publishes all changes at once, if there are any. \return what take_refusals() returns
    std::vector<kubernetes_refusal> flush();
    /// What was refused since the last call, before anything is published, and a line for each kind that was ignored
    /// for the first time.
    std::vector<kubernetes_refusal> take_refusals() {
        ignored_.report(refusals_);
        return std::exchange(refusals_, {});
    }
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
    /// How many objects of each unknown kind were ignored: "Pod (v1)" -> 37.
    [[nodiscard]] std::map<std::string, std::uint64_t> const& ignored_kinds() const noexcept {
        return ignored_.counts();
    }

  private:
    enum class change : std::uint8_t { put, remove };

    void take(boost::json::value const& value);
    void take(kubernetes_item const& item);
    void take_bookmark(kubernetes_item const& item);
    void take_error(boost::json::object const& status);
    void take_object(kubernetes_item const& item, change what);
    void take_service(boost::json::object const& object, change what);
    void take_slice(boost::json::object const& object, change what);
    void take_service_cidr(boost::json::object const& object, change what);
    void ignore(kubernetes_item const& item);
    [[nodiscard]] std::vector<std::string> names_of(kubernetes_kind kind) const;
    void remove(kubernetes_kind kind, std::string const& name);
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
    kubernetes_service_cidrs service_cidrs_;
    std::array<kubernetes_relist, kubernetes_kinds.size()> relists_;
    json_stream text_;
    kubernetes_counters counters_;
    std::vector<kubernetes_refusal> refusals_;
    kubernetes_ignored_kinds ignored_;
};

namespace detail {

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

} // namespace detail

inline std::vector<kubernetes_refusal> kubernetes_reader::flush() {
    bool changed = cluster_.commit([this](std::string const& name, config_error const& wrong) {
        refuse({.kind = "Service", .name = name, .reason = wrong.rule});
    });
    changed |= control_->configuration().set_cluster_ranges(service_cidrs_.ranges());
    if (changed || control_->current() == nullptr) control_->publish();
    return take_refusals();
}

inline void kubernetes_reader::take(boost::json::value const& value) {
    for_each_item(
        value, [this](kubernetes_item const& item) { take(item); },
        [this](std::string_view kind, std::string_view field, std::string_view reason) {
            refuse({.kind = std::string{kind}, .field = std::string{field}, .reason = std::string{reason}});
        });
}

inline void kubernetes_reader::take(kubernetes_item const& item) {
    if (item.event == "BOOKMARK") {
        take_bookmark(item);
    } else if (item.event == "ADDED" || item.event == "MODIFIED") {
        take_object(item, change::put);
    } else if (item.event == "DELETED") {
        take_object(item, change::remove);
    } else if (item.event == "ERROR") {
        take_error(*item.object);
    } else {
        refuse({.kind = "watch", .field = "type", .reason = shown(item.event) + " is no event"});
    }
}

inline void kubernetes_reader::take_error(boost::json::object const& status) {
    auto const* message = status.if_contains("message");
    auto const text = message != nullptr && message->is_string() ? shown(message->get_string()) : "without a message";
    refuse({.kind = "watch", .reason = "the API server reports an error: " + text});
}

inline void kubernetes_reader::take_bookmark(kubernetes_item const& item) {
    ++counters_.bookmarks;
    if (!ends_initial_events(*item.object)) return;
    if (auto const kind = known_kind(item.kind, item.api_version)) end_relist(*kind);
}

inline std::vector<std::string> kubernetes_reader::names_of(kubernetes_kind kind) const {
    switch (kind) {
    case kubernetes_kind::service: return cluster_.services();
    case kubernetes_kind::endpoint_slice: return cluster_.slices();
    case kubernetes_kind::service_cidr: return service_cidrs_.names();
    }
    return {};
}

inline void kubernetes_reader::remove(kubernetes_kind kind, std::string const& name) {
    switch (kind) {
    case kubernetes_kind::service: return cluster_.remove_service(name);
    case kubernetes_kind::endpoint_slice: return cluster_.remove_slice(name);
    case kubernetes_kind::service_cidr: return service_cidrs_.remove(name);
    }
}

inline void kubernetes_reader::end_relist(kubernetes_kind kind) {
    for (auto const& name : relist(kind).end(names_of(kind))) {
        ++counters_.vanished;
        remove(kind, name);
    }
}

inline void kubernetes_reader::take_object(kubernetes_item const& item, change what) {
    auto const& object = *item.object;
    if (item.kind.empty())
        return refuse({.kind = "object", .name = detail::name_if_any(object), .field = "kind", .reason = "is missing"});
    auto const kind = known_kind(item.kind, item.api_version);
    if (!kind) return ignore(item);
    try {
        switch (*kind) {
        case kubernetes_kind::service: return take_service(object, what);
        case kubernetes_kind::endpoint_slice: return take_slice(object, what);
        case kubernetes_kind::service_cidr: return take_service_cidr(object, what);
        }
    } catch (field_error const& wrong) {
        refuse({.kind = std::string{item.kind},
                .name = detail::name_if_any(object),
                .field = wrong.field(),
                .reason = wrong.what()});
    }
}

inline void kubernetes_reader::ignore(kubernetes_item const& item) {
    ++counters_.other_kinds;
    if (!is_node(item)) ignored_.count(item);
}

inline void kubernetes_reader::take_service(boost::json::object const& object, change what) {
    auto const name = name_of(object).text();
    if (what == change::put) relist(kubernetes_kind::service).note(name);
    auto service = what == change::put ? read_service(object) : std::nullopt;
    if (service && !control_->configuration().node().external_ips) leave_out_external_ips(*service);
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

inline void kubernetes_reader::take_service_cidr(boost::json::object const& object, change what) {
    auto const name = name_of(object).name;
    if (what == change::put) relist(kubernetes_kind::service_cidr).note(name);
    ++counters_.service_cidrs;
    if (what == change::put)
        service_cidrs_.put(name, read_service_cidr(object));
    else
        service_cidrs_.remove(name);
}

} // namespace v0_2
} // namespace kubeproxy
