// A conversation with the proxy: packets, answers to what came out, ICMP errors about it, fragments of what went in,
// time in both directions, other services. The input is a list of commands, a byte each and what it needs.

#include "kubeproxy/dataplane/proxy.hpp"

#include "hostile_input.hpp"
#include "support/hostile_host.hpp"
#include "support/hostile_services.hpp"
#include "support/packet_surgery.hpp"
#include "support/seed_packets.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace kubeproxy;
using namespace kubeproxy::testing_support;
using namespace std::chrono_literals;
using fuzz::octets;
using surgery::answer_to;
using surgery::with_packet;

/// Of the first client, from the lowest port.
octets first_request(unsigned shape, unsigned detail) {
    constexpr unsigned source_port = 40000;
    bool const to_ipv6 = (shape & 2u) != 0;
    constexpr std::array<unsigned, 4> protocols{17, 6, 132, 1};
    auto const protocol = protocols[shape >> 2 & 3u];
    octets message;
    if (protocol == 17)
        message = seed::udp(seed::counted(detail), source_port, 53);
    else if (protocol == 6)
        message = seed::tcp({}, detail & 0x3fu, source_port, 80);
    else if (protocol == 132)
        message = seed::sctp(seed::of({detail & 15u, 0, 0, 4}), source_port, 5060);
    else
        message = seed::icmp(to_ipv6 ? 128 : 8, 0, source_port << 16 | 1, {});
    if (!to_ipv6)
        return seed::bytes_of(seed::ipv4_packet{.protocol = protocol,
                                                .source = seed::of({192, 0, 2, 1}),
                                                .destination = seed::of({198, 51, 100, (shape & 1u) != 0 ? 135u : 7u}),
                                                .payload = std::move(message)});
    seed::ipv6_packet packet{.protocol = protocol == 1 ? 58 : protocol, .payload = std::move(message)};
    packet.source.back() = std::byte{1};
    packet.destination[7] = static_cast<std::byte>(shape & 1u);
    return seed::bytes_of(std::move(packet));
}

/// A packet of a client to a service, by few bytes. Putting one together costs as much as what the proxy does with it,
/// so each kind is put together once.
octets request(unsigned shape, unsigned client, unsigned port, unsigned detail) {
    static std::map<std::pair<unsigned, unsigned>, octets> kinds;
    auto const [kind, is_new] = kinds.try_emplace({shape & 15u, detail});
    if (is_new) kind->second = first_request(shape, detail);
    auto bytes = kind->second;
    std::size_t const source = (shape & 2u) != 0 ? 23 : 15; // its last byte
    std::size_t const transport = (shape & 2u) != 0 ? 40 : 20;
    std::size_t const identifier = (shape >> 2 & 3u) == 3 ? 4 : 0; // of ICMP, else the source port
    bytes[source] = static_cast<std::byte>(1 + client % 8);
    store_be(bytes, transport + identifier, static_cast<std::uint16_t>(40000 + port));
    return bytes;
}

/// A router's word about a packet that left, to its sender.
octets error_about(octets bytes, unsigned kind, std::size_t quoted) {
    octets error;
    with_packet(bytes, [&]<ip_version V>(parsed<V> const& p) {
        octets const source(p.bytes.begin() + (std::same_as<V, ipv4> ? 12 : 8),
                            p.bytes.begin() + (std::same_as<V, ipv4> ? 16 : 24));
        octets const about(p.bytes.begin(),
                           p.bytes.begin() + static_cast<std::ptrdiff_t>(std::min(quoted, p.bytes.size())));
        constexpr std::array<std::pair<unsigned, unsigned>, 4> v4{{{3, 3}, {3, 4}, {11, 0}, {12, 0}}};
        constexpr std::array<std::pair<unsigned, unsigned>, 4> v6{{{1, 4}, {2, 0}, {3, 0}, {4, 1}}};
        auto const [type, code] = (std::same_as<V, ipv4> ? v4 : v6)[kind & 3u];
        auto message = seed::icmp(type, code, kind >> 2 << 5, about);
        if constexpr (std::same_as<V, ipv4>)
            error = seed::bytes_of(seed::ipv4_packet{
                .protocol = 1, .source = seed::of({203, 0, 113, 9}), .destination = source, .payload = message});
        else
            error = seed::bytes_of(seed::ipv6_packet{.protocol = 58, .destination = source, .payload = message});
    });
    return error;
}

