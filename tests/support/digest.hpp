#pragma once

#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <ostream>
#include <span>

namespace kubeproxy::testing_support {

/// What a test made, as one number (FNV-1a), so that it can be compared with what another machine made.
class digest {
  public:
    void add(std::span<std::byte const> bytes) {
        for (auto const byte : bytes) add(std::to_integer<std::uint8_t>(byte));
    }
    void add(std::uint8_t byte) { value_ = (value_ ^ byte) * 0x100'0000'01b3u; }

    friend std::ostream& operator<<(std::ostream& out, digest const& d) {
        return out << std::hex << std::setw(16) << std::setfill('0') << d.value_ << std::dec << std::setfill(' ');
    }

  private:
    std::uint64_t value_ = 0xcbf2'9ce4'8422'2325;
};

} // namespace kubeproxy::testing_support
