#include "kubeproxy/control/kubernetes/reader.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

// ServiceCIDR objects (KEP-1880): packets to unallocated addresses in their ranges are dropped.

namespace kubeproxy::kubernetes_service_cidr_tests {
namespace {

using lines = std::vector<std::string>;

std::string cidr(std::string const& name, std::string const& ranges, std::string const& version = "v1") {
    return R"({"apiVersion":"networking.k8s.io/)" + version + R"(","kind":"ServiceCIDR","metadata":{"name":")" + name +
           R"("},"spec":{"cidrs":[)" + ranges + "]}}\n";
}
std::string event(std::string const& type, std::string const& object) {
    return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}

class service_cidrs : public testing::Test {
  protected:
    service_cidrs() {
        EXPECT_FALSE(control_.configuration().set_node({.service_ranges = {*parse_prefix("10.90.0.0/16")}}));
    }
    lines feed(std::string_view bytes) {
        lines refused;
        for (auto const& r : reader_.feed(bytes)) refused.push_back(r.text());
        return refused;
    }
    /// Whether packets to this address are dropped as unallocated.
    [[nodiscard]] bool drops(std::string_view address) const {
        return std::visit(
            [this]<class A>(A const& a) {
                using V = std::conditional_t<std::same_as<A, ipv4::address>, ipv4, ipv6>;
                auto const* found = control_.current()->template frontends<V>().find(a, 99, 6);
                return found != nullptr && found->kind == frontend_kind::drop_others;
            },
            *parse_address(address));
    }

    service_source source_;
    controller control_{source_};
    kubernetes_reader reader_{control_};
};

TEST_F(service_cidrs, several_objects_count_beside_the_node_file) {
    EXPECT_EQ(feed(cidr("kubernetes", R"("10.96.0.0/16","2001:db8:96::/112")") +
                   cidr("more", R"("10.97.0.0/16")", "v1beta1")),
              lines{});
    for (auto const* inside : {"10.90.0.1", "10.96.255.255", "10.97.0.1", "2001:db8:96::ffff"})
        EXPECT_TRUE(drops(inside)) << inside;
    for (auto const* outside : {"10.98.0.1", "2001:db8:97::1"}) EXPECT_FALSE(drops(outside)) << outside;
    EXPECT_EQ(reader_.counters().service_cidrs, 2u);
}

TEST_F(service_cidrs, they_are_added_changed_and_deleted_live) {
    feed(event("ADDED", cidr("kubernetes", R"("10.96.0.0/16")")));
    EXPECT_TRUE(drops("10.96.0.1"));
    feed(event("ADDED", cidr("more", R"("10.97.0.0/16","10.96.0.0/16")")));
    EXPECT_TRUE(drops("10.97.0.1"));
    feed(event("MODIFIED", cidr("more", R"("10.98.0.0/16")")));
    EXPECT_FALSE(drops("10.97.0.1"));
    EXPECT_TRUE(drops("10.96.0.1")) << "of the other object";
    feed(event("DELETED", cidr("kubernetes", R"("10.96.0.0/16")")));
    EXPECT_FALSE(drops("10.96.0.1"));
    EXPECT_TRUE(drops("10.98.0.1"));
    feed(event("DELETED", cidr("more", R"("10.98.0.0/16")")));
    EXPECT_FALSE(drops("10.98.0.1"));
    EXPECT_TRUE(drops("10.90.0.1")) << "of the node file";
}

TEST_F(service_cidrs, overlapping_ranges_count_until_the_last_of_them_goes) {
    feed(cidr("a", R"("10.96.0.0/16")") + cidr("b", R"("10.96.0.0/16")") + cidr("c", R"("10.90.0.0/16")"));
    feed(event("DELETED", cidr("a", "")) + event("DELETED", cidr("c", "")));
    EXPECT_TRUE(drops("10.96.0.1"));
    EXPECT_TRUE(drops("10.90.0.1")) << "the node file has the same range";
    feed(event("DELETED", cidr("b", "")));
    EXPECT_FALSE(drops("10.96.0.1"));
}

