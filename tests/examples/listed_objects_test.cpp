#include "tap_forwarder/operations/listed_objects.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

namespace examples::listed_objects_tests {
namespace {

using namespace std::chrono_literals;
using kubeproxy::kubernetes_kind;
using names = std::vector<std::string>;

boost::json::object service(std::string const& name) {
    return {{"kind", "Service"}, {"apiVersion", "v1"}, {"metadata", {{"namespace", "shop"}, {"name", name}}}};
}
boost::json::object slice(std::string const& name) {
    return {{"kind", "EndpointSlice"},
            {"apiVersion", "discovery.k8s.io/v1"},
            {"metadata", {{"namespace", "shop"}, {"name", name}}}};
}
boost::json::value event(std::string const& type, boost::json::object const& object) {
    return boost::json::object{{"type", type}, {"object", object}};
}
/// As sendInitialEvents has the API server end a list.
boost::json::value last_bookmark(std::string const& kind) {
    return event("BOOKMARK",
                 {{"kind", kind}, {"metadata", {{"annotations", {{"k8s.io/initial-events-end", "true"}}}}}});
}

names names_of(std::vector<listed_object> const& objects) {
    names result;
    for (auto const& each : objects)
        result.push_back((each.kind == kubernetes_kind::service ? "service " : "slice ") + each.space + '/' +
                         each.name);
    return result;
}

/// Streams of which each has a list; what they say, and what is gone by that.
class lists : public testing::Test {
  protected:
    names say(stream_list& list, boost::json::value const& value) {
        names gone;
        kubeproxy::for_each_item(
            value,
            [&](kubeproxy::kubernetes_item const& item) {
                std::ranges::copy(names_of(objects_.take(list, item, now_)), std::back_inserter(gone));
            },
            [](auto&&...) {});
        return gone;
    }
    names add(stream_list& list, boost::json::object const& object) { return say(list, event("ADDED", object)); }
    names after(stream_list& list, std::chrono::milliseconds time) {
        now_ += time;
        return list.has_ended(now_) ? names_of(objects_.unnamed(list)) : names{"still"};
    }
    void first_writer() {
        list_.begin();
        for (auto const* name : {"web", "db"}) {
            add(list_, service(name));
            add(list_, slice(name));
        }
        ASSERT_EQ(after(list_, 5s), names{});
        list_.give_up(); // it goes
        list_.begin();
    }

