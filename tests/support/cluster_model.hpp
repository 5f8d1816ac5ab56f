#pragma once

#include "support/cluster_policy.hpp"

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// A node's service proxy, the slow way: lists of everything, looked through for every packet. Nothing here uses the
/// library.
///
/// What is left to the proxy the model learns from what came out: which of the allowed backends a connection has, and
/// the port that its source got. Everything else must be as it says.
namespace kubeproxy::cluster {

using namespace std::chrono_literals;
using build::segment;
using moment = std::chrono::milliseconds;

/// A packet as it came out, or what was answered.
struct seen_outcome {
    decision::verdict what = decision::verdict::pass;
    std::string reason; ///< of a drop or an answer
    bool masqueraded = false;
    conversation out{};
};

inline std::string text(decision::verdict what) {
    constexpr char const* names[]{"pass", "forward", "reject", "drop"};
    return names[static_cast<int>(what)];
}
inline std::string text(seen_outcome const& got) {
    return text(got.what) + (got.reason.empty() ? "" : " (" + got.reason + ')') +
           (got.what == decision::verdict::forward ? ' ' + got.out.text() : "") +
           (got.masqueraded ? " masqueraded" : "");
}

class model {
  public:
    enum class stage { unreplied, replied, opening, accepted, joined, established, closed, reset };
    struct flow {
        conversation original, translated;
        std::string port; ///< identity of the service port
        side backend;
        std::uint64_t life = 0; ///< of its backend
        bool masqueraded = false;
        stage now = stage::unreplied;
        std::set<int> closed_by{}; ///< of TCP: 0 the client, 1 the backend
        int reset_by = 0;
        moment seen{};

        [[nodiscard]] bool is_over() const { return now == stage::closed || now == stage::reset; }
    };

    explicit model(node const& here) : here_{here} {}

    /// This is in force from now on.
    void publish(state const& all, node const& here) {
        all_ = all;
        here_ = here;
        note_backends();
        std::erase_if(clients_, [this](auto const& c) { return affinity_of(c.first.service) != c.second.seconds; });
    }

