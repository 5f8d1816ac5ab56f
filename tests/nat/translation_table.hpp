#pragma once

#include "kubeproxy/nat/rewrite.hpp"

#include "support/hex.hpp"
#include "support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

/// Tables of packets: what comes in, what must leave.
namespace kubeproxy::table {

using seed::octets;

/// A packet in memory as a device with offloads hands it over.
class offload_packet : public span_packet {
  public:
    offload_packet(mutable_byte_span memory, std::size_t headroom, checksum_state state, std::size_t gso) noexcept
        : span_packet{memory, headroom}, state_{state}, gso_{gso} {}
    [[nodiscard]] checksum_state transport_checksum() const noexcept { return state_; }
    [[nodiscard]] std::size_t gso_size() const noexcept { return gso_; }

  private:
    checksum_state state_;
    std::size_t gso_;
};

struct row {
    std::string rule;
    octets in;
    octets out; ///< what must leave; of a refused packet, what shows the mapping
    translation_settings settings{};
    checksum_state state = checksum_state::complete;
    std::size_t gso_size = 0;
    drop_reason why = drop_reason::none;
    std::optional<icmp_error_fields> answer{};
    std::optional<std::size_t> headroom{}; ///< rewriter's own
};

template <ip_version V>
parsed<V> parsed_as(octets& bytes) {
    auto const result = parse(bytes);
    auto const* const p = std::get_if<parsed<V>>(&result);
    if (p == nullptr) throw std::invalid_argument{"a row whose packet is none: " + hex::text_of(bytes)};
    return *p;
}

/// Rewrites `in` so that it shows what `out` does, and wants just the bytes of `out`.
template <ip_version From, ip_version To>
void expect(row r) {
    SCOPED_TRACE(r.rule);
    auto const headroom = r.headroom.value_or(rewriter<From, To>::headroom);
    octets memory(headroom);
    memory.insert(memory.end(), r.in.begin(), r.in.end());
    offload_packet packet{memory, headroom, r.state, r.gso_size};
    auto const result = parse(packet.bytes());
    auto const p = std::get<parsed<From>>(result);
    auto const shown = parsed_as<To>(r.out);
    auto const after = tuple_of(shown);
    rewriter<From, To> const rewrite{r.settings};
    auto const outcome = p.what == content::icmp_error && shown.what == content::icmp_error
                             ? rewrite.error(packet, p, {after.source, after.destination, quoted_of(shown).key})
                             : rewrite(packet, p, after, changes_of(tuple_of(p), after));
    EXPECT_EQ(name(outcome.why), name(r.why));
    EXPECT_EQ(outcome.answer, r.answer);
    EXPECT_EQ(hex::text_of(packet.bytes()), hex::text_of(r.why == drop_reason::none ? r.out : r.in));
}

} // namespace kubeproxy::table
