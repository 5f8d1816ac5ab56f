#include "tap_forwarder/link/queue_steering.hpp"

#include "tap_forwarder/link/tap_device.hpp"

#include <gtest/gtest.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace examples::queue_steering_tests {
namespace {

/// Has the calling thread run on these processors only. \return whether there are all of them
bool move_to(std::vector<std::size_t> const& processors) {
    cpu_set_t wanted, got;
    CPU_ZERO(&wanted);
    for (auto const each : processors) CPU_SET(each, &wanted);
    return ::sched_setaffinity(0, sizeof wanted, &wanted) == 0 && ::sched_getaffinity(0, sizeof got, &got) == 0 &&
           CPU_EQUAL(&wanted, &got);
}

TEST(steering_program, is_what_linux_bpf_h_says) {
    auto const load = [](std::size_t offset) {
        return bpf_insn{.code = BPF_LDX | BPF_MEM | BPF_W,
                        .dst_reg = BPF_REG_0,
                        .src_reg = BPF_REG_1,
                        .off = static_cast<short>(offset),
                        .imm = 0};
    };
    auto const other = [](int code, short offset, int immediate) {
        return bpf_insn{
            .code = static_cast<__u8>(code), .dst_reg = BPF_REG_0, .src_reg = 0, .off = offset, .imm = immediate};
    };
    std::vector<bpf_insn> const expected{
        load(offsetof(__sk_buff, len)),
        other(BPF_JMP | BPF_JLE | BPF_K, 4, max_short_frame),
        load(offsetof(__sk_buff, gso_size)),
        other(BPF_JMP | BPF_JLE | BPF_K, 2, 0),
        load(offsetof(__sk_buff, hash)),
        other(BPF_JMP | BPF_EXIT, 0, 0),
        other(BPF_JMP | BPF_CALL, 0, BPF_FUNC_get_smp_processor_id),
        other(BPF_JMP | BPF_EXIT, 0, 0),
    };
    static_assert(sizeof(ebpf::instruction) == sizeof(bpf_insn));
    ASSERT_EQ(steering_program.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_EQ(std::memcmp(&steering_program[i], &expected[i], sizeof(bpf_insn)), 0) << "instruction " << i;
}

TEST(steering_program, is_loaded_as_linux_bpf_h_says) {
    EXPECT_EQ(ebpf::load_command, BPF_PROG_LOAD);
    EXPECT_EQ(ebpf::socket_filter, BPF_PROG_TYPE_SOCKET_FILTER);
    EXPECT_EQ(offsetof(ebpf::load_attributes, type), offsetof(bpf_attr, prog_type));
    EXPECT_EQ(offsetof(ebpf::load_attributes, count), offsetof(bpf_attr, insn_cnt));
    EXPECT_EQ(offsetof(ebpf::load_attributes, instructions), offsetof(bpf_attr, insns));
    EXPECT_EQ(offsetof(ebpf::load_attributes, license), offsetof(bpf_attr, license));
    EXPECT_LE(sizeof(ebpf::load_attributes), sizeof(bpf_attr));
}

TEST(has_processor_for_each, when_there_are_as_many_numbered_from_0) {
    struct row {
        std::vector<std::size_t> allowed;
        std::size_t threads;
        bool expected;
    };
    for (auto const& each :
         {row{{0}, 0, false}, row{{0}, 1, false}, row{{0}, 2, false}, row{{0, 1}, 2, true}, row{{0, 1}, 3, false},
          row{{1}, 2, false}, row{{0, 1, 2}, 2, false}, row{{0, 2}, 2, false}})
        std::thread{[&] {
            if (!move_to(each.allowed)) return; // this machine has not so many
            EXPECT_EQ(has_processor_for_each(each.threads), each.expected)
                << each.threads << " of " << each.allowed.size();
        }}.join();
}

/// A device with two queues in a network namespace that ends with the test's thread, and frames that the host sends.
class steered_device {
  public:
    static constexpr std::size_t mtu = 9000;

    explicit steered_device(queue_choice choice)
        : device_{{.name = "steered", .queues = 2, .mtu = mtu, .choice = choice}}, sender_{::socket(AF_PACKET, SOCK_RAW,
                                                                                                    0)} {
        int const yes = 1;
        ::setsockopt(sender_.number(), SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes);
    }

    [[nodiscard]] tap_device const& device() const noexcept { return device_; }

    /// The queue in which the next frame of ours comes; none: it does not.
    [[nodiscard]] std::optional<std::size_t> queue_of_frame(std::size_t size) const {
        auto frame = to_nobody(size);
        kubeproxy::store_be<std::uint16_t>(frame, vnet_header::size + 12, 0x88b5); // IEEE 802: for local experiments
        return queue_of(frame);
    }
    [[nodiscard]] std::optional<std::size_t> queue_of_super_packet(std::size_t size) const {
        auto frame = to_nobody(size);
        constexpr std::size_t ip = ETH_HLEN, tcp = ip + 20;
        write_vnet(frame, {.flags = vnet_header::needs_checksum,
                           .gso_type = vnet_header::gso_tcpv4,
                           .header_length = tcp + 20,
                           .gso_size = 1000,
                           .checksum_start = tcp,
                           .checksum_offset = 16});
        auto const packet = kubeproxy::mutable_byte_span{frame}.subspan(vnet_header::size);
        kubeproxy::store_be<std::uint16_t>(packet, 12, ETH_P_IP);
        kubeproxy::store_be<std::uint8_t>(packet, ip, 0x45);
        kubeproxy::store_be<std::uint16_t>(packet, ip + 2, static_cast<std::uint16_t>(size - ETH_HLEN));
        kubeproxy::store_be<std::uint16_t>(packet, ip + 6, 0); // no fragment
        kubeproxy::store_be<std::uint8_t>(packet, ip + 9, IPPROTO_TCP);
        kubeproxy::store_be<std::uint8_t>(packet, tcp + 12, 0x50); // 20 bytes of header
        return queue_of(frame);
    }

  private:
    /// \param size without the virtio-net header
    [[nodiscard]] static std::vector<std::byte> to_nobody(std::size_t size) {
        std::vector<std::byte> frame(vnet_header::size + size, std::byte{0xff});
        write_vnet(frame, {});
        return frame;
    }

    [[nodiscard]] std::optional<std::size_t> queue_of(std::vector<std::byte> const& frame) const {
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_ifindex = static_cast<int>(::if_nametoindex("steered"));
        auto const* where = reinterpret_cast<sockaddr const*>(&to);
        if (::sendto(sender_.number(), frame.data(), frame.size(), 0, where, sizeof to) != std::ssize(frame)) {
            ADD_FAILURE() << "sendto: " << std::strerror(errno);
            return std::nullopt;
        }
        std::vector<pollfd> waited;
        for (auto const& queue : device_.queues()) waited.push_back({queue.number(), POLLIN, 0});
        while (::poll(waited.data(), waited.size(), 2000) > 0)
            for (std::size_t i = 0; i < waited.size(); ++i)
                if (reads(waited[i].fd, frame)) return i;
        return std::nullopt;
    }
    /// The host has frames of its own to send, too.
    [[nodiscard]] static bool reads(int queue, std::vector<std::byte> const& frame) {
        std::vector<std::byte> got(vnet_header::size + mtu + ETH_HLEN);
        if (::read(queue, got.data(), got.size()) != std::ssize(frame)) return false;
        return std::equal(frame.begin() + vnet_header::size, frame.end(), got.begin() + vnet_header::size);
    }

    tap_device device_;
    file_descriptor sender_;
};

/// Calls f() on a thread with a network of its own. \return why it cannot
std::string in_own_network(std::function<void()> const& f) {
    std::string why;
    std::thread{[&] {
        if (::unshare(CLONE_NEWNET) != 0)
            why = std::string{"a network namespace: "} + std::strerror(errno);
        else if (::access("/dev/net/tun", R_OK | W_OK) != 0)
            why = std::string{"/dev/net/tun: "} + std::strerror(errno);
        else
            f();
    }}.join();
    return why;
}

TEST(queue_steering, frames_come_in_their_senders_queue_and_super_packets_in_their_flows) {
    std::string refusal;
    auto const why = in_own_network([&] {
        steered_device const tap{queue_choice::processor};
        refusal = tap.device().steering().refusal();
        EXPECT_EQ(tap.device().steering().is_on(), refusal.empty());
        if (!refusal.empty()) return;
        for (std::size_t const processor : {0u, 1u, 0u, 1u}) {
            if (!move_to({processor})) continue;
            EXPECT_EQ(tap.queue_of_frame(60), processor);
            EXPECT_EQ(tap.queue_of_frame(max_short_frame + 1), processor) << "it may be a fragment";
            EXPECT_EQ(tap.queue_of_super_packet(max_short_frame), processor);
            EXPECT_EQ(tap.queue_of_super_packet(max_short_frame + 1), 0u) << "these have no hash";
        }
    });
    if (!why.empty()) GTEST_SKIP() << why;
    if (!refusal.empty()) GTEST_SKIP() << "bpf: " << refusal;
}

TEST(queue_steering, the_kernels_choice_is_left_to_it) {
    auto const why = in_own_network([] {
        steered_device const tap{queue_choice::kernel};
        EXPECT_FALSE(tap.device().steering().is_on());
        EXPECT_EQ(tap.device().steering().refusal(), "");
        auto const first = tap.queue_of_frame(60);
        EXPECT_TRUE(first);
        for (std::size_t const processor : {0u, 1u})
            if (move_to({processor})) {
                EXPECT_EQ(tap.queue_of_frame(60), first) << "it goes by the flow";
            }
    });
    if (!why.empty()) GTEST_SKIP() << why;
}

TEST(queue_steering, a_descriptor_that_is_no_device_is_refused_with_a_reason) {
    queue_steering const steering{file_descriptor{::open("/dev/null", O_RDWR | O_CLOEXEC)}};
    EXPECT_FALSE(steering.is_on());
    EXPECT_NE(steering.refusal(), "");
}

} // namespace
} // namespace examples::queue_steering_tests
