#include "kubeproxy/control/kubernetes/reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

// A watch that broke: what was deleted meanwhile vanishes when everything has been listed anew, and not before.

namespace kubeproxy::kubernetes_relist_tests {
namespace {

using names = std::vector<std::string>;

std::string service(std::string const& name, std::string const& ip, std::string const& port = "80") {
    return R"({"apiVersion":"v1","kind":"Service","metadata":{"namespace":"ns","name":")" + name +
           R"("},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":)" + port + "}]}}\n";
}
std::string slice(std::string const& name, std::string const& of, std::string const& pod) {
    return R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"namespace":"ns","name":")" +
           name + R"(","labels":{"kubernetes.io/service-name":")" + of +
           R"("}},"addressType":"IPv4","endpoints":[{"addresses":[")" + pod +
           R"("]}],"ports":[{"name":"","port":8080}]})" + "\n";
}
std::string event(std::string const& type, std::string const& object) {
    return R"({"type":")" + type + R"(","object":)" + object + "}\n";
}
std::string list(std::string const& items) { return R"({"kind":"List","apiVersion":"v1","items":[)" + items + "]}\n"; }
/// As the API server ends the initial events of a watch that asked for them (KEP-3157).
std::string bookmark(std::string const& kind,
                     std::string const& annotations = R"("k8s.io/initial-events-end":"true")") {
    return event("BOOKMARK", R"({"kind":")" + kind + R"(","metadata":{"annotations":{)" + annotations + "}}}");
}

class relist : public testing::Test {
  protected:
    relist() {
        EXPECT_EQ(feed(service("a", "10.96.0.1") + service("b", "10.96.0.2") + slice("x", "a", "10.244.0.1") +
                       slice("y", "a", "10.244.0.2")),
                  names{});
    }

    names feed(std::string_view bytes) {
        names refused;
        for (auto const& r : reader_.feed(bytes)) refused.push_back(r.text());
        return refused;
    }
    /// "ns/a 10.244.0.1 10.244.0.2"
    [[nodiscard]] names in_force() const {
        names all;
        for (auto const& s : control_.configuration().services()) {
            if (s == nullptr) continue;
            auto line = s->name;
            for (auto const& part : s->slices)
                for (auto const& e : part.endpoints) line += ' ' + to_text(e.address);
            all.push_back(std::move(line));
        }
        std::ranges::sort(all);
        return all;
    }
    [[nodiscard]] std::uint64_t publications() const { return control_.current()->generation; }

    service_source source_;
    controller control_{source_};
    kubernetes_reader reader_{control_};
};

names const whole{"ns/a 10.244.0.1 10.244.0.2", "ns/b"};

TEST_F(relist, what_is_not_named_vanishes_at_its_end) {
    reader_.begin_relist();
    EXPECT_EQ(feed(list(service("a", "10.96.0.1") + ',' + slice("y", "a", "10.244.0.2"))), names{});
    EXPECT_EQ(in_force(), whole) << "it may not have been named yet";
    reader_.end_relist();
    EXPECT_EQ(in_force(), whole) << "in force with flush()";
    EXPECT_TRUE(reader_.flush().empty());
    EXPECT_EQ(in_force(), names{"ns/a 10.244.0.2"});
    EXPECT_EQ(reader_.counters().vanished, 2u);
}

TEST_F(relist, a_list_alone_takes_nothing_away) {
    feed(list(service("a", "10.96.0.1")));
    feed(R"({"kind":"ServiceList","apiVersion":"v1","items":[]})");
    reader_.end_relist();
    reader_.flush();
    EXPECT_EQ(in_force(), whole) << "it may be of another namespace, and nothing was begun";
}

TEST_F(relist, one_kind_leaves_the_other_alone) {
    reader_.begin_relist(kubernetes_kind::endpoint_slice);
    feed(slice("x", "b", "10.244.0.1"));
    reader_.end_relist(kubernetes_kind::endpoint_slice);
    reader_.flush();
    EXPECT_EQ(in_force(), (names{"ns/a", "ns/b 10.244.0.1"}));
}

TEST_F(relist, a_bookmark_ends_it_for_its_kind) {
    reader_.begin_relist();
    feed(event("ADDED", service("b", "10.96.0.2")) + bookmark("EndpointSlice", R"("other":"true")"));
    EXPECT_EQ(in_force(), whole) << "an everyday bookmark";
    feed(bookmark("EndpointSlice"));
    EXPECT_EQ(in_force(), (names{"ns/a", "ns/b"}));
    feed(bookmark("Service"));
    EXPECT_EQ(in_force(), names{"ns/b"});
    feed(event("ADDED", service("a", "10.96.0.1")) + bookmark("Service"));
    EXPECT_EQ(in_force(), (names{"ns/a", "ns/b"})) << "it has ended: the next bookmark takes nothing away";
}