/// A part of a packet that went in: a first one, or a later one.
octets part_of(octets bytes, std::size_t offset, std::size_t size, bool more) {
    octets part;
    with_packet(bytes, [&]<ip_version V>(parsed<V> const& p) {
        if (p.is_fragment) return;
        auto const all = p.payload();
        auto const from = std::min(offset * 8, all.size());
        auto const piece = all.subspan(from, std::min(size * 8, all.size() - from));
        octets payload(piece.begin(), piece.end());
        if constexpr (std::same_as<V, ipv4>) {
            part.assign(p.bytes.begin(), p.bytes.begin() + p.transport);
            store_be(part, 2, static_cast<std::uint16_t>(p.transport + payload.size()));
            store_be(part, 6, static_cast<std::uint16_t>(offset | (more ? 0x2000u : 0u)));
            part.insert(part.end(), payload.begin(), payload.end());
        } else {
            part = seed::bytes_of(
                seed::ipv6_packet{.protocol = p.protocol,
                                  .source = octets(p.bytes.begin() + 8, p.bytes.begin() + 24),
                                  .destination = octets(p.bytes.begin() + 24, p.bytes.begin() + 40),
                                  .extensions = {seed::fragment(static_cast<unsigned>(offset), more ? 1u : 0u)},
                                  .payload = payload});
        }
    });
    surgery::complete_checksums(part, checksum_state::complete, true, false);
    return part;
}

/// Services and a host, made once for each choice of both: making them costs more than most conversations.
///
/// What a conversation leaves behind is gone before the next: flows are flushed, changed services are restored, and the
/// clock makes a leap. Left are which source port comes next and, within three hours, which client had which pod.
class bed {
  public:
    bed(hostile_services which, testing_support::host_settings const& settings) {
        configure(control_, which);
        initial_ = control_.configuration();
        host_ = std::make_unique<hostile_host>(services_, settings);
    }
    void reset() {
        constexpr std::chrono::hours leap{4};
        began_ += leap;
        host_->flows().flush();
        if (!std::exchange(has_changed_, false)) return;
        control_.configuration() = initial_;
        control_.publish();
    }
    void change(std::string_view line) { has_changed_ = control_.apply(line).ok() || has_changed_; } // some do not fit
    [[nodiscard]] hostile_host& host() { return *host_; }
    [[nodiscard]] std::chrono::nanoseconds began() const { return began_; }

  private:
    service_source services_;
    controller control_{services_};
    valid_configuration initial_;
    std::unique_ptr<hostile_host> host_;
    std::chrono::nanoseconds began_{};
    bool has_changed_ = false;
};

bed& bed_for(hostile_services which, unsigned settings) {
    static std::map<unsigned, bed> made;
    auto const key = static_cast<unsigned>(which) << 8 | settings;
    if (auto const found = made.find(key); found != made.end()) return found->second;
    return made.try_emplace(key, which, fuzz::settings_of(settings & 31u, settings >> 5 & 3u)).first->second;
}

class conversation {
  public:
    explicit conversation(fuzz::input in) : in_{in}, settings_{in_.next()} {
        auto const which = static_cast<hostile_services>(in_.next() % static_cast<unsigned>(hostile_services::count_));
        bed_ = &bed_for(which, settings_ & 127u);
        bed_->reset();
        host_ = &bed_->host();
        shape_ = fuzz::packet_shape::read(in_);
        shape_.stretch = 0;
        clock_ = 1s * in_.next();
    }

    void run() {
        constexpr int max_commands = 24;
        for (int i = 0; i < max_commands && !in_.empty() && packets_ < max_packets; ++i) command();
        flush();
    }

  private:
    static constexpr std::size_t max_packets = 36, kept = 8, max_burst = 40;
    /// To compile and publish services takes as long as a hundred packets.
    static constexpr std::size_t max_changes = 2;

    void command() {
        auto const what = in_.next();
        switch (what & 15u) {
        case 0: return send(in_.take(in_.next()));
        case 1:
        case 2: return send(next_request(what >> 4));
        case 3: return send(answer_to(recent(outputs_)));
        case 4: return send(error_about(recent(outputs_), in_.next(), in_.next()));
        case 5: return send_part(what >> 4);
        case 6: return send(changed(recent(inputs_)));
        case 7: return step(what >> 4, in_.next());
        case 8: return step(what >> 4, -std::int64_t{in_.next()});
        case 9: return change(what >> 4);
        case 10: return flush();
        case 11: return converse(next_request(what >> 4));
        case 12: return flood(what >> 4, in_.next());
        case 13: return send(recent(outputs_));
        case 14: return reshape();
        default: return cut(what >> 4);
        }
    }

    octets next_request(unsigned shape) {
        auto const client = in_.next(), port = in_.next(), detail = in_.next();
        return request(shape, client, port, detail);
    }
    octets recent(std::vector<octets> const& list) {
        auto const back = in_.next();
        return list.empty() ? octets{} : list[list.size() - 1 - back % list.size()];
    }
    static void keep(std::vector<octets>& list, octets bytes) {
        if (list.size() == kept) list.erase(list.begin());
        list.push_back(std::move(bytes));
    }
    octets changed(octets bytes) {
        auto const at = in_.next(), value = in_.next();
        if (!bytes.empty()) bytes[at % bytes.size()] = std::byte{value};
        return bytes;
    }

