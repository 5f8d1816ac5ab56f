#pragma once

#include "kubeproxy/sync/setup_error.hpp"
#include "kubeproxy/wire/transport.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace kubeproxy {
inline namespace v0_2 {

/// Values from first to last; none when first is greater.
struct port_span {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
};

/// Which of how many workers: each takes ports and fragment identifications that no other takes.
struct worker_share {
    static constexpr std::uint32_t max_count = 4096; ///< each has 16 fragment identifications then

    std::uint32_t index = 0; ///< from 0 to count - 1
    std::uint32_t count = 1;
};

namespace detail {

[[nodiscard]] inline worker_share checked(worker_share share) {
    if (share.count == 0 || share.count > worker_share::max_count || share.index >= share.count)
        fail_setup(std::invalid_argument{"worker_share{" + std::to_string(share.index) + ", " +
                                         std::to_string(share.count) +
                                         "}: the index is from 0 to count - 1, and the count from 1 to 4096"});
    return share;
}

/// The values of one kind that one worker may give out, numbered from 0 in ascending order: every `step`th of a
/// range, an excluded range left out.
class port_space {
  public:
    /// \pre within.first <= within.last
    constexpr port_space(port_span within, std::uint32_t step, port_span excluded, worker_share share) noexcept
        : step_{step} {
        assert(share.index < share.count);
        std::uint32_t const first = within.first, last = within.last;
        std::uint32_t const hole_first = excluded.first, hole_last = excluded.last;
        if (hole_first > hole_last) {
            low_ = {first, values(first, last)};
        } else {
            low_ = {first, hole_first <= first ? 0 : values(first, std::min(last, hole_first - 1))};
            high_.first = hole_last < first ? first : first + ((hole_last - first) / step + 1) * step;
            high_.count = values(high_.first, last);
        }
        std::uint64_t const all = low_.count + high_.count;
        begin_ = static_cast<std::uint32_t>(all * share.index / share.count);
        size_ = static_cast<std::uint32_t>(all * (share.index + 1) / share.count) - begin_;
    }
    [[nodiscard]] constexpr std::uint32_t size() const noexcept { return size_; }
    /// \pre i < size()
    [[nodiscard]] constexpr std::uint16_t operator[](std::uint32_t i) const noexcept {
        i += begin_;
        return static_cast<std::uint16_t>(i < low_.count ? low_.first + i * step_
                                                         : high_.first + (i - low_.count) * step_);
    }

  private:
    struct part {
        std::uint32_t first = 0, count = 0;
    };
    [[nodiscard]] constexpr std::uint32_t values(std::uint32_t first, std::uint32_t last) const noexcept {
        return first > last ? 0 : (last - first) / step_ + 1;
    }
    std::uint32_t step_, begin_ = 0, size_ = 0;
    part low_, high_;
};

/// What may stand in for a source port or an echo identifier. UDP's are apart by range, RFC 4787 REQ-3 (a port
/// below 1024 stays below, another stays at or above), and by parity, REQ-4.
enum class port_kind : std::uint8_t { identifier, none, high, high_even, high_odd, low_even, low_odd };

[[nodiscard]] constexpr port_space space_of(port_kind kind, port_span excluded, worker_share share) noexcept {
    constexpr port_span nothing{1, 0};
    switch (kind) {
    case port_kind::identifier: return {{0, 65535}, 1, nothing, share};
    case port_kind::none: return {{0, 0}, 1, nothing, {}};
    case port_kind::high: return {{1024, 65535}, 1, excluded, share};
    case port_kind::high_even: return {{1024, 65534}, 2, excluded, share};
    case port_kind::high_odd: return {{1025, 65535}, 2, excluded, share};
    case port_kind::low_even: return {{2, 1022}, 2, excluded, share};
    case port_kind::low_odd: break;
    }
    return {{1, 1023}, 2, excluded, share};
}

/// Kinds in the order to try; the first `size` count.
struct port_preference {
    std::array<port_kind, 4> kinds;
    std::size_t size;
};

/// RFC 4787 asks UDP to keep range and parity, which is done while such ports last; RFC 5382 asks TCP for neither.
[[nodiscard]] constexpr port_preference preferred_kinds(std::uint8_t protocol, std::uint16_t source_port) noexcept {
    using enum port_kind;
    switch (protocol) {
    case ip_protocol::icmp:
    case ip_protocol::icmpv6: return {{identifier}, 1};
    case ip_protocol::tcp:
    case ip_protocol::dccp:
    case ip_protocol::udp_lite:
    case ip_protocol::sctp: return {{high}, 1};
    case ip_protocol::udp: break;
    default: return {{none}, 1};
    }
    bool const even = source_port % 2 == 0;
    if (source_port >= 1024)
        return even ? port_preference{{high_even, high_odd}, 2} : port_preference{{high_odd, high_even}, 2};
    return even ? port_preference{{low_even, low_odd, high_even, high_odd}, 4}
                : port_preference{{low_odd, low_even, high_odd, high_even}, 4};
}

} // namespace detail
} // namespace v0_2
} // namespace kubeproxy
