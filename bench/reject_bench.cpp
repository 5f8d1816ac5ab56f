#include "kubeproxy/nat/rate_limit.hpp"
#include "kubeproxy/nat/tcp_reset.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

namespace {

using namespace kubeproxy;

constexpr std::size_t headroom = 64;
constexpr std::size_t packets = 1024; ///< composed between two looks at the clock

template <ip_version V>
typename V::address host(std::uint8_t last) {
    typename V::address result{};
    result.front() = std::byte{0x20};
    result.back() = std::byte{last};
    return result;
}

/// From host 1 to host 2, with the bytes of the transport header and the payload behind it.
template <ip_version V>
std::vector<std::byte> packet_of(std::uint8_t protocol, std::size_t size) {
    std::vector<std::byte> bytes(size);
    if constexpr (std::same_as<V, ipv4>)
        write_header(bytes, ipv4_header{.total_length = static_cast<std::uint16_t>(size),
                                        .ttl = 64,
                                        .protocol = protocol,
                                        .source = host<V>(1),
                                        .destination = host<V>(2)});
    else
        write_header(bytes, ipv6_header{.payload_length = static_cast<std::uint16_t>(size - V::minimum_header),
                                        .next_header = protocol,
                                        .hop_limit = 64,
                                        .source = host<V>(1),
                                        .destination = host<V>(2)});
    return bytes;
}

template <ip_version V>
std::vector<std::byte> udp(std::size_t size) {
    return packet_of<V>(ip_protocol::udp, size);
}

template <ip_version V>
std::vector<std::byte> syn(std::size_t size) {
    auto bytes = packet_of<V>(ip_protocol::tcp, size);
    auto const segment = mutable_byte_span{bytes}.subspan(V::minimum_header);
    store_be(segment, tcp_at::data_offset, std::uint8_t{5 << 4});
    store_be(segment, tcp_at::flags, tcp_flag::syn);
    auto const length = static_cast<std::uint32_t>(segment.size());
    auto const sum = pseudo_header_sum(host<V>(1), host<V>(2), ip_protocol::tcp, length) + sum_of(segment);
    store_be(segment, tcp_at::checksum, checksum_of(sum));
    return bytes;
}

/// Packets with headroom, one behind the other, which can be made anew.
class packet_row {
  public:
    explicit packet_row(std::vector<std::byte> original)
        : original_{std::move(original)}, stride_{headroom + original_.size()}, memory_(stride_ * packets) {}

    void restore() {
        for (std::size_t i = 0; i < packets; ++i)
            std::ranges::copy(original_, memory_.begin() + static_cast<std::ptrdiff_t>(i * stride_ + headroom));
    }
    span_packet at(std::size_t i) { return {mutable_byte_span{memory_}.subspan(i * stride_, stride_), headroom}; }

  private:
    std::vector<std::byte> original_;
    std::size_t stride_;
    std::vector<std::byte> memory_;
};

/// Parsing and composing; what makes the packets anew is not measured.
template <ip_version V>
void compose(benchmark::State& state, std::vector<std::byte> original, auto compose_one) {
    packet_row row{std::move(original)};
    for (auto _ : state) {
        row.restore();
        std::size_t composed = 0;
        auto const start = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < packets; ++i) {
            auto packet = row.at(i);
            composed += compose_one(packet, parse_as<V>(packet.bytes())) == drop_reason::none ? 1u : 0u;
        }
        auto const end = std::chrono::steady_clock::now();
        benchmark::ClobberMemory();
        if (composed != packets) return state.SkipWithError("a packet was not answered");
        state.SetIterationTime(std::chrono::duration<double>(end - start).count());
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(packets) * state.iterations());
}

template <ip_version V>
void port_unreachable_about_udp(benchmark::State& state) {
    compose<V>(state, udp<V>(static_cast<std::size_t>(state.range(0))), [](span_packet& packet, parsed<V> const& p) {
        return compose_icmp_error<V>(packet, p, port_unreachable<V>(), host<V>(2));
    });
}
BENCHMARK(port_unreachable_about_udp<ipv4>)->ArgName("bytes")->Arg(64)->Arg(1500)->UseManualTime();
BENCHMARK(port_unreachable_about_udp<ipv6>)->ArgName("bytes")->Arg(64)->Arg(1500)->UseManualTime();

template <ip_version V>
void reset_of_syn(benchmark::State& state) {
    compose<V>(state, syn<V>(static_cast<std::size_t>(state.range(0))),
               [](span_packet& packet, parsed<V> const& p) { return compose_tcp_reset<V>(packet, p); });
}
BENCHMARK(reset_of_syn<ipv4>)->ArgName("bytes")->Arg(64)->Arg(1500)->UseManualTime();
BENCHMARK(reset_of_syn<ipv6>)->ArgName("bytes")->Arg(64)->Arg(1500)->UseManualTime();

/// Two requests for each token.
void rate_limiter_flooded(benchmark::State& state) {
    rate_limiter limiter{rate_limit{.per_second = 1000, .burst = 50}};
    std::chrono::nanoseconds now{0};
    std::int64_t allowed = 0;
    for (auto _ : state) {
        now += std::chrono::microseconds{500};
        allowed += limiter.allow(now) ? 1 : 0;
    }
    if (auto const most = state.iterations() / 2 + 51; allowed > most) state.SkipWithError("more than the limit");
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(rate_limiter_flooded);

} // namespace
