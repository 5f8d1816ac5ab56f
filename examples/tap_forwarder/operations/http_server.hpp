#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace examples {

namespace detail {
namespace http = boost::beast::http;
}

struct http_answer {
    unsigned status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body{};
    std::vector<std::pair<std::string, std::string>> headers{}; ///< besides the type and the length
};

/// What clients of an HTTP server may cost it, and where it listens.
struct http_settings {
    std::size_t clients = 64;                   ///< connections at a time
    std::size_t clients_of_address = 16;        ///< connections at a time from one client address
    std::chrono::milliseconds patience{10'000}; ///< for a request since the answer before, and for writing an answer
    bool is_ipv6_only = false;                  ///< of the address ::, whether IPv4 clients are left out
};

/// "127.0.0.1:9100", "[::1]:9100"; an address is needed. \throws std::invalid_argument, saying what is wrong
[[nodiscard]] inline boost::asio::ip::tcp::endpoint parse_endpoint(std::string_view text) {
    auto const colon = text.rfind(':');
    auto const wrong = [&](std::string const& why) { return std::invalid_argument{std::string{text} + ": " + why}; };
    if (colon == std::string_view::npos) throw wrong("ADDRESS:PORT is wanted");
    auto host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    else if (host.find(':') != std::string_view::npos)
        throw wrong("an IPv6 address stands in brackets");
    boost::system::error_code error;
    auto const address = boost::asio::ip::make_address(std::string{host}, error);
    if (error) throw wrong('"' + std::string{host} + "\" is no address");
    std::uint16_t port = 0;
    auto const digits = text.substr(colon + 1);
    auto const [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (bad != std::errc{} || end != digits.data() + digits.size())
        throw wrong('"' + std::string{digits} + "\" is no port");
    return {address, port};
}

/// Answers GET and HEAD over HTTP/1.1, on the context's thread. The cost of a client is bounded: one request's headers,
/// one answer, and the time to read and write them.
///
/// The number of clients is bounded too. When a client connects and there is no room, either in total or for its
/// address, the connection that has waited longest for a complete request is closed. So idle connections, and those
/// that send their requests slowly, cannot keep others out.
class http_server {
  public:
    using answer = std::function<http_answer(std::string_view target)>;

    /// \throws std::runtime_error, naming the endpoint and the cause
    http_server(boost::asio::io_context& context, boost::asio::ip::tcp::endpoint const& where, answer say,
                http_settings const& settings = {})
        : state_{std::make_shared<state>(context, std::move(say), settings)} {
        state_->listen(where);
        state_->accept();
    }
    http_server(http_server const&) = delete;
    http_server& operator=(http_server const&) = delete;
    ~http_server() {
        state_->say = nullptr;
        boost::system::error_code ignored;
        state_->acceptor.close(ignored);
        state_->retry.cancel();
    }
    [[nodiscard]] boost::asio::ip::tcp::endpoint local() const { return state_->acceptor.local_endpoint(); }

  private:
    using tcp = boost::asio::ip::tcp;
    using error_code = boost::system::error_code;
    using ip_address = boost::asio::ip::address;
    static constexpr std::uint32_t max_header_size = 16384;

    class session;
    struct state : std::enable_shared_from_this<state> {
        state(boost::asio::io_context& c, answer a, http_settings const& s)
            : context{c}, acceptor{c}, say{std::move(a)}, settings{s}, retry{c} {}
        void listen(tcp::endpoint const& where);
        void accept();
        void take(tcp::socket accepted);
        [[nodiscard]] bool has_room_for(ip_address const& client);
        template <class Which>
        [[nodiscard]] bool close_longest_waiting(Which which);

        boost::asio::io_context& context;
        tcp::acceptor acceptor;
        answer say; ///< empty: the server is gone
        http_settings settings;
        std::size_t clients = 0;
        std::map<ip_address, std::size_t> clients_of;
        std::list<session*> waiting; ///< sessions without a complete request, the longest waiting first
        boost::asio::steady_timer retry;
    };
    std::shared_ptr<state> state_;
};

class http_server::session : public std::enable_shared_from_this<session> {
  public:
    session(std::shared_ptr<state> server, tcp::socket accepted, ip_address const& client)
        : server_{std::move(server)}, client_{client}, stream_{std::move(accepted)} {
        ++server_->clients;
        ++server_->clients_of[client_];
    }
    session(session const&) = delete;
    session& operator=(session const&) = delete;
    ~session() { give_up_place(); }

    [[nodiscard]] ip_address const& client() const noexcept { return client_; }
    /// Makes room for another client. The pending operation ends with an error, and the session with it.
    void close() {
        give_up_place();
        stream_.close();
    }

    void read() {
        parser_.emplace();
        parser_->header_limit(max_header_size);
        parser_->body_limit(0);
        begin_to_wait();
        stream_.expires_after(server_->settings.patience);
        detail::http::async_read(
            stream_, buffer_, *parser_,
            [self = shared_from_this()](error_code const& wrong, std::size_t) { self->respond(wrong); });
    }

  private:
    void begin_to_wait() {
        waiting_ = server_->waiting.insert(server_->waiting.end(), this);
        is_waiting_ = true;
    }
    void end_wait() {
        if (std::exchange(is_waiting_, false)) server_->waiting.erase(waiting_);
    }
    void give_up_place() {
        end_wait();
        if (!std::exchange(has_place_, false)) return;
        --server_->clients;
        auto const mine = server_->clients_of.find(client_);
        if (--mine->second == 0) server_->clients_of.erase(mine);
    }

    using verb = detail::http::verb;
    using status = detail::http::status;
    using response = detail::http::response<detail::http::string_body>;
    [[nodiscard]] http_answer answer_to(error_code const& wrong) const {
        if (wrong) return {.status = 400, .body = wrong.message() + '\n'};
        auto const method = parser_->get().method();
        if (method != verb::get && method != verb::head) return {.status = 405, .body = "only GET and HEAD\n"};
        auto const target = parser_->get().target();
        return server_->say({target.data(), target.size()});
    }

    void respond(error_code const& wrong) {
        end_wait();
        bool const is_http = wrong.category() == detail::http::make_error_code(detail::http::error{}).category();
        if (!server_->say || (wrong && (!is_http || wrong == detail::http::error::end_of_stream))) return;
        auto answer = answer_to(wrong);
        response_ = {static_cast<status>(answer.status), 11};
        response_.set(detail::http::field::content_type, answer.type);
        for (auto const& [name, value] : answer.headers) response_.set(name, value);
        if (answer.status == 405) response_.set(detail::http::field::allow, "GET, HEAD");
        response_.keep_alive(!wrong && parser_->keep_alive());
        bool const is_head = !wrong && parser_->get().method() == verb::head;
        response_.content_length(answer.body.size());
        if (!is_head) response_.body() = std::move(answer.body);
        stream_.expires_after(server_->settings.patience);
        detail::http::async_write(
            stream_, response_,
            [self = shared_from_this()](error_code const& failed, std::size_t) { self->end_or_go_on(failed); });
    }

    void end_or_go_on(error_code const& failed) {
        if (failed) return;
        if (response_.keep_alive()) return read();
        error_code ignored;
        stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    }

    std::shared_ptr<state> server_;
    ip_address client_;
    bool has_place_ = true;
    bool is_waiting_ = false;
    std::list<session*>::iterator waiting_{};
    boost::beast::tcp_stream stream_;
    boost::beast::flat_buffer buffer_{2 * max_header_size};
    std::optional<detail::http::request_parser<detail::http::string_body>> parser_;
    response response_;
};

inline void http_server::state::listen(tcp::endpoint const& where) {
    error_code wrong;
    auto const step = [&](auto const& what) {
        if (!wrong) what();
    };
    step([&] { acceptor.open(where.protocol(), wrong); });
    step([&] { acceptor.set_option(tcp::acceptor::reuse_address{true}, wrong); });
    if (where.protocol() == tcp::v6())
        step([&] { acceptor.set_option(boost::asio::ip::v6_only{settings.is_ipv6_only}, wrong); });
    step([&] { acceptor.bind(where, wrong); });
    step([&] { acceptor.listen(tcp::acceptor::max_listen_connections, wrong); });
    if (!wrong) return;
    auto const address = where.address().to_string();
    throw std::runtime_error{(where.protocol() == tcp::v6() ? '[' + address + ']' : address) + ':' +
                             std::to_string(where.port()) + ": " + wrong.message()};
}

inline void http_server::state::accept() {
    acceptor.async_accept([self = shared_from_this()](error_code const& wrong, tcp::socket accepted) {
        if (!self->say) return;
        if (!wrong) {
            self->take(std::move(accepted));
            return self->accept();
        }
        self->retry.expires_after(std::chrono::milliseconds{100}); // no descriptor is left, most likely
        self->retry.async_wait([self](error_code const& ended) {
            if (!ended) self->accept();
        });
    });
}

/// Closes the longest waiting session that `which` selects. \return whether there was one
template <class Which>
bool http_server::state::close_longest_waiting(Which which) {
    auto const found = std::ranges::find_if(waiting, which);
    if (found == waiting.end()) return false;
    (*found)->close();
    return true;
}

inline bool http_server::state::has_room_for(ip_address const& client) {
    auto const mine = clients_of.find(client);
    if (mine != clients_of.end() && mine->second >= settings.clients_of_address)
        return close_longest_waiting([&](session const* s) { return s->client() == client; });
    return clients < settings.clients || close_longest_waiting([](session const*) { return true; });
}

inline void http_server::state::take(tcp::socket accepted) {
    error_code wrong;
    auto client = accepted.remote_endpoint(wrong).address();
    if (wrong) return; // the client has gone
    if (client.is_v6() && client.to_v6().is_v4_mapped())
        client = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, client.to_v6());
    if (has_room_for(client)) std::make_shared<session>(shared_from_this(), std::move(accepted), client)->read();
}

} // namespace examples
