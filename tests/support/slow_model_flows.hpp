#pragma once

#include "support/slow_model_cluster.hpp"
#include "support/slow_model_packet.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <utility>

/// Conversations: how far they are, how long they may be silent, and which packets belong to them.
namespace kubeproxy::slow {

enum class event {
    none,
    syn,
    syn_ack,
    fin,
    rst,
    init,
    init_ack,
    cookie_echo,
    cookie_ack,
    shutdown,
    shutdown_complete,
    abort,
};
enum class side { client, pod };

/// RFC 9293 section 3.1; RFC 9260 section 3.2, the first chunk.
inline event event_of(octets const& packet, reading const& r) {
    if (r.what != kind::ports) return event::none;
    if (r.shown.protocol == 6) {
        auto const flags = get(packet, r.transport + 13, 1);
        if ((flags & 4) != 0) return event::rst;
        if ((flags & 2) != 0) return (flags & 16) != 0 ? event::syn_ack : event::syn;
        return (flags & 1) != 0 ? event::fin : event::none;
    }
    if (r.shown.protocol != 132 || r.end < r.transport + 13) return event::none;
    static std::map<std::size_t, event> const chunks{
        {1, event::init},     {2, event::init_ack},     {6, event::abort},       {7, event::shutdown},
        {8, event::shutdown}, {10, event::cookie_echo}, {11, event::cookie_ack}, {14, event::shutdown_complete}};
    auto const chunk = chunks.find(get(packet, r.transport + 12, 1));
    return chunk == chunks.end() ? event::none : chunk->second;
}

/// TCP as a NAT must see it: RFC 5382 REQ-5's established or transitory, RFC 6146 section 3.5.2.2.
///
///     SYN -> asked -> SYN back -> answered -> the client's ACK -> open -> FIN both ways -> over
///     anything else: joined -> an answer -> open;   RST: over, until the side that sent it goes on: joined
class tcp_life {
  public:
    explicit tcp_life(event first)
        : stage_{first == event::syn   ? stage::asked
                 : first == event::rst ? stage::reset
                                       : stage::joined} {}

    void take(event e, side from) {
        if (stage_ == stage::told) return;
        bool const is_syn = e == event::syn || e == event::syn_ack;
        if (e == event::rst) {
            if (is_over()) return;
            stage_ = stage::reset;
            reset_by_ = from;
        } else if (stage_ == stage::reset) {
            if (!is_syn && from == reset_by_) stage_ = stage::joined;
        } else if (stage_ == stage::asked) {
            if (is_syn && from == side::pod) stage_ = stage::answered;
        } else if (stage_ == stage::answered) {
            if (e != event::syn && from == side::client) open(e, from);
        } else if (stage_ == stage::joined) {
            if (!is_syn && from == side::pod) open(e, from);
        } else if (e == event::fin) {
            finished_.insert(from);
        }
    }
    /// One end got the reset that the other seemed to send; now that one is answered with one.
    void tell(side from) {
        if (stage_ == stage::reset && from == reset_by_) stage_ = stage::told;
    }
    [[nodiscard]] bool is_asked() const { return stage_ == stage::asked; }
    [[nodiscard]] bool is_over() const {
        return stage_ == stage::reset || stage_ == stage::told || finished_.size() == 2;
    }
    [[nodiscard]] bool is_open() const { return stage_ == stage::open && finished_.size() < 2; }

  private:
    enum class stage { asked, answered, joined, open, reset, told };
    void open(event e, side from) {
        stage_ = stage::open;
        finished_.clear();
        if (e == event::fin) finished_.insert(from);
    }
    stage stage_;
    side reset_by_ = side::client;
    std::set<side> finished_{};
};

/// RFC 9260 sections 5.1 and 9.
class sctp_life {
  public:
    explicit sctp_life(event first)
        : stage_{first == event::init    ? stage::asked
                 : first == event::abort ? stage::over
                                         : stage::joined} {}