TEST_F(relist, bytes_may_be_cut_anywhere) {
    auto const text = event("ADDED", service("b", "10.96.0.2")) + event("ADDED", slice("y", "b", "10.244.0.2")) +
                      bookmark("Service") + bookmark("EndpointSlice");
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        feed(service("a", "10.96.0.1") + slice("x", "a", "10.244.0.1"));
        reader_.begin_relist();
        EXPECT_EQ(feed(std::string_view{text}.substr(0, cut)), names{});
        EXPECT_EQ(feed(std::string_view{text}.substr(cut)), names{});
        ASSERT_EQ(in_force(), names{"ns/b 10.244.0.2"}) << cut;
    }
}

TEST_F(relist, half_an_object_of_the_broken_watch_is_refused_and_forgotten) {
    reader_.finish();
    feed(event("DELETED", service("a", "10.96.0.1")).substr(0, 60));
    reader_.finish();
    reader_.begin_relist();
    EXPECT_EQ(feed(event("ADDED", service("b", "10.96.0.2"))), names{"at byte 60: the text ends inside an object"});
    reader_.end_relist();
    reader_.flush();
    EXPECT_EQ(in_force(), names{"ns/b"});
}

TEST_F(relist, one_that_breaks_too_is_begun_again) {
    reader_.begin_relist();
    feed(service("a", "10.96.0.1") + service("b", "10.96.0.2"));
    reader_.begin_relist();
    feed(service("b", "10.96.0.2"));
    reader_.end_relist();
    reader_.flush();
    EXPECT_EQ(in_force(), names{"ns/b"});
}

TEST_F(relist, a_broken_object_is_there_as_it_was) {
    reader_.begin_relist();
    auto broken = slice("y", "a", "10.244.0.9");
    broken.replace(broken.find("IPv4"), 4, "IPv5");
    EXPECT_EQ(feed(service("a", "10.96.0.1", "0") + slice("x", "a", "10.244.0.1") + broken),
              (names{"Service ns/a: spec.ports[0].port: 0: a number from 1 to 65535 is wanted",
                     "EndpointSlice ns/y: addressType: \"IPv5\": IPv4, IPv6 or FQDN is wanted"}));
    reader_.end_relist();
    reader_.flush();
    EXPECT_EQ(in_force(), names{"ns/a 10.244.0.1 10.244.0.2"});
}

TEST_F(relist, what_waits_and_what_was_deleted_by_an_event_meanwhile) {
    EXPECT_EQ(feed(service("rival", "10.96.0.2")).size(), 2u) << "its port, and the rejection of others";
    EXPECT_EQ(reader_.contested_services(), 1u);
    reader_.begin_relist();
    feed(service("a", "10.96.0.1") + service("b", "10.96.0.2") + slice("x", "a", "10.244.0.1") +
         slice("z", "gone", "10.244.0.9"));
    feed(event("DELETED", service("b", "10.96.0.2")));
    EXPECT_EQ(in_force().back(), "ns/rival") << "still there, as far as is known";
    reader_.end_relist();
    reader_.flush();
    EXPECT_EQ(in_force(), names{"ns/a 10.244.0.1"});
    EXPECT_EQ(reader_.contested_services(), 0u);
    feed(service("gone", "10.96.0.7"));
    EXPECT_EQ(in_force().back(), "ns/gone 10.244.0.9");
}

TEST_F(relist, lines_of_ku_stay_and_what_is_as_before_is_no_change) {
    ASSERT_TRUE(control_.apply("ku vip 90.0.0.0/8 port 80\n").ok());
    auto const before = publications();
    auto const same = control_.configuration().find("ns/a");
    reader_.begin_relist();
    feed(list(service("b", "10.96.0.2") + ',' + slice("x", "a", "10.244.0.1") + ',' + slice("y", "a", "10.244.0.2") +
              ',' + service("a", "10.96.0.1")));
    reader_.end_relist();
    reader_.flush();
    EXPECT_EQ(in_force(), (names{"90.0.0.0/8:80", whole[0], whole[1]}));
    EXPECT_EQ(publications(), before);
    EXPECT_EQ(control_.configuration().find("ns/a"), same);
}

} // namespace
} // namespace kubeproxy::kubernetes_relist_tests
