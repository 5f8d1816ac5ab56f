// DPDK's rte_hash for the flow table's work, with its bulk lookup and its own CRC32 hash.

#include "support/map_bench.hpp"

#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_memory.h>

#include <sys/mman.h>

#include <bit>
#include <stdexcept>
#include <string>
#include <utility>

namespace kubeproxy::bench {
namespace {

/// EAL without its own huge pages, which the system's owner would have to reserve: its memory is asked to be huge as
/// ours is.
bool start_eal() {
    static bool const started = [] {
        std::array<std::string, 7> words{"rte_hash_bench", "--no-huge",         "-m",         "3072",
                                         "--no-pci",       "--log-level=error", "--no-shconf"};
        std::array<char*, 7> arguments{};
        for (std::size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
        if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) return false;
        auto const make_huge = [](rte_memseg_list const*, rte_memseg const* segment, void*) {
            return madvise(segment->addr, segment->len, MADV_HUGEPAGE), 0;
        };
        rte_memseg_walk(make_huge, nullptr);
        return true;
    }();
    return started;
}

class rte_map {
  public:
    explicit rte_map(std::size_t keys) {
        if (!start_eal()) throw std::runtime_error{"the EAL does not start"};
        static unsigned number = 0;
        auto const name = "flows" + std::to_string(number++);
        rte_hash_parameters parameters{};
        parameters.name = name.c_str();
        parameters.entries = static_cast<std::uint32_t>(keys + keys / 8 + 64);
        parameters.key_len = sizeof(tuple<ipv4>);
        parameters.hash_func = rte_hash_crc;
        parameters.hash_func_init_val = 1;
        hash_ = rte_hash_create(&parameters);
        if (hash_ == nullptr) throw std::bad_alloc{};
    }
    rte_map(rte_map const&) = delete;
    rte_map& operator=(rte_map const&) = delete;
    ~rte_map() { rte_hash_free(hash_); }

    void insert(tuple<ipv4> const& t, std::uint64_t value) {
        if (rte_hash_add_key_data(hash_, &t, data_of(value)) != 0) throw std::length_error{"rte_hash is full"};
    }
    bool erase(tuple<ipv4> const& t) { return rte_hash_del_key(hash_, &t) >= 0; }
    void prefetch(tuple<ipv4> const&) const noexcept {} // it does that in lookups only
    std::size_t find(tuple<ipv4> const* tuples, std::size_t count) const {
        std::array<void const*, tuple_burst> keys{};
        std::array<void*, tuple_burst> data{};
        for (std::size_t i = 0; i < count; ++i) keys[i] = &tuples[i];
        std::uint64_t hits = 0;
        auto const found =
            rte_hash_lookup_bulk_data(hash_, keys.data(), static_cast<std::uint32_t>(count), &hits, data.data());
        benchmark::DoNotOptimize(data);
        return found < 0 ? 0 : static_cast<std::size_t>(found);
    }

  private:
    [[nodiscard]] static void* data_of(std::uint64_t value) noexcept {
        return std::bit_cast<void*>(static_cast<std::uintptr_t>(value)); // as rte_hash would have it
    }
    rte_hash* hash_ = nullptr;
};

[[maybe_unused]] bool const registered = (register_map<rte_map>("rte_hash"), true);

} // namespace
} // namespace kubeproxy::bench
