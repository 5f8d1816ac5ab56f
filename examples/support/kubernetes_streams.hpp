#pragma once

#include "kubeproxy/control/kubernetes.hpp"
#include "support/kubernetes_files.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace examples {

/// Objects of a cluster from several streams at once, as `kubectl get … --watch --output-watch-events -o json` writes
/// them. What a stream said stays in force when it ends. A FIFO that ended is opened again for the next writer.
class kubernetes_streams {
  public:
    /// Says a line to whoever watches the program.
    using say = std::function<void(std::string const&)>;

    /// \param changed called when the configuration may have changed
    kubernetes_streams(boost::asio::io_context& context, kubeproxy::controller& control, say tell,
                       std::function<void()> changed)
        : context_{&context}, reader_{control}, say_{std::move(tell)}, changed_{std::move(changed)} {}

    /// A file is read now and whole, a FIFO or `-` as its bytes come. \throws file_error
    void follow(std::string const& file) {
        std::string const path = file == "-" ? "/dev/stdin" : file;
        struct stat what {};
        if (::stat(path.c_str(), &what) != 0) throw file_error{file, std::strerror(errno)};
        auto made = std::make_shared<stream>(*context_, file, S_ISFIFO(what.st_mode) && file != "-");
        if (S_ISREG(what.st_mode)) return read_whole(*made, path);
        open(*made);
        begin(std::move(made));
    }

  private:
    struct stream {
        stream(boost::asio::io_context& context, std::string file_name, bool fifo)
            : name{std::move(file_name)}, is_fifo{fifo}, file{context} {}
        std::string name;
        bool is_fifo;
        kubeproxy::json_stream text; ///< streams are cut anywhere, each for itself
        boost::asio::posix::stream_descriptor file;
        std::array<char, 65536> buffer{};
    };

    void read_whole(stream& one, std::string const& path) {
        auto input = open_text(path);
        while (input.read(one.buffer.data(), std::ssize(one.buffer)), input.gcount() > 0)
            take(one, {one.buffer.data(), static_cast<std::size_t>(input.gcount())});
        finish(one);
        publish(one);
    }

    static void open(stream& one) {
        int const file =
            one.name == "-" ? ::dup(STDIN_FILENO) : ::open(one.name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (file < 0) throw file_error{one.name, std::strerror(errno)};
        boost::system::error_code wrong;
        one.file.assign(file, wrong);
        if (wrong) throw file_error{one.name, "cannot be followed: " + wrong.message()};
    }

    /// Without a writer a FIFO is at its end at once: only epoll tells when one has come.
    void begin(std::shared_ptr<stream> one) {
        if (!one->is_fifo) return read_some(std::move(one));
        auto& file = one->file;
        file.async_wait(boost::asio::posix::descriptor_base::wait_read,
                        [this, one = std::move(one)](boost::system::error_code const& wrong) {
                            if (!wrong) read_some(one);
                        });
    }
    void read_some(std::shared_ptr<stream> one) {
        auto& s = *one;
        s.file.async_read_some(boost::asio::buffer(s.buffer),
                               [this, one = std::move(one)](boost::system::error_code const& wrong, std::size_t size) {
                                   if (wrong) return end(one, wrong);
                                   take(*one, {one->buffer.data(), size});
                                   publish(*one);
                                   read_some(one);
                               });
    }

    void end(std::shared_ptr<stream> const& one, boost::system::error_code const& why) {
        if (why == boost::asio::error::operation_aborted) return;
        finish(*one);
        publish(*one);
        say_("--kubernetes " + one->name + ": the stream ended (" + why.message() + "); its objects stay in force" +
             (one->is_fifo ? ", the next writer is waited for" : ""));
        one->file.close();
        if (!one->is_fifo) return;
        try {
            open(*one);
        } catch (file_error const& wrong) {
            return say_(std::string{"--kubernetes "} + wrong.what());
        }
        begin(one);
    }

    void take(stream& one, std::string_view bytes) {
        one.text.read(
            bytes, [this](boost::json::value const& value) { reader_.read(boost::json::serialize(value)); },
            [&](kubeproxy::json_text_error const& wrong) { refuse(one, wrong); });
    }
    void finish(stream& one) {
        one.text.finish([&](kubeproxy::json_text_error const& wrong) { refuse(one, wrong); });
    }
    void refuse(stream const& one, kubeproxy::json_text_error const& wrong) {
        say_("--kubernetes " + one.name + ": at byte " + std::to_string(wrong.offset) + ": " + wrong.reason);
    }
    void publish(stream const& one) {
        for (auto const& refused : reader_.flush()) say_("--kubernetes " + one.name + ": " + refused.text());
        changed_();
    }

    boost::asio::io_context* context_;
    kubeproxy::kubernetes_reader reader_;
    say say_;
    std::function<void()> changed_;
};

} // namespace examples
