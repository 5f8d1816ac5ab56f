#pragma once

#include "support/ethernet.hpp"
#include "xdp_forwarder/program.hpp"
#include "xdp_forwarder/socket.hpp"
#include "xdp_forwarder/umem.hpp"

#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace examples::xdp {

/// What the kernel says of an interface.
struct interface_facts {
    std::string name;
    unsigned index = 0;
    mac_address mac{};
    std::size_t mtu = 0;
    bool is_of_local_pods = false; ///< only packets of local pods arrive here
};

/// \throws setup_error
[[nodiscard]] inline interface_facts facts_of(std::string const& name) {
    constexpr std::size_t max_mtu = frame_memory::frame_size - 256 - frame_memory::headroom - ethernet_header::size - 4;
    file_descriptor const any{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    ifreq request{};
    if (name.empty() || name.size() >= sizeof request.ifr_name) throw setup_error{name + ": no name of an interface"};
    std::ranges::copy(name, request.ifr_name);
    interface_facts facts{.name = name, .index = ::if_nametoindex(name.c_str())};
    if (facts.index == 0 || ::ioctl(any.number(), SIOCGIFMTU, &request) != 0) throw setup_error{name, errno};
    facts.mtu = static_cast<std::size_t>(request.ifr_mtu);
    if (::ioctl(any.number(), SIOCGIFHWADDR, &request) != 0) throw setup_error{name, errno};
    for (std::size_t i = 0; i < facts.mac.size(); ++i)
        facts.mac[i] = static_cast<std::byte>(request.ifr_hwaddr.sa_data[i]);
    if (facts.mtu > max_mtu)
        throw setup_error{name + ": an MTU of " + std::to_string(facts.mtu) + " does not fit a frame, which takes " +
                          std::to_string(max_mtu)};
    return facts;
}

/// All interfaces, their sockets over one memory, and the programs that feed them.
class interfaces {
  public:
    interfaces(std::vector<interface_facts> facts, std::uint32_t queues, transfer how)
        : facts_{std::move(facts)}, memory_{facts_.size() * queues * socket::max_frames + spare_frames},
          shared_{memory_}, how_{how} {
        for (std::uint32_t link = 0; link < facts_.size(); ++link) {
            auto const& f = facts_[link];
            auto& program = programs_.emplace_back(f.name, f.index, queues);
            for (std::uint32_t queue = 0; queue < queues; ++queue) {
                sockets_.emplace_back(memory_, shared_, f.name, link, queue, how);
                sockets_.back().set_of_local_pods(f.is_of_local_pods);
                program.give(queue, sockets_.back().number());
            }
        }
    }

    [[nodiscard]] std::vector<interface_facts> const& facts() const noexcept { return facts_; }
    [[nodiscard]] frame_memory& memory() noexcept { return memory_; }
    [[nodiscard]] std::deque<socket>& sockets() noexcept { return sockets_; }
    /// The socket that packets of a queue leave by on another link.
    [[nodiscard]] socket& leaving_by(std::uint32_t link, std::size_t queue) noexcept {
        auto const queues = sockets_.size() / facts_.size();
        return sockets_[link * queues + queue % queues];
    }
    [[nodiscard]] transfer how() const noexcept { return how_; }
    [[nodiscard]] bool is_in_driver(std::size_t link) const noexcept { return programs_[link].is_in_driver(); }

  private:
    /// For packets that become several.
    static constexpr std::size_t spare_frames = 256;

    std::vector<interface_facts> facts_;
    frame_memory memory_;
    umem shared_;
    transfer how_;
    std::deque<attached_program> programs_;
    std::deque<socket> sockets_;
};

/// Without copies where all drivers can, else with them.
[[nodiscard]] inline std::unique_ptr<interfaces> open_interfaces(std::vector<interface_facts> const& facts,
                                                                 std::uint32_t queues, bool must_copy) {
    if (!must_copy) {
        try {
            return std::make_unique<interfaces>(facts, queues, transfer::zero_copy);
        } catch (setup_error const&) { // most virtual devices
        }
    }
    return std::make_unique<interfaces>(facts, queues, transfer::copy);
}

} // namespace examples::xdp