    listed_objects objects_;
    stream_list list_;
    std::chrono::nanoseconds now_{1h};
};

TEST_F(lists, what_a_new_list_does_not_name_is_gone_when_nothing_is_added_for_a_while) {
    first_writer();
    EXPECT_EQ(after(list_, 1h), names{"still"}) << "the writer has listed nothing yet";
    add(list_, service("web"));
    EXPECT_EQ(after(list_, 4999ms), names{"still"});
    add(list_, slice("web"));
    EXPECT_EQ(after(list_, 4999ms), names{"still"});
    EXPECT_EQ(after(list_, 1ms), (names{"service shop/db", "slice shop/db"}));
    EXPECT_EQ(after(list_, 1h), names{"still"}) << "a list ends once";
}

TEST_F(lists, changes_end_a_list_although_objects_are_added_all_the_time) {
    first_writer();
    add(list_, service("web"));
    add(list_, slice("web"));
    EXPECT_EQ(after(list_, 1s), names{"still"});
    say(list_, event("MODIFIED", slice("web")));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(after(list_, 1s), names{"still"});
        add(list_, slice("more" + std::to_string(i)));
        say(list_, event("DELETED", slice("more" + std::to_string(i))));
    }
    EXPECT_EQ(after(list_, 1s), (names{"service shop/db", "slice shop/db"}));
}

TEST_F(lists, a_bookmark_ends_the_list_of_its_kind_at_once) { // KEP-3157
    first_writer();
    add(list_, service("web"));
    EXPECT_EQ(say(list_, event("BOOKMARK", service("db"))), names{}) << "one that says how far the watch is";
    EXPECT_EQ(say(list_, last_bookmark("Service")), names{"service shop/db"});
    EXPECT_EQ(say(list_, last_bookmark("EndpointSlice")), (names{"slice shop/db", "slice shop/web"}))
        << "there are none";
    EXPECT_EQ(after(list_, 5s), names{});
}

TEST_F(lists, another_streams_objects_are_its_own) {
    stream_list other, file;
    other.begin();
    add(other, service("elsewhere"));
    say(file, service("in-a-file"));
    say(file, service("db")); // said again, and last, by the file
    first_writer();
    say(file, service("db"));
    add(list_, service("web"));
    EXPECT_EQ(after(list_, 5s), (names{"slice shop/db", "slice shop/web"}));
    EXPECT_EQ(names_of(objects_.unnamed(other)), names{});
}

TEST_F(lists, what_was_deleted_is_not_gone_again) {
    list_.begin();
    add(list_, service("web"));
    add(list_, service("db"));
    say(list_, event("DELETED", service("web")));
    list_.begin();
    add(list_, service("db"));
    EXPECT_EQ(after(list_, 5s), names{});
}

TEST_F(lists, one_that_breaks_off_or_is_damaged_tells_nothing_and_the_next_one_does) {
    first_writer();
    add(list_, service("web"));
    list_.give_up();
    EXPECT_EQ(after(list_, 1h), names{"still"});
    EXPECT_EQ(say(list_, last_bookmark("Service")), names{});
    list_.begin();
    add(list_, service("web"));
    EXPECT_EQ(say(list_, event("ERROR", {{"kind", "Status"}, {"message", "too old resource version"}})), names{});
    add(list_, service("web"));
    EXPECT_EQ(after(list_, 1h), names{"still"});
    list_.begin();
    add(list_, service("web"));
    EXPECT_EQ(after(list_, 5s), (names{"service shop/db", "slice shop/db", "slice shop/web"}));
}

TEST_F(lists, changes_without_a_list_tell_nothing) { // kubectl get --watch-only
    first_writer();
    say(list_, event("MODIFIED", service("web")));
    add(list_, service("new"));
    EXPECT_EQ(after(list_, 1h), names{"still"});
}

TEST_F(lists, lists_arrays_and_objects_count_as_added) {
    first_writer();
    auto named = service("db");
    named.erase("kind");
    say(list_, {{"kind", "ServiceList"}, {"items", boost::json::array{named}}});
    say(list_, {{"kind", "List"}, {"items", boost::json::array{slice("db"), service("web")}}});
    say(list_, boost::json::array{slice("web")});
    EXPECT_EQ(after(list_, 5s), names{});
}

// kubectl, with more than 500 objects: whole lists in ADDED events are the beginning of a watch as any ADDED event is.
TEST_F(lists, lists_inside_events_belong_to_the_initial_list) {
    first_writer();
    auto const list_of = [](char const* kind, boost::json::object const& item) {
        return boost::json::object{{"kind", kind}, {"apiVersion", "v1"}, {"items", boost::json::array{item}}};
    };
    auto unnamed = service("web");
    unnamed.erase("kind");
    say(list_, event("ADDED", list_of("ServiceList", unnamed)));
    EXPECT_EQ(after(list_, 4999ms), names{"still"});
    say(list_, event("ADDED", list_of("List", slice("web"))));
    EXPECT_EQ(after(list_, 4999ms), names{"still"});
    EXPECT_EQ(after(list_, 1ms), (names{"service shop/db", "slice shop/db"}));
    list_.begin();
    say(list_, event("ADDED", list_of("List", service("web"))));
    say(list_, event("DELETED", list_of("List", slice("web"))));
    EXPECT_EQ(after(list_, 5s), names{});
}

TEST_F(lists, service_cidrs_are_of_a_list_like_other_kinds) {
    auto const cidr = [](char const* name) {
        return boost::json::object{{"kind", "ServiceCIDR"},
                                   {"apiVersion", "networking.k8s.io/v1"},
                                   {"metadata", {{"name", name}}},
                                   {"spec", {{"cidrs", boost::json::array{"10.96.0.0/16"}}}}};
    };
    list_.begin();
    add(list_, cidr("kubernetes"));
    add(list_, cidr("more"));
    list_.begin();
    add(list_, cidr("kubernetes"));
    now_ += 5s;
    ASSERT_TRUE(list_.has_ended(now_));
    auto const gone = objects_.unnamed(list_);
    ASSERT_EQ(gone.size(), 1u);
    kubeproxy::service_source workers;
    kubeproxy::controller control{workers};
    kubeproxy::kubernetes_reader reader{control};
    static_cast<void>(reader.feed(boost::json::serialize(cidr("more"))));
    ASSERT_EQ(control.configuration().service_ranges().size(), 1u);
    EXPECT_TRUE(reader.feed(gone.front().deletion()).empty());
    EXPECT_TRUE(control.configuration().service_ranges().empty());
}

TEST_F(lists, others_kinds_of_the_same_name_and_what_has_no_name_are_passed_over) {
    first_writer();
    auto knative = service("db");
    knative["apiVersion"] = "serving.knative.dev/v1";
    add(list_, knative);
    add(list_, service("web"));
    for (char const* text : {"7", "null", "{}", R"({"kind":"Service"})", R"({"kind":7,"metadata":7})",
                             R"({"type":"ADDED","object":7})", R"({"type":"ADDED","object":{"kind":"Service"}})",
                             R"({"type":"ADDED","object":{"kind":"Service","metadata":{"name":"No Name"}}})",
                             R"({"type":"BOOKMARK","object":{"kind":"Service","metadata":{"annotations":7}}})",
                             R"({"type":"DANCED","object":{"kind":"Service","metadata":{"name":"db"}}})",
                             R"({"kind":"List","items":7})", R"({"kind":"List"})", R"({"kind":"List","items":[7,[]]})"})
        EXPECT_EQ(say(list_, boost::json::parse(text)), names{}) << text;
    EXPECT_EQ(after(list_, 5s), (names{"service shop/db", "slice shop/db", "slice shop/web"}));
}

TEST_F(lists, a_reader_takes_the_deletion) {
    kubeproxy::service_source workers;
    kubeproxy::controller control{workers};
    kubeproxy::kubernetes_reader reader{control};
    auto web = service("web");
    web["spec"] = {{"clusterIPs", {"10.96.0.1"}}, {"ports", {{{"port", 80}}}}};
    static_cast<void>(reader.feed(boost::json::serialize(web)));
    ASSERT_EQ(control.configuration().service_count(), 1u);
    listed_object const gone{kubernetes_kind::service, "shop", "web"};
    EXPECT_TRUE(reader.feed(gone.deletion()).empty());
    EXPECT_EQ(control.configuration().service_count(), 0u);
}

} // namespace
} // namespace examples::listed_objects_tests
