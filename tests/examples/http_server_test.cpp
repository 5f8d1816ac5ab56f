#include "tap_forwarder/operations/health_ports.hpp"
#include "tap_forwarder/operations/http_server.hpp"
#include "tap_forwarder/operations/listen_addresses.hpp"

#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace examples::http_server_tests {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class served_http : public testing::Test {
  protected:
    served_http() {
        thread_ = std::thread{[this] { context_.run(); }};
    }
    ~served_http() override {
        on_thread([this] { server_.reset(); });
        work_.reset();
        thread_.join();
    }
    template <class F>
    void on_thread(F f) {
        std::promise<void> done;
        asio::post(context_, [&] {
            f();
            done.set_value();
        });
        done.get_future().wait();
    }
    void start(http_settings const& settings = {}) {
        on_thread([&] {
            server_.emplace(
                context_, tcp::endpoint{asio::ip::make_address("127.0.0.1"), 0},
                [](std::string_view target) -> http_answer {
                    if (target == "/healthz") return {.body = "ok\n"};
                    return {.status = 404, .body = "no " + std::string{target} + '\n'};
                },
                settings);
            port_ = server_->local().port();
        });
    }
    /// Everything that the server says until it closes.
    static std::string say(std::uint16_t port, std::string_view request) {
        asio::io_context context;
        tcp::socket socket{context};
        socket.connect({asio::ip::make_address("127.0.0.1"), port});
        asio::write(socket, asio::buffer(request));
        std::string all;
        boost::system::error_code end;
        asio::read(socket, asio::dynamic_buffer(all), end);
        return all;
    }
    [[nodiscard]] std::string say(std::string_view request) const { return say(port_, request); }

    asio::io_context context_;
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(context_);
    std::optional<http_server> server_;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

