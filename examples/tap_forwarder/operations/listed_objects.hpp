#pragma once

#include "kubeproxy/control/kubernetes/reader.hpp"

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
        boost::json::object const object{{"kind", kubeproxy::kind_name(kind)},
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

/// The objects of all streams; each is of the stream that named it last.
class listed_objects {
  public:
    /// What an event of a stream says, or an object of a list in it. \param list where the stream is, which outlives
    /// this \return what is gone by that: all that a list has not named, if this is the event that ends it
    [[nodiscard]] std::vector<listed_object> take(stream_list& list, kubeproxy::kubernetes_item const& item,
                                                  stream_list::time now) {
        auto const type = item.event;
        if (type == "ERROR") list.give_up(); // the watch has failed, perhaps within the list
        auto const kind = kubeproxy::known_kind(item.kind, item.api_version);
        if (!kind) return {};
        if (type == "BOOKMARK" && list.is_open() && kubeproxy::ends_initial_events(*item.object))
            return unnamed(list, kind);
        if (type == "ADDED") list.saw_addition(now);
        if (type == "MODIFIED" || type == "DELETED") list.saw_change();
        try {
            auto name = kubeproxy::name_of(*item.object);
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
