#include "support/control_server.hpp"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/read.hpp>

#include <fcntl.h>
#include <poll.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace examples::control_server_tests {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

std::string temporary_socket() {
    static int number = 0;
    return testing::TempDir() + "control" + std::to_string(::getpid()) + '.' + std::to_string(++number);
}

/// A server on a thread of its own. It says "you said …", and other things for some lines.
class served : public testing::Test {
  protected:
    void start(control_limits limits = {}) {
        server_.emplace(context_, path_, said, limits);
        thread_ = std::thread{[this] { context_.run(); }};
    }
    ~served() override {
        asio::post(context_, [this] {
            server_.reset();
            work_.reset();
        });
        if (thread_.joinable()) thread_.join();
    }
    static kubeproxy::command_result said(std::string_view line) {
        if (line == "bad") return {.text = {}, .error = kubeproxy::command_error{1, "no such\nthing"}};
        if (line == "nothing") return {};
        if (line == "verbose") return {.text = "one\n\n\ntwo\n", .error = {}};
        if (line == "throw") throw std::runtime_error{"out of luck"};
        if (line == "much") return {.text = std::string(1u << 22, 'x') + '\n', .error = {}};
        return {.text = "you said " + std::string{line} + '\n', .error = {}};
    }

    std::string path_ = temporary_socket();
    asio::io_context context_;
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(context_);
    std::optional<control_server> server_;
    std::thread thread_;
};

class client {
  public:
    explicit client(std::string const& path) { stream.connect(asio::local::stream_protocol::endpoint{path}); }
    void send(std::string_view text) { asio::write(stream, asio::buffer(text)); }
    std::string answer() {
        auto const size = asio::read_until(stream, asio::dynamic_buffer(input), "\n\n");
        auto text = input.substr(0, size);
        input.erase(0, size);
        return text;
    }
    std::string ask(std::string_view line) {
        send(std::string{line} + '\n');
        return answer();
    }
    std::string all_until_end() {
        boost::system::error_code end;
        asio::read(stream, asio::dynamic_buffer(input), end);
        return input;
    }

    asio::io_context context;
    asio::local::stream_protocol::socket stream{context};
    std::string input;
};

TEST_F(served, answers_line_by_line) {
    start();
    client one{path_}, two{path_};
    EXPECT_EQ(one.ask("hello"), "you said hello\n\n");
    EXPECT_EQ(two.ask("you, too\r"), "you said you, too\n\n");
    EXPECT_EQ(one.ask("nothing"), "ok\n\n");
    EXPECT_EQ(one.ask("bad"), "error: no such thing\n\n");
    EXPECT_EQ(one.ask("verbose"), "one\n \n \ntwo\n\n") << "an empty line is an answer's end";
    EXPECT_EQ(one.ask("throw"), "error: out of luck\n\n");
    one.send("a\nb\nc\n");
    for (std::string const line : {"a", "b", "c"}) EXPECT_EQ(one.answer(), "you said " + line + "\n\n");
}

TEST_F(served, answers_what_came_before_the_end_of_the_input) { // echo … | socat - UNIX-CONNECT:…
    start();
    client one{path_};
    one.send("first\nsecond without an end");
    one.stream.shutdown(asio::local::stream_protocol::socket::shutdown_send);
    EXPECT_EQ(one.all_until_end(), "you said first\n\nyou said second without an end\n\n");
}

TEST_F(served, is_the_owners_alone_and_goes_with_the_server) {
    start();
    EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0600));
    EXPECT_TRUE(std::filesystem::is_socket(path_));
    std::promise<void> gone;
    asio::post(context_, [&] {
        server_.reset();
        gone.set_value();
    });
    gone.get_future().wait();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

std::string refusal(asio::io_context& context, std::string const& path) {
    try {
        control_server{context, path, [](std::string_view) { return kubeproxy::command_result{}; }};
        return "";
    } catch (control_socket_error const& wrong) {
        return wrong.what();
    }
}

