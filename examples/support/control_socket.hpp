#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/system/error_code.hpp>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace examples {

/// Why nobody can listen there, behind the path: "/run/x.sock: is no socket".
class control_socket_error : public std::runtime_error {
  public:
    control_socket_error(std::string const& path, std::string const& why) : std::runtime_error{path + ": " + why} {}
};

/// A listening Unix socket of mode 0600. One that a dead process left is replaced; a living one is not. The file goes
/// with the object.
class control_socket {
    using protocol = boost::asio::local::stream_protocol;

  public:
    /// \throws control_socket_error
    control_socket(boost::asio::io_context& context, std::string path) : path_{std::move(path)}, acceptor_{context} {
        protocol::endpoint const where = endpoint();
        remove_stale(context, where);
        boost::system::error_code wrong;
        acceptor_.open(where.protocol(), wrong);
        demand(!wrong, wrong.message());
        // The file gets its mode from the socket, as Linux has it: at no moment may others open it.
        demand(::fchmod(acceptor_.native_handle(), S_IRUSR | S_IWUSR) == 0, std::strerror(errno));
        acceptor_.bind(where, wrong);
        demand(!wrong, wrong.message());
        struct stat made {};
        demand(::lstat(path_.c_str(), &made) == 0, std::strerror(errno));
        inode_ = made.st_ino;
        if ((made.st_mode & 0777) != (S_IRUSR | S_IWUSR)) // another system; nobody can connect before listen()
            demand(::chmod(path_.c_str(), S_IRUSR | S_IWUSR) == 0, std::strerror(errno));
        acceptor_.listen(protocol::acceptor::max_listen_connections, wrong);
        demand(!wrong, wrong.message());
    }
    control_socket(control_socket const&) = delete;
    control_socket& operator=(control_socket const&) = delete;
    ~control_socket() { close(); }
    void close() {
        if (!acceptor_.is_open()) return;
        boost::system::error_code ignored;
        acceptor_.close(ignored);
        struct stat there {};
        if (::lstat(path_.c_str(), &there) == 0 && there.st_ino == inode_) ::unlink(path_.c_str());
    }

    [[nodiscard]] protocol::acceptor& acceptor() noexcept { return acceptor_; }

  private:
    void demand(bool is_well, std::string const& otherwise) const {
        if (!is_well) throw control_socket_error{path_, otherwise};
    }
    [[nodiscard]] protocol::endpoint endpoint() const {
        try {
            return protocol::endpoint{path_};
        } catch (boost::system::system_error const& wrong) {
            throw control_socket_error{path_, wrong.code().message()};
        }
    }
    void remove_stale(boost::asio::io_context& context, protocol::endpoint const& where) const {
        struct stat there {};
        if (::lstat(path_.c_str(), &there) != 0) return;
        demand(S_ISSOCK(there.st_mode), "is there, and is no socket");
        protocol::socket probe{context};
        boost::system::error_code wrong;
        probe.connect(where, wrong);
        demand(wrong == boost::system::errc::connection_refused,
               wrong ? wrong.message() : "another process listens there");
        demand(::unlink(path_.c_str()) == 0, std::strerror(errno));
    }

    std::string path_;
    protocol::acceptor acceptor_;
    ::ino_t inode_ = 0;
};

} // namespace examples
