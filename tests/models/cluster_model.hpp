#pragma once

#include "models/cluster_affinity.hpp"
#include "models/cluster_flow.hpp"

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

/// A node's service proxy, the slow way: lists of everything, looked through for every packet. Nothing here uses the
/// library.
///
/// What is left to the proxy the model learns from what came out: which of the allowed backends a connection has, and
/// the port that its source got. Everything else must be as it says.
namespace kubeproxy::cluster {

class model {
  public:
    explicit model(node const& here) : here_{here} {}

    /// This is in force from now on.
    void publish(state const& all, node const& here) {
        all_ = all;
        here_ = here;
        claimed_.publish(all_, tally_);
        note_backends();
        clients_.publish(all_);
    }

    /// The host says what time it is: connections to pods that terminate end when their time is over.
    void tick(moment now) {
        auto const forget = [](auto& all) {
            for (auto& [key, b] : all) b.since.reset(), b.drained = false;
        };
        forget(former_);
        if (here_.drain_seconds == 0) return forget(backends_); // its time begins again when there is one
        for (auto& [key, b] : backends_) {
            if (!b.terminating) continue;
            if (!b.since) b.since = now;
            if (!b.drained && now - *b.since >= here_.drain_seconds * 1s) {
                b.drained = true;
                ++tally_["drained"];
                drained_lives_.insert(b.life);
                b.life = ++lives_;
            }
        }
    }

    /// What is wrong with what came out for a packet; empty: nothing.
    [[nodiscard]] std::string judge(conversation const& in, segment what, seen_outcome const& got, moment now);

    [[nodiscard]] std::set<lost_pair> lost_pairs() const { return claimed_.lost(here_); }
    /// For who sends more packets of them.
    [[nodiscard]] std::list<flow> const& flows() const noexcept { return flows_; }
    /// What it met, by name.
    [[nodiscard]] std::map<std::string, std::size_t> const& tally() const noexcept { return tally_; }

  private:
    struct backend_state {
        std::uint64_t life = 0;
        bool terminating = false;
        std::optional<moment> since{}; ///< terminating, as far as the model was told the time
        bool drained = false;
    };
    using verdict = decision::verdict;

    void note_backends();
    enum class fate { goes_on, ends, selects };

    /// Its backend. One of a Service that was deleted and created again is another one.
    [[nodiscard]] bool is_there(flow const& f) const {
        auto const found = backends_.find({f.port, f.backend});
        return found != backends_.end() && found->second.life == f.life;
    }

    [[nodiscard]] fate fate_of(flow const& f, bool opens, seen_outcome const& got);
    [[nodiscard]] fate fate_of_tcp(flow const& f, bool opens, seen_outcome const& got);
    [[nodiscard]] std::string on_known(flow& f, conversation const& in, segment what, seen_outcome const& got,
                                       moment now);
    [[nodiscard]] std::string on_ended(flow& f, conversation const& in, segment what, seen_outcome const& got,
                                       moment now);
    [[nodiscard]] std::string on_first(conversation const& in, segment what, seen_outcome const& got, moment now);
    [[nodiscard]] std::string on_forwarded(conversation const& in, seen_outcome const& got, decision const& d,
                                           moment now);
    [[nodiscard]] std::string check_source(conversation const& in, seen_outcome const& got, bool masquerade,
                                           moment now) const;

