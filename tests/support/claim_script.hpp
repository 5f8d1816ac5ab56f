#pragma once

#include "kubeproxy/control/compile/compiler.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// A table's rows about services that claim the same, as text: what changes, and who serves what after that.
namespace kubeproxy::testing_support {

/// A service in one line: "a ip 10.96.0.1 ext 203.0.113.9 lb 203.0.113.8 vip 90.0.0.0/8 port 80 node 30080 port 53/udp
/// created 7". Ports are of TCP where they do not say another protocol.
inline service_configuration service_of(std::string_view line) {
    std::istringstream words{std::string{line}};
    service_configuration s;
    std::string word, value;
    words >> s.name;
    auto const number = [](std::string const& text) { return static_cast<std::uint16_t>(std::stoi(text)); };
    while (words >> word >> value) {
        using enum service_address_kind;
        if (word == "ip") s.addresses.push_back({*parse_prefix(value), cluster_ip});
        if (word == "ext") s.addresses.push_back({*parse_prefix(value), external_ip});
        if (word == "lb") s.addresses.push_back({*parse_prefix(value), load_balancer_ip});
        if (word == "vip") s.addresses.push_back({*parse_prefix(value), vip});
        if (word == "node") s.ports.back().node_port = number(value);
        if (word == "created") s.created = std::chrono::sys_seconds{std::chrono::seconds{number(value)}};
        if (word != "port") continue;
        auto const protocol = value.ends_with("/udp")    ? service_protocol::udp
                              : value.ends_with("/any")  ? service_protocol::any
                              : value.ends_with("/sctp") ? service_protocol::sctp
                                                         : service_protocol::tcp;
        s.ports.push_back({.name = "p" + std::to_string(s.ports.size()), .protocol = protocol, .port = number(value)});
    }
    return s;
}

/// Does the lines of a script:
///
///     put SERVICE | delete NAME | node ADDRESS...   change the configuration
///     refused SERVICE                               as put, but it must be rejected
///     together | publish                            begin and end of changes that are made at the same time
///     lost MESSAGE                                  the next claim that was reported as lost
///     at ADDRESS PORT[/PROTOCOL] NAME               who serves it: a service's name, "rejects" or "nobody"
///
/// Each claim that is reported as lost must be in the script.
class claim_script {
  public:
    claim_script() { set_node("192.0.2.11 2001:db8::11"); }

    void run(std::string_view script) {
        std::istringstream lines{std::string{script}};
        for (std::string line; std::getline(lines, line);) {
            line.erase(0, line.find_first_not_of(' '));
            SCOPED_TRACE(line);
            auto const blank = std::min(line.find(' '), line.size());
            act(line.substr(0, blank), line.substr(std::min(blank + 1, line.size())));
        }
        end_step("the end");
    }

    [[nodiscard]] valid_configuration& configuration() noexcept { return configuration_; }
    void compile() { now_ = compiler_.compile(configuration_); }
    [[nodiscard]] std::string server(std::string_view address, std::uint16_t port, std::uint8_t protocol) const {
        if (auto const v4 = parse_address<ipv4>(address)) return server_of(now_->frontends4.find(*v4, port, protocol));
        return server_of(now_->frontends6.find(*parse_address<ipv6>(address), port, protocol));
    }

  private:
    void act(std::string const& what, std::string const& rest) {
        if (what == "lost") return expect_lost(rest);
        if (what == "at") return expect_server(rest);
        end_step(what + ' ' + rest);
        if (what == "put") {
            auto const wrong = configuration_.put(service_of(rest));
            EXPECT_FALSE(wrong) << wrong->text();
        }
        if (what == "refused") {
            auto const wrong = configuration_.put(service_of(rest.substr(0, rest.find(": "))));
            ASSERT_TRUE(wrong);
            EXPECT_EQ(wrong->rule, rest.substr(rest.find(": ") + 2));
        }
        if (what == "delete") {
            EXPECT_TRUE(configuration_.remove(rest));
        }
        if (what == "node") set_node(rest);
        if (what == "together") configuration_.begin_changes();
        if (what == "publish") configuration_.end_changes();
        is_open_ = what == "together" || (is_open_ && what != "publish");
        if (is_open_) return;
        compile();
        for (auto const& lost : configuration_.take_lost_claims()) lost_.push_back(lost.text());
    }
    void end_step(std::string const& next) {
        for (auto const& lost : std::exchange(lost_, {})) ADD_FAILURE() << "before " << next << ": " << lost;
    }
    void expect_lost(std::string const& message) {
        ASSERT_FALSE(lost_.empty());
        EXPECT_EQ(lost_.front(), message);
        lost_.erase(lost_.begin());
    }
    void expect_server(std::string const& line) {
        std::istringstream words{line};
        std::string address, port, name;
        words >> address >> port >> name;
        std::uint8_t const protocol = port.ends_with("/udp") ? 17 : port.ends_with("/sctp") ? 132 : 6;
        EXPECT_EQ(server(address, static_cast<std::uint16_t>(std::stoi(port)), protocol), name);
    }
    template <ip_version V>
    [[nodiscard]] std::string server_of(frontend<V> const* found) const {
        if (found == nullptr) return "nobody";
        if (found->kind == frontend_kind::reject_others) return "rejects";
        auto const& name = *now_->service_at(found->service).name;
        return name.substr(0, name.rfind(":p"));
    }
    void set_node(std::string const& addresses) {
        std::istringstream words{addresses};
        node_configuration node{.node_port_addresses = std::vector<ip_prefix>{prefix<ipv4>{}, prefix<ipv6>{}}};
        for (std::string word; words >> word;) node.addresses.push_back(*parse_address(word));
        EXPECT_FALSE(configuration_.set_node(node));
    }

    valid_configuration configuration_;
    compiler compiler_;
    std::unique_ptr<snapshot const> now_;
    std::vector<std::string> lost_;
    bool is_open_ = false;
};

} // namespace kubeproxy::testing_support
