#include "kubeproxy/control/controller.hpp"

#include "support/conformance.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace kubeproxy::controller_tests {
namespace {

using namespace std::chrono_literals;
constexpr std::uint8_t tcp = 6, udp = 17;

/// A controller of its own source.
struct proxy_of_text {
    service_source source{};
    controller control{source};

    explicit proxy_of_text(std::string_view ku = {}) {
        auto const result = control.apply(ku);
        if (!result.ok()) ADD_FAILURE() << result.error->line << ": " << result.error->reason;
    }
    /// Everything that can be seen of the configuration.
    [[nodiscard]] std::string state() {
        auto result = control.apply("show ku\nshow ku vip verbose");
        EXPECT_TRUE(result.ok());
        return result.text;
    }
    [[nodiscard]] std::vector<std::string> pods_of(std::string_view service) const {
        std::vector<std::string> pods;
        for (auto const& view : control.views())
            if (view.name == service)
                for (auto const& e : view.endpoints) pods.push_back(to_text(e.address, e.port));
        return pods;
    }
    [[nodiscard]] std::vector<std::string> services() const {
        std::vector<std::string> names;
        for (auto const& view : control.views()) names.push_back(view.name);
        return names;
    }
    template <ip_version V>
    [[nodiscard]] std::string service_at(std::string_view address, std::uint16_t port, std::uint8_t protocol) const {
        auto const* found = control.current()->frontends<V>().find(*parse_address<V>(address), port, protocol);
        return found == nullptr ? "" : *control.current()->service_at(found->service).name;
    }
};

using names = std::vector<std::string>;

constexpr std::string_view good = "ku conf snat4 198.18.0.1-198.18.0.2 timeout 40\n"
                                  "ku vip 90.0.0.0/8 port 3306 target_port 3307 nat4\n"
                                  "ku pod 90.0.0.0/8 10.0.0.1\n"
                                  "ku vip 2001::/16 port 3306 target_port 3307 protocol tcp node_port 30001 nat6\n"
                                  "ku pod 2001::/16 2002::1 2002::2\n"
                                  "ku set interface nat4 in eth0\n";

struct bad_line {
    std::string_view line;
    std::string_view reason;
};

class bad_lines : public testing::TestWithParam<bad_line> {};

TEST_P(bad_lines, are_refused_with_number_and_reason_and_change_nothing) { // DESIGN section 5
    proxy_of_text proxy{good};
    auto const before = proxy.state();
    auto const* snapshot_before = proxy.control.current();

    auto const alone = proxy.control.execute(GetParam().line);
    ASSERT_TRUE(alone.error.has_value());
    EXPECT_EQ(alone.error->line, 1u);
    EXPECT_NE(alone.error->reason.find(GetParam().reason), std::string::npos) << alone.error->reason;

    std::string text = "# a file\n\nku vip 77.0.0.0/8 port 80\nku pod 77.0.0.0/8 10.0.0.9\n";
    text += std::string{GetParam().line} + "\nku pod 90.0.0.0/8 10.0.0.8\nshow ku\n";
    auto const in_file = proxy.control.apply(text);
    ASSERT_TRUE(in_file.error.has_value());
    EXPECT_EQ(in_file.error->line, 5u);
    EXPECT_EQ(in_file.error->reason, alone.error->reason);
    EXPECT_EQ(in_file.text, "");

    EXPECT_EQ(proxy.state(), before);
    EXPECT_EQ(proxy.control.current(), snapshot_before) << "nothing is published";
}

INSTANTIATE_TEST_SUITE_P(
    words, bad_lines,
    testing::Values(
        bad_line{"nonsense 1", "unknown command \"nonsense\""}, bad_line{"KU vip 1.0.0.0/8", "\"KU\""},
        bad_line{"ku", "the line ends where conf, vip, pod, set or save is wanted"},
        bad_line{"ku frobnicate", "unknown word \"frobnicate\" after \"ku\""},
        bad_line{"ku vip", "the line ends where a prefix is wanted"},
        bad_line{"ku vip # 91.0.0.0/8", "the line ends where a prefix is wanted"},
        bad_line{"ku vip 91.0.0.0/8 colour 3", "unknown word \"colour\" after \"ku vip\""},
        bad_line{"ku vip 91.0.0.0/8 port", "the line ends where a port is wanted"},
        bad_line{"ku vip 91.0.0.0/8 protocol", "the line ends where tcp, udp or sctp is wanted"},
        bad_line{"ku vip 91.0.0.0/8 protocol icmp port 1", "unknown protocol \"icmp\""},
        bad_line{"ku vip 91.0.0.0/8 port 1 port 1", "port is said twice"},
        bad_line{"ku vip 91.0.0.0/8 nat4 nat6", "nat4 or nat6 is said twice"},
        bad_line{"ku vip 90.0.0.0/8 del del", "del is said twice"},
        bad_line{"ku pod 90.0.0.0/8", "without the address of a pod"},
        bad_line{"ku pod 90.0.0.0/8 10.0.0.2 heavy", "unknown word \"heavy\" after \"ku pod\""},
        bad_line{"ku pod 90.0.0.0/8 10.0.0.2/32", "unknown word \"10.0.0.2/32\""},
        bad_line{"ku pod 90.0.0.0/8 10.0.0.1 weight 2 del", "weight and del do not go together"},
        bad_line{"ku conf", "without anything to set"},
        bad_line{"ku conf bucket 1", "unknown word \"bucket\" after \"ku conf\""},
        bad_line{"ku conf timeout 1 timeout 2", "timeout is said twice"}, bad_line{"ku set", "is wanted"},
        bad_line{"ku set interface nat5 in eth0", "\"nat5\""}, bad_line{"ku set interface nat4 on eth0", "\"on\""},
        bad_line{"ku set interface nat4 in", "an interface is wanted"},
        bad_line{"ku set interface nat4 in eth0 twice", "\"twice\""}, bad_line{"show", "where ku, services, endpoints"},
        bad_line{"show vips", "\"vips\""}, bad_line{"show ku vips", "\"vips\" after \"show ku\""},
        bad_line{"show ku vip all", "\"all\": nothing comes after"},
        bad_line{"show ku flows now", "\"now\": nothing comes after"}, bad_line{"test ku flowtable", "flush is wanted"},
        bad_line{"test ku flows flush", "\"flows\""}, bad_line{"\x01\xff", "unknown command \"\?\?\""}));

INSTANTIATE_TEST_SUITE_P(
    values, bad_lines,
    testing::Values(bad_line{"ku vip 90.0.0.0/33", "\"90.0.0.0/33\": the length of an IPv4 prefix is 0 to 32"},
                    bad_line{"ku vip 2001::/129", "\"2001::/129\": the length of an IPv6 prefix is 0 to 128"},
                    bad_line{"ku vip 90.0.0/8", "\"90.0.0/8\" is no prefix"},
                    bad_line{"ku vip 90.0.0.0/8/8 port 1", "the length of an IPv4 prefix"},
                    bad_line{"ku vip 91.0.0.0/8 port 70000", "port \"70000\": a number from 0 to 65535 is wanted"},
                    bad_line{"ku vip 91.0.0.0/8 port -1", "port \"-1\""},
                    bad_line{"ku vip 91.0.0.0/8 port 0x50", "port \"0x50\""},
                    bad_line{"ku vip 91.0.0.0/8 port 99999999999999999999", "a number from 0 to 65535"},
                    bad_line{"ku vip 91.0.0.0/8 port 80 target_port 0", "target_port \"0\""},
                    bad_line{"ku vip 91.0.0.0/8 port 80 node_port 65536", "node_port \"65536\""},
                    bad_line{"ku vip 91.0.0.0/8 new_len 0", "new_len \"0\": a number from 1 to 655373"},
                    bad_line{"ku vip 91.0.0.0/8 new_len 655374", "new_len \"655374\""},
                    bad_line{"ku vip 91.0.0.0/8 target_port 80", "target_port without port"},
                    bad_line{"ku vip 91.0.0.0/8 port 0 target_port 80", "target_port without port"},
                    bad_line{"ku vip 91.0.0.0/8 protocol tcp node_port 80", "node_port without port"},
                    bad_line{"ku pod 90.0.0.0/8 10.0.0.2 weight 65536", "weight \"65536\""},
                    bad_line{"ku pod 90.0.0.0/8 0.0.0.0", "0.0.0.0 is no address of a host"},
                    bad_line{"ku pod 90.0.0.0/8 224.0.0.1", "224.0.0.1 is no address of a host"},
                    bad_line{"ku conf buckets 0", "buckets \"0\""},
                    bad_line{"ku conf buckets 4294967296", "buckets \"4294967296\""},
                    bad_line{"ku conf timeout 0", "timeout \"0\""},
                    bad_line{"ku conf timeout 2147484", "timeout \"2147484\""},
                    bad_line{"ku conf snat4 2001::1", "snat4 \"2001::1\": an IPv4 address is wanted"},
                    bad_line{"ku conf snat4 10.0.0.2-10.0.0.1", "ends before it begins"},
                    bad_line{"ku conf snat4 10.0.0.2-", "snat4 \"\""},
                    bad_line{"ku conf snat6 10.0.0.1", "snat6 \"10.0.0.1\": an IPv6 address is wanted"},
                    bad_line{"ku conf nat64_prefix 64:ff9b::/64", "an IPv6 prefix of length 96 is wanted"},
                    bad_line{"ku conf nat64_prefix 10.0.0.0/8", "an IPv6 prefix of length 96 is wanted"},
                    bad_line{"ku conf nat64_prefix 1:2:3:4:100::/96", "bits 64 to 71 must be zero"},
                    bad_line{"ku conf node here", "\"here\" is no address"}));

INSTANTIATE_TEST_SUITE_P(
    state, bad_lines,
    testing::Values(bad_line{"ku vip 90.0.0.0/8 port 3306 target_port 3307 nat4", "duplicate VIP: 90.0.0.0/8:3306"},
                    bad_line{"ku vip 90.1.2.3/8 port 3306", "duplicate VIP"},
                    bad_line{"ku vip 90.0.0.0/8 port 3306 protocol tcp",
                             "duplicate VIP: 90.0.0.0/8 port 3306 tcp is served by 90.0.0.0/8:3306"},
                    bad_line{"ku vip 2001::/16 port 3306",
                             "duplicate VIP: 2001::/16 port 3306 tcp is served by [2001::/16]:3306/tcp"},
                    bad_line{"ku vip 2009::/16 port 1 node_port 30001", "duplicate VIP: node port 30001 tcp"},
                    bad_line{"ku pod 90.0.0.0/8 2002::1", "2002::1 is of the other family"},
                    bad_line{"ku pod 90.0.0.0/8 10.0.0.2 2002::1", "2002::1 is of the other family"},
                    bad_line{"ku pod 2001::/16 10.0.0.1", "10.0.0.1 is of the other family"},
                    bad_line{"ku pod 91.0.0.0/8 10.0.0.1", "unknown VIP: no service has the prefix 91.0.0.0/8"},
                    bad_line{"ku pod 90.0.0.0/9 10.0.0.1", "unknown VIP: no service has the prefix 90.0.0.0/9"},
                    bad_line{"ku vip 91.0.0.0/8 del", "unknown VIP"},
                    bad_line{"ku vip 90.0.0.0/8 port 3307 del", "unknown VIP"},
                    bad_line{"ku vip 90.0.0.0/8 nat6 del", "unknown VIP"},
                    bad_line{"ku pod 90.0.0.0/8 10.0.0.2 del", "unknown pod: 10.0.0.2"},
                    bad_line{"ku pod 90.0.0.0/8 10.0.0.1 10.0.0.2 del", "unknown pod: 10.0.0.2"},
                    bad_line{"ku set interface nat6 in eth0 del", "interface \"eth0\" is not set"},
                    bad_line{"show ku flows", "no flow table is attached"},
                    bad_line{"show ku counters", "no counters are attached"},
                    bad_line{"show affinity json", "no affinity table is attached"},
                    bad_line{"test ku flowtable flush", "no flow table is attached"}));

TEST(controller, empty_lines_and_comments_are_fine_and_publish_nothing) {
    proxy_of_text proxy{"\n  \t\r\n# ku frobnicate\n   # more\n"};
    EXPECT_EQ(proxy.control.current(), nullptr);
    EXPECT_TRUE(proxy.control.execute("").ok());
    EXPECT_TRUE(proxy.control.execute("ku vip 90.0.0.0/8 # a comment").ok());
    EXPECT_TRUE(proxy.control.apply("ku vip 91.0.0.0/8\r\nku pod 91.0.0.0/8 10.0.0.1\r\n").ok()) << "lines of DOS";
    EXPECT_EQ(proxy.services(), (names{"90.0.0.0/8", "91.0.0.0/8"}));
}

TEST(controller, a_text_is_published_once) {
    proxy_of_text proxy{good};
    EXPECT_EQ(proxy.control.current()->generation, 1u);
    EXPECT_TRUE(proxy.control.execute("ku pod 90.0.0.0/8 10.0.0.2").ok());
    EXPECT_EQ(proxy.control.current()->generation, 2u);
    EXPECT_TRUE(proxy.control.execute("show ku").ok());
    EXPECT_EQ(proxy.control.current()->generation, 2u);
    EXPECT_EQ(proxy.control.snapshots_alive(), 1u);
}

TEST(controller, words_come_in_any_order) {
    proxy_of_text one{"ku vip 90.0.0.0/8 protocol tcp port 80 target_port 8080 node_port 30080 nat6 new_len 4096\n"
                      "ku pod 90.0.0.0/8 2001:db8::1 2001:db8::2 weight 3"};
    proxy_of_text other{"ku vip 90.0.0.0/8 new_len 4096 nat6 node_port 30080 target_port 8080 port 80 protocol tcp\n"
                        "ku pod 90.0.0.0/8 weight 3 2001:db8::1 2001:db8::2"};
    EXPECT_EQ(one.state(), other.state());
    EXPECT_NE(one.state().find("90.0.0.0/8:80/tcp  tcp         80    8080      30080  NAT46     2  4099"),
              std::string::npos)
        << one.state();
}

TEST(controller, names_of_reports) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 3306\nku vip 90.0.0.0/8 port 3307 protocol tcp\nku vip 90.0.0.0/8\n"
                        "ku vip 91.1.1.1 protocol sctp\nku vip 2001::/16 port 3306\nku vip 2001::/16"};
    EXPECT_EQ(proxy.services(), (names{"90.0.0.0/8:3306", "90.0.0.0/8:3307/tcp", "90.0.0.0/8", "91.1.1.1/32/sctp",
                                       "[2001::/16]:3306", "2001::/16"}));
}

