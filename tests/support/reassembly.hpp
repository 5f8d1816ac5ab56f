#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

/// Messages taken apart and put together again, octet by octet and without the code under test.
namespace kubeproxy::reassembly {

using octets = std::vector<std::byte>;

/// A whole message as its receiver has it: what IP hands to the transport layer.
struct message {
    octets source;      ///< 4 or 16
    octets destination; ///< as many
    std::uint32_t identification = 0;
    std::uint8_t protocol = 0;
    octets payload;
    [[nodiscard]] friend bool operator==(message const&, message const&) = default;
};

namespace detail {
inline std::uint32_t number(std::span<std::byte const> at, std::size_t size) {
    std::uint32_t value = 0;
    for (auto const octet : at.first(size)) value = value << 8 | std::to_integer<std::uint32_t>(octet);
    return value;
}
inline octets copy(std::span<std::byte const> of) { return {of.begin(), of.end()}; }

/// One packet, its headers read.
struct piece {
    message of; ///< `payload` is the piece's own
    std::size_t offset = 0;
    bool more = false;
    [[nodiscard]] bool is_whole() const { return offset == 0 && !more; }
};

inline piece read_ipv4(std::span<std::byte const> p) { // RFC 791 section 3.1
    auto const header = (number(p, 1) & 15u) * 4u;
    auto const flags = number(p.subspan(6), 2);
    return {{copy(p.subspan(12, 4)), copy(p.subspan(16, 4)), number(p.subspan(4), 2),
             static_cast<std::uint8_t>(number(p.subspan(9), 1)),
             copy(p.subspan(header, number(p.subspan(2), 2) - header))},
            (flags & 0x1fffu) * 8u,
            (flags & 0x2000u) != 0};
}

inline piece read_ipv6(std::span<std::byte const> p) { // RFC 8200 sections 3 and 4
    piece result{{copy(p.subspan(8, 16)), copy(p.subspan(24, 16)), 0, 0, {}}, 0, false};
    std::size_t const end = 40 + number(p.subspan(4), 2);
    std::size_t at = 40;
    auto next = number(p.subspan(6), 1);
    while (next == 0 || next == 43 || next == 44 || next == 60) { // extension headers before the data
        auto const header = p.subspan(at);
        bool const is_fragment = next == 44;
        if (is_fragment) {
            result.offset = number(header.subspan(2), 2) & 0xfff8u;
            result.more = (number(header.subspan(2), 2) & 1u) != 0;
            result.of.identification = number(header.subspan(4), 4);
        }
        next = number(header, 1);
        at += is_fragment ? 8u : 8u + 8u * number(header.subspan(1), 1);
        if (is_fragment) break; // what follows is the fragmentable part
    }
    result.of.protocol = static_cast<std::uint8_t>(next);
    result.of.payload = copy(p.subspan(at, end - at));
    return result;
}
} // namespace detail

/// A receiver with endless patience. Packets must be well formed.
class receiver {
  public:
    /// The message, when `packet` is a whole one or the last part that was missing.
    std::optional<message> take(std::span<std::byte const> packet) {
        auto piece = detail::number(packet, 1) >> 4 == 4 ? detail::read_ipv4(packet) : detail::read_ipv6(packet);
        if (piece.is_whole()) return std::move(piece.of);
        auto const key = key_of(piece.of);
        if (auto const done = finished_.find(key); done != finished_.end()) {
            if (is_part_of(done->second, piece)) return std::nullopt;
            finished_.erase(done); // the identification names another message now
        }
        auto& parts = unfinished_[key];
        parts.push_back(std::move(piece));
        auto whole = assemble(parts);
        if (!whole) return std::nullopt;
        unfinished_.erase(key);
        finished_.emplace(key, whole->payload);
        return whole;
    }
    /// Messages that have parts, and not all, or parts that overlap (RFC 5722: never assembled).
    [[nodiscard]] std::size_t unfinished() const { return unfinished_.size(); }

