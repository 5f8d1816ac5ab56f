#include "kubeproxy/control/controller.hpp"
#include "kubeproxy/control/show/config_text.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

// `show config` is loaded into another controller, which then must be configured alike.

namespace kubeproxy::config_text_tests {
namespace {

struct node_with_controller {
    service_source source{};
    controller control{source};

    explicit node_with_controller(std::string_view ku = {}) {
        auto const result = control.apply(ku);
        if (!result.ok()) ADD_FAILURE() << result.error->line << ": " << result.error->reason << "\n" << ku;
    }
    [[nodiscard]] std::string config() {
        auto const result = control.apply("show config");
        EXPECT_TRUE(result.ok());
        return result.text;
    }
};

/// What can be configured, whatever order it was said in.
std::string state_of(controller& control) {
    std::map<std::string, std::string> services;
    for (auto const& s : control.configuration().services()) {
        if (s == nullptr) continue;
        auto const& p = s->ports.front();
        std::vector<std::string> pods;
        for (auto const& e : s->slices.front().endpoints)
            pods.push_back(to_text(e.address) + '*' + std::to_string(e.weight));
        std::ranges::sort(pods);
        auto& text = services[s->name];
        for (unsigned const n : {unsigned{p.port}, unsigned{p.target_port}, unsigned{p.node_port},
                                 static_cast<unsigned>(p.protocol), static_cast<unsigned>(s->pods), s->ring_size})
            text += ' ' + std::to_string(n);
        for (auto const& pod : pods) text += ' ' + pod;
    }
    std::string all = control.apply("show ku").text;
    all.resize(all.find("services, ") == std::string::npos ? 0 : all.rfind('\n', all.find("services, ")));
    for (auto const& [name, text] : services) all += '\n' + name + text;
    auto const& t = control.configuration().node().lifetimes;
    for (auto const s : {t.tcp_transitory, t.udp_replied, t.icmp, t.sctp_transitory, t.other_unreplied})
        all += '\n' + std::to_string(s.count());
    return all;
}

TEST(config_text, lines) {
    node_with_controller node;
    EXPECT_EQ(node.config(), "");
    ASSERT_TRUE(node.control
                    .apply("ku conf snat4 198.18.0.1-198.18.0.2 timeout 40 node 192.0.2.1 node 2001:db8::1 buckets 7\n"
                           "ku set interface nat4 in eth0\n"
                           "ku vip 90.0.0.0/8 port 3306 target_port 3307\n"
                           "ku pod 90.0.0.0/8 10.0.0.1 10.0.0.2\nku pod 90.0.0.0/8 10.0.0.3 weight 5\n"
                           "ku vip 2001::/16 port 80 protocol tcp node_port 30001 nat4 new_len 1000\n")
                    .ok());
    EXPECT_EQ(node.config(),
              "ku conf buckets 7 timeout 40 snat4 198.18.0.1-198.18.0.2 node 192.0.2.1 node 2001:db8::1\n"
              "ku vip 90.0.0.0/8 port 3306 target_port 3307\n"
              "ku pod 90.0.0.0/8 10.0.0.1 10.0.0.2\n"
              "ku pod 90.0.0.0/8 10.0.0.3 weight 5\n"
              "ku vip 2001::/16 protocol tcp port 80 node_port 30001 nat4 new_len 1000\n"
              "ku set interface nat4 in eth0\n");
}

TEST(config_text, makes_the_configuration_again) {
    for (std::string_view const ku : {
             "",
             "ku conf snat6 2001:db8::5 nat64_prefix 64:ff9b::/96 snat4 198.18.0.1\n",
             "ku vip 90.0.0.0/8\nku pod 90.0.0.0/8 10.0.0.1 weight 0\n",
             // several services of one prefix whose pods differ
             "ku vip 90.0.0.0/8 port 80\nku pod 90.0.0.0/8 10.0.0.1\nku vip 90.0.0.0/8 port 81\n"
             "ku pod 90.0.0.0/8 10.0.0.2 10.0.0.3 weight 3\n",
             "ku vip 90.0.0.0/8 port 80 protocol sctp\nku pod 90.0.0.0/8 10.0.0.1\nku vip 90.0.0.0/8 port 80\n"
             "ku pod 90.0.0.0/8 10.0.0.2\nku vip 90.0.0.0/8\nku pod 90.0.0.0/8 10.0.0.3\n",
             "ku vip 90.0.0.0/8 port 80 nat6\nku vip 90.0.0.0/8 port 81\nku pod 90.0.0.0/8 10.0.0.1 2001:db8::1\n",
             "ku vip 90.0.0.0/8 port 80\nku vip 90.0.0.0/8 port 81\nku pod 90.0.0.0/8 10.0.0.1 port 80\n"
             "ku pod 90.0.0.0/8 10.0.0.2 port 81 weight 9\nku pod 90.0.0.0/8 10.0.0.3\n",
         }) {
        node_with_controller before{ku};
        auto const text = before.config();
        node_with_controller after{text};
        EXPECT_EQ(state_of(after.control), state_of(before.control)) << ku << "was told as\n" << text;
        node_with_controller again{after.config()};
        EXPECT_EQ(again.config(), after.config()) << "the text of the text is the text";
    }
}

TEST(config_text, random_histories) {
    std::mt19937 random{7};
    auto const one_of = [&](std::vector<std::string> const& words) { return words[random() % words.size()]; };
    for (int history = 0; history < 200; ++history) {
        node_with_controller before;
        for (int step = 0; step < 30; ++step) {
            auto const vip = one_of({"90.0.0.0/8", "91.0.0.1/32", "2001::/16"});
            auto const port = one_of({"", " port 0", " port 80", " port 81"});
            auto const protocol = one_of({"", "", " protocol tcp", " protocol udp", " protocol sctp"});
            auto const del = one_of({"", "", " del"});
            auto const pod = one_of({"10.0.0.1", "10.0.0.2", "10.0.0.3 10.0.0.4", "2002::1", "2002::2"});
            auto const weight = one_of({"", " weight 3", " del"});
            auto const family = del.empty() ? one_of({"", " nat4", " nat6"}) : "";
            auto const line =
                one_of({"ku vip " + vip + port + protocol + family + del, // may be refused: as you like
                        "ku pod " + vip + ' ' + pod + weight, "ku pod " + vip + ' ' + pod + port + protocol + weight});
            static_cast<void>(before.control.apply(line));
        }
        auto const text = before.config();
        node_with_controller after{text};
        ASSERT_EQ(state_of(after.control), state_of(before.control)) << text;
    }
}

TEST(config_text, says_what_it_does_not_hold) {
    node_with_controller node;
    ASSERT_FALSE(node.control.configuration().set_node({.name = "n1", .addresses = {*parse_address("192.0.2.1")}}));
    service_configuration web{.name = "default/web"};
    web.addresses.push_back({*parse_prefix("10.96.0.1/32"), service_address_kind::cluster_ip});
    web.ports.push_back({.name = {}, .protocol = service_protocol::tcp, .port = 80});
    ASSERT_FALSE(node.control.configuration().put(web));
    EXPECT_EQ(node.config(), "# and what the node's own file says\n# and 1 services of the cluster\n");
    EXPECT_EQ(node.control.apply("show config json").text,
              "{\"ku\":\"# and what the node's own file says\\u000a# and 1 services of the cluster\\u000a\"}\n");
}

struct files {
    std::map<std::string, std::string> written;
    controller_hooks hooks() {
        return {.save_config =
                    [this](std::string const& file, std::string_view text) {
                        if (file == "/full") throw ku_error{"cannot write /full: no space"};
                        written[file] = text;
                        return "saved " + file + '\n';
                    },
                .save_flows =
                    [this](std::string const& file) {
                        written[file] = "flows";
                        return std::string{"saved 3 flows\n"};
                    }};
    }
};

TEST(ku_save, hands_the_host_what_to_write) {
    service_source source;
    files disk;
    controller control{source, {.hooks = disk.hooks()}};
    ASSERT_TRUE(control.apply("ku vip 90.0.0.0/8 port 80").ok());
    EXPECT_EQ(control.apply("ku save config /tmp/a.ku").text, "saved /tmp/a.ku\n");
    EXPECT_EQ(disk.written["/tmp/a.ku"], "ku vip 90.0.0.0/8 port 80\n");
    EXPECT_EQ(control.apply("ku save flows /tmp/b").text, "saved 3 flows\n");
    EXPECT_EQ(disk.written["/tmp/b"], "flows");
}

TEST(ku_save, is_refused) {
    service_source source;
    files disk;
    controller control{source, {.hooks = disk.hooks()}}, without{source};
    auto const why = [](command_result const& r) { return r.ok() ? "" : r.error->reason; };
    EXPECT_EQ(why(control.apply("\nku save config /full")), "cannot write /full: no space");
    EXPECT_EQ(control.apply("\nku save config /full").error->line, 2u);
    EXPECT_EQ(why(control.apply("ku save")), "the line ends where config or flows is wanted");
    EXPECT_EQ(why(control.apply("ku save all /tmp/x")),
              "unknown word \"all\" after \"ku save\" (known: config, flows)");
    EXPECT_EQ(why(control.apply("ku save flows")), "the line ends where a file is wanted");
    EXPECT_EQ(why(control.apply("ku save flows /a /b")), "unknown word \"/b\": nothing comes after \"the file\"");
    EXPECT_EQ(why(without.apply("ku save flows /a")), "no files are written here");
    std::string const alone = "\"ku save\" does not stand beside lines that change something";
    EXPECT_EQ(why(control.apply("ku vip 90.0.0.0/8\nku save config /a")), alone);
    EXPECT_EQ(why(control.apply("ku save config /a\nku vip 90.0.0.0/8")), alone);
    EXPECT_EQ(control.configuration().service_count(), 0u);
    EXPECT_TRUE(disk.written.empty());
}

TEST(ku_pod, may_mean_one_port) {
    node_with_controller node{"ku vip 90.0.0.0/8 port 80\nku vip 90.0.0.0/8 port 443 protocol tcp\n"
                              "ku pod 90.0.0.0/8 10.0.0.1 port 80\nku pod 90.0.0.0/8 10.0.0.2 protocol tcp\n"};
    auto const pods = [&](std::string const& name) {
        std::string text;
        for (auto const& e : node.control.configuration().find(name)->slices.front().endpoints)
            text += to_text(e.address) + ' ';
        return text;
    };
    EXPECT_EQ(pods("90.0.0.0/8:80"), "10.0.0.1 ");
    EXPECT_EQ(pods("90.0.0.0/8:443/tcp"), "10.0.0.2 ");
    auto const wrong = node.control.apply("ku pod 90.0.0.0/8 10.0.0.9 port 81");
    ASSERT_FALSE(wrong.ok());
    EXPECT_EQ(wrong.error->reason, "unknown VIP: no service of 90.0.0.0/8 has that port and protocol");
    EXPECT_FALSE(node.control.apply("ku pod 90.0.0.0/8 10.0.0.2 port 80 del").ok()) << "it is the other port's";
    EXPECT_TRUE(node.control.apply("ku pod 90.0.0.0/8 10.0.0.2 port 443 del").ok());
    EXPECT_EQ(pods("90.0.0.0/8:443/tcp"), "");
}

TEST(controller_times, count_publications) {
    node_with_controller node{"ku vip 90.0.0.0/8 port 80"};
    EXPECT_EQ(node.control.times().count, 1u);
    EXPECT_FALSE(node.control.apply("ku vip 90.0.0.0/8 port 80").ok());
    EXPECT_EQ(node.control.times().count, 1u) << "refused";
    EXPECT_TRUE(node.control.apply("ku pod 90.0.0.0/8 10.0.0.1").ok());
    EXPECT_EQ(node.control.times().count, 2u);
    EXPECT_GE(node.control.times().sum, node.control.times().last);
}

} // namespace
} // namespace kubeproxy::config_text_tests
