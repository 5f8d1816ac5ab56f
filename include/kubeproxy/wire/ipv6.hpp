#pragma once

#include "kubeproxy/verdict.hpp"
#include "kubeproxy/wire/address.hpp"
#include "kubeproxy/wire/bytes.hpp"

#include <type_traits>

namespace kubeproxy {
inline namespace v0_2 {

/// An IPv6 fixed header and its payload (RFC 8200 section 3). The same promise as basic_ipv4_view.
template <class Byte>
    requires std::same_as<std::remove_const_t<Byte>, std::byte>
class basic_ipv6_view {
  public:
    static constexpr std::size_t minimum_size = ipv6::minimum_header;

    [[nodiscard]] static drop_reason check(byte_span bytes) noexcept {
        if (bytes.empty()) return drop_reason::truncated;
        if (load_be<std::uint8_t>(bytes, at::version_class_label) >> 4 != ipv6::number) return drop_reason::bad_version;
        if (bytes.size() < minimum_size) return drop_reason::truncated;
        std::size_t const payload = load_be<std::uint16_t>(bytes, at::payload_length);
        return minimum_size + payload > bytes.size() ? drop_reason::bad_length : drop_reason::none;
    }
    /// \pre `check(bytes) == drop_reason::none`
    explicit basic_ipv6_view(std::span<Byte> bytes) noexcept : bytes_{bytes} {
        assert(check(bytes) == drop_reason::none);
    }

    [[nodiscard]] std::uint8_t traffic_class() const noexcept {
        return static_cast<std::uint8_t>(load_be<std::uint16_t>(bytes_, at::version_class_label) >> 4);
    }
    [[nodiscard]] std::uint32_t flow_label() const noexcept {
        return load_be<std::uint32_t>(bytes_, at::version_class_label) & 0xf'ffffu;
    }
    [[nodiscard]] std::uint16_t payload_length() const noexcept {
        return load_be<std::uint16_t>(bytes_, at::payload_length);
    }
    [[nodiscard]] std::uint8_t next_header() const noexcept { return load_be<std::uint8_t>(bytes_, at::next_header); }
    [[nodiscard]] std::uint8_t hop_limit() const noexcept { return load_be<std::uint8_t>(bytes_, at::hop_limit); }
    [[nodiscard]] ipv6::address source() const noexcept { return load_object<ipv6::address>(bytes_, at::source); }
    [[nodiscard]] ipv6::address destination() const noexcept {
        return load_object<ipv6::address>(bytes_, at::destination);
    }
    [[nodiscard]] std::span<Byte> payload() const noexcept { return bytes_.subspan(minimum_size, payload_length()); }

    void set_hop_limit(std::uint8_t value) const noexcept requires(!std::is_const_v<Byte>) {
        store_be(bytes_, at::hop_limit, value);
    }
    void set_source(ipv6::address const& value) const noexcept requires(!std::is_const_v<Byte>) {
        store_object(bytes_, at::source, value);
    }
    void set_destination(ipv6::address const& value) const noexcept requires(!std::is_const_v<Byte>) {
        store_object(bytes_, at::destination, value);
    }

    struct at { // byte offsets, RFC 8200 section 3
        static constexpr std::size_t version_class_label = 0, payload_length = 4, next_header = 6, hop_limit = 7,
                                     source = 8, destination = 24;
    };

  private:
    std::span<Byte> bytes_;
};

using ipv6_view = basic_ipv6_view<std::byte const>;
using ipv6_editor = basic_ipv6_view<std::byte>;

/// The header of one part of a fragmented packet (RFC 8200 section 4.5), seen in its eight bytes.
template <class Byte>
    requires std::same_as<std::remove_const_t<Byte>, std::byte>
class basic_fragment_header {
  public:
    static constexpr std::size_t size = 8;

    /// \pre bytes.size() >= size
    explicit basic_fragment_header(std::span<Byte> bytes) noexcept : bytes_{bytes.first(size)} {}

    [[nodiscard]] std::uint8_t next_header() const noexcept { return load_be<std::uint8_t>(bytes_, 0); }
    /// In bytes.
    [[nodiscard]] std::size_t offset() const noexcept { return load_be<std::uint16_t>(bytes_, 2) & 0xfff8u; }
    [[nodiscard]] bool more_fragments() const noexcept { return (load_be<std::uint16_t>(bytes_, 2) & 1u) != 0; }
    [[nodiscard]] std::uint32_t identification() const noexcept { return load_be<std::uint32_t>(bytes_, 4); }

  private:
    std::span<Byte> bytes_;
};
using fragment_header_view = basic_fragment_header<std::byte const>;

/// A fixed IPv6 header to be written.
struct ipv6_header {
    std::uint8_t traffic_class = 0;
    std::uint32_t flow_label = 0; ///< 20 bits
    std::uint16_t payload_length = 0;
    std::uint8_t next_header = 0;
    std::uint8_t hop_limit = 0;
    ipv6::address source{};
    ipv6::address destination{};
};

/// \pre bytes.size() >= ipv6::minimum_header
inline void write_header(mutable_byte_span bytes, ipv6_header const& h) noexcept {
    using at = ipv6_editor::at;
    auto const traffic_class = std::uint32_t{h.traffic_class} << 20;
    store_be(bytes, at::version_class_label, ipv6::number << 28 | traffic_class | (h.flow_label & 0xf'ffffu));
    store_be(bytes, at::payload_length, h.payload_length);
    store_be(bytes, at::next_header, h.next_header);
    store_be(bytes, at::hop_limit, h.hop_limit);
    store_object(bytes, at::source, h.source);
    store_object(bytes, at::destination, h.destination);
}

/// A fragment header to be written.
struct fragment_header {
    std::uint8_t next_header = 0;
    std::uint16_t offset_and_more = 0; ///< offset in bytes, a multiple of 8; the lowest bit says that more follow
    std::uint32_t identification = 0;
};

/// \pre bytes.size() >= fragment_header_view::size
inline void write_header(mutable_byte_span bytes, fragment_header const& h) noexcept {
    store_be(bytes, 0, h.next_header);
    store_be(bytes, 1, std::uint8_t{0});
    store_be(bytes, 2, h.offset_and_more);
    store_be(bytes, 4, h.identification);
}

} // namespace v0_2
} // namespace kubeproxy
