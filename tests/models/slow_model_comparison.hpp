#pragma once

#include "kubeproxy/dataplane/outcome.hpp"
#include "models/slow_model_refuse.hpp"

#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// What came out of the path, held against what should have.
namespace kubeproxy::slow {

/// What the path did with a packet.
struct observed {
    outcome what;
    octets backend; ///< address of what was chosen; empty: nothing
    octets bytes;
};

/// The path did otherwise than the RFCs and the design say.
struct disagreement : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// How a packet belongs to a flow.
struct belonging {
    flow_relation relation;
    bool is_masqueraded;
};

inline void want(bool is_so, observed const& o, std::string const& what) {
    if (is_so) return;
    throw disagreement{what + "; it was: " + std::string{name(o.what.what.what())} + ' ' +
                       std::string{name(o.what.what.why())}};
}
inline void want_bytes(observed const& o, octets const& wanted) {
    if (o.bytes == wanted) return;
    std::string text = "bytes differ, wanted " + std::to_string(wanted.size()) + " octets:";
    constexpr std::string_view digits = "0123456789abcdef";
    for (std::size_t i = 0; i < std::min<std::size_t>(wanted.size(), 160); ++i) {
        bool const differs = i >= o.bytes.size() || o.bytes[i] != wanted[i];
        auto const digit = [&](std::size_t n) { return std::string(1, digits[n & 15]); };
        auto const octet = digit(get(wanted, i, 1) >> 4) + digit(get(wanted, i, 1));
        text += (i % 4 == 0 ? " " : "") + (differs ? '[' + octet + ']' : octet);
    }
    throw disagreement{text};
}
inline void want_belonging(observed const& o, belonging const& to) {
    want(o.what.relation == to.relation, o,
         "relation " + std::to_string(static_cast<int>(to.relation)) + " wanted, not " +
             std::to_string(static_cast<int>(o.what.relation)));
    want(o.what.masqueraded == to.is_masqueraded, o, "masqueraded is otherwise");
}

/// All that came out of one call, in order.
class comparison {
  public:
    void add(observed o) { left_.push_back(std::move(o)); }
    [[nodiscard]] bool is_done() const { return left_.empty(); }
    [[nodiscard]] observed const& front() const {
        if (left_.empty()) throw disagreement{"nothing came out"};
        return left_.front();
    }
    observed const& next() {
        last_ = front();
        left_.pop_front();
        return last_;
    }
    /// What was taken last.
    [[nodiscard]] observed const& last() const { return last_; }

    void want_verdict(verdict wanted) {
        auto const& o = next();
        want(o.what.what == wanted, o,
             "wanted: " + std::string{name(wanted.what())} + ' ' + std::string{name(wanted.why())});
    }
    void want_forward(octets const& wanted, belonging const& to) {
        auto const& o = next();
        want(o.what.what == verdict::forward(), o, "forward wanted");
        want_belonging(o, to);
        want_bytes(o, wanted);
    }
    /// Which of several reasons is said first is nobody's rule.
    void want_refusal(octets const& packet, reading const& r, std::vector<refusal> const& why) {
        auto const& o = next();
        auto const said = std::ranges::find(why, o.what.what.why(), &refusal::why);
        want(said != why.end(), o, "refusal wanted, such as: " + std::string{name(why.front().why)});
        if (!said->answer || !may_be_told(packet, r, *said->answer))
            return want(o.what.what.what() == action::drop, o, "no answer wanted");
        want(o.what.what.what() == action::reply, o, "an answer wanted");
        want_bytes(o, icmp_error_about(packet, r, *said->answer));
    }

  private:
    std::deque<observed> left_{};
    observed last_{};
};

} // namespace kubeproxy::slow