TEST(controller, services_of_one_address_each_get_their_packets) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 80\n"
                        "ku vip 90.0.0.0/8 port 443 protocol tcp\n"
                        "ku vip 90.0.0.0/8 port 443 protocol udp\n"
                        "ku vip 90.1.2.3/32 port 80 protocol tcp\n"
                        "ku vip 92.0.0.0/8\n"
                        "ku vip 92.0.0.0/8 port 53 protocol udp\n"};
    EXPECT_EQ(proxy.service_at<ipv4>("90.9.9.9", 80, tcp), "90.0.0.0/8:80");
    EXPECT_EQ(proxy.service_at<ipv4>("90.9.9.9", 80, udp), "90.0.0.0/8:80");
    EXPECT_EQ(proxy.service_at<ipv4>("90.9.9.9", 443, tcp), "90.0.0.0/8:443/tcp");
    EXPECT_EQ(proxy.service_at<ipv4>("90.9.9.9", 443, udp), "90.0.0.0/8:443/udp");
    EXPECT_EQ(proxy.service_at<ipv4>("90.9.9.9", 81, tcp), "") << "a packet to another port is not touched";
    EXPECT_EQ(proxy.service_at<ipv4>("90.1.2.3", 80, tcp), "90.1.2.3/32:80/tcp");
    EXPECT_EQ(proxy.service_at<ipv4>("90.1.2.3", 80, udp), "90.0.0.0/8:80");
    EXPECT_EQ(proxy.service_at<ipv4>("90.1.2.3", 443, tcp), "90.0.0.0/8:443/tcp");
    EXPECT_EQ(proxy.service_at<ipv4>("92.0.0.1", 53, udp), "92.0.0.0/8:53/udp");
    EXPECT_EQ(proxy.service_at<ipv4>("92.0.0.1", 53, tcp), "92.0.0.0/8");
}

