#pragma once

#include "support/startup_error.hpp"

#include "kubeproxy/wire/bytes.hpp"

#include <sys/mman.h>
#include <xdp/xsk.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <system_error>
#include <vector>

/// Memory that the program shares with the kernel (Linux, Documentation/networking/af_xdp.rst).
namespace examples::xdp {

/// An interface, a socket or an eBPF object is unavailable.
class setup_error : public startup_error {
  public:
    using startup_error::startup_error;
    /// \param number a positive errno
    setup_error(std::string const& what, int number)
        : startup_error{what + ": " + std::generic_category().message(number)} {}
};

/// Frames of one size, and which of them nobody holds: neither the kernel nor a packet of ours.
///
///     | what the driver wants, 256 | headroom | Ethernet | IP packet … | to the end of the frame |
class frame_memory {
  public:
    static constexpr std::size_t frame_size = 4096;
    static constexpr std::size_t headroom = 128; ///< for a longer IP header, an ICMP error, Ethernet

    explicit frame_memory(std::size_t frames) : size_{frames * frame_size} {
        constexpr int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
        auto* const start = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, how, -1, 0);
        if (start == MAP_FAILED) throw std::bad_alloc{};
        start_ = static_cast<std::byte*>(start);
        free_.reserve(frames);
        for (std::size_t i = frames; i > 0; --i) free_.push_back((i - 1) * frame_size);
    }
    frame_memory(frame_memory const&) = delete;
    frame_memory& operator=(frame_memory const&) = delete;
    ~frame_memory() { ::munmap(start_, size_); }

    [[nodiscard]] kubeproxy::mutable_byte_span all() const noexcept { return {start_, size_}; }
    [[nodiscard]] kubeproxy::mutable_byte_span frame(std::uint64_t address) const noexcept {
        return all().subspan(first_of(address), frame_size);
    }
    /// Of the frame that an address lies in.
    [[nodiscard]] static constexpr std::uint64_t first_of(std::uint64_t address) noexcept {
        return address / frame_size * frame_size;
    }

    [[nodiscard]] std::size_t available() const noexcept { return free_.size(); }
    /// The one given back last: it is still in the cache. \pre available() != 0
    [[nodiscard]] std::uint64_t take() noexcept {
        assert(!free_.empty());
        auto const address = free_.back();
        free_.pop_back();
        return address;
    }
    /// \param address anywhere in the frame
    void give_back(std::uint64_t address) noexcept {
        assert(free_.size() < free_.capacity());
        free_.push_back(first_of(address));
    }

  private:
    std::size_t size_;
    std::byte* start_ = nullptr;
    std::vector<std::uint64_t> free_;
};

/// The kernel's side of the memory. It is bound with its first socket.
class umem {
  public:
    static constexpr std::uint32_t ring_size = 2048;

    explicit umem(frame_memory const& memory) {
        xsk_umem_config const config{.fill_size = ring_size,
                                     .comp_size = ring_size,
                                     .frame_size = frame_memory::frame_size,
                                     .frame_headroom = frame_memory::headroom,
                                     .flags = 0};
        auto const bytes = memory.all();
        if (auto const wrong = xsk_umem__create(&umem_, bytes.data(), bytes.size(), &fill, &completion, &config))
            throw setup_error{"an AF_XDP UMEM (needs CAP_NET_RAW, CAP_BPF and CAP_NET_ADMIN)", -wrong};
    }
    umem(umem const&) = delete;
    umem& operator=(umem const&) = delete;
    ~umem() { xsk_umem__delete(umem_); }

    [[nodiscard]] xsk_umem* get() const noexcept { return umem_; }

    xsk_ring_prod fill{}; ///< of the first socket
    xsk_ring_cons completion{};

  private:
    xsk_umem* umem_ = nullptr;
};

} // namespace examples::xdp
