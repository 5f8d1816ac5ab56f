#pragma once

#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/flow/table.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// Looks up a packet's key in the index of the flow table. `prepare` hashes the key and prefetches the bucket.
template <packet_buffer P, class Table>
class locate_stage {
  public:
    explicit locate_stage(Table& flows) noexcept : flows_{&flows} {}

    template <ip_version V>
    void prepare(seen<P, V> p) const noexcept {
        auto& storage = detail::storage_of(p);
        storage.hash = flows_->hash(storage.key);
        flows_->prefetch_bucket(storage.hash);
    }
    template <ip_version V>
    step<candidate<P, V>, index_miss<P, V>> operator()(seen<P, V> p) const noexcept {
        auto& storage = detail::storage_of(p);
        storage.candidate = flows_->candidate(storage.hash);
        storage.is_preselected = false;
        if (!storage.candidate) [[unlikely]]
            return index_miss<P, V>{storage};
        return candidate<P, V>{storage};
    }

  private:
    Table* flows_;
};

} // namespace v0_2
} // namespace kubeproxy
