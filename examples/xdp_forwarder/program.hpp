#pragma once

#include "support/file_descriptor.hpp"
#include "xdp_forwarder/umem.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace examples::xdp {

/// Instructions of eBPF (RFC 9669) one after the other, with jumps forward to names.
class assembler {
  public:
    enum reg : unsigned { r0, r1, r2, r3, r4, r5, r6 };

    void load(unsigned size, reg to, reg from, int offset) { put(BPF_LDX | BPF_MEM | size, to, from, offset, 0); }
    void move(reg to, reg from) { put(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
    void set(reg to, int value) { put(BPF_ALU64 | BPF_MOV | BPF_K, to, r0, 0, value); }
    void add(reg to, int value) { put(BPF_ALU64 | BPF_ADD | BPF_K, to, r0, 0, value); }
    /// To where `what` is compared with a number, or with a register.
    void jump_if(unsigned comparison, reg what, int value, std::string_view target) {
        jumps_.emplace_back(code_.size(), target);
        put(BPF_JMP | comparison | BPF_K, what, r0, 0, value);
    }
    void jump_if(unsigned comparison, reg what, reg with, std::string_view target) {
        jumps_.emplace_back(code_.size(), target);
        put(BPF_JMP | comparison | BPF_X, what, with, 0, 0);
    }
    void load_map(reg to, int map) { // two instructions' room
        put(BPF_LD | BPF_DW | BPF_IMM, to, static_cast<reg>(BPF_PSEUDO_MAP_FD), 0, map);
        put(0, r0, r0, 0, 0);
    }
    void call(int function) { put(BPF_JMP | BPF_CALL, r0, r0, 0, function); }
    void exit() { put(BPF_JMP | BPF_EXIT, r0, r0, 0, 0); }
    /// Jumps to this name come here.
    void label(std::string_view name) {
        for (auto const& [at, target] : jumps_)
            if (target == name) code_[at].off = static_cast<__s16>(code_.size() - at - 1);
    }
    [[nodiscard]] std::vector<bpf_insn> const& code() const noexcept { return code_; }

  private:
    void put(unsigned code, reg to, reg from, int offset, int value) {
        bpf_insn next{};
        next.code = static_cast<__u8>(code);
        next.dst_reg = to & 15u;
        next.src_reg = from & 15u;
        next.off = static_cast<__s16>(offset);
        next.imm = value;
        code_.push_back(next);
    }
    std::vector<bpf_insn> code_;
    std::vector<std::pair<std::size_t, std::string_view>> jumps_;
};

/// IP packets to one station go to the socket of their queue. By what others find our address, ARP and neighbour
/// discovery, stays the kernel's, and so do all groups, and a queue without a socket.
[[nodiscard]] inline std::vector<bpf_insn> redirect_program(int sockets) {
    using enum assembler::reg;
    constexpr int data = 0, data_end = 4, rx_queue = 16;                        // of xdp_md
    constexpr int type = 12, ethernet = 14, next_header = 20, icmpv6_type = 54; // of the frame
    constexpr int icmpv6 = 58, router_solicitation = 133, redirect = 137;       // RFC 4861 section 4
    assembler p;
    p.load(BPF_W, r2, r1, data);
    p.load(BPF_W, r3, r1, data_end);
    p.load(BPF_W, r6, r1, rx_queue);
    p.move(r4, r2);
    p.add(r4, ethernet);
    p.jump_if(BPF_JGT, r4, r3, "pass");
    p.load(BPF_B, r5, r2, 0);
    p.jump_if(BPF_JSET, r5, 1, "pass");
    p.load(BPF_H, r5, r2, type);
    p.jump_if(BPF_JEQ, r5, htons(0x0800), "redirect");
    p.jump_if(BPF_JNE, r5, htons(0x86dd), "pass");
    p.move(r4, r2);
    p.add(r4, icmpv6_type + 1);
    p.jump_if(BPF_JGT, r4, r3, "redirect");
    p.load(BPF_B, r5, r2, next_header);
    p.jump_if(BPF_JNE, r5, icmpv6, "redirect");
    p.load(BPF_B, r5, r2, icmpv6_type);
    p.jump_if(BPF_JLT, r5, router_solicitation, "redirect");
    p.jump_if(BPF_JLE, r5, redirect, "pass");
    p.label("redirect");
    p.load_map(r1, sockets);
    p.move(r2, r6);
    p.set(r3, XDP_PASS);
    p.call(BPF_FUNC_redirect_map);
    p.exit();
    p.label("pass");
    p.set(r0, XDP_PASS);
    p.exit();
    return p.code();
}

/// The program on an interface, in its driver where that can; gone with this object, however the process ends.
class attached_program {
  public:
    attached_program(std::string const& interface, unsigned index, std::uint32_t queues)
        : sockets_{bpf_map_create(BPF_MAP_TYPE_XSKMAP, "kubeproxy_xsks", sizeof(int), sizeof(int), queues, nullptr)} {
        if (!sockets_) throw setup_error{"an XSK map", errno};
        auto const code = redirect_program(sockets_.number());
        program_ = file_descriptor{
            bpf_prog_load(BPF_PROG_TYPE_XDP, "kubeproxy_redir", "GPL", code.data(), code.size(), nullptr)};
        if (!program_) throw setup_error{"an XDP program", errno};
        link_ = attach(index, XDP_FLAGS_DRV_MODE);
        is_in_driver_ = static_cast<bool>(link_);
        if (!link_) link_ = attach(index, XDP_FLAGS_SKB_MODE);
        if (!link_) throw setup_error{interface + ": an XDP program cannot be attached", errno};
    }

    [[nodiscard]] bool is_in_driver() const noexcept { return is_in_driver_; }
    void give(std::uint32_t queue, int socket) {
        if (bpf_map_update_elem(sockets_.number(), &queue, &socket, BPF_ANY) != 0)
            throw setup_error{"the XSK map's queue " + std::to_string(queue), errno};
    }

  private:
    [[nodiscard]] file_descriptor attach(unsigned index, unsigned mode) const {
        bpf_link_create_opts options{};
        options.sz = sizeof options;
        options.flags = mode;
        return file_descriptor{bpf_link_create(program_.number(), static_cast<int>(index), BPF_XDP, &options)};
    }

    file_descriptor sockets_;
    file_descriptor program_;
    file_descriptor link_;
    bool is_in_driver_ = false;
};

} // namespace examples::xdp