TEST(controller, a_pod_goes_to_every_service_of_the_prefix_that_has_its_family) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 80 nat4\nku vip 90.0.0.0/8 port 443 nat4\n"
                        "ku vip 90.0.0.0/8 port 53 nat6\nku vip 91.0.0.0/8 port 80 nat4\n"
                        "ku pod 90.0.0.0/8 10.0.0.1 2001:db8::1\n"};
    EXPECT_EQ(proxy.pods_of("90.0.0.0/8:80"), (names{"10.0.0.1:80"}));
    EXPECT_EQ(proxy.pods_of("90.0.0.0/8:443"), (names{"10.0.0.1:443"}));
    EXPECT_EQ(proxy.pods_of("90.0.0.0/8:53"), (names{"[2001:db8::1]:53"}));
    EXPECT_EQ(proxy.pods_of("91.0.0.0/8:80"), names{});
    ASSERT_TRUE(proxy.control.execute("ku pod 90.0.0.0/8 10.0.0.1 del").ok());
    EXPECT_EQ(proxy.pods_of("90.0.0.0/8:80"), names{});
    EXPECT_EQ(proxy.pods_of("90.0.0.0/8:443"), names{});
    EXPECT_EQ(proxy.pods_of("90.0.0.0/8:53").size(), 1u);
}

