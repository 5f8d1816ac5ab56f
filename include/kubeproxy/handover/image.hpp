#pragma once

#include "kubeproxy/flow/flow_time.hpp"
#include "kubeproxy/flow/lifetime.hpp"
#include "kubeproxy/flow/tuple.hpp"
#include "kubeproxy/wire/bytes.hpp"
#include "kubeproxy/wire/crc32c.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

/// Flows as one process tells them to another: by what they are called, not by where they stand in its memory.
namespace kubeproxy {
inline namespace v0_2 {

using any_tuple = std::variant<tuple<ipv4>, tuple<ipv6>>;

struct flow_image {
    std::uint32_t service = 0; ///< index into flow_images::services
    any_tuple original{};
    any_tuple translated{}; ///< its destination is the backend
    flow_state state = flow_state::none;
    bool masqueraded = false;
    std::uint32_t silent = 0;  ///< milliseconds since its last packet
    std::uint32_t timeout = 0; ///< milliseconds
    std::array<std::uint32_t, 2> packets{};

    [[nodiscard]] friend bool operator==(flow_image const&, flow_image const&) = default;
};

struct flow_images {
    std::vector<std::string> services{}; ///< names as reports have them: "default/web:http"
    std::vector<flow_image> flows{};
    std::size_t left_out = 0; ///< flows whose backend is not their service's any more; not in a file
};

namespace detail {

/// All numbers big-endian.
///
///     0   "KUFLOWS\n"     8   version     10  zero     12  number of services     16  number of flows     24  size
///     32  services: length (2 bytes), name
///         flows: service (4), state, flags, protocol of the original, protocol of the translated (1 each), silent,
///                timeout, packets of both directions (4 each), the two tuples: addresses (4 or 16 each), ports (2
///                each)
///     size - 4   CRC32c of all before it, as SCTP has it
///
/// Version 1 differs in the numbers of the states.
struct flow_file {
    static constexpr std::string_view magic = "KUFLOWS\n";
    static constexpr std::uint16_t version = 2, oldest_version = 1;
    static constexpr std::size_t header = 32, checksum = 4, smallest_flow = 24 + 2 * 12;
    static constexpr std::uint8_t masqueraded = 0x01, original_ipv6 = 0x02, translated_ipv6 = 0x04, known_flags = 0x07;
};

class flow_file_writer {
  public:
    template <std::unsigned_integral T>
    void put(T value) {
        bytes_.resize(bytes_.size() + sizeof value);
        store_be(bytes_, bytes_.size() - sizeof value, value);
    }
    void put(std::string_view text) {
        for (char const c : text) bytes_.push_back(static_cast<std::byte>(c));
    }
    template <ip_version V>
    void put(tuple<V> const& t) {
        bytes_.insert(bytes_.end(), t.source.begin(), t.source.end());
        bytes_.insert(bytes_.end(), t.destination.begin(), t.destination.end());
        put(t.source_port);
        put(t.destination_port);
    }
    void put(flow_image const& f);
    void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
    /// The size is written where it belongs, and the checksum behind the rest.
    [[nodiscard]] std::vector<std::byte> finish() && {
        store_be(bytes_, 24, std::uint64_t{bytes_.size() + flow_file::checksum});
        auto const crc = crc32c(bytes_);
        bytes_.resize(bytes_.size() + flow_file::checksum);
        store_crc32c(bytes_, bytes_.size() - flow_file::checksum, crc);
        return std::move(bytes_);
    }

  private:
    std::vector<std::byte> bytes_;
};

inline void flow_file_writer::put(flow_image const& f) {
    auto const protocol = [](auto const& t) { return t.protocol; };
    auto const flags = (f.masqueraded ? flow_file::masqueraded : 0) |
                       (f.original.index() != 0 ? flow_file::original_ipv6 : 0) |
                       (f.translated.index() != 0 ? flow_file::translated_ipv6 : 0);
    put(f.service);
    put(static_cast<std::uint8_t>(f.state));
    put(static_cast<std::uint8_t>(flags));
    put(std::visit(protocol, f.original));
    put(std::visit(protocol, f.translated));
    for (auto const value : {f.silent, f.timeout, f.packets[0], f.packets[1]}) put(value);
    for (auto const* t : {&f.original, &f.translated}) std::visit([this](auto const& one) { put(one); }, *t);
}

/// Reads from the front. What is not there reads as zero, and is remembered.
class flow_file_reader {
  public:
    explicit flow_file_reader(byte_span bytes) noexcept : rest_{bytes} {}

    [[nodiscard]] bool is_overrun() const noexcept { return is_overrun_; }
    [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
    template <std::unsigned_integral T>
    [[nodiscard]] T number() noexcept {
        auto const field = take(sizeof(T));
        return is_overrun_ ? T{} : load_be<T>(field, 0);
    }
    [[nodiscard]] std::string text(std::size_t size) {
        std::string result;
        for (auto const b : take(size)) result += static_cast<char>(b);
        return result;
    }
    template <ip_version V>
    [[nodiscard]] tuple<V> read_tuple(std::uint8_t protocol) noexcept {
        tuple<V> t{.protocol = protocol};
        for (auto* a : {&t.source, &t.destination}) std::ranges::copy(take(a->size()), a->begin());
        t.source_port = number<std::uint16_t>();
        t.destination_port = number<std::uint16_t>();
        return t;
    }
    [[nodiscard]] std::optional<flow_image> flow() noexcept;

  private:
    [[nodiscard]] byte_span take(std::size_t size) noexcept {
        is_overrun_ = is_overrun_ || size > rest_.size();
        if (is_overrun_) return {};
        auto const field = rest_.first(size);
        rest_ = rest_.subspan(size);
        return field;
    }
    byte_span rest_;
    bool is_overrun_ = false;
};

/// None where the flags are not known.
inline std::optional<flow_image> flow_file_reader::flow() noexcept {
    flow_image f{.service = number<std::uint32_t>()};
    f.state = static_cast<flow_state>(number<std::uint8_t>());
    auto const flags = number<std::uint8_t>();
    if ((flags & ~flow_file::known_flags) != 0) return std::nullopt;
    std::array<std::uint8_t, 2> const protocols{number<std::uint8_t>(), number<std::uint8_t>()};
    f.masqueraded = (flags & flow_file::masqueraded) != 0;
    for (auto* value : {&f.silent, &f.timeout, &f.packets[0], &f.packets[1]}) *value = number<std::uint32_t>();
    auto const one = [&](std::uint8_t protocol, bool is_ipv6) -> any_tuple {
        if (is_ipv6) return read_tuple<ipv6>(protocol);
        return read_tuple<ipv4>(protocol);
    };
    f.original = one(protocols[0], (flags & flow_file::original_ipv6) != 0);
    f.translated = one(protocols[1], (flags & flow_file::translated_ipv6) != 0);
    return f;
}

/// A state by its number in version 1 of the file. Flows that have been answered were protected then.
[[nodiscard]] constexpr flow_state state_of_version_1(std::uint8_t number) noexcept {
    using enum flow_state;
    constexpr std::array all{none,
                             tcp_syn_sent,
                             tcp_syn_received,
                             tcp_picked_up,
                             tcp_established,
                             tcp_fin_original,
                             tcp_fin_reply,
                             tcp_closed,
                             tcp_reset,
                             tcp_reset,
                             udp_unreplied,
                             udp_assured,
                             icmp_unreplied,
                             icmp_assured,
                             sctp_init,
                             sctp_init_acked,
                             sctp_cookie_echoed,
                             sctp_picked_up,
                             sctp_established,
                             sctp_shutdown,
                             sctp_closed,
                             other_unreplied,
                             other_assured};
    return number < all.size() ? all[number] : flow_state::count_;
}

/// The state is one that a flow of this protocol may be in.
[[nodiscard]] constexpr bool is_state_of(std::uint8_t protocol, flow_state s) noexcept {
    if (s == flow_state::none || s >= flow_state::count_) return false;
    switch (protocol) {
    case ip_protocol::tcp: return kind_of(s) == flow_kind::tcp;
    case ip_protocol::udp: return kind_of(s) == flow_kind::udp;
    case ip_protocol::icmp:
    case ip_protocol::icmpv6: return kind_of(s) == flow_kind::icmp;
    case ip_protocol::sctp: return kind_of(s) == flow_kind::sctp;
    default: return kind_of(s) == flow_kind::other;
    }
}

/// Why this cannot be a flow; empty: it can.
[[nodiscard]] inline std::string_view flaw_of(flow_image const& f, std::size_t services) noexcept {
    // as IPv4 numbers it
    auto const protocol = [](auto const& t) {
        using version = std::conditional_t<sizeof t.source == 4, ipv4, ipv6>;
        bool const is_icmp = t.protocol == version::icmp_protocol;
        return is_icmp ? ipv4::icmp_protocol : t.protocol;
    };
    auto const number = std::visit(protocol, f.original);
    if (f.service >= services) return "names no service";
    if (number != std::visit(protocol, f.translated)) return "has two protocols";
    if (!is_state_of(number, f.state)) return "has a state that its protocol has not";
    constexpr auto longest = to_milliseconds(std::chrono::seconds::max());
    return f.timeout > longest || f.timeout % 1000 != 0 ? "has a timeout that no flow has" : "";
}

} // namespace detail

[[nodiscard]] inline std::vector<std::byte> flow_file_of(flow_images const& images) {
    detail::flow_file_writer out;
    out.reserve(detail::flow_file::header + images.flows.size() * 104);
    out.put(detail::flow_file::magic);
    out.put(detail::flow_file::version);
    out.put(std::uint16_t{0});
    out.put(static_cast<std::uint32_t>(images.services.size()));
    out.put(std::uint64_t{images.flows.size()});
    out.put(std::uint64_t{0});
    for (auto const& name : images.services) {
        auto const length = std::min<std::size_t>(name.size(), 0xffff);
        out.put(static_cast<std::uint16_t>(length));
        out.put(std::string_view{name}.substr(0, length));
    }
    for (auto const& f : images.flows) out.put(f);
    return std::move(out).finish();
}

} // namespace v0_2
} // namespace kubeproxy