TEST_F(served_http, get_head_and_what_is_not_there) {
    start();
    auto const got = say("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(got.starts_with("HTTP/1.1 200 OK\r\n")) << got;
    EXPECT_NE(got.find("Content-Length: 3\r\n"), std::string::npos) << got;
    EXPECT_TRUE(got.ends_with("\r\n\r\nok\n")) << got;
    auto const head = say("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_NE(head.find("Content-Length: 3\r\n"), std::string::npos) << head;
    EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
    EXPECT_TRUE(say("GET /x HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 Not Found\r\n"));
}

TEST_F(served_http, keeps_a_connection_for_several_requests) {
    start();
    std::string const one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    auto const got = say(one + one + "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    std::size_t answers = 0;
    for (auto at = got.find("200 OK"); at != std::string::npos; at = got.find("200 OK", at + 1)) ++answers;
    EXPECT_EQ(answers, 3u) << got;
}

TEST_F(served_http, what_is_no_request_is_refused) {
    start();
    EXPECT_TRUE(say("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
    for (std::string_view const bad : {"\r\n\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n",
                                       "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"}) {
        auto const answer = say(bad);
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 Bad Request\r\n")) << bad << answer;
    }
    EXPECT_TRUE(say("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x')).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    EXPECT_TRUE(say("GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n")) << "others are still served";
}

TEST(http_endpoint, is_parsed_or_refused_with_a_reason) {
    EXPECT_EQ(parse_endpoint("127.0.0.1:9100"), tcp::endpoint(asio::ip::make_address("127.0.0.1"), 9100));
    EXPECT_EQ(parse_endpoint("[::1]:80"), tcp::endpoint(asio::ip::make_address("::1"), 80));
    for (auto const& [text, why] : std::vector<std::pair<std::string, std::string>>{
             {"9100", "9100: ADDRESS:PORT is wanted"},
             {"localhost:9100", "localhost:9100: \"localhost\" is no address"},
             {"::1:80", "::1:80: an IPv6 address stands in brackets"},
             {"127.0.0.1:", "127.0.0.1:: \"\" is no port"},
             {"127.0.0.1:65536", "127.0.0.1:65536: \"65536\" is no port"}}) {
        try {
            static_cast<void>(parse_endpoint(text));
            ADD_FAILURE() << text;
        } catch (std::invalid_argument const& wrong) {
            EXPECT_EQ(std::string{wrong.what()}, why);
        }
    }
}

TEST_F(served_http, an_endpoint_in_use_is_named) {
    start();
    try {
        http_server const second{context_, {asio::ip::make_address("127.0.0.1"), port_}, nullptr};
        ADD_FAILURE();
    } catch (std::runtime_error const& wrong) {
        EXPECT_EQ(std::string{wrong.what()}, "127.0.0.1:" + std::to_string(port_) + ": Address already in use");
    }
}

/// A connection that may send something, and then stays.
tcp::socket connected(asio::io_context& context, std::uint16_t port, std::string_view text = {},
                      std::string const& from = "127.0.0.1") {
    tcp::socket socket{context};
    socket.open(tcp::v4());
    socket.bind({asio::ip::make_address(from), 0});
    socket.connect({asio::ip::make_address("127.0.0.1"), port});
    asio::write(socket, asio::buffer(text));
    return socket;
}
bool is_closed(tcp::socket& socket) {
    char byte = 0;
    boost::system::error_code wrong;
    socket.non_blocking(true);
    socket.read_some(asio::buffer(&byte, 1), wrong);
    return wrong && wrong != asio::error::would_block;
}

constexpr std::string_view ask_health = "GET /healthz HTTP/1.0\r\n\r\n";

TEST_F(served_http, idle_connections_of_one_address_give_way_to_the_next_of_it) {
    start({.clients = 8, .clients_of_address = 4});
    asio::io_context context;
    std::vector<tcp::socket> idle;
    for (int i = 0; i < 4; ++i) idle.push_back(connected(context, port_, i == 1 ? "GET /heal" : ""));
    auto other = connected(context, port_, "", "127.0.0.2");
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(say(ask_health).ends_with("ok\n"));
    EXPECT_TRUE(is_closed(idle[0])) << "it has waited longest";
    EXPECT_FALSE(is_closed(idle[3]));
    EXPECT_FALSE(is_closed(other)) << "another address has room of its own";
}

TEST_F(served_http, idle_connections_of_many_addresses_give_way_to_a_new_one) {
    start({.clients = 64, .clients_of_address = 16});
    asio::io_context context;
    std::vector<tcp::socket> idle;
    for (int i = 0; i < 200; ++i) {
        idle.push_back(connected(context, port_,
                                 i % 2 == 0 ? "" : "GET / HTTP/1.1\r\nX: ", "127.0.1." + std::to_string(1 + i % 50)));
        if (i % 40 == 39) {
            EXPECT_TRUE(say(ask_health).ends_with("ok\n")) << i;
        }
    }
    EXPECT_TRUE(is_closed(idle[0]));
    EXPECT_FALSE(is_closed(idle.back()));
}

TEST_F(served_http, a_request_that_comes_byte_by_byte_has_a_deadline) {
    start({.patience = std::chrono::milliseconds{200}});
    asio::io_context context;
    auto slow = connected(context, port_, "GET ");
    auto const end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (!is_closed(slow) && std::chrono::steady_clock::now() < end) {
        boost::system::error_code ignored;
        slow.non_blocking(false);
        asio::write(slow, asio::buffer("/", 1), ignored);
        std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
    EXPECT_TRUE(is_closed(slow));
}

TEST_F(served_http, health_check_node_ports_come_change_and_go) {
    start();
    std::uint16_t free = 0;
    { // a port that was free a moment ago
        asio::io_context context;
        free = tcp::acceptor{context, tcp::endpoint{tcp::v4(), 0}}.local_endpoint().port();
    }
    bool is_healthy = true;
    std::vector<std::string> said;
    health_ports ports{context_, [&](std::string const& line) { said.push_back(line); }, [&] { return is_healthy; }};
    kubeproxy::node_configuration const node{};
    std::string const ask = "GET / HTTP/1.0\r\n\r\n";
    on_thread([&] { ports.update({{free, "shop/web", 2}, {port_, "shop/late", 1}}, node); });
    on_thread([&] { ports.open_missing(); });
    EXPECT_EQ(said, std::vector<std::string>{"healthCheckNodePort of shop/late: 0.0.0.0:" + std::to_string(port_) +
                                             ": Address already in use"})
        << "the same problem is said once";
    auto const two = say(free, ask);
    EXPECT_TRUE(two.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json")) << two;
    EXPECT_NE(two.find("\r\nX-Content-Type-Options: nosniff\r\n"), std::string::npos) << two;
    EXPECT_NE(two.find("\r\nX-Load-Balancing-Endpoint-Weight: 2\r\n"), std::string::npos) << two;
    on_thread([&] { is_healthy = false; });
    EXPECT_TRUE(say(free, ask).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    on_thread([&] { is_healthy = true; });
    on_thread([&] { ports.update({{free, "shop/web", 0}}, node); });
    auto const none = say(free, ask);
    EXPECT_TRUE(none.starts_with("HTTP/1.1 503 Service Unavailable\r\n")) << none;
    EXPECT_NE(none.find("\"localEndpoints\":0"), std::string::npos);
    on_thread([&] { ports.update({}, node); });
    EXPECT_THROW(say(free, ask), boost::system::system_error);
}

TEST_F(served_http, health_check_node_ports_listen_at_node_port_addresses_only) { // kubernetes PR#111661
    start();
    std::vector<std::string> said;
    health_ports ports{context_, [&](std::string const& line) { said.push_back(line); }, [] { return true; }};
    kubeproxy::node_configuration node{};
    node.node_port_addresses = std::vector{*kubeproxy::parse_prefix("127.0.0.1/32")};
    std::uint16_t free = 0;
    {
        asio::io_context context;
        free = tcp::acceptor{context, tcp::endpoint{tcp::v4(), 0}}.local_endpoint().port();
    }
    on_thread([&] { ports.update({{free, "shop/web", 1, 4}}, node); });
    EXPECT_TRUE(said.empty());
    EXPECT_TRUE(say(free, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    asio::io_context context;
    tcp::socket elsewhere{context};
    EXPECT_THROW(elsewhere.connect({asio::ip::make_address("127.0.0.2"), free}), boost::system::system_error);
    on_thread([&] { ports.update({}, node); });
}

// kube-proxy, pkg/proxy/util/nodeport_addresses.go: the addresses of the interfaces that a range contains.
TEST(listen_addresses, are_those_of_the_interfaces_in_the_ranges) {
    using list = std::vector<asio::ip::address>;
    auto const of = [](std::vector<std::string> const& texts) {
        list all;
        for (auto const& text : texts) all.push_back(asio::ip::make_address(text));
        return all;
    };
    auto const here = of({"127.0.0.1", "192.0.2.1", "192.0.2.2", "::1", "2001:db8::1", "2001:db8::2"});
    using ranges = std::optional<std::vector<kubeproxy::ip_prefix>>;
    auto const range = [](char const* text) { return *kubeproxy::parse_prefix(text); };
    struct {
        char const* rule;
        ranges node_port_addresses;
        list v4, v6;
    } const rows[]{
        {"without a setting: the primary address of each family", std::nullopt, of({"192.0.2.2"}), of({"2001:db8::2"})},
        {"those in a range", ranges{{range("192.0.2.0/24"), range("2001:db8::1/128")}}, of({"192.0.2.1", "192.0.2.2"}),
         of({"2001:db8::1"})},
        {"loopback, where a range says so", ranges{{range("127.0.0.0/8"), range("::1/128")}}, of({"127.0.0.1"}),
         of({"::1"})},
        {"a family without ranges: all of it", ranges{{range("192.0.2.1/32")}}, of({"192.0.2.1"}), {}},
        {"a range of everything: all", ranges{{range("0.0.0.0/0"), range("::/0")}}, {}, {}},
        {"no interface in a range: all", ranges{{range("203.0.113.0/24"), range("2001:db8:9::/64")}}, {}, {}},
    };
    for (auto const& row : rows) {
        SCOPED_TRACE(row.rule);
        kubeproxy::node_configuration node{};
        node.addresses = {*kubeproxy::parse_address("192.0.2.2"), *kubeproxy::parse_address("2001:db8::2")};
        node.node_port_addresses = row.node_port_addresses;
        EXPECT_EQ(listen_addresses<kubeproxy::ipv4>(node, here), row.v4);
        EXPECT_EQ(listen_addresses<kubeproxy::ipv6>(node, here), row.v6);
    }
}

} // namespace
} // namespace examples::http_server_tests
