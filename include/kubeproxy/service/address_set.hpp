#pragma once

#include "kubeproxy/wire/address.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// The addresses of all backends, each with the number of backends that have it. An address of IPv4 stands in the
/// first four bytes, as in a backend.
///
/// Sorted shards, which copies of the set share until one of them changes: a snapshot costs a copy of pointers, a
/// change a copy of one shard (100,000 addresses: 400 in each). A lookup is a binary search in one shard.
class address_set {
  public:
    using address = ipv6::address;

    [[nodiscard]] bool contains(address const& a) const noexcept {
        auto const& entries = shards_[shard_of(a)];
        if (entries == nullptr) return false;
        auto const at = std::ranges::lower_bound(*entries, a, {}, &entry::key);
        return at != entries->end() && at->key == a;
    }
    template <ip_version V>
    [[nodiscard]] bool contains_address(typename V::address const& a) const noexcept {
        address padded{};
        std::ranges::copy(a, padded.begin());
        return contains(padded);
    }

    void add(address const& a) {
        auto& entries = own(shard_of(a));
        auto const at = std::ranges::lower_bound(entries, a, {}, &entry::key);
        if (at != entries.end() && at->key == a)
            ++at->users;
        else
            insert(entries, at, {a, 1});
    }
    /// \pre it was added
    void remove(address const& a) {
        auto& entries = own(shard_of(a));
        auto const at = std::ranges::lower_bound(entries, a, {}, &entry::key);
        if (at != entries.end() && at->key == a && --at->users == 0) entries.erase(at);
    }

    /// How many shards of another set are this one's own, for those who watch what a change costs.
    [[nodiscard]] std::size_t shards_apart(address_set const& other) const noexcept {
        std::size_t apart = 0;
        for (std::size_t i = 0; i < shard_count; ++i) apart += shards_[i] != other.shards_[i] ? 1u : 0u;
        return apart;
    }

  private:
    static constexpr std::size_t shard_count = 256;
    struct entry {
        address key;
        std::uint32_t users;
    };
    using shard = std::vector<entry>;

    [[nodiscard]] static std::size_t shard_of(address const& a) noexcept {
        auto const words = std::bit_cast<std::array<std::uint64_t, 2>>(a);
        return static_cast<std::size_t>((words[0] ^ words[1]) * 0x9e37'79b9'7f4a'7c15u >> 56); // 2^64 / golden ratio
    }
    /// Grows by an eighth: there are many shards, and each is copied as it changes.
    static void insert(shard& entries, shard::const_iterator at, entry const& added) {
        auto const position = at - entries.cbegin();
        if (entries.size() == entries.capacity()) entries.reserve(entries.size() + entries.size() / 8 + 1);
        entries.insert(entries.cbegin() + position, added);
    }
    /// The shard, belonging to this set alone.
    [[nodiscard]] shard& own(std::size_t i) {
        auto& s = shards_[i];
        if (s == nullptr)
            s = std::make_shared<shard>();
        else if (s.use_count() != 1)
            s = std::make_shared<shard>(*s);
        return *s;
    }

    std::array<std::shared_ptr<shard>, shard_count> shards_;
};

} // namespace v0_2
} // namespace kubeproxy
