// The ring alone: which of the cache servers keeps a key, and how few keys move when one of them leaves.

#include <kubeproxy/service/maglev.hpp>
#include <kubeproxy/service/ring_hash.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <span>
#include <string>
#include <vector>

std::vector<std::uint16_t> ring_of(std::span<std::string const> servers) {
    std::vector<kubeproxy::ring_backend> backends;
    for (auto const& name : servers) backends.push_back({kubeproxy::ring_key(std::as_bytes(std::span{name}), 1)});
    return kubeproxy::build_ring(backends, 65537, 1);
}

int main() {
    std::array<std::string, 5> const servers{"cache-a", "cache-b", "cache-c", "cache-d", "cache-e"};
    auto const five = ring_of(servers), four = ring_of(std::span{servers}.first(4));
    std::size_t constexpr keys = 100'000;
    std::size_t moved = 0, of_the_last = 0;
    for (std::size_t key = 0; key < keys; ++key) {
        auto const hash = static_cast<std::uint64_t>(key) * 0x9e37'79b9'7f4a'7c15u; // any hash of the key
        auto const before = kubeproxy::pick(std::span{five}, hash), after = kubeproxy::pick(std::span{four}, hash);
        if (before == 4)
            ++of_the_last;
        else if (before != after)
            ++moved;
    }
    std::cout << servers[4] << " had " << of_the_last << " of " << keys << " keys; without it " << moved
              << " others move, too\n";
    bool const is_even = of_the_last > keys / 6 && of_the_last < keys / 4;
    return is_even && moved < keys / 20 ? 0 : 1;
}