TEST_F(service_cidrs, a_terminating_one_counts_until_it_is_gone) { // its finalizer waits for the addresses in it
    auto terminating = cidr("more", R"("10.97.0.0/16")");
    terminating.insert(terminating.find(R"("name")"), R"("deletionTimestamp":"2026-01-01T00:00:00Z",)");
    feed(event("MODIFIED", terminating));
    EXPECT_TRUE(drops("10.97.0.1"));
}

TEST_F(service_cidrs, a_service_in_the_range_is_served_and_its_address_is_free_again_when_it_goes) {
    auto const service =
        R"({"kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}})";
    feed(service + cidr("kubernetes", R"("10.96.0.1/32")"));
    EXPECT_FALSE(drops("10.96.0.1")) << "other ports of a cluster IP are rejected";
    feed(event("DELETED", service));
    EXPECT_TRUE(drops("10.96.0.1"));
    feed(service + event("DELETED", cidr("kubernetes", "")));
    EXPECT_FALSE(drops("10.96.0.1"));
    feed(event("DELETED", service));
    EXPECT_FALSE(drops("10.96.0.1"));
}

TEST_F(service_cidrs, a_relist_and_a_bookmark_end_those_that_are_not_named) {
    feed(cidr("a", R"("10.96.0.0/16")") + cidr("b", R"("10.97.0.0/16")"));
    reader_.begin_relist();
    feed(R"({"kind":"ServiceCIDRList","apiVersion":"networking.k8s.io/v1","items":[
        {"metadata":{"name":"b"},"spec":{"cidrs":["10.97.0.0/16"]}}]})");
    EXPECT_TRUE(drops("10.96.0.1")) << "not before the list is over";
    feed(event("BOOKMARK", R"({"kind":"ServiceCIDR","apiVersion":"networking.k8s.io/v1","metadata":{"annotations":
        {"k8s.io/initial-events-end":"true"}}})"));
    EXPECT_FALSE(drops("10.96.0.1"));
    EXPECT_TRUE(drops("10.97.0.1"));
}

TEST_F(service_cidrs, a_change_of_the_node_keeps_them) {
    feed(cidr("kubernetes", R"("10.96.0.0/16")"));
    ASSERT_FALSE(control_.configuration().set_node({.name = "n"}));
    control_.publish();
    EXPECT_TRUE(drops("10.96.0.1"));
    EXPECT_FALSE(drops("10.90.0.1")) << "the node had that range";
}

TEST_F(service_cidrs, the_same_again_publishes_nothing) {
    feed(cidr("kubernetes", R"("10.96.0.0/16")"));
    auto const generation = control_.current()->generation;
    feed(cidr("kubernetes", R"("10.96.0.0/16")"));
    EXPECT_EQ(control_.current()->generation, generation);
}

TEST_F(service_cidrs, bad_objects_are_refused_and_change_nothing) {
    feed(cidr("kubernetes", R"("10.96.0.0/16")"));
    EXPECT_EQ(feed(cidr("kubernetes", R"("10.97.0.0/16","10.98.0.0")")),
              lines{R"(ServiceCIDR kubernetes: spec.cidrs[1]: "10.98.0.0" is no prefix)"});
    EXPECT_EQ(feed(cidr("kubernetes", "")), lines{"ServiceCIDR kubernetes: spec.cidrs: there is none"});
    EXPECT_EQ(feed(cidr("kubernetes", "7")), lines{"ServiceCIDR kubernetes: spec.cidrs[0]: a string is wanted"});
    EXPECT_EQ(feed(R"({"kind":"ServiceCIDR","metadata":{"name":"kubernetes"}})"),
              lines{"ServiceCIDR kubernetes: spec: is missing"});
    EXPECT_EQ(feed(R"({"kind":"ServiceCIDR","metadata":{},"spec":{"cidrs":["10.99.0.0/16"]}})"),
              lines{"ServiceCIDR: metadata.name: is missing"});
    EXPECT_TRUE(drops("10.96.0.1"));
    EXPECT_FALSE(drops("10.97.0.1"));
}

} // namespace
} // namespace kubeproxy::kubernetes_service_cidr_tests