TEST(controller, a_pod_said_twice_is_one_and_keeps_its_weight_unless_another_is_said) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.1 weight 5\n"
                        "ku pod 90.0.0.0/8 10.0.0.1\n"};
    ASSERT_EQ(proxy.control.views()[0].endpoints.size(), 1u);
    EXPECT_EQ(proxy.control.views()[0].endpoints[0].is.weight, 5);
    ASSERT_TRUE(proxy.control.execute("ku pod 90.0.0.0/8 10.0.0.1 weight 0").ok());
    EXPECT_EQ(proxy.control.views()[0].endpoints[0].is.weight, 0);
    EXPECT_NE(proxy.state().find("drained"), std::string::npos);
}

TEST(controller, del_takes_what_its_words_select) {
    constexpr std::string_view services =
        "ku vip 90.0.0.0/8 port 80 protocol tcp\nku vip 90.0.0.0/8 port 80 protocol udp\n"
        "ku vip 90.0.0.0/8 port 443 target_port 8443\n"
        "ku vip 91.0.0.0/8 port 80\n";
    struct row {
        std::string_view line;
        names left;
    };
    for (auto const& r :
         {row{"ku vip 90.0.0.0/8 del", {"91.0.0.0/8:80"}},
          row{"ku vip 90.0.0.0/8 port 80 del", {"90.0.0.0/8:443", "91.0.0.0/8:80"}},
          row{"ku vip 90.0.0.0/8 protocol udp del", {"90.0.0.0/8:80/tcp", "90.0.0.0/8:443", "91.0.0.0/8:80"}},
          row{"ku vip 90.0.0.0/8 del port 443 target_port 8443 nat4",
              {"90.0.0.0/8:80/tcp", "90.0.0.0/8:80/udp", "91.0.0.0/8:80"}}}) {
        proxy_of_text proxy{services};
        EXPECT_TRUE(proxy.control.execute(r.line).ok()) << r.line;
        EXPECT_EQ(proxy.services(), r.left) << r.line;
    }
}

