// boost::unordered_flat_map for the flow table's work. It has no way to prefetch.

#include "support/map_bench.hpp"

#include "kubeproxy/flow/hash.hpp"

#include <boost/unordered/unordered_flat_map.hpp>

namespace kubeproxy::bench {
namespace {

struct tuple_hash {
    using is_avalanching = void;
    flow_hash hash{1};
    std::size_t operator()(tuple<ipv4> const& t) const noexcept { return hash(t); }
};

class boost_map {
  public:
    explicit boost_map(std::size_t keys) { map_.reserve(keys); }
    void insert(tuple<ipv4> const& t, std::uint64_t value) { map_.insert_or_assign(t, value); }
    bool erase(tuple<ipv4> const& t) { return map_.erase(t) == 1; }
    void prefetch(tuple<ipv4> const&) const noexcept {}
    std::size_t find(tuple<ipv4> const* tuples, std::size_t count) const {
        std::size_t found = 0;
        for (std::size_t i = 0; i < count; ++i) {
            auto const at = map_.find(tuples[i]);
            found += at != map_.end() && at->second != 0 ? 1u : 0u;
        }
        return found;
    }

  private:
    using entry = std::pair<tuple<ipv4> const, std::uint64_t>;
    boost::unordered_flat_map<tuple<ipv4>, std::uint64_t, tuple_hash, std::equal_to<>, huge_page_allocator<entry>> map_;
};

[[maybe_unused]] bool const registered = (register_map<boost_map>("boost_flat_map"), true);

} // namespace
} // namespace kubeproxy::bench
