#pragma once

#include "kubeproxy/control/kubernetes/reader.hpp"

#include "models/cluster_history.hpp"
#include "models/cluster_model.hpp"
#include "models/cluster_traffic.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

/// A random history of a cluster, told to the library and to the model, with traffic on one of its nodes.
namespace kubeproxy::cluster {

using testing_support::octets;
using testing_support::settled;
using testing_support::testbed;

class history_run {
  public:
    explicit history_run(std::uint64_t seed) : seed_{seed}, dice_{seed} { take_node(); }

    /// \return whether library and model agreed; if not, the test has failed and shows what had happened
    bool run(std::size_t steps) {
        publish();
        for (std::size_t i = 0; i < steps && !failed_; ++i) {
            step();
            for (unsigned n = dice_.below(6); n > 0 && !failed_; --n) send_burst();
        }
        return !failed_;
    }
    [[nodiscard]] std::map<std::string, std::size_t> const& tally() const noexcept { return model_.tally(); }

  private:
    void step() {
        if (dice_.percent(20)) pass_time();
        if (dice_.percent(4)) change_node();
        for (unsigned n = dice_.below(4); n > 0; --n) history_.change();
        if (dice_.percent(10)) return lose_watch();
        if (dice_.percent(85)) publish();
    }

    // What changes.

    void publish() {
        std::string bytes;
        for (auto const& event : history_.take_events()) bytes += as_printed(event);
        read(bytes);
        show();
    }
    /// Bytes are cut anywhere.
    void read(std::string bytes) {
        note("read:\n" + bytes);
        while (!bytes.empty()) {
            auto const size = std::min<std::size_t>(1 + dice_.below(2000), bytes.size());
            reader_.read(std::string_view{bytes}.substr(0, size));
            bytes.erase(0, size);
        }
    }
    void show() {
        auto const messages = reader_.flush();
        in_force_ = history_.now();
        history_.note_published();
        model_.publish(in_force_, here_);
        check_messages(messages);
        tick();
    }
    /// A Service that loses a pair is told so when it loses it, and nothing else is refused.
    void check_messages(std::vector<kubernetes_refusal> const& messages) {
        std::set<std::string> told, lost, losers;
        auto const before = std::exchange(told_before_, {});
        for (auto const& message : messages) told.insert(message.text());
        auto const now = model_.lost_pairs();
        for (auto const& pair : now) {
            lost.insert(message_of(pair));
            losers.insert(pair.loser);
            bool const is_new = std::ranges::none_of(
                lost_, [&](auto const& l) { return l.loser == pair.loser && l.what == pair.what; });
            auto const text = message_of(pair);
            if (is_new && !told.contains(text) && !before.contains(text)) fail("not told: " + text);
        }
        for (auto const& text : told)
            if (!lost.contains(text)) fail("refused: " + text);
        if (reader_.contested_services() != losers.size())
            fail("services that lost a pair are counted as " + std::to_string(reader_.contested_services()));
        lost_ = now;
    }
    static std::string message_of(lost_pair const& lost) {
        auto const& p = lost.what;
        auto const where = p.address.empty() ? "node port " : p.address + (p.version == 4 ? "/32 port " : "/128 port ");
        auto const protocol = p.protocol == "TCP" ? " tcp" : p.protocol == "UDP" ? " udp" : " sctp";
        return "Service ns/" + lost.loser + ": " + where + std::to_string(p.port) + protocol + " is served by ns/" +
               lost.winner;
    }
    /// The watch breaks, perhaps inside an event, and events are lost; then everything is listed.
    void lose_watch() {
        auto const lost = history_.take_events();
        if (!lost.empty() && dice_.percent(50)) {
            auto const event = json::serialize(lost.front());
            read(event.substr(0, 1 + dice_.below(event.size() - 1)));
        }
        reader_.finish();
        for (auto const& pair : model_.lost_pairs()) told_before_.insert(message_of(pair));
        auto const is_of_half = [this](auto const& message) { return !told_before_.contains(message.text()); };
        auto const messages = reader_.flush();
        if (std::ranges::count_if(messages, is_of_half) > 1) fail("more than half an object was refused");
        std::erase_if(told_before_, [&](auto const& text) {
            return std::ranges::none_of(messages, [&](auto const& message) { return message.text() == text; });
        });
        reader_.begin_relist();
        auto all = history_.everything();
        if (dice_.percent(50)) {
            read(json::serialize(json::object{{"kind", "List"}, {"apiVersion", "v1"}, {"items", std::move(all)}}) +
                 '\n');
            reader_.end_relist();
        } else {
            std::ranges::shuffle(all, dice_.engine());
            std::string bytes;
            for (auto& object : all)
                bytes += json::serialize(json::object{{"type", "ADDED"}, {"object", std::move(object)}}) + '\n';
            for (auto const* kind : {"Service", "EndpointSlice"}) bytes += bookmark(kind);
            read(bytes);
        }
        show();
    }
    static std::string bookmark(char const* kind) {
        json::object const marks{{"k8s.io/initial-events-end", "true"}};
        json::object object{{"kind", kind}, {"metadata", {{"annotations", marks}, {"resourceVersion", "7"}}}};
        return json::serialize(json::object{{"type", "BOOKMARK"}, {"object", std::move(object)}}) + '\n';
    }
    /// kubectl's ways of saying the same.
    std::string as_printed(json::object const& event) {
        bool const is_gone = event.at("type") == "DELETED";
        if (is_gone || dice_.percent(60)) return json::serialize(event) + '\n';
        auto const& object = event.at("object");
        if (dice_.percent(50)) return json::serialize(object) + '\n';
        return json::serialize(json::array{object});
    }
    void take_node() {
        auto& configuration = bed_.control().configuration();
        auto node = configuration.node();
        node.node_port_addresses.reset();
        kubeproxy::take_node(node, printed(here_));
        if (auto const wrong = configuration.set_node(node)) fail(wrong->text());
        note("node: " + json::serialize(printed(here_)));
    }
    void change_node() {
        here_ = random_node(dice_, here_.resets_removed);
        take_node();
        bed_.control().publish();
        model_.publish(in_force_, here_);
        tick();
    }
    void pass_time() {
        clock_ += dice_.one_of({1s, 3s, 5s, 9s, 11s, 29s, 31s, 61s, 121s, 241s, 301s, 3601s, 7441s, 10801s});
        tick();
    }
    void tick() {
        bed_.control().tick(clock_);
        model_.tick(clock_);
    }

