#pragma once

#include "models/slow_model_checksum.hpp"
#include "models/slow_model_choices.hpp"
#include "models/slow_model_fragments.hpp"
#include "models/slow_model_related.hpp"

#include <memory>

namespace kubeproxy::slow {

struct model_settings {
    link_sizes links{};
    bool resets_tcp = false;     ///< connections to services without endpoints
    bool resets_removed = false; ///< connections whose pod was removed
};

/// The whole path, packet by packet. It learns from the first packet of a flow what is free to choose: the backend, and
/// a source of ours. Everything else it knows itself, and compares.
class model {
  public:
    model(cluster const& services, model_settings settings)
        : services_{&services}, settings_{settings}, choices_{services} {}

    /// \param spares buffers that the host has for packets that become several; none: it is no such host
    void begin(std::int64_t now, std::optional<std::size_t> spares) {
        now_ = now;
        spares_ = spares;
    }
    void take(octets const& packet, comparison& seen);
    /// At the end of a burst.
    void finish(comparison& seen);
    [[nodiscard]] flow_map& flows() { return flows_; }
    [[nodiscard]] std::size_t spares() const { return spares_.value_or(0); }
    /// Dropped without a packet to tell of: their first one did not come, or there was no buffer when it did.
    [[nodiscard]] std::size_t timed_out_fragments() const { return timed_out_fragments_; }
    [[nodiscard]] std::size_t untold_fragments() const { return untold_fragments_; }

  private:
    struct route {
        ends after;
        belonging as;
    };

    [[nodiscard]] bool find_message(subject& s, comparison& seen);
    void go_on(subject const& s, comparison& seen);
    void without_flow(subject const& s, comparison& seen);
    [[nodiscard]] static bool always_takes_source(subject const& s, found_service const& to);
    void relate_without_flow(subject const& s, found_service const& to, comparison& seen);
    [[nodiscard]] std::shared_ptr<flow> new_flow(subject const& s, found_service const& to, observed const& o);
    void open(subject const& s, found_service const& to, comparison& seen);
    [[nodiscard]] std::optional<octets> unreachable(subject const& s) const;
    [[nodiscard]] static octets as_reset(octets packet, reading const& r);
    void follow(subject const& s, event what, found_flow found, comparison& seen);
    void refuse_removed(subject const& s, comparison& seen) const;
    void reject(subject const& s, comparison& seen) const;
    void relate(subject const& s, route const& to, comparison& seen) const;
    void settle(subject const& s, route const& to, comparison& seen);
    void settle_pieces(std::vector<octets> const& pieces, belonging as, comparison& seen);
    [[nodiscard]] ends natural(ends const& key, service const& of, octets const& pod_address) const;

