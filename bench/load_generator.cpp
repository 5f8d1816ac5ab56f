// A small server and its clients for bench/against_kernel.sh; 64 bytes there, 64 bytes back.
//
//     load_generator serve ADDRESS PORT           TCP: the same to every request; UDP: what came
//     load_generator connections ADDRESS PORT S   a connection for each request, 8 at a time, for S seconds
//     load_generator requests ADDRESS PORT S      requests on 16 connections that stay
//     load_generator latency ADDRESS PORT S       requests on one connection, one after the other
//     load_generator datagrams ADDRESS PORT S     UDP, 64 on their way at a time
//
// A client prints a line: done per second, and the 50th, 90th and 99th percentile of a request's microseconds. The
// server closes first where the client has said all, so that TIME_WAIT is the server's.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;
constexpr std::size_t message_size = 64;
using message = std::array<char, message_size>;
constexpr int on_their_way = 64;   ///< datagrams
constexpr char last_request = 'L'; ///< at its front: the server closes when it has answered

[[noreturn]] void fail(char const* what) { throw std::runtime_error{std::string{what} + ": " + std::strerror(errno)}; }
void demand(bool is_well, char const* what) {
    if (!is_well) fail(what);
}

struct place {
    sockaddr_storage address{};
    socklen_t size = 0;

    place(std::string const& text, int port) {
        auto* const v4 = reinterpret_cast<sockaddr_in*>(&address);
        auto* const v6 = reinterpret_cast<sockaddr_in6*>(&address);
        auto const number = htons(static_cast<std::uint16_t>(port));
        if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
            v4->sin_family = AF_INET;
            v4->sin_port = number;
            size = sizeof *v4;
        } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = number;
            size = sizeof *v6;
        } else {
            throw std::runtime_error{text + " is no address"};
        }
    }
    [[nodiscard]] sockaddr const* get() const { return reinterpret_cast<sockaddr const*>(&address); }
};

