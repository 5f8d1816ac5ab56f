// absl::flat_hash_map for the flow table's work, prefetched over each batch.

#include "support/map_bench.hpp"

#include "kubeproxy/flow/hash.hpp"

#include <absl/container/flat_hash_map.h>

namespace kubeproxy::bench {
namespace {

struct tuple_hash {
    flow_hash hash{1};
    std::size_t operator()(tuple<ipv4> const& t) const noexcept { return hash(t); }
};

class absl_map {
  public:
    explicit absl_map(std::size_t keys) { map_.reserve(keys); }
    void insert(tuple<ipv4> const& t, std::uint64_t value) { map_.insert_or_assign(t, value); }
    bool erase(tuple<ipv4> const& t) { return map_.erase(t) == 1; }
    void prefetch(tuple<ipv4> const& t) const { map_.prefetch(t); }
    std::size_t find(tuple<ipv4> const* tuples, std::size_t count) const {
        for (std::size_t i = 0; i < count; ++i) map_.prefetch(tuples[i]);
        std::size_t found = 0;
        for (std::size_t i = 0; i < count; ++i) {
            auto const at = map_.find(tuples[i]);
            found += at != map_.end() && at->second != 0 ? 1u : 0u;
        }
        return found;
    }

  private:
    using entry = std::pair<tuple<ipv4> const, std::uint64_t>;
    absl::flat_hash_map<tuple<ipv4>, std::uint64_t, tuple_hash, std::equal_to<>, huge_page_allocator<entry>> map_;
};

[[maybe_unused]] bool const registered = (register_map<absl_map>("absl_flat_hash_map"), true);

} // namespace
} // namespace kubeproxy::bench