  private:
    using message_key = std::tuple<octets, octets, std::uint32_t, std::uint8_t>;
    static message_key key_of(message const& m) {
        bool const is_ipv4 = m.source.size() == 4; // RFC 8200 section 4.5: the next header is no part of the key
        return {m.source, m.destination, m.identification, is_ipv4 ? m.protocol : std::uint8_t{0}};
    }
    static bool is_part_of(octets const& whole, detail::piece const& p) {
        auto const& part = p.of.payload;
        return p.offset + part.size() <= whole.size() && p.more == (p.offset + part.size() < whole.size()) &&
               std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(p.offset));
    }
    static std::optional<message> assemble(std::vector<detail::piece>& parts) {
        std::stable_sort(parts.begin(), parts.end(), [](auto const& a, auto const& b) { return a.offset < b.offset; });
        auto whole = parts.front().of;
        whole.payload.clear();
        detail::piece const* before = nullptr;
        for (auto const& part : parts) {
            bool const is_duplicate = before != nullptr && before->offset == part.offset && before->more == part.more &&
                                      before->of.payload == part.of.payload;
            if (is_duplicate) continue;
            if (part.offset != whole.payload.size()) return std::nullopt; // a hole, or an overlap
            whole.payload.insert(whole.payload.end(), part.of.payload.begin(), part.of.payload.end());
            before = &part;
        }
        if (before->more) return std::nullopt;
        return whole;
    }

    std::map<message_key, std::vector<detail::piece>> unfinished_;
    std::map<message_key, octets> finished_;
};

namespace detail {
inline void append(octets& to, std::size_t value, std::size_t size) {
    while (size-- > 0) to.push_back(static_cast<std::byte>(value >> size * 8));
}
inline void append(octets& to, std::span<std::byte const> part) { to.insert(to.end(), part.begin(), part.end()); }
} // namespace detail

/// An address for examples: 192.0.2.x, or 2001:db8::x.
/// \pre size is 4 or 16
inline octets example_address(std::size_t size, unsigned last) {
    octets a;
    detail::append(a, size == 4 ? 0xc0000200u : 0x20010db8u, 4);
    a.resize(size);
    a.back() = static_cast<std::byte>(last);
    return a;
}

/// From .1 to .2, ports 4000 and 53, then data that tells its offset and the message.
inline message example_message(std::size_t address_size, std::uint32_t identification, std::uint8_t protocol = 17,
                               std::size_t size = 64) {
    message m{example_address(address_size, 1), example_address(address_size, 2), identification, protocol, {}};
    detail::append(m.payload, 4000u << 16 | 53u, 4);
    while (m.payload.size() < size) detail::append(m.payload, identification ^ m.payload.size() * 0x9e37u, 4);
    m.payload.resize(size);
    return m;
}

/// The packet that carries `size` octets of `m` from `offset` on. The IPv4 header checksum is left 0.
/// \pre offset is a multiple of 8, and so is size but for the last part
inline octets part_of(message const& m, std::size_t offset, std::size_t size) {
    using detail::append;
    auto const part = std::span{m.payload}.subspan(offset, std::min(size, m.payload.size() - offset));
    bool const more = offset + part.size() < m.payload.size();
    octets packet;
    if (m.source.size() == 4) {
        append(packet, 0x4500, 2);
        append(packet, 20 + part.size(), 2);
        append(packet, m.identification, 2);
        append(packet, (more ? 0x2000u : 0u) | offset / 8, 2);
        append(packet, 64, 1);
        append(packet, m.protocol, 1);
        append(packet, 0, 2);
    } else {
        append(packet, 0x60000000, 4);
        append(packet, 8 + part.size(), 2);
        append(packet, 44, 1);
        append(packet, 64, 1);
    }
    append(packet, m.source);
    append(packet, m.destination);
    if (m.source.size() == 16) {
        append(packet, m.protocol, 1);
        append(packet, 0, 1);
        append(packet, offset | (more ? 1u : 0u), 2);
        append(packet, m.identification, 4);
    }
    append(packet, part);
    return packet;
}

/// The whole message in parts of `size` octets, first to last.
/// \pre size is a multiple of 8
inline std::vector<octets> parts_of(message const& m, std::size_t size) {
    std::vector<octets> parts;
    for (std::size_t offset = 0; offset < m.payload.size(); offset += size) parts.push_back(part_of(m, offset, size));
    return parts;
}

} // namespace kubeproxy::reassembly
