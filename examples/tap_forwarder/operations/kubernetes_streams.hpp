#pragma once

#include "kubeproxy/control/kubernetes/reader.hpp"
#include "support/kubernetes_files.hpp"
#include "tap_forwarder/operations/listed_objects.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace examples {

/// Objects of a cluster from several streams at once, as `kubectl get … --watch --output-watch-events -o json` writes
/// them. What a stream said stays in force when it ends. A FIFO that ended is opened again for the next writer, which
/// lists everything anew: what it does not name was deleted meanwhile. See stream_list for when that is known.
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
        auto const& made =
            streams_.emplace_back(std::make_shared<stream>(*context_, file, S_ISFIFO(what.st_mode) && file != "-"));
        if (S_ISREG(what.st_mode)) return read_whole(*made, path);
        open(*made);
        begin(made);
    }
    /// Calls f(bool) with what a Node object of this name says of its eligibility; see is_node_eligible().
    void watch_node(std::string name, std::function<void(bool)> f) {
        node_name_ = std::move(name);
        node_changed_ = std::move(f);
    }
    /// Since when a watch has ended that nobody has begun again; none: all sources are read. A source that only ever
    /// held lists and objects, as a file does, is complete when it ends.
    [[nodiscard]] std::optional<std::chrono::nanoseconds> unread_since() const {
        std::optional<std::chrono::nanoseconds> first;
        for (auto const& one : streams_)
            if (one->ended && (!first || *one->ended < *first)) first = one->ended;
        return first;
    }
    /// Once a second or so: ends lists that are over.
    void tick() {
        for (auto const& one : streams_)
            if (one->list.has_ended(now()) && remove(*one, objects_.unnamed(one->list))) publish(*one);
    }

  private:
    struct stream {
        stream(boost::asio::io_context& context, std::string file_name, bool fifo)
            : name{std::move(file_name)}, is_fifo{fifo}, file{context} {}
        std::string name;
        bool is_fifo;
        kubeproxy::json_stream text; ///< streams are cut anywhere, each for itself
        stream_list list;
        boost::asio::posix::stream_descriptor file;
        std::array<char, 65536> buffer{};
        bool has_events = false;                         ///< its writer is a watch
        std::optional<std::chrono::nanoseconds> ended{}; ///< when a watch ended; none: it goes on
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
        one.list.begin();
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
                                   one->ended.reset(); // there is a writer again
                                   take(*one, {one->buffer.data(), size});
                                   publish(*one);
                                   read_some(one);
                               });
    }

    void end(std::shared_ptr<stream> const& one, boost::system::error_code const& why) {
        if (why == boost::asio::error::operation_aborted) return;
        finish(*one);
        publish(*one);
        one->list.give_up();
        if (one->has_events) one->ended = now();
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
            bytes, [&](boost::json::value const& value) { take_value(one, value); },
            [&](kubeproxy::json_text_error const& wrong) { refuse(one, wrong); });
    }
    void take_value(stream& one, boost::json::value const& value) {
        reader_.read(boost::json::serialize(value));
        auto const* event = value.if_object();
        if (event != nullptr && event->contains("type") && event->contains("object")) one.has_events = true;
        kubeproxy::for_each_item(
            value,
            [&](kubeproxy::kubernetes_item const& item) {
                if (item.kind == "Node") return take_node(item.event, *item.object);
                remove(one, objects_.take(one.list, item, now()));
            },
            [](auto&&...) {}); // the reader says what is wrong
    }
    void take_node(std::string_view type, boost::json::object const& object) {
        if (!node_changed_ || node_name_.empty() || type == "BOOKMARK" || type == "ERROR") return;
        try {
            if (kubeproxy::name_of(object).name != node_name_) return;
            node_changed_(type != "DELETED" && kubeproxy::is_node_eligible(object));
        } catch (kubeproxy::field_error const& wrong) {
            say_("Node " + node_name_ + ": " + wrong.field() + ": " + wrong.what());
        }
    }
    /// In force with publish(). \return whether there are any
    bool remove(stream const& one, std::vector<listed_object> const& gone) {
        for (auto const& each : gone) reader_.read(each.deletion());
        if (!gone.empty())
            say_("--kubernetes " + one.name + ": not in the new list, so gone: " + std::to_string(gone.size()) +
                 (gone.size() == 1 ? " object" : " objects"));
        return !gone.empty();
    }
    void finish(stream& one) {
        one.text.finish([&](kubeproxy::json_text_error const& wrong) { refuse(one, wrong); });
    }
    /// An object may be lost by that.
    void refuse(stream& one, kubeproxy::json_text_error const& wrong) {
        one.list.give_up();
        say_("--kubernetes " + one.name + ": at byte " + std::to_string(wrong.offset) + ": " + wrong.reason);
    }
    void publish(stream const& one) {
        for (auto const& refused : reader_.flush()) say_("--kubernetes " + one.name + ": " + refused.text());
        changed_();
    }

    [[nodiscard]] static std::chrono::nanoseconds now() noexcept {
        return std::chrono::steady_clock::now().time_since_epoch();
    }

    boost::asio::io_context* context_;
    kubeproxy::kubernetes_reader reader_;
    std::vector<std::shared_ptr<stream>> streams_;
    listed_objects objects_;
    say say_;
    std::function<void()> changed_;
    std::string node_name_;
    std::function<void(bool)> node_changed_; ///< null: nobody asks
};

} // namespace examples