    // Traffic.

    void send_burst() {
        std::vector<planned> burst;
        for (unsigned n = dice_.one_of({1u, 1u, 2u, 5u}); n > 0; --n) {
            burst.push_back(traffic_.any_packet(model_.flows()));
            if (dice_.percent(5)) burst.push_back(burst.back());
        }
        clock_ += 1ms; // so that no silence is exactly as long as somebody waits
        std::vector<octets> packets;
        for (auto const& p : burst) packets.push_back(packet_of(p.in, p.what));
        auto const results = bed_.send(packets, clock_);
        for (std::size_t i = 0; i < burst.size() && !failed_; ++i) judge(burst[i], packets[i], results.at(i));
    }
    void judge(planned const& p, octets const& sent, settled const& result) {
        auto const got = seen(sent, result);
        constexpr std::array<char const*, 5> names{"open", "accept", "data", "fin", "reset"};
        note(std::to_string(clock_.count()) + " ms: " + p.in.text() + ' ' + names.at(static_cast<std::size_t>(p.what)) +
             " -> " + text(got));
        if (!build::is_whole(result.bytes)) fail("a wrong checksum");
        bool const is_reset = got.reason == "backend_removed";
        if (got.what == decision::verdict::reject && !is_reset && !is_port_unreachable(p.in, result.bytes))
            fail("an answer that is no port unreachable");
        if (got.what == decision::verdict::reject && is_reset && build::read(result.bytes) != p.in.back())
            fail("an answer that is no reset");
        if (auto const wrong = model_.judge(p.in, p.what, got, clock_); !wrong.empty()) fail("expected: " + wrong);
    }
    static seen_outcome seen(octets const& sent, settled const& result) {
        using enum decision::verdict;
        auto const& o = result.what;
        bool const is_sent = o.what.what() == action::forward || o.what.what() == action::reply;
        seen_outcome got{.reason = o.what.why() == drop_reason::none ? "" : std::string{name(o.what.why())},
                         .masqueraded = o.masqueraded,
                         .is_reset = is_sent && is_tcp_reset(result.bytes)};
        switch (o.what.what()) {
        case action::pass:
            got.what = pass;
            if (result.bytes == sent) got.out = build::read(result.bytes);
            break;
        case action::forward:
            got.what = forward;
            got.out = build::read(result.bytes);
            break;
        case action::reply: got.what = reject; break;
        case action::drop: got.what = drop; break;
        }
        return got;
    }
    static bool is_tcp_reset(octets const& bytes) {
        auto const out = build::read(bytes);
        std::size_t const flags = (out.source.is_ipv6() ? 40u : 20u) + 13u; // RFC 9293 section 3.1
        return out.protocol == 6 && (std::to_integer<unsigned>(bytes.at(flags)) & 0x04u) != 0;
    }
    static bool is_port_unreachable(conversation const& in, octets const& bytes) {
        auto const out = build::read(bytes);
        bool const is_ipv6 = in.source.is_ipv6();
        return out.protocol == (is_ipv6 ? 58u : 1u) && out.source.port == (is_ipv6 ? 0x0104u : 0x0303u) &&
               out.destination.address == in.source.address;
    }

    void note(std::string line) {
        trace_.push_back(std::move(line));
        if (trace_.size() > 24) trace_.pop_front();
    }
    void fail(std::string const& why) {
        if (std::exchange(failed_, true)) return;
        std::string story;
        for (auto const& line : trace_) story += line + '\n';
        auto const objects = json::serialize(history_.everything());
        ADD_FAILURE() << "history " << seed_ << ": " << why << "\nnode: " << json::serialize(printed(here_))
                      << "\nobjects: " << objects << "\nlately:\n"
                      << story;
    }

    static proxy_settings settings() {
        proxy_settings s;
        s.rejects.rate.per_second = 0;
        s.affinity_clients = 1024;
        return s;
    }

    std::uint64_t seed_;
    dice dice_;
    node here_{random_node(dice_, dice_.percent(40))};
    history history_{dice_};
    state in_force_;
    model model_{here_};
    traffic traffic_{dice_, in_force_};
    std::set<lost_pair> lost_;          ///< when the last messages came
    std::set<std::string> told_before_; ///< messages that came as a watch broke
    testbed bed_{"", settings(), {4096, 4096}};
    kubernetes_reader reader_{bed_.control()};
    moment clock_ = 1s;
    std::deque<std::string> trace_;
    bool failed_ = false;
};

} // namespace kubeproxy::cluster
