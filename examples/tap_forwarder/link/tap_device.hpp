#pragma once

#include "support/file_descriptor.hpp"
#include "tap_forwarder/link/queue_steering.hpp"
#include "tap_forwarder/link/vnet_header.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Since Linux 6.2.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace examples {

/// A device cannot be had: the reason, in one line.
class device_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The thread in another network namespace, as long as this lives.
class visit_namespace {
  public:
    /// \param name of `ip netns`; empty: stay
    explicit visit_namespace(std::string const& name) {
        if (name.empty()) return;
        home_ = file_descriptor{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
        file_descriptor const there{::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC)};
        if (!there || ::setns(there.number(), CLONE_NEWNET) != 0)
            throw device_error{"network namespace " + name + ": " + std::strerror(errno)};
    }
    visit_namespace(visit_namespace const&) = delete;
    visit_namespace& operator=(visit_namespace const&) = delete;
    ~visit_namespace() {
        if (home_) static_cast<void>(::setns(home_.number(), CLONE_NEWNET));
    }

  private:
    file_descriptor home_;
};

/// How a TAP device is to be had.
struct tap_request {
    std::string name;
    std::string netns{}; ///< of `ip netns`; empty: this one
    std::size_t queues = 1;
    std::size_t mtu = 1500;                     ///< of a device that is created
    queue_choice choice = queue_choice::kernel; ///< where there are several; else than the kernel's as far as it allows
};

/// The queues of a TAP device, one for each worker, with checksums and segmentation left to whoever is next. A device
/// that is not there is created, and goes when this goes; one that is there is attached to, and stays. It may be moved
/// to another network namespace meanwhile.
class tap_device {
  public:
    explicit tap_device(tap_request const& request) : name_{request.name} {
        if (name_.empty() || name_.size() >= IFNAMSIZ)
            throw device_error{"a name of a device has 1 to " + std::to_string(IFNAMSIZ - 1) + " characters"};
        visit_namespace const there{request.netns};
        file_descriptor const socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        is_created_ = !is_there(socket);
        for (std::size_t i = 0; i < request.queues; ++i) queues_.push_back(open_queue(request.queues > 1));
        if (request.queues > 1) choose(request.choice);
        if (is_created_) bring_up(socket, request.mtu);
    }

    [[nodiscard]] std::string const& name() const noexcept { return name_; }
    [[nodiscard]] bool is_created() const noexcept { return is_created_; }
    [[nodiscard]] bool has_udp_segmentation() const noexcept { return has_udp_segmentation_; }
    /// Of frames to queues, by their sender's processor.
    [[nodiscard]] queue_steering const& steering() const noexcept { return steering_; }
    [[nodiscard]] std::span<file_descriptor const> queues() const noexcept { return queues_; }

  private:
    [[nodiscard]] ifreq named() const noexcept {
        ifreq request{};
        name_.copy(request.ifr_name, IFNAMSIZ - 1);
        return request;
    }
    [[nodiscard]] bool is_there(file_descriptor const& socket) const {
        auto request = named();
        return ::ioctl(socket.number(), SIOCGIFFLAGS, &request) == 0;
    }

    [[nodiscard]] file_descriptor open_queue(bool is_one_of_several) {
        file_descriptor queue{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
        if (!queue) throw device_error{std::string{"/dev/net/tun: "} + std::strerror(errno)};
        auto request = named();
        constexpr int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        request.ifr_flags = static_cast<short>(is_one_of_several ? flags | IFF_MULTI_QUEUE : flags);
        int result = ::ioctl(queue.number(), TUNSETIFF, &request);
        if (result != 0 && errno == EINVAL && !is_one_of_several && !is_created_) { // it was made with several
            request.ifr_flags = static_cast<short>(flags | IFF_MULTI_QUEUE);
            result = ::ioctl(queue.number(), TUNSETIFF, &request);
        }
        if (result != 0) throw device_error{reason(errno)};
        set_up(queue);
        return queue;
    }
    [[nodiscard]] std::string reason(int error) const {
        switch (error) {
        case EBUSY: return "the name is in use by another program";
        case EPERM: return "no permission (CAP_NET_ADMIN is needed)";
        case EINVAL: return "the name is in use by a device that is no TAP, or has another number of queues";
        case E2BIG: return "too many queues";
        default: return std::strerror(error);
        }
    }

    void set_up(file_descriptor const& queue) {
        int header = vnet_header::size, little_endian = 1;
        if (::ioctl(queue.number(), TUNSETVNETHDRSZ, &header) != 0 ||
            ::ioctl(queue.number(), TUNSETVNETLE, &little_endian) != 0)
            throw device_error{std::string{"virtio-net headers: "} + std::strerror(errno)};
        constexpr unsigned long plain = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        has_udp_segmentation_ = ::ioctl(queue.number(), TUNSETOFFLOAD, plain | TUN_F_USO4 | TUN_F_USO6) == 0;
        if (!has_udp_segmentation_ && ::ioctl(queue.number(), TUNSETOFFLOAD, plain) != 0)
            throw device_error{std::string{"offloads: "} + std::strerror(errno)};
    }

    void choose(queue_choice choice) {
        switch (choice) {
        case queue_choice::kernel: return queue_steering::clear(queues_.front());
        case queue_choice::processor: steering_ = queue_steering{queues_.front()};
        }
    }

    void bring_up(file_descriptor const& socket, std::size_t mtu) const {
        auto request = named();
        request.ifr_mtu = static_cast<int>(mtu);
        if (::ioctl(socket.number(), SIOCSIFMTU, &request) != 0)
            throw device_error{"MTU " + std::to_string(mtu) + ": " + std::strerror(errno)};
        request = named();
        request.ifr_flags = IFF_UP | IFF_RUNNING;
        if (::ioctl(socket.number(), SIOCSIFFLAGS, &request) != 0) throw device_error{std::strerror(errno)};
    }

    std::string name_;
    bool is_created_ = false;
    bool has_udp_segmentation_ = false;
    std::vector<file_descriptor> queues_;
    queue_steering steering_;
};

} // namespace examples
