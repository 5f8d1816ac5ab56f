#include "kubeproxy/control/kubernetes/reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

// Objects inside lists, events and arrays, as kubectl and the API server put them there.

namespace kubeproxy::kubernetes_lists_tests {
namespace {

using lines = std::vector<std::string>;

std::string service(int number, std::string const& kind = R"("apiVersion":"v1","kind":"Service",)") {
    auto const ip = "10.96." + std::to_string(number / 250) + '.' + std::to_string(number % 250 + 1);
    return '{' + kind + R"("metadata":{"name":"web-)" + std::to_string(number) +
           R"(","namespace":"default"},"spec":{"clusterIP":")" + ip + R"(","clusterIPs":[")" + ip +
           R"("],"ports":[{"port":80,"protocol":"TCP"}]}})";
}
std::string services(int first, int last, std::string const& kind = R"("apiVersion":"v1","kind":"Service",)") {
    std::string all;
    for (int i = first; i < last; ++i) all += (i == first ? "" : ",") + service(i, kind);
    return all;
}
std::string service_list(std::string const& items) {
    return R"({"apiVersion":"v1","items":[)" + items + R"(],"kind":"ServiceList","metadata":{"resourceVersion":"7"}})";
}
std::string list(std::string const& items) { return R"({"apiVersion":"v1","items":[)" + items + R"(],"kind":"List"})"; }
std::string event(std::string const& type, std::string const& object) {
    return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

class lists_of_objects : public testing::Test {
  protected:
    lines feed(std::string_view bytes) {
        lines refused;
        for (auto const& r : reader_.feed(bytes)) refused.push_back(r.text());
        return refused;
    }
    [[nodiscard]] std::size_t service_count() const { return control_.configuration().service_count(); }

    service_source source_;
    controller control_{source_};
    kubernetes_reader reader_{control_};
};

// kubectl asks for 500 objects at a time. With more, `--watch --output-watch-events -o json` prints one ADDED event for
// each answer, with the whole ServiceList in it, and then the changes. kubectl 1.20.2 and 1.32.4 print the same bytes
// (pcap_nat_kubectl_test.py runs kubectl).
TEST_F(lists_of_objects, kubectl_with_more_than_500_objects) {
    auto const printed = event("ADDED", service_list(services(0, 500))) +
                         event("ADDED", service_list(services(500, 600))) + event("DELETED", service(3));
    EXPECT_EQ(feed(printed), lines{});
    EXPECT_EQ(service_count(), 599u);
    EXPECT_EQ(reader_.counters().services, 601u);
    EXPECT_EQ(control_.configuration().find("default/web-3"), nullptr);
    EXPECT_NE(control_.configuration().find("default/web-599"), nullptr);
}

TEST_F(lists_of_objects, one_inside_the_other_in_every_way) {
    auto const bare = services(0, 2, ""); // items of a typed list need not say their kind
    for (auto const& text : {event("ADDED", list(services(0, 2))), event("MODIFIED", service_list(bare)),
                             list(service_list(service(0, "")) + ',' + list(service_list(service(1, "")))),
                             '[' + list(service(0)) + ",[" + event("ADDED", service(1)) + "]]",
                             list(event("ADDED", service(0)) + ',' + event("ADDED", service_list(service(1, "")))),
                             event("ADDED", list('[' + services(0, 2) + ']'))}) {
        feed(event("DELETED", service_list(bare)));
        ASSERT_EQ(service_count(), 0u) << "a list inside a DELETED event deletes its items";
        EXPECT_EQ(feed(text), lines{}) << text;
        EXPECT_EQ(service_count(), 2u) << text;
    }
}

TEST_F(lists_of_objects, lists_inside_events_name_objects_for_a_relist) {
    feed(list(services(0, 3)));
    reader_.begin_relist();
    feed(event("ADDED", service_list(services(0, 2, ""))));
    reader_.end_relist();
    EXPECT_EQ(feed(""), lines{});
    EXPECT_EQ(service_count(), 2u);
}

TEST_F(lists_of_objects, empty_lists_and_what_can_be_no_list) {
    EXPECT_EQ(feed(event("ADDED", service_list("")) + R"({"kind":"ServiceList","items":null})" +
                   R"({"kind":"List","apiVersion":"v1"})"),
              lines{});
    EXPECT_EQ(feed(event("ADDED", R"({"kind":"ServiceList","items":7})")),
              lines{"ServiceList: items: an array is wanted"});
    EXPECT_EQ(feed(event("ADDED", list("7"))), lines{"value: an object is wanted"});
    EXPECT_EQ(feed(event("ADDED", list(R"({"metadata":{"name":"x"}})"))), lines{"object x: kind: is missing"});
    EXPECT_EQ(service_count(), 0u);
}

TEST_F(lists_of_objects, unknown_kinds_are_reported_once_each_with_a_count) {
    auto const pod_list = R"({"kind":"PodList","apiVersion":"v1","items":[{},{},{"metadata":{"name":"x"}}]})";
    auto const knative = R"({"kind":"Service","apiVersion":"serving.knative.dev/v1"})";
    EXPECT_EQ(feed(event("ADDED", pod_list) + service(0) + knative),
              (lines{"Pod (v1): 3 objects ignored: this kind is not read",
                     "Service (serving.knative.dev/v1): 1 object ignored: this kind is not read"}));
    EXPECT_EQ(feed(pod_list), lines{});
    EXPECT_EQ(reader_.ignored_kinds().at("Pod (v1)"), 6u);
    EXPECT_EQ(reader_.counters().other_kinds, 7u);
    EXPECT_EQ(reader_.counters().refused, 0u) << "nothing is wrong with them";
    EXPECT_EQ(feed(R"({"kind":"Node","apiVersion":"v1","metadata":{"name":"n"}})"), lines{}) << "the host reads Nodes";
    EXPECT_EQ(service_count(), 1u);
}

TEST_F(lists_of_objects, the_names_of_unknown_kinds_take_a_bounded_amount_of_memory) {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += R"({"kind":"K)" + std::to_string(i) + "\"}";
    EXPECT_EQ(feed(text).size(), 65u);
    EXPECT_EQ(reader_.ignored_kinds().at("(further kinds)"), 936u);
    EXPECT_EQ(feed(R"({"kind":"K5\u0007"})"), lines{}) << "one of the further kinds";
}

} // namespace
} // namespace kubeproxy::kubernetes_lists_tests