    /// The host says what time it is: connections to pods that terminate end when their time is over.
    void tick(moment now) {
        for (auto& [key, b] : former_) {
            b.since.reset();
            b.drained = false;
        }
        if (here_.drain_seconds == 0) return;
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
    struct client_key {
        std::string service, port, client;
        [[nodiscard]] friend auto operator<=>(client_key const&, client_key const&) = default;
    };
    struct client_choice {
        side endpoint;
        moment seen{};
        unsigned seconds = 0;
    };
    using verdict = decision::verdict;

    void note_backends();
    [[nodiscard]] unsigned affinity_of(std::string const& service) const {
        auto const found = all_.services.find(service);
        bool const is_served =
            found != all_.services.end() && !(cluster_ip(found->second, 4) + cluster_ip(found->second, 6)).empty();
        return is_served ? found->second.affinity_seconds.value_or(0) : 0;
    }
    /// Protocol and number of a service port: what its memory of clients belongs to.
    [[nodiscard]] static std::string number_of(std::string const& port_identity) {
        auto const before_number = port_identity.rfind('|');
        return port_identity.substr(port_identity.rfind('|', before_number - 1) + 1);
    }
    [[nodiscard]] bool has_port(std::string const& service, std::string const& number) const {
        auto const found = all_.services.find(service);
        return found != all_.services.end() && std::ranges::any_of(found->second.ports, [&](port const& p) {
                   return p.protocol + '|' + std::to_string(p.number) == number;
               });
    }
    [[nodiscard]] bool is_alive(flow const& f) const {
        auto const found = backends_.find({f.port, f.backend});
        if (found == backends_.end() || found->second.life != f.life) return false;
        return f.original.protocol == 6 || decide(all_, here_, f.original).port == f.port;
    }
    [[nodiscard]] bool is_drained(flow const& f) const { return drained_lives_.contains(f.life); }
    /// How long it may be silent (README: lifetimes).
    [[nodiscard]] static moment patience(flow const& f) {
        if (f.original.protocol == 17) return f.now == stage::replied ? 300s : 30s;
        if (f.original.protocol == 132) return 120s;
        return f.now == stage::established ? 7440s : 240s;
    }
    static void advance(flow& f, int side, segment what);
    [[nodiscard]] std::string on_known(flow& f, conversation const& in, segment what, seen_outcome const& got,
                                       moment now);
    [[nodiscard]] std::string on_drained(flow& f, conversation const& in, segment what, seen_outcome const& got,
                                         moment now);
    [[nodiscard]] std::string on_first(conversation const& in, segment what, seen_outcome const& got, moment now);
    [[nodiscard]] std::string on_forwarded(conversation const& in, seen_outcome const& got, decision const& d,
                                           moment now);
    [[nodiscard]] std::string check_source(conversation const& in, seen_outcome const& got, bool masquerade,
                                           moment now) const;
    [[nodiscard]] std::set<side> stuck(decision const& d, std::string const& client, moment now);

    node here_;
    state all_;
    std::list<flow> flows_;
    std::map<std::pair<std::string, side>, backend_state> backends_; ///< by identity of the service port
    std::map<std::pair<std::string, side>, backend_state> former_;   ///< removed, from ports that still are there
    std::set<std::uint64_t> drained_lives_;
    std::map<client_key, client_choice> clients_;
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

/// RFC 9293 and RFC 6146 section 3.5.2, for the segments that the traffic has.
inline void model::advance(flow& f, int side, segment what) {
    if (f.original.protocol != 6) {
        if (side == 1 && f.original.protocol == 17) f.now = stage::replied;
        return;
    }
    if (what == segment::reset) {
        if (!f.is_over()) f.reset_by = side;
        if (!f.is_over()) f.now = stage::reset;
        return;
    }
    bool const is_syn = what == segment::open || what == segment::accept;
    if (f.now == stage::opening) {
        if (side == 1 && is_syn) f.now = stage::accepted;
        return;
    }
    if (is_syn) return;
    if (f.now == stage::reset && side == f.reset_by) { // who goes on did not mean it
        f.now = stage::joined;
        f.closed_by.clear();
        return;
    }
    if (f.now == stage::accepted && side == 0) f.now = stage::established;
    if (f.now == stage::joined && side == 1) f.now = stage::established;
    if (f.now == stage::established && what == segment::fin) f.closed_by.insert(side);
    if (f.closed_by.size() == 2) f.now = stage::closed;
}

inline std::string model::judge(conversation const& in, segment what, seen_outcome const& got, moment now) {
    auto const is_of = [&](flow const& f) { return f.original == in || f.translated.back() == in; };
    tally_["expired"] += std::erase_if(flows_, [&](flow const& f) { return is_of(f) && now - f.seen >= patience(f); });
    auto const known = std::ranges::find_if(flows_, is_of);
    if (known == flows_.end()) return on_first(in, what, got, now);
    bool const opens = what == segment::open && in.protocol != 17;
    bool const reopens = opens && known->is_over();
    if (!reopens && is_alive(*known)) return on_known(*known, in, what, got, now);
    if (!reopens && in.protocol == 6 && !is_drained(*known) && !(opens && known->now == stage::opening)) {
        ++tally_["outlived its endpoint"];
        return on_known(*known, in, what, got, now);
    }
    if (!reopens && in.protocol == 6 && is_drained(*known) && !opens) return on_drained(*known, in, what, got, now);
    ++tally_[reopens ? "reopened" : "selected again"];
    flows_.erase(known);
    return on_first(in, what, got, now);
}

/// The first packet becomes a reset of the other end; who speaks after that is answered with one.
inline std::string model::on_drained(flow& f, conversation const& in, segment what, seen_outcome const& got,
                                     moment now) {
    ++tally_["ended"];
    bool const is_told = f.is_over() && what != segment::reset;
    if (!is_told) return on_known(f, in, segment::reset, got, now);
    bool const is_answered = got.what == verdict::reject && got.reason == "backend_removed";
    return is_answered ? "" : "the backend of its connection has drained: a reset in answer";
}

inline std::string model::on_known(flow& f, conversation const& in, segment what, seen_outcome const& got, moment now) {
    bool const is_reply = f.original != in;
    auto const expected = is_reply ? f.original.back() : f.translated;
    if (got.what != verdict::forward || got.out != expected || got.masqueraded != f.masqueraded)
        return "of a known connection: forward " + expected.text() + (f.masqueraded ? " masqueraded" : "");
    f.seen = now;
    ++tally_[is_reply ? "reply" : "original"];
    advance(f, is_reply ? 1 : 0, what);
    return {};
}

/// Those of the backends that the client is bound to, if there are any.
inline std::set<side> model::stuck(decision const& d, std::string const& client, moment now) {
    auto const known = clients_.find({d.service, number_of(d.port), client});
    bool const is_bound = known != clients_.end() && now - known->second.seen < known->second.seconds * 1s;
    if (is_bound && d.backends.contains(known->second.endpoint)) {
        ++tally_["bound"];
        return {known->second.endpoint};
    }
    std::set<side> same;
    std::optional<moment> latest;
    for (auto const& [key, choice] : clients_) {
        if (key.service != d.service || key.client != client || key.port == number_of(d.port)) continue;
        if (!has_port(d.service, key.port)) continue;
        if (now - choice.seen >= choice.seconds * 1s || (latest && choice.seen < *latest)) continue;
        std::set<side> of_pod;
        for (auto const& b : d.backends)
            if (b.address == choice.endpoint.address) of_pod.insert(b);
        if (of_pod.empty()) continue;
        if (latest && choice.seen == *latest)
            same.merge(of_pod); // either is the latest
        else
            same = of_pod;
        latest = choice.seen;
    }
    ++tally_[!same.empty() ? "bound by another port" : "unbound"];
    return same.empty() ? d.backends : same;
}

inline std::string model::on_first(conversation const& in, segment what, seen_outcome const& got, moment now) {
    auto d = decide(all_, here_, in);
    if (got.what != d.what) return text(d.what) + ", for " + (d.service.empty() ? "no service" : d.service);
    ++tally_[text(d.what)];
    if (d.what == verdict::pass) return got.out == in ? "" : "to be passed untouched";
    if (d.what != verdict::forward) return {};
    d.backends = stuck(d, in.source.address, now);
    if (auto const wrong = on_forwarded(in, got, d, now); !wrong.empty()) return wrong;
    auto const first = in.protocol != 6         ? stage::unreplied
                       : what == segment::open  ? stage::opening
                       : what == segment::reset ? stage::reset
                                                : stage::joined;
    auto const backend = got.out.destination;
    flows_.push_back(
        {in, got.out, d.port, backend, backends_.at({d.port, backend}).life, got.masqueraded, first, {}, 0, now});
    auto const bound = clients_.find({d.service, number_of(d.port), in.source.address});
    bool const was_bound = bound != clients_.end() && now - bound->second.seen >= bound->second.seconds * 1s;
    auto const is_former = [&](side const& b) { return b == bound->second.endpoint; };
    if (was_bound && std::ranges::any_of(d.backends, is_former) && !is_former(backend)) ++tally_["let go"];
    if (auto const seconds = affinity_of(d.service); seconds != 0)
        clients_[{d.service, number_of(d.port), in.source.address}] = {backend, now, seconds};
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