    void send(octets bytes) {
        if (pending_.size() >= max_burst) flush();
        keep(inputs_, bytes);
        pending_.push_back(shape_.packet_of(std::move(bytes)));
        shape_.stretch = 0; // one long packet at a time, or nothing but copying is tested
        ++packets_;
    }
    void send_part(unsigned more) {
        auto const whole = recent(inputs_);
        auto const offset = in_.next(), size = in_.next();
        auto part = part_of(whole, offset & 31u, 1 + (size & 31u), (more & 1u) != 0);
        if (!part.empty()) send(std::move(part));
    }
    /// A whole message in parts; the last one first, or in order.
    void cut(unsigned order) {
        auto const whole = recent(inputs_);
        std::vector<octets> parts;
        for (std::size_t i = 0; i < 3; ++i) parts.push_back(part_of(whole, i * 2, 2, i < 2));
        if ((order & 1u) != 0) std::ranges::reverse(parts);
        for (auto& part : parts)
            if (!part.empty()) send(std::move(part));
    }
    void flood(unsigned shape, unsigned count) {
        auto const client = in_.next();
        constexpr unsigned longest = 32; // or most of the time would go into packets that are alike
        for (unsigned i = 0; i < count % longest && packets_ < max_packets; ++i) send(request(shape, client, i, 2));
    }
    void step(unsigned unit, std::int64_t count) {
        flush();
        constexpr std::array<std::chrono::nanoseconds, 8> units{1ns, 1ms, 100ms, 1s, 60s, 1h, 24h, 24h * 5};
        constexpr std::chrono::nanoseconds century = 24h * 36'525; // three of them overflow
        clock_ = (clock_ + units[unit & 7u] * count) % century;
    }
    void change(unsigned which) {
        flush();
        if ((settings_ & 128u) == 0 || changes_ == max_changes) return;
        ++changes_;
        bed_->change(changes[which]);
    }
    void reshape() {
        flush();
        shape_ = fuzz::packet_shape::read(in_);
    }

    void flush() {
        if (pending_.empty()) return;
        host_->run(pending_, bed_->began() + clock_, shape_.spares);
        fuzz::check(host_->broken());
        for (std::size_t i = 0; i < pending_.size(); ++i) {
            if (host_->outcome_of(i).what != verdict::forward()) continue;
            auto const bytes = std::as_const(pending_[i]).bytes();
            if (bytes.size() <= 2048) keep(outputs_, octets(bytes.begin(), bytes.end()));
        }
        pending_.clear();
    }

    /// A request that has a flow, and its answer at once: the answer comes from where the request went.
    void converse(octets question) {
        flush();
        auto const kept_shape = std::exchange(shape_, {});
        auto const out = exchange(question);
        if (out && (last_.relation == flow_relation::fresh || last_.relation == flow_relation::original)) {
            auto back = exchange(answer_to(*out));
            if (!back || last_.relation != flow_relation::reply) fuzz::check("an answer has no flow");
            if (!are_mirrored(question, *back)) fuzz::check("an answer does not come from where the request went");
        }
        shape_ = kept_shape;
    }
    /// What became of a packet that is alone in its burst; none unless it was forwarded.
    std::optional<octets> exchange(octets bytes) {
        send(std::move(bytes));
        host_->run(pending_, bed_->began() + clock_, 4);
        fuzz::check(host_->broken());
        last_ = host_->outcome_of(0);
        auto const out = std::as_const(pending_[0]).bytes();
        octets result(out.begin(), out.end());
        pending_.clear();
        if (last_.what != verdict::forward()) return std::nullopt;
        keep(outputs_, result);
        return result;
    }
    static bool are_mirrored(octets& a, octets& b) {
        bool result = false;
        with_packet(a, [&]<ip_version V>(parsed<V> const& one) {
            with_packet(b, [&]<ip_version W>(parsed<W> const& other) {
                if constexpr (std::same_as<V, W>) result = tuple_of(one) == tuple_of(other).mirrored();
            });
        });
        return result;
    }

    fuzz::input in_;
    unsigned settings_; ///< 128: the services may change
    bed* bed_;
    hostile_host* host_;
    fuzz::packet_shape shape_;
    std::chrono::nanoseconds clock_{};
    std::vector<guarded_packet> pending_;
    std::vector<octets> inputs_, outputs_;
    std::size_t packets_ = 0, changes_ = 0;
    outcome last_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    conversation{fuzz::input{{data, size}}}.run();
    return 0;
}
