#pragma once

#include "kubeproxy/wire/bytes.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

/// CRC32c, the checksum of SCTP (RFC 9260 section 6.8 and appendix A, RFC 3309).
///
/// The register is kept reflected: bit 31 holds the coefficient of x^0. A CRC is linear, so a change of covered
/// bytes changes the CRC by a value that does not depend on the rest: a wrong checksum stays wrong.
namespace kubeproxy {
inline namespace v0_2 {
namespace detail {

inline constexpr std::uint32_t crc32c_polynomial = 0x82f6'3b78; // 0x1edc6f41 reflected, RFC 9260 appendix A

using crc32c_table = std::array<std::uint32_t, 256>;

/// tables[k][b]: the register after byte b and k zero bytes.
inline constexpr auto crc32c_tables = [] {
    std::array<crc32c_table, 8> tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        auto r = byte;
        for (int bit = 0; bit < 8; ++bit) r = (r & 1) != 0 ? r >> 1 ^ crc32c_polynomial : r >> 1;
        tables[0][byte] = r;
    }
    for (std::size_t k = 1; k < tables.size(); ++k)
        for (std::size_t byte = 0; byte < 256; ++byte)
            tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 0xff];
    return tables;
}();

/// The register after `bytes`, eight a step ("slicing by eight").
[[nodiscard]] inline std::uint32_t crc32c_portable(std::uint32_t r, byte_span bytes) noexcept {
    auto const& t = crc32c_tables;
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        auto const word = boost::endian::endian_reverse(load_be<std::uint64_t>(bytes, i)) ^ r;
        r = 0;
        for (std::size_t k = 0; k < 8; ++k) r ^= t[7 - k][word >> 8 * k & 0xff];
    }
    for (; i < bytes.size(); ++i) r = r >> 8 ^ t[0][(r ^ load_be<std::uint8_t>(bytes, i)) & 0xff];
    return r;
}

#if defined(__SSE4_2__)
[[nodiscard]] inline std::uint32_t crc32c_sse42(std::uint32_t r, byte_span bytes) noexcept {
    std::uint64_t wide = r;
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8)
        wide = _mm_crc32_u64(wide, boost::endian::endian_reverse(load_be<std::uint64_t>(bytes, i)));
    r = static_cast<std::uint32_t>(wide);
    for (; i < bytes.size(); ++i) r = _mm_crc32_u8(r, load_be<std::uint8_t>(bytes, i));
    return r;
}
#endif

/// The product of two reflected polynomials modulo the CRC's.
[[nodiscard]] constexpr std::uint32_t crc32c_product(std::uint32_t a, std::uint32_t b) noexcept {
    std::uint32_t product = 0;
    for (; a != 0; a <<= 1) {
        product ^= b & (0u - (a >> 31));
        b = b >> 1 ^ (crc32c_polynomial & (0u - (b & 1)));
    }
    return product;
}

/// x^(8 * 2^k): what 2^k zero bytes multiply the register by.
inline constexpr auto crc32c_zero_bytes = [] {
    std::array<std::uint32_t, 32> powers{std::uint32_t{1} << (31 - 8)};
    for (std::size_t k = 1; k < powers.size(); ++k) powers[k] = crc32c_product(powers[k - 1], powers[k - 1]);
    return powers;
}();

} // namespace detail

/// The CRC32c of `bytes`: the value whose bytes, lowest first, stand in an SCTP header.
[[nodiscard]] inline std::uint32_t crc32c(byte_span bytes) noexcept {
#if defined(__SSE4_2__)
    return ~detail::crc32c_sse42(~std::uint32_t{0}, bytes);
#else
    return ~detail::crc32c_portable(~std::uint32_t{0}, bytes);
#endif
}

/// The CRC after four covered bytes changed. \pre `bytes_to_end` counts from the first of them to the end of the
/// covered data. O(log bytes_to_end): the data itself is not read.
/// \param before the four bytes as a big-endian number
[[nodiscard]] constexpr std::uint32_t crc32c_after(std::uint32_t crc, std::uint32_t before, std::uint32_t after,
                                                   std::uint32_t bytes_to_end) noexcept {
    auto change = boost::endian::endian_reverse(before ^ after);
    for (; bytes_to_end != 0; bytes_to_end &= bytes_to_end - 1)
        change = detail::crc32c_product(
            detail::crc32c_zero_bytes[static_cast<std::size_t>(std::countr_zero(bytes_to_end))], change);
    return crc ^ change;
}

/// The CRC that stands at `offset`, lowest byte first (RFC 9260 appendix A).
[[nodiscard]] inline std::uint32_t load_crc32c(byte_span bytes, std::size_t offset) noexcept {
    return boost::endian::endian_reverse(load_be<std::uint32_t>(bytes, offset));
}
inline void store_crc32c(mutable_byte_span bytes, std::size_t offset, std::uint32_t crc) noexcept {
    store_be(bytes, offset, boost::endian::endian_reverse(crc));
}

} // namespace v0_2
} // namespace kubeproxy
