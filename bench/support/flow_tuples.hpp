#pragma once

#include "kubeproxy/flow/tuple.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

/// Flows by number, as tuples: what tables and maps are measured with.
namespace kubeproxy::bench {

inline constexpr std::size_t tuple_burst = 32;

/// A bijection, so that different numbers make different clients that stand anywhere.
constexpr std::uint64_t scattered(std::uint64_t n) { return n * 0x9e37'79b9'7f4a'7c15u; }

template <ip_version V>
[[nodiscard]] inline tuple<V> original(std::uint64_t n) {
    auto const bits = scattered(n);
    tuple<V> t{.source_port = static_cast<std::uint16_t>(bits >> 16), .destination_port = 80, .protocol = 17};
    for (std::size_t i = 0; i < 4; ++i)
        t.source[t.source.size() - 1 - i] = static_cast<std::byte>(bits >> (32 + 8 * i));
    t.destination[0] = std::byte{10};
    return t;
}
template <ip_version V>
[[nodiscard]] inline tuple<V> translated(std::uint64_t n) {
    auto t = original<V>(n);
    t.destination[t.destination.size() - 1] = static_cast<std::byte>(n);
    t.destination_port = 8080;
    return t;
}

/// Packets of random flows, both directions, as they would come.
template <ip_version V>
[[nodiscard]] inline std::vector<tuple<V>> random_packets(std::uint64_t flows) {
    std::mt19937_64 random{7};
    std::vector<tuple<V>> packets(std::size_t{1} << 20);
    for (auto& p : packets) {
        auto const n = random() % flows;
        p = random() % 2 == 0 ? original<V>(n) : translated<V>(n).mirrored();
    }
    return packets;
}

/// What is costly to fill: kept for the benchmarks that ask for the same size in a row.
template <class T>
class kept {
  public:
    /// \param make returns a std::unique_ptr<T>
    template <class Make>
    [[nodiscard]] T& of(std::uint64_t size, Make make) {
        if (!value_ || size_ != size) {
            value_.reset(); // before the next one takes its memory
            value_ = make();
            size_ = size;
        }
        return *value_;
    }

  private:
    std::uint64_t size_ = 0;
    std::unique_ptr<T> value_;
};

} // namespace kubeproxy::bench
