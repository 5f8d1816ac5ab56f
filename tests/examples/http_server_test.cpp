#include "support/health_ports.hpp"
#include "support/http_server.hpp"

#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace examples {
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
    void start() {
        on_thread([this] {
            server_.emplace(context_, tcp::endpoint{asio::ip::make_address("127.0.0.1"), 0},
                            [](std::string_view target) -> http_answer {
                                if (target == "/healthz") return {.body = "ok\n"};
                                return {.status = 404, .body = "no " + std::string{target} + '\n'};
                            });
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

TEST_F(served_http, health_check_node_ports_come_change_and_go) {
    start();
    std::uint16_t free = 0;
    { // a port that was free a moment ago
        asio::io_context context;
        free = tcp::acceptor{context, tcp::endpoint{tcp::v6(), 0}}.local_endpoint().port();
    }
    std::vector<std::string> said;
    health_ports ports{context_, [&](std::string const& line) { said.push_back(line); }};
    std::string const ask = "GET / HTTP/1.0\r\n\r\n";
    on_thread([&] { ports.update({{free, "shop/web", 2}, {port_, "shop/late", 1}}); });
    EXPECT_EQ(said, std::vector<std::string>{"healthCheckNodePort of shop/late: [::]:" + std::to_string(port_) +
                                             ": Address already in use"});
    EXPECT_TRUE(say(free, ask).starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json"));
    on_thread([&] { ports.update({{free, "shop/web", 0}}); });
    auto const none = say(free, ask);
    EXPECT_TRUE(none.starts_with("HTTP/1.1 503 Service Unavailable\r\n")) << none;
    EXPECT_NE(none.find("\"localEndpoints\":0"), std::string::npos);
    on_thread([&] { ports.update({}); });
    EXPECT_THROW(say(free, ask), boost::system::system_error);
}

} // namespace
} // namespace examples
