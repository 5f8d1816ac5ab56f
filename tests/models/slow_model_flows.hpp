#pragma once

#include "models/slow_model_cluster.hpp"
#include "models/slow_model_packet.hpp"

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
    cut, ///< a packet that the path made a RST
    init,
    init_ack,
    cookie_echo,
    cookie_ack,
    shutdown,
    shutdown_complete,
    abort,
};
enum class side { client, pod };

/// What an SCTP packet says of verification tags (RFC 9260 sections 3.1, 3.3.3 and 3.3.7).
struct tag_words {
    std::size_t tag = 0, initiate = 0;
    bool is_reflected = false;

    static tag_words of(octets const& packet, reading const& r) {
        if (r.what != kind::ports || r.shown.protocol != 132 || r.is_fragment()) return {};
        auto const message = part(packet, r.transport, r.end - r.transport);
        return {get(message, 4, 4), message.size() >= 20 ? get(message, 16, 4) : 0,
                message.size() >= 14 && (get(message, 13, 1) & 1) != 0};
    }
};

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
///     anything else: joined -> an answer -> open
///     RST: refused, or if it was open, in doubt until both sides have sent something else: open again
class tcp_life {
  public:
    explicit tcp_life(event first)
        : stage_{first == event::syn   ? stage::asked
                 : first == event::rst ? stage::refused
                                       : stage::joined} {}

    void take(event e, side from) {
        if (is_over() || stage_ == stage::cut) return;
        bool const by_pod = from == side::pod, is_syn = e == event::syn || e == event::syn_ack;
        if (e == event::cut) {
            stage_ = stage::cut;
            cut_by_ = from;
            return;
        }
        if (e == event::rst) {
            bool const was_open = stage_ == stage::open || stage_ == stage::in_doubt;
            stage_ = was_open ? stage::in_doubt : stage::refused;
            since_reset_.clear();
        } else if (stage_ == stage::in_doubt) {
            if (!is_syn) go_on(e, from);
            if (e == event::syn_ack && by_pod) stage_ = stage::answered;
        } else if (stage_ == stage::refused) {
            if (e == event::syn_ack && by_pod) stage_ = stage::answered;
            if (e == event::syn && !by_pod) stage_ = stage::asked;
            if (!is_syn && !by_pod) stage_ = stage::joined;
        } else if (stage_ == stage::asked) {
            if (is_syn && by_pod) stage_ = stage::answered;
        } else if (stage_ == stage::answered) {
            if (e != event::syn && !by_pod) open(e, from);
        } else if (stage_ == stage::joined) {
            if (!is_syn && by_pod) open(e, from);
        } else if (e == event::fin) {
            finished_.insert(from);
        }
    }
    /// One end got the reset that the other seemed to send; now that one is answered with one.
    void tell(side from) {
        if (stage_ == stage::cut && from == cut_by_) stage_ = stage::told;
    }
    [[nodiscard]] bool was_reset() const {
        return stage_ == stage::in_doubt || stage_ == stage::refused || stage_ == stage::cut;
    }
    [[nodiscard]] bool is_asked() const { return stage_ == stage::asked; }
    [[nodiscard]] bool is_over() const {
        return stage_ == stage::told || (stage_ == stage::open && finished_.size() == 2);
    }
    [[nodiscard]] bool is_open() const { return stage_ == stage::open && finished_.size() < 2; }

  private:
    enum class stage { asked, answered, joined, refused, open, in_doubt, cut, told };
    void open(event e, side from) {
        stage_ = stage::open;
        finished_.clear();
        if (e == event::fin) finished_.insert(from);
    }
    void go_on(event e, side from) {
        since_reset_.insert(from);
        if (e == event::fin) finished_.insert(from);
        if (since_reset_.size() == 2 || finished_.size() == 2) stage_ = stage::open;
    }
    stage stage_;
    side cut_by_ = side::client;
    std::set<side> finished_{}, since_reset_{};
};

/// RFC 9260 sections 5.1 and 9.
class sctp_life {
  public:
    explicit sctp_life(event first)
        : stage_{first == event::init    ? stage::asked
                 : first == event::abort ? stage::over
                                         : stage::joined} {}

    void take(event e, side from, tag_words const& words) {
        bool const ends = e == event::abort || e == event::shutdown_complete;
        if (ends && !is_genuine(from, words)) return;
        auto const before = stage_;
        take(e, from);
        if (e != event::init_ack || stage_ == before) return;
        auto const other = from == side::client ? side::pod : side::client;
        if (words.initiate == 0) return;
        tags_ = {{from, words.tag}, {other, words.initiate}};
    }
    [[nodiscard]] bool is_over() const { return stage_ == stage::over; }
    [[nodiscard]] bool is_open() const { return stage_ == stage::open || stage_ == stage::joined_and_answered; }

  private:
    enum class stage { asked, answered, echoed, joined, joined_and_answered, open, leaving, over };

    /// RFC 9260 section 8.5.1, as far as the tags are known.
    [[nodiscard]] bool is_genuine(side from, tag_words const& words) const {
        if (tags_.empty()) return true;
        auto const other = from == side::client ? side::pod : side::client;
        return words.tag == tags_.at(words.is_reflected ? other : from);
    }
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
            stage_ = stage::joined_and_answered;
        else if (stage_ == stage::joined_and_answered && !is_reply)
            stage_ = stage::open;
        else if (stage_ == stage::open && e == event::shutdown)
            stage_ = stage::leaving;
    }
    stage stage_;
    std::map<side, std::size_t> tags_{}; ///< which packets of each side carry; empty: unknown
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

    /// \param may_change whether the packet counts for anything but that there was one
    void take(event e, side from, tag_words const& words, std::int64_t now, bool may_change) {
        last = now;
        if (!may_change) return;
        tcp.take(e, from);
        if (original.protocol == 132) sctp.take(e, from, words);
        if (from == side::pod) is_replied = true;
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
