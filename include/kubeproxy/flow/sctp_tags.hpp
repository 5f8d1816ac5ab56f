#pragma once

#include "kubeproxy/flow/flow_ref.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kubeproxy {
inline namespace v0_2 {

/// The verification tags of an SCTP association (RFC 9260 section 3.1), by direction: what packets of it carry.
struct sctp_tags {
    std::array<std::uint32_t, 2> of_direction{};

    /// Nothing is known: INIT alone has tag 0 (RFC 9260 section 8.5).
    [[nodiscard]] bool are_unknown() const noexcept { return of_direction[0] == 0 || of_direction[1] == 0; }
    /// Whether the receiver of an ABORT or SHUTDOWN COMPLETE takes it for genuine (RFC 9260 section 8.5.1). True where
    /// nothing is known. \param is_reflected its T bit: it carries the tag of the packet that it answers
    [[nodiscard]] bool allow(flow_direction d, std::uint32_t tag, bool is_reflected) const noexcept {
        return are_unknown() || tag == of_direction[number(is_reflected ? opposite(d) : d)];
    }
};

/// The tags of a table's SCTP flows, beside the records, which have no room for them. An entry serves several records:
/// where two associations would need it at once, nothing is known of the later one's tags.
template <class Sharing>
class sctp_tag_store {
  public:
    static constexpr std::size_t max_entries = 32768; ///< 12 bytes each

    /// \param records of the table, of both widths
    explicit sctp_tag_store(std::size_t records) : entries_(std::min(records, max_entries)) {}

    [[nodiscard]] sctp_tags find(flow_ref ref) const noexcept {
        if (entries_.empty()) return {};
        auto const& e = entries_[place_of(ref)];
        if (e.owner.load() != owner_bits(ref)) return {};
        return {{e.tags[0].load(), e.tags[1].load()}};
    }
    /// \param is_in_use whether the flow that has the entry still needs it
    template <class IsInUse>
    void note(flow_ref ref, sctp_tags const& tags, IsInUse is_in_use) noexcept {
        if (entries_.empty()) return;
        auto& e = entries_[place_of(ref)];
        auto const owner = e.owner.load();
        if (owner != 0 && owner != owner_bits(ref) && is_in_use(flow_ref::from_bits(owner))) return;
        e.owner.store(0); // nothing is known while the tags change
        e.tags[0].store(tags.of_direction[0]);
        e.tags[1].store(tags.of_direction[1]);
        e.owner.store(owner_bits(ref));
    }
    /// Of a record that becomes another flow's.
    void forget(flow_ref ref) noexcept {
        if (entries_.empty()) return;
        auto& e = entries_[place_of(ref)];
        if (e.owner.load() == owner_bits(ref)) e.owner.store(0);
    }
    [[nodiscard]] std::size_t bytes() const noexcept { return entries_.size() * sizeof(entry); }

  private:
    struct entry {
        typename Sharing::template cell<std::uint32_t> owner{};
        std::array<typename Sharing::template cell<std::uint32_t>, 2> tags{};
    };
    [[nodiscard]] static std::uint32_t owner_bits(flow_ref ref) noexcept {
        return ref.as(flow_direction::original).bits();
    }
    [[nodiscard]] std::size_t place_of(flow_ref ref) const noexcept {
        return (std::size_t{ref.index()} * 2 + (ref.is_wide() ? 1 : 0)) % entries_.size();
    }
    std::vector<entry> entries_;
};

} // namespace v0_2
} // namespace kubeproxy
