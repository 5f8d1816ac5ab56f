#pragma once

#include "support/control_socket.hpp"

#include "kubeproxy/control/controller.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace examples {

/// An answer as it goes over the socket: its lines, and an empty one. A line that is empty inside of it, as `show ku
/// vip verbose` has, becomes one of a blank; "ok" stands for nothing to say, and "error: …" for a refusal.
[[nodiscard]] inline std::string framed_answer(kubeproxy::command_result const& result) {
    std::string text = result.text;
    if (result.error) {
        text = "error: " + result.error->reason;
        std::ranges::replace(text, '\n', ' ');
    }
    if (text.empty()) text = "ok";
    if (text.back() != '\n') text += '\n';
    if (text.front() == '\n') text.insert(0, 1, ' ');
    for (auto at = text.find("\n\n"); at != std::string::npos; at = text.find("\n\n", at + 1))
        text.insert(at + 1, 1, ' ');
    return text + '\n';
}

struct control_limits {
    std::size_t line = 65536; ///< bytes of a line, its end included
    std::size_t clients = 32;
    std::chrono::milliseconds write_time{10'000}; ///< for a whole answer; a client that does not read is left then
};

/// Answers lines of the `ku` language on a Unix socket that only its owner may open.
///
///     line -> answer -> empty line, as many as a client likes; it is left when it has shut down its side and the last
///     answer is out
///
/// A client's next line is read when the answer to the one before is out, so what it may cost is a line and an answer,
/// and clients take turns line by line. All on the context's thread, which nothing here blocks.
class control_server {
  public:
    using execute = std::function<kubeproxy::command_result(std::string_view line)>;

    /// \throws control_socket_error
    control_server(boost::asio::io_context& context, std::string const& path, execute todo, control_limits limits = {})
        : state_{std::make_shared<state>(context, path, std::move(todo), limits)} {
        state_->accept();
    }
    control_server(control_server const&) = delete;
    control_server& operator=(control_server const&) = delete;
    /// Removes the socket. Clients get no more answers.
    ~control_server() {
        state_->todo = nullptr;
        state_->socket.close();
        state_->retry.cancel();
    }

  private:
    using stream = boost::asio::local::stream_protocol::socket;
    using error_code = boost::system::error_code;

    class client;
    struct state : std::enable_shared_from_this<state> {
        state(boost::asio::io_context& c, std::string const& path, execute what, control_limits l)
            : context{c}, socket{c, path}, todo{std::move(what)}, limits{l}, retry{c} {}
        void accept();
        void welcome(stream accepted);

        boost::asio::io_context& context;
        control_socket socket;
        execute todo; ///< empty: the server is gone
        control_limits limits;
        std::size_t clients = 0;
        boost::asio::steady_timer retry;
    };

    std::shared_ptr<state> state_;
};

class control_server::client : public std::enable_shared_from_this<client> {
  public:
    client(std::shared_ptr<state> server, stream accepted)
        : server_{std::move(server)}, stream_{std::move(accepted)}, timer_{server_->context} {
        ++server_->clients;
    }
    client(client const&) = delete;
    client& operator=(client const&) = delete;
    ~client() { --server_->clients; }

    void read() {
        auto const room = boost::asio::dynamic_buffer(input_, server_->limits.line);
        boost::asio::async_read_until(
            stream_, room, '\n',
            [self = shared_from_this()](error_code const& wrong, std::size_t size) { self->take(wrong, size); });
    }
    /// Says it and leaves.
    void dismiss(std::string const& why) { answer({.text = {}, .error = kubeproxy::command_error{1, why}}, true); }

  private:
    void take(error_code const& wrong, std::size_t size) {
        if (!server_->todo) return;
        if (wrong == boost::asio::error::not_found)
            return dismiss("a line has at most " + std::to_string(server_->limits.line) + " bytes");
        bool const is_last = wrong == boost::asio::error::eof;
        if (is_last) size = input_.size(); // a line without its end
        if ((wrong && !is_last) || size == 0) return;
        auto line = input_.substr(0, size);
        input_.erase(0, size);
        while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
        answer(result_of(line), is_last);
    }

    [[nodiscard]] kubeproxy::command_result result_of(std::string_view line) const {
        try {
            return server_->todo(line);
        } catch (std::exception const& wrong) {
            return {.text = {}, .error = kubeproxy::command_error{1, wrong.what()}};
        }
    }

    void answer(kubeproxy::command_result const& result, bool is_last) {
        output_ = framed_answer(result);
        timer_.expires_after(server_->limits.write_time);
        timer_.async_wait([self = weak_from_this()](error_code const& ended) {
            if (auto const still = self.lock(); still && !ended) still->leave();
        });
        boost::asio::async_write(stream_, boost::asio::buffer(output_),
                                 [self = shared_from_this(), is_last](error_code const& wrong, std::size_t) {
                                     self->timer_.cancel();
                                     if (wrong || is_last) return self->leave();
                                     self->output_ = {};
                                     self->read();
                                 });
    }

    void leave() {
        error_code ignored;
        stream_.close(ignored);
    }

    std::shared_ptr<state> server_;
    stream stream_;
    boost::asio::steady_timer timer_;
    std::string input_;
    std::string output_;
};

inline void control_server::state::accept() {
    socket.acceptor().async_accept([self = shared_from_this()](error_code const& wrong, stream accepted) {
        if (!self->todo) return;
        if (!wrong) {
            self->welcome(std::move(accepted));
            return self->accept();
        }
        self->retry.expires_after(std::chrono::milliseconds{100}); // no descriptor is left, most likely
        self->retry.async_wait([self](error_code const& ended) {
            if (!ended) self->accept();
        });
    });
}

inline void control_server::state::welcome(stream accepted) {
    bool const is_full = clients >= limits.clients;
    auto const one = std::make_shared<client>(shared_from_this(), std::move(accepted));
    if (is_full) return one->dismiss("there are " + std::to_string(limits.clients) + " clients already");
    one->read();
}

} // namespace examples