TEST(controller, a_vip_that_comes_back_has_no_pods) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1\nku vip 90.0.0.0/8 del\n"
                        "ku vip 90.0.0.0/8 port 80\n"};
    EXPECT_EQ(proxy.pods_of("90.0.0.0/8:80"), names{});
    EXPECT_EQ(proxy.service_at<ipv4>("90.0.0.1", 80, tcp), "90.0.0.0/8:80") << "it rejects";
}

TEST(controller, conf_sets_what_it_names_and_leaves_the_rest) { // DESIGN section 5
    proxy_of_text proxy{"ku conf buckets 1000 timeout 40\nku conf nat64_prefix 64:ff9b::/96 node 192.0.2.1\n"
                        "ku conf node 192.0.2.1 node 2001:db8::1\nku vip 90.0.0.0/8 port 80 node_port 30080\n"};
    auto const& node = proxy.control.configuration().node();
    EXPECT_EQ(node.buckets, 1000u);
    EXPECT_EQ(node.addresses.size(), 2u);
    auto const& now = *proxy.control.current();
    timeouts const defaults;
    EXPECT_EQ(now.lifetimes.udp_unreplied, 40s);
    EXPECT_EQ(now.lifetimes.udp_replied, 40s);
    EXPECT_EQ(now.lifetimes.tcp_transitory, 40s);
    EXPECT_EQ(now.lifetimes.other_unreplied, 40s);
    EXPECT_EQ(now.lifetimes.tcp_established, defaults.tcp_established);
    EXPECT_EQ(now.lifetimes.sctp_established, defaults.sctp_established);
    EXPECT_EQ(now.nat64_prefix, parse_prefix<ipv6>("64:ff9b::/96"));
    EXPECT_EQ(now.node4.pool_first, parse_address<ipv4>("192.0.2.1"));
    EXPECT_EQ(now.node6.pool_first, parse_address<ipv6>("2001:db8::1"));
    EXPECT_EQ(proxy.service_at<ipv4>("192.0.2.1", 30080, udp), "90.0.0.0/8:80");
    EXPECT_EQ(proxy.service_at<ipv6>("2001:db8::1", 30080, udp), "") << "the VIP has IPv4 clients";
}