    cluster const* services_;
    model_settings settings_;
    flow_map flows_;
    messages messages_;
    choices choices_;
    identifications identifications_;
    std::int64_t now_ = 0;
    std::optional<std::size_t> spares_{};
    std::size_t timed_out_fragments_ = 0, untold_fragments_ = 0;
};

inline void model::take(octets const& packet, comparison& seen) {
    auto const r = read(packet);
    if (r.malformed != drop_reason::none) return seen.want_verdict(verdict::drop(r.malformed));
    auto s = look_at(packet, r);
    if (r.is_fragment() && !find_message(s, seen)) return;
    go_on(s, seen);
}

/// False where the packet's way ends here.
inline bool model::find_message(subject& s, comparison& seen) {
    auto const key = message_key::of(s.r);
    if (s.r.what != kind::later) {
        if (s.flaw == drop_reason::none) messages_.note_first(key, s.key, now_);
        return true;
    }
    if (auto const known = messages_.find(key, now_)) {
        s.key = *known;
        return true;
    }
    if (!services_->may_own(s.key)) return true;
    auto why = drop_reason::fragment_held;
    if (!spares_)
        why = drop_reason::no_spare_packet;
    else if (s.r.end > longest_early_fragment)
        why = drop_reason::fragment_store_full;
    else
        messages_.hold(key, s.r.offset, s.packet, now_);
    seen.want_verdict(verdict::drop(why));
    return false;
}

inline void model::finish(comparison& seen) {
    for (auto const& packet : messages_.release()) {
        if (*spares_ == 0) {
            ++untold_fragments_;
            continue;
        }
        --*spares_;
        take(packet, seen);
    }
    timed_out_fragments_ += messages_.expire(now_);
}

inline void model::go_on(subject const& s, comparison& seen) {
    auto const what = event_of(s.packet, s.r);
    bool const opens = what == event::syn || what == event::init;
    auto found = flows_.find(s.key, now_, services_->times);
    if (!found && choices_.reveal_source(s, flows_, seen.front())) found = flows_.find(s.key, now_, services_->times);
    auto const end = [&] {
        flows_.end(found.what);
        found = {};
    };
    bool const counts = may_change(s.packet, s.r);
    if (found && opens && found.what->is_over() && counts) end();
    bool const is_gone = found && found.what->at->is_gone;
    bool const is_reset = is_gone && s.key.protocol == 6 && settings_.resets_removed;
    auto const seeks_another = [&] {
        if (s.key.protocol != 6) return true;
        return what == event::syn && found.from == side::client && (is_reset || found.what->tcp.is_asked());
    };
    if (is_gone && seeks_another()) end();
    if (!found) return without_flow(s, seen);
    if (s.flaw != drop_reason::none) return seen.want_verdict(verdict::drop(s.flaw));
    if (is_reset && s.r.what == kind::ports && !s.r.is_fragment() && what != event::rst) {
        if (found.what->is_over() || found.what->tcp.was_reset()) {
            found.what->tcp.tell(found.from);
            return refuse_removed(s, seen);
        }
        auto const reset = as_reset(s.packet, s.r);
        return follow({reset, s.r, s.key, s.flaw}, event::cut, found, seen);
    }
    follow(s, what, found, seen);
}

/// RFC 9293 section 3.10.7.4: a reset at the sequence number of the segment.
inline octets model::as_reset(octets packet, reading const& r) {
    auto const flags = get(packet, r.transport + 12, 2), after = (flags & 0xff10) | 4;
    put(packet, r.transport + 12, 2, after);
    auto const checksum = get(packet, r.transport + 16, 2);
    put(packet, r.transport + 16, 2, (checksum + flags + ones - after % ones) % ones);
    return packet;
}

inline void model::follow(subject const& s, event what, found_flow found, comparison& seen) {
    auto& f = *found.what;
    bool const from_client = found.from == side::client;
    bool const is_error = s.r.what == kind::error;
    if (!is_error) f.take(what, found.from, tag_words::of(s.packet, s.r), now_, may_change(s.packet, s.r));
    if (!f.is_source_known && !is_error) choices_.learn_source(s, f, flows_, now_, seen.front());
    route const to{from_client ? f.translated : f.original.mirrored(),
                   {is_error      ? flow_relation::related
                    : from_client ? flow_relation::original
                                  : flow_relation::reply,
                    f.is_masqueraded}};
    if (!is_error) return settle(s, to, seen);
    if (f.is_source_known || !from_client) return relate(s, to, seen);
    seen.next(); // what it must quote is not known yet
}

inline void model::without_flow(subject const& s, comparison& seen) {
    auto const to = services_->find(s.key);
    if (to.what == nullptr) {
        auto const o = seen.next();
        want(o.what.what == verdict::pass(), o, "not ours: pass wanted");
        return want_bytes(o, s.packet);
    }
    if (s.flaw != drop_reason::none) return seen.want_verdict(verdict::drop(s.flaw));
    if (to.what->has_ipv6_pods != s.key.is_ipv6() && services_->is_illegal(s.key.source))
        return seen.want_verdict(verdict::drop(drop_reason::illegal_address));
    if (to.what->pods.empty()) return reject(s, seen);
    if (s.r.what == kind::error) return relate_without_flow(s, to, seen);
    open(s, to, seen);
}

/// RFC 792, RFC 4443 section 3.1: nobody listens there; or a reset, which a whole segment only can have.
inline std::optional<octets> model::unreachable(subject const& s) const {
    told const port{s.r.version == 4 ? 3u : 1u, s.r.version == 4 ? 3u : 4u, 0};
    if (settings_.resets_tcp && s.r.what == kind::ports && s.r.shown.protocol == 6 && !s.r.is_fragment())
        return reset_about(s.packet, s.r);
    return may_be_told(s.packet, s.r, port) ? std::optional{icmp_error_about(s.packet, s.r, port)} : std::nullopt;
}

inline void model::refuse_removed(subject const& s, comparison& seen) const {
    auto const answer = reset_about(s.packet, s.r);
    if (!answer) return seen.want_verdict(verdict::drop(drop_reason::backend_removed));
    auto const o = seen.next();
    want(o.what.what == verdict::reply(drop_reason::backend_removed), o, "an answer wanted");
    want_bytes(o, *answer);
}

inline void model::reject(subject const& s, comparison& seen) const {
    auto const o = seen.next();
    auto const answer = unreachable(s);
    if (!answer) return want(o.what.what == verdict::drop(drop_reason::reject_forbidden), o, "reject_forbidden wanted");
    want(o.what.what == verdict::reply(drop_reason::no_endpoints), o, "a rejection wanted");
    want_bytes(o, *answer);
}

inline ends model::natural(ends const& key, service const& of, octets const& pod_address) const {
    ends after{key.source, pod_address, key.sport, of.port_at_pod(key), key.protocol};
    if (key.protocol == 1 || key.protocol == 58) {
        bool const is_own = key.protocol == (key.is_ipv6() ? 58u : 1u);
        if (is_own) after.protocol = of.has_ipv6_pods ? 58 : 1;
    }
    if (key.is_ipv6() == of.has_ipv6_pods) return after;
    after.source = of.has_ipv6_pods ? services_->embedded(key.source) : octets(4);
    return after;
}

/// Whether its packets leave with a source of ours, whatever backend they go to.
inline bool model::always_takes_source(subject const& s, found_service const& to) {
    return s.key.is_ipv6() == to.what->has_ipv6_pods ? to.by_node_port : !to.what->has_ipv6_pods;
}

/// The ring tells where its flow would be, if that leaves the source alone.
inline void model::relate_without_flow(subject const& s, found_service const& to, comparison& seen) {
    bool const may_be_hairpin =
        std::ranges::any_of(to.what->pods, [&](auto const& p) { return p->address == s.key.source; });
    if (always_takes_source(s, to) || (may_be_hairpin && seen.front().backend.empty()))
        return seen.want_verdict(verdict::pass());
    auto const address = choices_.backend_for(s, to, seen.front());
    relate(s, {natural(s.key, *to.what, address), {flow_relation::related, false}}, seen);
}

inline std::shared_ptr<flow> model::new_flow(subject const& s, found_service const& to, observed const& o) {
    auto const address = choices_.backend_for(s, to, o);
    auto f = std::make_shared<flow>(s.key, natural(s.key, *to.what, address), event_of(s.packet, s.r));
    bool const is_hairpin = address == s.key.source;
    f->is_masqueraded = always_takes_source(s, to) || is_hairpin;
    f->of = to.what;
    f->at = *std::ranges::find_if(to.what->pods, [&](auto const& p) { return p->address == address; });
    f->last = now_;
    return f;
}

inline void model::open(subject const& s, found_service const& to, comparison& seen) {
    auto const o = seen.front();
    auto const f = new_flow(s, to, o);
    bool const has_choice = detail::has_ports(s.key.protocol) || s.key.protocol == 1 || s.key.protocol == 58;
    bool const is_taken =
        !f->is_masqueraded && static_cast<bool>(flows_.find(f->translated.mirrored(), now_, services_->times));
    if (!may_open(s.packet, s.r)) { // forwarded if no state is needed, and remembered by nobody
        if (f->is_masqueraded) return seen.want_verdict(verdict::drop(drop_reason::bad_transport_checksum));
        return settle(s, {f->translated, {flow_relation::none, false}}, seen);
    }
    auto const exhausted = verdict::drop(drop_reason::ports_exhausted);
    if (f->is_masqueraded && !has_choice && o.what.what == exhausted) return seen.want_verdict(exhausted);
    if (f->is_masqueraded && has_choice) f->translated.sport = unknown_port;

    auto const why = refusals_of(s.packet, s.r, f->translated, settings_.links);
    auto const is_for_good = [](refusal const& r) { return r.why != drop_reason::too_big; };
    if (std::ranges::any_of(why, is_for_good)) // and it leaves no flow behind
        return seen.want_refusal(s.packet, s.r, why);
    if (is_taken && !has_choice) return seen.want_verdict(exhausted);
    if (is_taken) f->translated.sport = unknown_port;
    f->is_source_known = !is_taken && !f->is_masqueraded;
    flows_.enter(f);
    if (!f->is_source_known) choices_.learn_source(s, *f, flows_, now_, o);
    settle(s, {f->translated, {flow_relation::fresh, f->is_masqueraded}}, seen);
}

inline void model::settle(subject const& s, route const& to, comparison& seen) {
    auto const why = refusals_of(s.packet, s.r, to.after, settings_.links);
    if (!why.empty()) return seen.want_refusal(s.packet, s.r, why);
    auto const& bytes = seen.front().bytes;
    auto pieces = rewritten(s.packet, s.r, to.after, settings_.links, bytes);
    bool const shares_source = to.as.is_masqueraded && to.as.relation != flow_relation::reply;
    if (s.r.is_fragment() && shares_source && !to.after.is_ipv6() && bytes.size() >= 20)
        identifications_.adopt(message_key::of(s.r), pieces.front(), now_, seen.front());
    settle_pieces(pieces, to.as, seen);
}

inline void model::settle_pieces(std::vector<octets> const& pieces, belonging as, comparison& seen) {
    auto const needed = pieces.size() - 1, had = spares_.value_or(0);
    if (spares_) spares_ = had - std::min(needed, had);
    if (needed > had) { // all or none; the buffers that were taken are told of, too
        for (std::size_t i = 0; i <= had; ++i) seen.want_verdict(verdict::drop(drop_reason::no_spare_packet));
        return;
    }
    for (auto const& piece : pieces) {
        seen.want_forward(piece, as);
        if (as.relation == flow_relation::fresh) as.relation = flow_relation::original;
    }
}

inline void model::relate(subject const& s, route const& to, comparison& seen) const {
    auto const& sender = s.r.shown.source;
    if (s.key.is_ipv6() != to.after.is_ipv6() && services_->is_illegal(sender))
        return seen.want_verdict(verdict::drop(drop_reason::illegal_address));
    auto source = sender; // of a router, or of the flow's end
    if (sender == s.key.source)
        source = to.after.source;
    else if (to.after.is_ipv6() && !s.key.is_ipv6())
        source = services_->embedded(sender);
    else if (!to.after.is_ipv6() && s.key.is_ipv6())
        source = services_->is_embedded(sender) ? part(sender, 12) : to.after.source;
    error_ends const after{source, to.after.destination, to.after.mirrored()};
    auto const why = refusals_of_error(s, after, settings_.links);
    if (!why.empty()) return seen.want_refusal(s.packet, s.r, why);
    auto const& bytes = seen.front().bytes;
    bool const same_family = s.key.is_ipv6() == to.after.is_ipv6();
    seen.want_forward(same_family ? error_in_place(s, after, bytes) : error_across(s, after, settings_.links, bytes),
                      to.as);
}

} // namespace kubeproxy::slow
