// A packet type of one's own: a frame in a growing string, with room made when a translation asks for it.

#include "datagram.hpp"

#include <kubeproxy/control/controller.hpp>
#include <kubeproxy/kubeproxy.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <vector>

/// The bytes lie at the end of their memory. What grows in front takes from the room, which this host says how much of
/// there is.
class my_packet {
  public:
    explicit my_packet(std::span<std::byte const> bytes) : memory_(front_room + bytes.size()), front_{front_room} {
        std::ranges::copy(bytes, memory_.begin() + front_room);
    }
    kubeproxy::mutable_byte_span bytes() noexcept { return std::span{memory_}.subspan(front_); }
    std::size_t headroom() const noexcept { return front_; }
    void grow_front(std::size_t n) noexcept { front_ -= n; }
    void shrink_front(std::size_t n) noexcept { front_ += n; }
    void truncate(std::size_t size) noexcept { memory_.resize(front_ + size); }

    int arrived_on = 0; // whatever the host wants to know of it

  private:
    static constexpr std::size_t front_room = 128;
    std::vector<std::byte> memory_;
    std::size_t front_;
};
static_assert(kubeproxy::packet_buffer<my_packet>);
static_assert(kubeproxy::proxy<my_packet>::headroom <= 128, "IPv4 to IPv6, and answers, find room");

int main() {
    using namespace kubeproxy;
    service_source services;
    controller control{services};
    (void)control.apply("ku vip 10.96.0.1/32 port 80 target_port 8080 nat6\nku pod 10.96.0.1/32 2001:db8::7");
    flow_table flows{{.narrow = 1024, .wide = 1024}, secret::from_system()};
    proxy<my_packet> proxy{flows, services};

    auto const memory = datagram(1, 0x0a600001, 80);
    my_packet packet{std::span{memory}.subspan(room)};
    packet.arrived_on = 3;
    std::size_t size = 0;
    proxy.process(std::span{&packet, 1}, std::chrono::seconds{0}, [&](my_packet& p, outcome const& o) {
        size = p.bytes().size();
        std::cout << name(o.what.what()) << " to " << to_text(ipv6_view{p.bytes()}.destination()) << ", " << size
                  << " bytes, from interface " << p.arrived_on << '\n';
    });
    return size == datagram_size + 20 ? 0 : 1; // RFC 7915: a header of 40 bytes for one of 20
}