TEST(controller, the_seeds_own_commands_work_alone) { // DESIGN section 5
    proxy_of_text proxy{"ku vip 2001::/16 port 3306 target_port 3307 nat4\nku pod 2001::/16 10.0.0.1\n"};
    auto const& now = *proxy.control.current();
    EXPECT_EQ(now.node4.pool_first, parse_address<ipv4>("198.18.0.1"));
    EXPECT_EQ(now.nat64_prefix, parse_prefix<ipv6>("64:ff9b:1::/96")); // RFC 8215
    auto const& entry = now.service_at(now.frontends6.find(*parse_address<ipv6>("2001::9"), 3306, udp)->service);
    EXPECT_EQ(entry.pod_version, 4);
    EXPECT_EQ(now.backend_at(entry.everywhere->backends[0]).port, 3307);
}

TEST(controller, interfaces_are_kept) {
    proxy_of_text proxy{"ku set interface nat4 in eth0\nku set interface nat4 in eth0\nku set interface nat6 in eth0\n"
                        "ku set interface nat4 in GigabitEthernet0/8/0\nku set interface nat6 in eth0 del\n"};
    EXPECT_EQ(proxy.control.configuration().node().interfaces,
              (std::vector<interface_nat>{{"eth0", pod_family::ipv4}, {"GigabitEthernet0/8/0", pod_family::ipv4}}));
}

TEST(controller, hooks_answer_for_the_data_path_after_the_text_is_in_force) {
    service_source source;
    std::vector<std::string> calls;
    controller control{source,
                       {.seed = 7,
                        .hooks = {.flows =
                                      [&] {
                                          calls.emplace_back("flows");
                                          return std::vector{flow_view{.service = "default/web"}};
                                      },
                                  .clients = [&] { return std::vector<affinity_view>{}; },
                                  .counters =
                                      [&] {
                                          calls.emplace_back("counters");
                                          return std::vector{counter_view{"forward", 7}};
                                      },
                                  .flush = [&] { calls.emplace_back("flush"); }}}};
    auto const result = control.apply("show ku counters\ntest ku flowtable flush\nku vip 90.0.0.0/8\nshow ku flows\n"
                                      "show ku vip\n");
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(calls, (names{"counters", "flush", "flows"}));
    EXPECT_NE(result.text.find("default/web"), std::string::npos);
    EXPECT_TRUE(result.text.starts_with("counter  value\nforward      7\nservice      protocol "));
    EXPECT_NE(result.text.find("\n90.0.0.0/8  all"), std::string::npos) << result.text;
    EXPECT_FALSE(control.apply("test ku flowtable flush\nku bad").ok());
    EXPECT_EQ(calls.size(), 3u) << "a refused text asks for nothing";
}

TEST(controller, show_counts_what_workers_counted_and_forgets_the_former_owner_of_a_place) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.2\n"};
    service_reader worker{proxy.source}, other{proxy.source};
    auto const service = proxy.control.current()->frontends4.find(ipv4_address(0x5a000001), 80, tcp)->service;
    for (auto* w : {&worker, &other}) w->counters().services.count(service, 100, 1);
    worker.counters().backends.count(0, 100, 1);
    auto const view = proxy.control.views().at(0);
    EXPECT_EQ(view.counted.packets, 2u);
    EXPECT_EQ(view.counted.flows, 2u);
    EXPECT_EQ(view.endpoints[0].counted.packets + view.endpoints[1].counted.packets, 1u);
    EXPECT_EQ(view.endpoints[0].ring_entries + view.endpoints[1].ring_entries, view.ring_size);

    // So many removals that places are used again.
    for (int i = 0; i < 600; ++i) {
        ASSERT_TRUE(proxy.control.execute("ku vip 90.0.0.0/8 del").ok());
        ASSERT_TRUE(proxy.control.apply("ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.2").ok());
        auto const now = proxy.control.views().at(0);
        ASSERT_EQ(now.counted.packets, 0u);
        ASSERT_EQ(now.endpoints[0].counted.packets + now.endpoints[1].counted.packets, 0u);
        auto const place = proxy.control.current()->frontends4.find(ipv4_address(0x5a000001), 80, tcp)->service;
        worker.counters().services.count(place, 100, 1);
        worker.counters().backends.count(proxy.control.compiled().services()[0].ports[0].backends[0], 100, 1);
    }
}

