#include "kubeproxy/control/show/text.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::show_text_tests {
namespace {

service_view database() {
    service_view v{.name = "90.0.0.0/8:3306", .client_version = 4, .pod_version = 6, .ring_size = 1000};
    v.port = {.protocol = service_protocol::tcp, .port = 3306, .target_port = 3307};
    v.counted = {.packets = 1234567, .bytes = 1, .flows = 99};
    auto const add = [&v](std::string_view address, std::size_t entries) -> endpoint_view& {
        v.endpoints.push_back({.address = *parse_address(address), .port = 3307, .ring_entries = entries});
        return v.endpoints.back();
    };
    add("2002::1", 666).counted = {.packets = 1234567, .bytes = 1, .flows = 99};
    add("2002::2", 334).is.weight = 2;
    auto& leaving = add("2002:0:0:ffff::3", 0).is;
    leaving.ready = false;
    leaving.terminating = true;
    return v;
}

// How it looks is decided here; what the numbers mean is tested where they are made.
TEST(show_text, services_in_columns) {
    auto other = database();
    other.name = "default/web:http";
    other.port = {.protocol = service_protocol::any, .node_port = 0};
    other.endpoints.clear();
    other.ring_size = 0;
    EXPECT_EQ(services_text(std::vector{database(), other}),
              "service           protocol  port  target  node port  kind   pods  ring  packets  flows\n"
              "90.0.0.0/8:3306   tcp       3306    3307          -  NAT46     3  1000  1234567     99\n"
              "default/web:http  all        all    same          -  NAT46     0     0  1234567     99\n");
}

TEST(show_text, endpoints_with_state_and_share) {
    EXPECT_EQ(endpoints_text(database()),
              "  pod                      weight  state                 ring   share  packets  flows\n"
              "  [2002::1]:3307                1  ready                  666  66.6 %  1234567     99\n"
              "  [2002::2]:3307                2  ready                  334  33.4 %        0      0\n"
              "  [2002:0:0:ffff::3]:3307       1  terminating, serving     0   0.0 %        0      0\n");
    auto empty = database();
    empty.endpoints.clear();
    EXPECT_EQ(endpoints_text(empty), "  no pods: new flows are rejected\n");
}

TEST(show_text, states) {
    struct row {
        bool ready, serving, terminating;
        std::uint16_t weight;
        std::string_view text;
    };
    for (auto const& r : {row{true, true, false, 1, "ready"}, row{true, true, false, 0, "drained"},
                          row{false, true, true, 1, "terminating, serving"}, row{false, false, true, 1, "terminating"},
                          row{false, true, false, 1, "serving"}, row{false, false, false, 1, "not ready"}}) {
        endpoint e;
        e.ready = r.ready;
        e.serving = r.serving;
        e.terminating = r.terminating;
        e.weight = r.weight;
        EXPECT_EQ(state_text(e), r.text);
    }
}

TEST(show_text, percent_is_rounded) {
    EXPECT_EQ(percent_text(1, 3), "33.3 %");
    EXPECT_EQ(percent_text(2, 3), "66.7 %");
    EXPECT_EQ(percent_text(0, 0), "0.0 %");
    EXPECT_EQ(percent_text(655373, 655373), "100.0 %");
}

} // namespace
} // namespace kubeproxy::show_text_tests
