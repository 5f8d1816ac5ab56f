#pragma once

#include "support/file_descriptor.hpp"

#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

// Since Linux 4.16.
#ifndef TUNSETSTEERINGEBPF
#define TUNSETSTEERINGEBPF _IOR('T', 224, int)
#endif

/// Which queue of a TAP device a frame comes out of, and which processor the thread that reads it runs on.
namespace examples {

/// Who chooses the queue of a frame.
enum class queue_choice : std::uint8_t {
    kernel,   ///< the queue that the frame's flow was last written to
    processor ///< the one of the processor that sends it, whose number is the queue's
};

/// Whether a process with `threads` threads, several, has a processor for each: those it may run on are 0 to
/// threads - 1. Then thread i belongs on processor i, and frames of processor i in queue i.
[[nodiscard]] inline bool has_processor_for_each(std::size_t threads) noexcept {
    cpu_set_t allowed;
    if (threads < 2 || ::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
    if (static_cast<std::size_t>(CPU_COUNT(&allowed)) != threads) return false;
    for (std::size_t i = 0; i < threads; ++i)
        if (!CPU_ISSET(i, &allowed)) return false;
    return true;
}

/// linux/bpf.h by hand: both it and pcap/bpf.h define a bpf_insn, so a file cannot have both.
namespace ebpf {

struct instruction {
    std::uint8_t code;
    std::uint8_t registers; ///< 4 bits each: the one written or compared, the one read
    std::int16_t offset;
    std::int32_t immediate;
};

/// bpf(2)'s argument to load a program, as far as it is used.
struct load_attributes {
    std::uint32_t type;
    std::uint32_t count; ///< of instructions
    std::uint64_t instructions;
    std::uint64_t license;
    std::array<std::uint32_t, 4> rest{}; ///< no log of the verifier, any version
};

inline constexpr int load_command = 5;            // BPF_PROG_LOAD
inline constexpr std::uint32_t socket_filter = 1; // BPF_PROG_TYPE_SOCKET_FILTER, which TUNSETSTEERINGEBPF wants

/// Of a socket filter's argument, struct __sk_buff.
inline constexpr std::int16_t length_offset = 0, hash_offset = 68, gso_size_offset = 176;

/// r0 = the field of 4 bytes at r1 + offset; r1 is the argument.
[[nodiscard]] constexpr instruction load_field(std::int16_t offset) noexcept {
    constexpr bool is_little = std::endian::native == std::endian::little;
    return {0x61, is_little ? 0x10 : 0x01, offset, 0}; // BPF_LDX | BPF_MEM | BPF_W
}
/// Passes over so many instructions if r0 <= value.
[[nodiscard]] constexpr instruction skip_if_at_most(std::int32_t value, std::int16_t instructions) noexcept {
    return {0xb5, 0, instructions, value}; // BPF_JMP | BPF_JLE | BPF_K
}
/// r0 = bpf_get_smp_processor_id()
[[nodiscard]] constexpr instruction call_processor_number() noexcept {
    return {0x85, 0, 0, 8}; // BPF_JMP | BPF_CALL, BPF_FUNC_get_smp_processor_id
}
/// Returns r0.
[[nodiscard]] constexpr instruction leave() noexcept {
    return {0x95, 0, 0, 0}; // BPF_JMP | BPF_EXIT
}

} // namespace ebpf

/// A super-packet that is longer is one of a bulk stream.
inline constexpr std::int32_t max_short_frame = 4096;

/// What it returns is the frame's queue; the device takes it modulo the number of its queues. A frame goes where its
/// sender runs, so that none wakes a thread on another processor. A bulk stream goes by its hash instead, so that it
/// keeps its thread wherever its sender runs, and both work at once; without a hash, 0, that thread is the first. A
/// long frame that is no super-packet may be a fragment, and belongs with the short one that ends its message.
inline constexpr std::array steering_program{
    ebpf::load_field(ebpf::length_offset),     // 0
    ebpf::skip_if_at_most(max_short_frame, 4), // 1: to 6
    ebpf::load_field(ebpf::gso_size_offset),   // 2
    ebpf::skip_if_at_most(0, 2),               // 3: no super-packet, to 6
    ebpf::load_field(ebpf::hash_offset),       // 4
    ebpf::leave(),                             // 5
    ebpf::call_processor_number(),             // 6
    ebpf::leave(),                             // 7
};

/// Has frames of a TAP device go to the queue of their sender's processor, as long as this lives.
class queue_steering {
  public:
    queue_steering() = default;
    /// \param queue any of the device's; outlives this
    explicit queue_steering(file_descriptor const& queue) {
        ebpf::load_attributes const attributes{
            .type = ebpf::socket_filter,
            .count = steering_program.size(),
            .instructions = reinterpret_cast<std::uintptr_t>(steering_program.data()),
            .license = reinterpret_cast<std::uintptr_t>(""), // what it calls is not for GPL programs only
        };
        file_descriptor const program{
            static_cast<int>(::syscall(SYS_bpf, ebpf::load_command, &attributes, sizeof attributes))};
        if (program && set(queue.number(), program.number()))
            queue_ = queue.number();
        else
            refusal_ = std::strerror(errno);
    }
    queue_steering(queue_steering&& other) noexcept
        : queue_{std::exchange(other.queue_, -1)}, refusal_{std::move(other.refusal_)} {}
    queue_steering& operator=(queue_steering&& other) noexcept {
        std::swap(queue_, other.queue_);
        std::swap(refusal_, other.refusal_);
        return *this;
    }
    ~queue_steering() {
        if (queue_ >= 0) static_cast<void>(set(queue_, -1));
    }

    [[nodiscard]] bool is_on() const noexcept { return queue_ >= 0; }
    /// Why it was asked for and is not on.
    [[nodiscard]] std::string const& refusal() const noexcept { return refusal_; }

    /// Takes away what a process that was killed has left on a device.
    static void clear(file_descriptor const& queue) noexcept { static_cast<void>(set(queue.number(), -1)); }

  private:
    /// The device holds the program itself.
    [[nodiscard]] static bool set(int queue, int program) noexcept {
        return ::ioctl(queue, TUNSETSTEERINGEBPF, &program) == 0;
    }

    int queue_ = -1;
    std::string refusal_;
};

} // namespace examples
