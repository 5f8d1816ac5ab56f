#pragma once

#include "kubeproxy/version.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

/// Text that is no JSON, or no JSON object or array.
struct json_text_error {
    std::uint64_t offset = 0; ///< of the byte that cannot be there, from the beginning of the input
    std::string reason;
};

/// Cuts a stream of bytes into JSON objects and arrays, one behind the other with white space between them or not.
/// The bytes may arrive cut anywhere.
///
/// Behind an error the next value begins with the next line that starts with `{` or `[` in its first column. That is
/// so for one value a line and for indented ones, as kubectl writes both; what stands before it is lost.
class json_stream {
  public:
    /// Calls on_value(boost::json::value const&) and on_error(json_text_error), in the order of the text.
    template <class OnValue, class OnError>
    void read(std::string_view bytes, OnValue&& on_value, OnError&& on_error) {
        while (!bytes.empty()) {
            switch (now_) {
            case state::between: begin(bytes, on_error); break;
            case state::inside: go_on(bytes, on_value, on_error); break;
            case state::lost: find_next(bytes); break;
            }
        }
    }

    /// The input is over; what comes next is another one.
    template <class OnError>
    void finish(OnError&& on_error) {
        if (now_ == state::inside) on_error(json_text_error{offset_, "the text ends inside an object"});
        parser_.reset();
        offset_ = 0;
        last_ = '\n';
        now_ = state::between;
    }

    [[nodiscard]] std::uint64_t bytes_read() const noexcept { return offset_; }

  private:
    enum class state : std::uint8_t { between, inside, lost };

    void take(std::string_view& bytes, std::size_t n) noexcept {
        if (n == 0) return;
        last_ = bytes[n - 1];
        offset_ += n;
        bytes.remove_prefix(n);
    }

    template <class OnError>
    void begin(std::string_view& bytes, OnError& on_error) {
        take(bytes, std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
        if (bytes.empty()) return;
        if (bytes.front() != '{' && bytes.front() != '[') return fail("an object or an array is wanted", on_error);
        parser_.reset();
        now_ = state::inside;
    }

    template <class OnValue, class OnError>
    void go_on(std::string_view& bytes, OnValue& on_value, OnError& on_error) {
        boost::json::error_code wrong;
        take(bytes, parser_.write_some(bytes.data(), bytes.size(), wrong));
        if (wrong) return fail(wrong.message(), on_error);
        if (!parser_.done()) return;
        now_ = state::between;
        on_value(parser_.release());
    }

    void find_next(std::string_view& bytes) {
        std::size_t n = 0;
        for (; n < bytes.size(); ++n) {
            bool const is_first = (n == 0 ? last_ : bytes[n - 1]) == '\n';
            if (!is_first || (bytes[n] != '{' && bytes[n] != '[')) continue;
            now_ = state::between;
            break;
        }
        take(bytes, n);
    }

    template <class OnError>
    void fail(std::string reason, OnError& on_error) {
        now_ = state::lost;
        on_error(json_text_error{offset_, std::move(reason)});
    }

    /// Objects of other kinds may be deep (a CustomResourceDefinition holds a schema), but not without end.
    [[nodiscard]] static boost::json::parse_options options() noexcept {
        boost::json::parse_options result;
        result.max_depth = 512;
        return result;
    }

    boost::json::stream_parser parser_{{}, options()};
    std::uint64_t offset_ = 0;
    char last_ = '\n'; ///< the byte before the next one
    state now_ = state::between;
};

} // namespace v0_2
} // namespace kubeproxy
