#pragma once

#include "models/cluster_policy.hpp"

#include <chrono>
#include <cstdint>
#include <set>
#include <string>

/// Connections as the model remembers them. Nothing here uses the library.
namespace kubeproxy::cluster {

using namespace std::chrono_literals;
using build::segment;
using moment = std::chrono::milliseconds;

/// A packet as it came out, or what was answered.
struct seen_outcome {
    decision::verdict what = decision::verdict::pass;
    std::string reason; ///< of a drop or an answer
    bool masqueraded = false;
    bool is_reset = false; ///< a segment of TCP that resets the connection came out
    conversation out{};
};

inline std::string text(decision::verdict what) {
    constexpr char const* names[]{"pass", "forward", "reject", "drop"};
    return names[static_cast<int>(what)];
}
inline std::string text(seen_outcome const& got) {
    return text(got.what) + (got.reason.empty() ? "" : " (" + got.reason + ')') +
           (got.what == decision::verdict::forward ? ' ' + got.out.text() : "") +
           (got.masqueraded ? " masqueraded" : "") + (got.is_reset ? " reset" : "");
}

enum class stage {
    unreplied,
    replied,
    opening, ///< of TCP: SYN
    accepted,
    joined,  ///< in its middle, and no answer since
    refused, ///< RST before it was open
    established,
    in_doubt, ///< RST while it was open: the ends may ignore it (RFC 5961 section 3.2)
    cut,      ///< the node made a packet a RST, and the sender does not know yet
    closed
};
struct flow {
    conversation original, translated;
    std::string port; ///< identity of the service port
    side backend;
    std::uint64_t life = 0; ///< of its backend
    bool masqueraded = false;
    stage now = stage::unreplied;
    std::set<int> closed_by{};   ///< of TCP: 0 the client, 1 the backend
    std::set<int> since_reset{}; ///< who sent something else since RST
    int cut_by = 0;              ///< whose packet the node made a RST
    moment seen{};

    [[nodiscard]] bool is_over() const { return now == stage::closed; }
    /// Somebody has seen the end of it.
    [[nodiscard]] bool has_ended() const {
        return is_over() || now == stage::refused || now == stage::in_doubt || now == stage::cut;
    }
};

/// How long it may be silent (README: lifetimes).
inline moment patience(flow const& f) {
    if (f.original.protocol == 17) return f.now == stage::replied ? 300s : 30s;
    if (f.original.protocol == 132) return 120s;
    return f.now == stage::established ? 7440s : 240s;
}

/// RST is undone if both sides go on. A SYN changes nothing, and the SYN ACK to it shows a new connection.
inline void advance_in_doubt(flow& f, int side, segment what) {
    if (what == segment::accept && side == 1) f.now = stage::accepted;
    if (what == segment::accept && side == 1) f.closed_by.clear();
    if (what == segment::open || what == segment::accept) return;
    f.since_reset.insert(side);
    if (what == segment::fin) f.closed_by.insert(side);
    if (f.since_reset.size() == 2) f.now = stage::established;
    if (f.closed_by.size() == 2) f.now = stage::closed;
}

inline void advance_refused(flow& f, int side, segment what) {
    if (side == 1 && what == segment::accept) f.now = stage::accepted;
    if (side == 0 && what != segment::accept) f.now = what == segment::open ? stage::opening : stage::joined;
}

inline void advance_tcp(flow& f, int side, segment what) {
    if (f.is_over() || f.now == stage::cut) return;
    if (what == segment::reset) {
        f.now = f.now == stage::established || f.now == stage::in_doubt ? stage::in_doubt : stage::refused;
        return f.since_reset.clear();
    }
    if (f.now == stage::in_doubt) return advance_in_doubt(f, side, what);
    if (f.now == stage::refused) return advance_refused(f, side, what);
    bool const is_syn = what == segment::open || what == segment::accept;
    if (f.now == stage::opening) {
        if (side == 1 && is_syn) f.now = stage::accepted;
        return;
    }
    if (is_syn) return;
    if (f.now == stage::accepted && side == 0) f.now = stage::established;
    if (f.now == stage::joined && side == 1) f.now = stage::established;
    if (f.now == stage::established && what == segment::fin) f.closed_by.insert(side);
    if (f.closed_by.size() == 2) f.now = stage::closed;
}

/// RFC 9293, and RFC 6146 section 3.5.2, for the segments that the traffic has.
inline void advance(flow& f, int side, segment what) {
    if (f.original.protocol == 6) return advance_tcp(f, side, what);
    if (side == 1 && f.original.protocol == 17) f.now = stage::replied;
}

} // namespace kubeproxy::cluster