class open_socket {
  public:
    open_socket(place const& where, int type) : number_{::socket(where.address.ss_family, type, 0)} {
        demand(number_ >= 0, "socket");
    }
    explicit open_socket(int number) : number_{number} {}
    open_socket(open_socket const&) = delete;
    open_socket& operator=(open_socket const&) = delete;
    ~open_socket() { ::close(number_); }
    void connect(place const& where) { demand(::connect(number_, where.get(), where.size) == 0, "connect"); }
    void without_delay() {
        int const yes = 1;
        ::setsockopt(number_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    [[nodiscard]] int get() const { return number_; }
    /// A request and its answer.
    void ask(message const& request) {
        demand(::send(number_, request.data(), request.size(), MSG_NOSIGNAL) == message_size, "send");
        message answer;
        for (std::size_t have = 0; have < answer.size();) {
            auto const got = ::recv(number_, answer.data() + have, answer.size() - have, 0);
            demand(got > 0, "recv");
            have += static_cast<std::size_t>(got);
        }
    }

  private:
    int number_;
};

/// What clients measured, added up over their threads.
class measurement {
  public:
    void add(std::vector<std::uint32_t> const& nanoseconds) {
        std::lock_guard const lock{mutex_};
        all_.insert(all_.end(), nanoseconds.begin(), nanoseconds.end());
    }
    void print(double seconds) {
        std::ranges::sort(all_);
        auto const part = [&](double p) {
            return all_.empty() ? 0.0
                                : all_[static_cast<std::size_t>(p * static_cast<double>(all_.size() - 1))] / 1000.0;
        };
        std::printf("%.0f %.1f %.1f %.1f\n", static_cast<double>(all_.size()) / seconds, part(0.5), part(0.9),
                    part(0.99));
    }

  private:
    std::mutex mutex_;
    std::vector<std::uint32_t> all_;
};

/// Does one thing again and again on some threads. \param make a thread's own thing to do
void repeat(unsigned threads, double seconds, std::function<std::function<void()>()> const& make) {
    measurement all;
    auto const end =
        clock_type::now() + std::chrono::duration_cast<clock_type::duration>(std::chrono::duration<double>{seconds});
    {
        std::vector<std::jthread> running;
        for (unsigned i = 0; i < threads; ++i)
            running.emplace_back([&] {
                try {
                    auto const act = make();
                    std::vector<std::uint32_t> times;
                    for (auto begin = clock_type::now(); begin < end;) {
                        act();
                        auto const now = clock_type::now();
                        times.push_back(static_cast<std::uint32_t>((now - begin).count()));
                        begin = now;
                    }
                    all.add(times);
                } catch (std::exception const& wrong) {
                    std::cerr << "load_generator: " << wrong.what() << '\n';
                    std::_Exit(1);
                }
            });
    }
    all.print(seconds);
}

void run_connections(place const& where, double seconds) {
    repeat(8, seconds, [&] {
        return [&where] {
            open_socket one{where, SOCK_STREAM};
            one.connect(where);
            one.ask(message{last_request});
            char nothing = 0;
            demand(::recv(one.get(), &nothing, 1, 0) == 0, "the end");
        };
    });
}

void run_requests(place const& where, unsigned connections, double seconds) {
    repeat(connections, seconds, [&]() -> std::function<void()> {
        auto const one = std::make_shared<open_socket>(where, SOCK_STREAM);
        one->connect(where);
        one->without_delay();
        return [one] { one->ask(message{}); };
    });
}

void run_datagrams(place const& where, double seconds) {
    repeat(1, seconds, [&]() -> std::function<void()> {
        auto const one = std::make_shared<open_socket>(where, SOCK_DGRAM);
        one->connect(where);
        auto const say = [one] { static_cast<void>(::send(one->get(), message{}.data(), message_size, 0)); };
        for (int i = 0; i < on_their_way; ++i) say();
        return [one, say] {
            pollfd answer{one->get(), POLLIN, 0};
            message got;
            while (::poll(&answer, 1, 100) == 0) // some were lost
                for (int i = 0; i < on_their_way; ++i) say();
            static_cast<void>(::recv(one->get(), got.data(), got.size(), 0));
            say();
        };
    });
}

/// One thread for all connections and datagrams.
class server {
  public:
    explicit server(place const& where)
        : tcp_{where, SOCK_STREAM | SOCK_NONBLOCK}, udp_{where, SOCK_DGRAM | SOCK_NONBLOCK} {
        int const yes = 1;
        ::setsockopt(tcp_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        demand(::bind(tcp_.get(), where.get(), where.size) == 0, "bind");
        demand(::listen(tcp_.get(), 4096) == 0, "listen");
        demand(::bind(udp_.get(), where.get(), where.size) == 0, "bind");
        watch(tcp_.get());
        watch(udp_.get());
    }
    [[noreturn]] void run() {
        std::array<epoll_event, 256> events;
        for (;;) {
            auto const count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
            for (int i = 0; i < count; ++i) serve(events[static_cast<std::size_t>(i)].data.fd);
        }
    }

  private:
    void watch(int number) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = number;
        demand(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, number, &event) == 0, "epoll_ctl");
    }
    void serve(int number) {
        if (number == tcp_.get()) return accept_all();
        if (number == udp_.get()) return answer_datagrams();
        message request;
        auto const got = ::recv(number, request.data(), request.size(), 0);
        if (got > 0) static_cast<void>(::send(number, request.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL));
        if (got <= 0 || request[0] == last_request) ::close(number);
    }
    void accept_all() {
        for (int one = 0; (one = ::accept4(tcp_.get(), nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
            int const yes = 1;
            ::setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            watch(one);
        }
    }
    void answer_datagrams() {
        message request;
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        auto* const who = reinterpret_cast<sockaddr*>(&from);
        for (ssize_t got = 0; (got = ::recvfrom(udp_.get(), request.data(), request.size(), 0, who, &size)) >= 0;
             size = sizeof from)
            static_cast<void>(::sendto(udp_.get(), request.data(), static_cast<std::size_t>(got), 0, who, size));
    }

    open_socket tcp_, udp_;
    open_socket epoll_{::epoll_create1(0)};
};

} // namespace

int main(int argc, char** argv) {
    try {
        if (argc < 4) throw std::runtime_error{"serve|connections|requests|latency|datagrams ADDRESS PORT [SECONDS]"};
        std::string_view const what = argv[1];
        place const where{argv[2], std::atoi(argv[3])};
        auto const seconds = argc > 4 ? std::atof(argv[4]) : 1.0;
        if (what == "serve") server{where}.run();
        if (what == "connections") run_connections(where, seconds);
        if (what == "requests") run_requests(where, 16, seconds);
        if (what == "latency") run_requests(where, 1, seconds);
        if (what == "datagrams") run_datagrams(where, seconds);
        return 0;
    } catch (std::exception const& wrong) {
        std::cerr << "load_generator: " << wrong.what() << '\n';
        return 1;
    }
}