TEST_F(served, replaces_a_dead_socket_but_no_living_one) {
    start();
    asio::io_context context;
    EXPECT_EQ(refusal(context, path_), path_ + ": another process listens there");
    client still{path_};
    EXPECT_EQ(still.ask("hello"), "you said hello\n\n");

    auto const dead = temporary_socket();
    { // closed, but not unlinked: as after kill -9
        asio::local::stream_protocol::acceptor left{context, asio::local::stream_protocol::endpoint{dead}};
    }
    ASSERT_TRUE(std::filesystem::exists(dead));
    EXPECT_EQ(refusal(context, dead), "");
    EXPECT_FALSE(std::filesystem::exists(dead));
}

TEST(control_socket, names_the_path_and_the_cause) {
    asio::io_context context;
    auto const file = temporary_socket();
    std::ofstream{file} << "precious";
    EXPECT_EQ(refusal(context, file), file + ": is there, and is no socket");
    EXPECT_TRUE(std::filesystem::exists(file));
    std::filesystem::remove(file);
    EXPECT_EQ(refusal(context, "/no/such/folder/x"), "/no/such/folder/x: No such file or directory");
    std::string const long_path(200, 'x');
    EXPECT_EQ(refusal(context, long_path), long_path + ": File name too long");
}

TEST_F(served, a_line_without_end_is_cut_off) {
    start({.line = 100});
    client one{path_};
    EXPECT_EQ(one.ask(std::string(99, 'a')).size(), 99u + 9u + 2u);
    one.send(std::string(100, 'a'));
    EXPECT_EQ(one.all_until_end(), "error: a line has at most 100 bytes\n\n");
    client two{path_};
    EXPECT_EQ(two.ask("fine"), "you said fine\n\n");
}

TEST_F(served, a_client_that_does_not_read_is_left_and_others_go_on) {
    start({.write_time = 50ms});
    client slow{path_}, other{path_};
    slow.send("much\nmuch\n");
    for (int i = 0; i < 100; ++i) ASSERT_EQ(other.ask("hello"), "you said hello\n\n");
    pollfd hung_up{slow.stream.native_handle(), 0, 0};
    EXPECT_EQ(::poll(&hung_up, 1, 10'000), 1);
    EXPECT_LT(slow.all_until_end().size(), 1u << 22) << "less than one answer";
    EXPECT_EQ(other.ask("hello"), "you said hello\n\n");
}

TEST_F(served, a_flood_is_answered_in_turn_with_others) {
    start();
    client flood{path_}, other{path_};
    constexpr int lines = 20'000;
    std::jthread const writer{[&] {
        std::string text;
        for (int i = 0; i < lines; ++i) text += std::to_string(i) + '\n';
        flood.send(text);
    }};
    EXPECT_EQ(other.ask("hello"), "you said hello\n\n");
    for (int i = 0; i < lines; ++i) ASSERT_EQ(flood.answer(), "you said " + std::to_string(i) + "\n\n");
}

TEST_F(served, clients_that_die_leave_no_trace) {
    start({.clients = 4});
    for (int i = 0; i < 50; ++i) {
        client one{path_};
        one.send(i % 2 == 0 ? "half a li" : "much\n");
    }
    // The server learns of their ends before or after this one comes: it may be told to try again.
    std::string answer;
    for (int i = 0; i < 1000 && answer != "you said hello\n\n"; ++i) {
        client one{path_};
        boost::system::error_code gone;
        asio::write(one.stream, asio::buffer(std::string_view{"hello\n"}), gone);
        one.stream.shutdown(asio::local::stream_protocol::socket::shutdown_send, gone);
        answer = one.all_until_end();
    }
    EXPECT_EQ(answer, "you said hello\n\n");
}

TEST_F(served, has_room_for_so_many) {
    start({.clients = 2});
    client one{path_}, two{path_};
    EXPECT_EQ(one.ask("a"), "you said a\n\n");
    EXPECT_EQ(two.ask("b"), "you said b\n\n");
    client three{path_};
    EXPECT_EQ(three.all_until_end(), "error: there are 2 clients already\n\n");
    EXPECT_EQ(one.ask("still"), "you said still\n\n");
}

} // namespace
} // namespace examples::control_server_tests