    node here_;
    state all_;
    std::list<flow> flows_;
    std::map<std::pair<std::string, side>, backend_state> backends_; ///< by identity of the service port
    std::map<std::pair<std::string, side>, backend_state> former_;   ///< removed, from ports that still are there
    std::set<std::uint64_t> drained_lives_;
    affinity_memory clients_;
    claims claimed_;
    std::map<std::string, std::size_t> tally_;
    std::uint64_t lives_ = 0;
};

/// A backend that was gone and comes back to a port that stayed is the same one again. One that no longer serves its
/// port is there as long as some slice of the service lists its address and port.
inline void model::note_backends() {
    std::set<std::string> ports;
    auto before = std::exchange(backends_, {});
    auto const note = [&](std::string const& identity, side const& at, pod const& is) {
        auto const known = before.find({identity, at});
        auto const former = former_.find({identity, at});
        auto b = known != before.end()     ? known->second
                 : former != former_.end() ? former->second
                                           : backend_state{.life = ++lives_};
        b.terminating = is.terminating.value_or(false);
        if (!b.terminating) b.since.reset();
        if (!b.terminating) b.drained = false;
        backends_.try_emplace({identity, at}, b);
        former_.erase({identity, at});
    };
    for (auto const& [name, s] : all_.services)
        for (auto const& p : s.ports)
            for (unsigned const version : {4u, 6u}) {
                if (cluster_ip(s, version).empty()) continue;
                auto const identity = port_identity(name, s, p, version);
                ports.insert(identity);
                for (auto const& c : candidates(all_, name, p, version)) note(identity, c.at, *c.is);
                for (auto const& [key, b] : before)
                    if (key.first == identity)
                        if (auto const* is = listed_at(all_, name, p.protocol, version, key.second))
                            note(identity, key.second, *is);
            }
    for (auto const& [key, b] : before)
        if (!backends_.contains(key)) former_.insert_or_assign(key, b);
    std::erase_if(former_, [&](auto const& f) { return !ports.contains(f.first.first); });
}

inline std::string model::judge(conversation const& in, segment what, seen_outcome const& got, moment now) {
    auto const is_of = [&](flow const& f) { return f.original == in || f.translated.back() == in; };
    tally_["expired"] += std::erase_if(flows_, [&](flow const& f) { return is_of(f) && now - f.seen >= patience(f); });
    auto const known = std::ranges::find_if(flows_, is_of);
    if (known == flows_.end()) return on_first(in, what, got, now);
    switch (fate_of(*known, what == segment::open && in.protocol != 17, got)) {
    case fate::goes_on: return on_known(*known, in, what, got, now);
    case fate::ends: return on_ended(*known, in, what, got, now);
    case fate::selects: break;
    }
    flows_.erase(known);
    return on_first(in, what, got, now);
}

inline model::fate model::fate_of(flow const& f, bool opens, seen_outcome const& got) {
    if (opens && f.is_over()) {
        ++tally_["reopened"];
        return fate::selects;
    }
    if (f.original.protocol == 6) return fate_of_tcp(f, opens, got);
    bool const has_backend = is_there(f);
    bool const has_frontend = decide(all_, claimed_, here_, f.original).port == f.port;
    if (has_backend && has_frontend) return fate::goes_on;
    ++tally_["selected again"];
    if (has_backend) ++tally_["followed its frontend"];
    return fate::selects;
}

/// TCP lives on whatever happens to its frontend and backend, unless the node says otherwise. A Service port that is
/// gone has no backends.
inline model::fate model::fate_of_tcp(flow const& f, bool opens, seen_outcome const& got) {
    bool const is_drained = drained_lives_.contains(f.life);
    bool const has_backend = is_there(f);
    if (is_drained || (!has_backend && here_.resets_removed)) {
        ++tally_[opens ? "selected again" : is_drained ? "ended" : "ended by removal"];
        return opens ? fate::selects : fate::ends;
    }
    bool const has_frontend = decide(all_, claimed_, here_, f.original).port == f.port;
    bool const nothing_exchanged = opens && f.now == stage::opening;
    bool const went_on = got.what == verdict::forward && got.out == f.translated; // with its frontend gone it may
    if (nothing_exchanged && (!has_backend || (!has_frontend && !went_on))) {
        ++tally_["selected again"];
        return fate::selects;
    }
    if (!has_backend) ++tally_["outlived its endpoint"];
    if (has_backend && !has_frontend) ++tally_["outlived its frontend"];
    return fate::goes_on;
}

/// The first packet becomes a reset of the other end; who speaks after that is answered with one, and both know.
inline std::string model::on_ended(flow& f, conversation const& in, segment what, seen_outcome const& got, moment now) {
    int const side = f.original == in ? 0 : 1;
    if (what == segment::reset) return on_known(f, in, what, got, now);
    if (!f.has_ended()) {
        auto wrong = on_known(f, in, segment::reset, got, now);
        f.now = stage::cut;
        f.cut_by = side;
        return wrong;
    }
    ++tally_["answered with a reset"];
    if (f.now == stage::cut && f.cut_by == side) f.now = stage::closed;
    bool const is_answered = got.what == verdict::reject && got.reason == "backend_removed" && got.is_reset;
    return is_answered ? "" : "the backend of its connection is gone: a reset in answer";
}

inline std::string model::on_known(flow& f, conversation const& in, segment what, seen_outcome const& got, moment now) {
    bool const is_reply = f.original != in;
    auto const expected = is_reply ? f.original.back() : f.translated;
    bool const is_reset = what == segment::reset;
    if (got.what != verdict::forward || got.out != expected || got.masqueraded != f.masqueraded ||
        got.is_reset != is_reset)
        return "of a known connection: forward " + expected.text() + (f.masqueraded ? " masqueraded" : "") +
               (is_reset ? " reset" : "");
    f.seen = now;
    ++tally_[is_reply ? "reply" : "original"];
    advance(f, is_reply ? 1 : 0, what);
    return {};
}

inline std::string model::on_first(conversation const& in, segment what, seen_outcome const& got, moment now) {
    auto d = decide(all_, claimed_, here_, in);
    if (got.what != d.what) return text(d.what) + ", for " + (d.service.empty() ? "no service" : d.service);
    ++tally_[text(d.what)];
    if (d.what == verdict::pass) return got.out == in ? "" : "to be passed untouched";
    if (d.what != verdict::forward) return {};
    d.backends = clients_.bound(d, all_, in.source.address, now, tally_);
    if (auto const wrong = on_forwarded(in, got, d, now); !wrong.empty()) return wrong;
    auto const first = in.protocol != 6         ? stage::unreplied
                       : what == segment::open  ? stage::opening
                       : what == segment::reset ? stage::refused
                                                : stage::joined;
    auto const backend = got.out.destination;
    flows_.push_back(
        {in, got.out, d.port, backend, backends_.at({d.port, backend}).life, got.masqueraded, first, {}, {}, 0, now});
    clients_.remember(d, all_, in.source.address, backend, now, tally_);
    return {};
}

inline std::string model::on_forwarded(conversation const& in, seen_outcome const& got, decision const& d, moment now) {
    if (!d.backends.contains(got.out.destination)) {
        std::string wrong = "forward to one of";
        for (auto const& b : d.backends) wrong += ' ' + b.text();
        return wrong;
    }
    bool const hairpin = got.out.destination.address == in.source.address;
    ++tally_[hairpin ? "hairpin" : d.masquerade ? "masqueraded" : "as it was"];
    if (d.shared.contains(got.out.destination)) ++tally_["several entries"];
    if (d.by_former_name) ++tally_["by a former name"];
    if (got.masqueraded != (d.masquerade || hairpin))
        return d.masquerade || hairpin ? "masqueraded" : "not masqueraded";
    return check_source(in, got, d.masquerade || hairpin, now);
}

inline std::string model::check_source(conversation const& in, seen_outcome const& got, bool masquerade,
                                       moment now) const {
    bool is_taken = false, wants_taken = false;
    auto const as_sent = conversation{in.protocol, in.source, got.out.destination};
    for (auto const& f : flows_) {
        if (now - f.seen >= patience(f)) continue;
        is_taken = is_taken || f.translated == got.out;
        wants_taken = wants_taken || f.translated == as_sent;
    }
    if (is_taken) return "from a port that tells its replies from another connection's";
    auto const version = version_of(in.source.address);
    if (masquerade) return got.out.source.address == primary(here_, version) ? "" : "from the node's primary address";
    if (got.out.source == in.source || (wants_taken && got.out.source.address == in.source.address)) return {};
    return "from its own source";
}

} // namespace kubeproxy::cluster
