#pragma once

#include "xdp_forwarder/packet.hpp"
#include "xdp_forwarder/umem.hpp"

#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace examples::xdp {

/// Whether frames go between the device and our memory without a copy.
enum class transfer : std::uint8_t { zero_copy, copy };

/// An AF_XDP socket: one queue of one interface, and its four rings.
///
///     free frames ─▶ fill ──▶ device ──▶ receive ─▶ packets
///     free frames ◀─ completion ◀── device ◀── transmit ◀─ packets
class socket {
  public:
    static constexpr std::uint32_t ring_size = umem::ring_size;
    /// Frames that one socket can have in its rings.
    static constexpr std::size_t max_frames = 2 * std::size_t{ring_size};

    /// The sockets of one memory are made one after the other; the first has the memory's own rings.
    socket(frame_memory& memory, umem& shared, std::string const& interface, std::uint32_t link, std::uint32_t queue,
           transfer how)
        : memory_{&memory}, fill_{queue == 0 && link == 0 ? &shared.fill : &own_fill_},
          completion_{queue == 0 && link == 0 ? &shared.completion : &own_completion_}, link_{link} {
        xsk_socket_config config{};
        config.rx_size = config.tx_size = ring_size;
        config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
        config.bind_flags =
            static_cast<__u16>(XDP_USE_NEED_WAKEUP | (how == transfer::zero_copy ? XDP_ZEROCOPY : XDP_COPY));
        auto const wrong = xsk_socket__create_shared(&socket_, interface.c_str(), queue, shared.get(), &receive_,
                                                     &transmit_, fill_, completion_, &config);
        if (wrong != 0) throw setup_error{interface + ": an AF_XDP socket on queue " + std::to_string(queue), -wrong};
        refill();
    }
    socket(socket const&) = delete;
    socket& operator=(socket const&) = delete;
    ~socket() { xsk_socket__delete(socket_); }

    /// Packets that arrive here come from local pods (detectLocalMode of the node file).
    void set_of_local_pods(bool is) noexcept { is_of_local_pods_ = is; }
    [[nodiscard]] int number() const noexcept { return xsk_socket__fd(socket_); }

    /// As many packets as have come, at most those that there is room for. \return how many
    [[nodiscard]] std::size_t receive(std::span<packet> room) noexcept {
        std::uint32_t first = 0;
        auto const count = xsk_ring_cons__peek(&receive_, static_cast<std::uint32_t>(room.size()), &first);
        for (std::uint32_t i = 0; i < count; ++i) {
            auto const& frame = *xsk_ring_cons__rx_desc(&receive_, first + i);
            room[i] = packet{*memory_, frame.addr, frame.len, link_};
            room[i].set_from_local_pod(is_of_local_pods_);
        }
        if (count != 0) xsk_ring_cons__release(&receive_, count);
        return count;
    }
    /// \return whether there was room; else the packet still is the caller's. It leaves with flush().
    [[nodiscard]] bool send(packet const& p) noexcept {
        std::uint32_t at = 0;
        if (xsk_ring_prod__reserve(&transmit_, 1, &at) == 0) return false;
        auto& frame = *xsk_ring_prod__tx_desc(&transmit_, at);
        frame.addr = p.address();
        frame.len = static_cast<std::uint32_t>(p.frame().size());
        frame.options = 0;
        xsk_ring_prod__submit(&transmit_, 1);
        ++leaving_;
        return true;
    }
    /// Wakes the device where it wants that, and takes back what it has sent.
    void flush() noexcept {
        if (leaving_ == 0) return;
        if (xsk_ring_prod__needs_wakeup(&transmit_) != 0)
            static_cast<void>(::sendto(number(), nullptr, 0, MSG_DONTWAIT, nullptr, 0));
        std::uint32_t first = 0;
        auto const count = xsk_ring_cons__peek(completion_, ring_size, &first);
        for (std::uint32_t i = 0; i < count; ++i) memory_->give_back(*xsk_ring_cons__comp_addr(completion_, first + i));
        if (count != 0) xsk_ring_cons__release(completion_, count);
        leaving_ -= count;
    }
    /// Gives the device frames to receive into.
    void refill() noexcept {
        auto const wanted =
            std::min(xsk_prod_nb_free(fill_, ring_size), static_cast<std::uint32_t>(memory_->available()));
        std::uint32_t first = 0;
        if (wanted == 0 || xsk_ring_prod__reserve(fill_, wanted, &first) == 0) return;
        for (std::uint32_t i = 0; i < wanted; ++i) *xsk_ring_prod__fill_addr(fill_, first + i) = memory_->take();
        xsk_ring_prod__submit(fill_, wanted);
        if (xsk_ring_prod__needs_wakeup(fill_) != 0)
            static_cast<void>(::recvfrom(number(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr));
    }
    [[nodiscard]] bool is_sending() const noexcept { return leaving_ != 0; }

  private:
    frame_memory* memory_;
    xsk_ring_prod own_fill_{};
    xsk_ring_cons own_completion_{};
    xsk_ring_prod* fill_;
    xsk_ring_cons* completion_;
    xsk_ring_cons receive_{};
    xsk_ring_prod transmit_{};
    xsk_socket* socket_ = nullptr;
    std::size_t leaving_ = 0;
    std::uint32_t link_;
    bool is_of_local_pods_ = false;
};

} // namespace examples::xdp
