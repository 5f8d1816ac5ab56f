#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/flow/flow_ref.hpp"
#include "kubeproxy/flow/mapping.hpp"
#include "kubeproxy/flow/tuple_words.hpp"
#include "kubeproxy/nat/settings.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

namespace kubeproxy {
inline namespace v0_2 {

/// What is known of one packet. The types that stages hand on only point here and say which part is valid: a packet is
/// not copied from stage to stage, and none can read what was not yet found out.
template <packet_buffer P, ip_version V>
struct alignas(64) packet_card {
    P* packet;
    outcome* result; ///< what becomes of it
    tuple<V> key;    ///< how its flow shows in the packet's direction; of an ICMP error, the flow of what it quotes
    std::uint64_t hash;
    flow_ref candidate;
    bool is_chosen;                          ///< `choice` is made already, and what it becomes is known
    sum_changes changes;                     ///< from `key` to what it becomes
    parsed<V> headers;                       ///< with the reason why it must not be rewritten, if there is one
    tuple<V> after;                          ///< what it becomes, where it keeps its version
    tuple<typename V::other> after_as_other; ///< and where it does not
    selection choice;                        ///< where there is no flow
    std::uint64_t reply_hash;                ///< is_chosen, and it keeps its source: of what will answer it
    icmp_answer answer;                      ///< what its sender should be told

    template <ip_version To>
    [[nodiscard]] tuple<To>& becomes() noexcept {
        if constexpr (std::same_as<To, V>)
            return after;
        else
            return after_as_other;
    }
    settled settle(verdict what) const noexcept {
        result->what = what;
        return {};
    }
    settled drop(drop_reason why) const noexcept { return settle(verdict::drop(why)); }
};

} // namespace v0_2
} // namespace kubeproxy