    void take(event e, side from) {
        bool const is_reply = from == side::pod;
        if (stage_ == stage::over) return;
        if (e == event::abort || e == event::shutdown_complete)
            stage_ = stage::over;
        else if (stage_ == stage::asked && is_reply && e == event::init_ack)
            stage_ = stage::answered;
        else if (stage_ == stage::answered && !is_reply && e == event::cookie_echo)
            stage_ = stage::echoed;
        else if (stage_ == stage::echoed && is_reply && e == event::cookie_ack)
            stage_ = stage::open;
        else if (stage_ == stage::joined && is_reply)
            stage_ = stage::open;
        else if (stage_ == stage::open && e == event::shutdown)
            stage_ = stage::leaving;
    }
    [[nodiscard]] bool is_over() const { return stage_ == stage::over; }
    [[nodiscard]] bool is_open() const { return stage_ == stage::open; }

  private:
    enum class stage { asked, answered, echoed, joined, open, leaving, over };
    stage stage_;
};

struct flow {
    flow(ends o, ends t, event first) : original{std::move(o)}, translated{std::move(t)}, tcp{first}, sctp{first} {}

    ends original, translated;
    bool is_source_known = true; ///< of `translated`: false until a packet shows what was chosen
    bool is_masqueraded = false;
    std::shared_ptr<service> of;
    std::shared_ptr<pod> at;
    tcp_life tcp;
    sctp_life sctp;
    bool is_replied = false;
    std::int64_t last = 0; ///< milliseconds

    void take(event e, side from, std::int64_t now) {
        tcp.take(e, from);
        sctp.take(e, from);
        if (from == side::pod) is_replied = true;
        last = now;
    }
    [[nodiscard]] bool is_over() const {
        return original.protocol == 6 ? tcp.is_over() : original.protocol == 132 && sctp.is_over();
    }
    [[nodiscard]] unsigned timeout(limits const& t) const {
        switch (original.protocol) {
        case 6: return tcp.is_open() ? t.tcp_open : t.tcp_other;
        case 132: return sctp.is_open() ? t.sctp_open : t.sctp_other;
        case 17: return is_replied ? t.udp_replied : t.udp_unreplied;
        case 1:
        case 58: return t.icmp;
        default: return is_replied ? t.other_replied : t.other_unreplied;
        }
    }
};

/// A flow, and who sent the packet that was looked for.
struct found_flow {
    std::shared_ptr<flow> what;
    side from = side::client;
    [[nodiscard]] explicit operator bool() const { return what != nullptr; }
};

class flow_map {
  public:
    [[nodiscard]] found_flow find(ends const& shown, std::int64_t now, limits const& t) {
        auto const found = by_ends_.find(shown);
        if (found == by_ends_.end()) return {};
        auto const result = found->second;
        if (now - result.what->last < std::int64_t{1000} * result.what->timeout(t)) return result;
        end(result.what);
        return {};
    }
    void enter(std::shared_ptr<flow> const& f) {
        by_ends_[f->original] = {f, side::client};
        all_.push_back(f);
        if (f->is_source_known) know_source(*f);
    }
    /// \pre entered, and `translated` is whole
    void know_source(flow& f) {
        f.is_source_known = true;
        by_ends_[f.translated.mirrored()] = {by_ends_.at(f.original).what, side::pod};
    }
    /// Ends it; takes its packets' ends by value, for `f` may be the last to hold it.
    void end(std::shared_ptr<flow> f) {
        by_ends_.erase(f->original);
        if (f->is_source_known) by_ends_.erase(f->translated.mirrored());
        std::erase(all_, f);
    }
    [[nodiscard]] std::vector<std::shared_ptr<flow>> const& all() const { return all_; }

    void expire(std::int64_t now, limits const& t) {
        auto const copy = all_;
        for (auto const& f : copy)
            if (now - f->last >= std::int64_t{1000} * f->timeout(t)) end(f);
    }

  private:
    std::map<ends, found_flow> by_ends_{};
    std::vector<std::shared_ptr<flow>> all_{};
};

} // namespace kubeproxy::slow