TEST(controller, pods_keep_place_and_generation_while_others_come_and_go) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1 10.0.0.2 10.0.0.3\n"};
    auto const places = [&] { return proxy.control.compiled().services()[0].ports[0].backends; };
    auto const generation = [&](std::uint32_t place) { return proxy.control.current()->status_of(place).generation; };
    auto const before = places();
    auto const generation_before = generation(before[1]);
    ASSERT_TRUE(proxy.control.execute("ku pod 90.0.0.0/8 10.0.0.2 del").ok());
    EXPECT_EQ(places(), (std::vector{before[0], before[2]}));
    EXPECT_FALSE(proxy.control.current()->is_current(before[1], generation_before));
    EXPECT_TRUE(proxy.control.current()->is_current(before[0], generation(before[0])));
    ASSERT_TRUE(proxy.control.execute("ku pod 90.0.0.0/8 10.0.0.2").ok());
    EXPECT_EQ(generation(before[1]) >> 8, generation_before >> 8) << "it came back to the same life";
    EXPECT_EQ(places(), before);
}

TEST(controller, kubernetes_objects_go_beside_ku_lines) {
    proxy_of_text proxy{"ku vip 90.0.0.0/8 port 80\n"};
    service_configuration web{.name = "default/web"};
    web.addresses = {{*parse_prefix("10.96.0.1"), service_address_kind::cluster_ip}};
    web.ports = {{.name = "http", .protocol = service_protocol::tcp, .port = 80, .target_port = 8080}};
    ASSERT_FALSE(proxy.control.configuration().put(web));
    proxy.control.publish();
    EXPECT_EQ(proxy.service_at<ipv4>("10.96.0.1", 80, tcp), "default/web:http");
    EXPECT_EQ(proxy.service_at<ipv4>("90.0.0.1", 80, tcp), "90.0.0.0/8:80");
    EXPECT_FALSE(proxy.control.execute("ku pod 10.96.0.1 10.244.0.1").ok()) << "ku changes VIPs of its own only";
    EXPECT_FALSE(proxy.control.execute("ku vip 10.96.0.1 port 80 protocol tcp").ok());
}

TEST(controller, every_configuration_of_the_scenarios_is_understood) {
    auto const folder = conformance::folder();
    if (!folder || !std::filesystem::is_directory(*folder / "scenarios")) GTEST_SKIP() << conformance::absent;
    std::size_t read = 0;
    for (auto const& entry : std::filesystem::recursive_directory_iterator{*folder / "scenarios"}) {
        if (entry.path().extension() != ".ku") continue;
        service_source source;
        controller control{source};
        auto const result = control.apply(conformance::contents(entry.path()));
        EXPECT_TRUE(result.ok()) << entry.path() << ": " << (result.ok() ? "" : result.error->reason);
        EXPECT_NE(control.current(), nullptr) << entry.path();
        ++read;
    }
    EXPECT_GT(read, 0u);
}

TEST(controller, thousands_of_lines_are_no_trouble) {
    std::string text;
    for (int i = 0; i < 2000; ++i) {
        auto const vip = "90." + std::to_string(i / 250) + '.' + std::to_string(i % 250) + ".0/24";
        text += "ku vip " + vip + " port 80\nku pod " + vip + " 10.0.0.1 10.0.0.2\n";
    }
    proxy_of_text proxy{text};
    EXPECT_EQ(proxy.control.configuration().service_count(), 2000u);
    EXPECT_EQ(proxy.control.compiled().rings().alive(), 1u) << "equal pods and ports, one ring";
}

} // namespace
} // namespace kubeproxy::controller_tests
