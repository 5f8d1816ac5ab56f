#include "kubeproxy/nat/rewrite.hpp"

#include "support/packet_builder.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

/// Nanoseconds to rewrite one packet of an established flow: the tuple and the changes are known, and the packet was
/// parsed. Packets are in cache, so this is the arithmetic alone.
namespace {

using namespace kubeproxy;

template <ip_version V>
build::packet packet_of(std::string const& payload) {
    bool const is_ipv4 = std::same_as<V, ipv4>;
    build::packet p{.source = is_ipv4 ? "192.0.2.1" : "2001:db8::1",
                    .destination = is_ipv4 ? "203.0.113.10" : "2001:db8:96::10"};
    auto const data = seed::counted(payload == "error" ? 40 : 32);
    if (payload == "tcp") p.protocol = 6, p.message = seed::tcp(data);
    if (payload == "udp") p.message = seed::udp(data);
    if (payload == "sctp") p.protocol = 132, p.message = seed::sctp(seed::counted(1400));
    if (payload == "error") {
        auto quoted = p;
        std::swap(quoted.source, quoted.destination);
        quoted.message = seed::udp(data);
        p.protocol = V::icmp_protocol;
        p.message = seed::icmp(is_ipv4 ? 3 : 1, is_ipv4 ? 3 : 4, 0, build::bytes_of(quoted));
    }
    return p;
}

template <ip_version To>
tuple<To> translated(std::uint8_t protocol) {
    tuple<To> t{.source_port = 40000, .destination_port = 8080, .protocol = protocol};
    t.source.back() = std::byte{7};
    t.destination.back() = std::byte{9};
    return t;
}

/// One packet, and the memory it is rewritten in again and again.
template <ip_version From, ip_version To>
struct subject {
    std::vector<std::byte> original, memory;
    parsed<From> headers;
    tuple<To> after;
    sum_changes changes;

    explicit subject(std::string const& payload) : original(build::bytes_of(packet_of<From>(payload))) {
        memory.resize(rewriter<From, To>::headroom + original.size());
        restore();
        headers = std::get<parsed<From>>(parse(fresh().bytes()));
        after = translated<To>(detail::protocol_after<From>(headers.protocol));
        changes = changes_of(tuple_of(headers), after);
    }
    void restore() { std::ranges::copy_backward(original, memory.end()); }
    span_packet fresh() { return {memory, rewriter<From, To>::headroom}; }
};

template <ip_version From, ip_version To>
rewrite_result rewrite(rewriter<From, To> const& r, span_packet& packet, subject<From, To> const& s) {
    if (s.headers.what != content::icmp_error) return r(packet, s.headers, s.after, s.changes);
    return r.error(packet, s.headers, {s.after.source, s.after.destination, s.after.mirrored()});
}

template <ip_version From, ip_version To>
void rewrite_packets(benchmark::State& state, std::string const& payload) {
    constexpr std::size_t batch = 128; // in the first-level cache, and enough to hide what stopping the clock costs
    std::vector<subject<From, To>> subjects;
    subjects.reserve(batch);
    for (std::size_t i = 0; i < batch; ++i) subjects.emplace_back(payload);
    rewriter<From, To> const r;

    auto packet = subjects[0].fresh();
    if (!rewrite(r, packet, subjects[0]).done() || !build::transport_checksum_is_valid(packet.bytes()) ||
        !build::header_checksum_is_valid(packet.bytes()))
        return state.SkipWithError("the rewritten packet is not valid");

    for (auto _ : state) {
        state.PauseTiming();
        for (auto& s : subjects) s.restore();
        state.ResumeTiming();
        for (auto& s : subjects) {
            auto p = s.fresh();
            benchmark::DoNotOptimize(rewrite(r, p, s));
        }
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
    state.counters["time/packet"] = benchmark::Counter(
        static_cast<double>(batch), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void rewrite_44(benchmark::State& s, std::string const& payload) { rewrite_packets<ipv4, ipv4>(s, payload); }
void rewrite_66(benchmark::State& s, std::string const& payload) { rewrite_packets<ipv6, ipv6>(s, payload); }
void rewrite_46(benchmark::State& s, std::string const& payload) { rewrite_packets<ipv4, ipv6>(s, payload); }
void rewrite_64(benchmark::State& s, std::string const& payload) { rewrite_packets<ipv6, ipv4>(s, payload); }

BENCHMARK_CAPTURE(rewrite_44, tcp, "tcp");
BENCHMARK_CAPTURE(rewrite_66, tcp, "tcp");
BENCHMARK_CAPTURE(rewrite_46, tcp, "tcp");
BENCHMARK_CAPTURE(rewrite_64, tcp, "tcp");
BENCHMARK_CAPTURE(rewrite_44, udp, "udp");
BENCHMARK_CAPTURE(rewrite_66, udp, "udp");
BENCHMARK_CAPTURE(rewrite_46, udp, "udp");
BENCHMARK_CAPTURE(rewrite_64, udp, "udp");
BENCHMARK_CAPTURE(rewrite_44, sctp_1400_bytes, "sctp");
BENCHMARK_CAPTURE(rewrite_46, sctp_1400_bytes, "sctp");
BENCHMARK_CAPTURE(rewrite_44, icmp_error, "error");
BENCHMARK_CAPTURE(rewrite_66, icmp_error, "error");
BENCHMARK_CAPTURE(rewrite_46, icmp_error, "error");
BENCHMARK_CAPTURE(rewrite_64, icmp_error, "error");

} // namespace
