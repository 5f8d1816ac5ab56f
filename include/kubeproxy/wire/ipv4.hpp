#pragma once

#include "kubeproxy/verdict.hpp"
#include "kubeproxy/wire/address.hpp"
#include "kubeproxy/wire/bytes.hpp"
#include "kubeproxy/wire/checksum.hpp"

#include <type_traits>

namespace kubeproxy {
inline namespace v0_2 {

/// An IPv4 header and its payload, seen in the bytes that hold them (RFC 791).
///
/// A view is made only of bytes that check() accepted; every accessor then stays inside them.
/// Setters never change a length, so they never break that promise.
template <class Byte>
    requires std::same_as<std::remove_const_t<Byte>, std::byte>
class basic_ipv4_view {
  public:
    static constexpr std::size_t minimum_size = ipv4::minimum_header;

    [[nodiscard]] static drop_reason check(byte_span bytes) noexcept {
        if (bytes.empty()) return drop_reason::truncated;
        auto const version_ihl = load_be<std::uint8_t>(bytes, at::version_ihl);
        if (version_ihl >> 4 != ipv4::number) return drop_reason::bad_version;
        if (bytes.size() < minimum_size) return drop_reason::truncated;
        std::size_t const header = (version_ihl & 0x0fu) * 4u;
        if (header < minimum_size) return drop_reason::bad_header_length;
        if (header > bytes.size()) return drop_reason::truncated;
        std::size_t const total = load_be<std::uint16_t>(bytes, at::total_length);
        return total < header || total > bytes.size() ? drop_reason::bad_length : drop_reason::none;
    }
    /// \pre `check(bytes) == drop_reason::none`
    explicit basic_ipv4_view(std::span<Byte> bytes) noexcept : bytes_{bytes} {
        assert(check(bytes) == drop_reason::none);
    }

    [[nodiscard]] std::size_t header_length() const noexcept {
        return (load<std::uint8_t>(at::version_ihl) & 0x0fu) * 4u;
    }
    [[nodiscard]] std::uint8_t traffic_class() const noexcept { return load<std::uint8_t>(at::traffic_class); }
    [[nodiscard]] std::uint16_t total_length() const noexcept { return load<std::uint16_t>(at::total_length); }
    [[nodiscard]] std::uint16_t identification() const noexcept { return load<std::uint16_t>(at::identification); }
    [[nodiscard]] bool dont_fragment() const noexcept { return (load<std::uint16_t>(at::fragment) & 0x4000u) != 0; }
    [[nodiscard]] bool more_fragments() const noexcept { return (load<std::uint16_t>(at::fragment) & 0x2000u) != 0; }
    /// In bytes.
    [[nodiscard]] std::size_t fragment_offset() const noexcept {
        return (load<std::uint16_t>(at::fragment) & 0x1fffu) * 8u;
    }
    [[nodiscard]] std::uint8_t ttl() const noexcept { return load<std::uint8_t>(at::ttl); }
    [[nodiscard]] std::uint8_t protocol() const noexcept { return load<std::uint8_t>(at::protocol); }
    [[nodiscard]] std::uint16_t checksum() const noexcept { return load<std::uint16_t>(at::checksum); }
    [[nodiscard]] ipv4::address source() const noexcept { return load_object<ipv4::address>(bytes_, at::source); }
    [[nodiscard]] ipv4::address destination() const noexcept {
        return load_object<ipv4::address>(bytes_, at::destination);
    }
    [[nodiscard]] std::span<Byte> header() const noexcept { return bytes_.first(header_length()); }
    [[nodiscard]] std::span<Byte> options() const noexcept { return header().subspan(minimum_size); }
    [[nodiscard]] std::span<Byte> payload() const noexcept {
        return bytes_.first(total_length()).subspan(header_length());
    }

    // The setters leave the header checksum as it was; checksum.hpp carries a change over.
    void set_ttl(std::uint8_t value) const noexcept requires(!std::is_const_v<Byte>) {
        store_be(bytes_, at::ttl, value);
    }
    void set_checksum(std::uint16_t value) const noexcept requires(!std::is_const_v<Byte>) {
        store_be(bytes_, at::checksum, value);
    }
    void set_source(ipv4::address const& value) const noexcept requires(!std::is_const_v<Byte>) {
        store_object(bytes_, at::source, value);
    }
    void set_destination(ipv4::address const& value) const noexcept requires(!std::is_const_v<Byte>) {
        store_object(bytes_, at::destination, value);
    }

    struct at { // byte offsets, RFC 791 section 3.1
        static constexpr std::size_t version_ihl = 0, traffic_class = 1, total_length = 2, identification = 4,
                                     fragment = 6, ttl = 8, protocol = 9, checksum = 10, source = 12, destination = 16;
    };

  private:
    template <std::unsigned_integral T>
    [[nodiscard]] T load(std::size_t offset) const noexcept {
        return load_be<T>(bytes_, offset);
    }
    std::span<Byte> bytes_;
};

using ipv4_view = basic_ipv4_view<std::byte const>;
using ipv4_editor = basic_ipv4_view<std::byte>;

/// A fixed IPv4 header to be written; write_header fills in the checksum.
struct ipv4_header {
    std::uint8_t traffic_class = 0;
    std::uint16_t total_length = 0;
    std::uint16_t identification = 0;
    std::uint16_t flags_and_offset = 0; ///< DF 0x4000, MF 0x2000, offset in 8 bytes
    std::uint8_t ttl = 0;
    std::uint8_t protocol = 0;
    ipv4::address source{};
    ipv4::address destination{};
};

/// \pre bytes.size() >= ipv4::minimum_header
inline void write_header(mutable_byte_span bytes, ipv4_header const& h) noexcept {
    using at = ipv4_editor::at;
    constexpr std::uint32_t version_ihl = ipv4::number << 4 | ipv4::minimum_header / 4;
    auto const first = static_cast<std::uint16_t>(version_ihl << 8 | h.traffic_class);
    auto const hops = static_cast<std::uint16_t>(std::uint32_t{h.ttl} << 8 | h.protocol);
    auto const sum = std::uint64_t{first} + h.total_length + h.identification + h.flags_and_offset + hops +
                     sum_of(h.source) + sum_of(h.destination);
    store_be(bytes, at::version_ihl, first);
    store_be(bytes, at::total_length, h.total_length);
    store_be(bytes, at::identification, h.identification);
    store_be(bytes, at::fragment, h.flags_and_offset);
    store_be(bytes, at::ttl, hops);
    store_be(bytes, at::checksum, checksum_of(sum));
    store_object(bytes, at::source, h.source);
    store_object(bytes, at::destination, h.destination);
}

} // namespace v0_2
} // namespace kubeproxy
