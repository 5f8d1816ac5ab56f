// One service, one burst: what a host does with the library. Each packet starts at its IP header.

#include <kubeproxy/control/controller.hpp>
#include <kubeproxy/kubeproxy.hpp>

#include <array>
#include <chrono>
#include <iostream>

namespace {

/// A UDP datagram from 192.0.2.1:4711 with four bytes of data, in memory with room before it.
class datagram {
  public:
    static constexpr std::size_t headroom = 128, size = 32;

    datagram(std::array<unsigned char, 4> destination, unsigned char port) {
        std::array<unsigned char, size> const bytes{0x45,
                                                    0,
                                                    0,
                                                    size,
                                                    0,
                                                    1,
                                                    0x40,
                                                    0,
                                                    64,
                                                    17,
                                                    0,
                                                    0,
                                                    192,
                                                    0,
                                                    2,
                                                    1, // IPv4, RFC 791; the header checksum
                                                    destination[0],
                                                    destination[1],
                                                    destination[2],
                                                    destination[3], // is not looked at for NAT44
                                                    0x12,
                                                    0x67,
                                                    0,
                                                    port,
                                                    0,
                                                    12,
                                                    0,
                                                    0,
                                                    'd',
                                                    'a',
                                                    't',
                                                    'a'}; // UDP without a checksum, RFC 768
        for (std::size_t i = 0; i < size; ++i) memory[headroom + i] = std::byte{bytes[i]};
    }
    std::array<std::byte, headroom + size> memory{};
};

std::string destination_of(kubeproxy::span_packet const& packet) {
    return kubeproxy::to_text(kubeproxy::ipv4_view{packet.bytes()}.destination());
}

} // namespace

int main() {
    kubeproxy::service_source services;
    kubeproxy::controller control{services};
    auto const result = control.apply("ku vip 10.96.0.1/32 port 80 target_port 8080\n"
                                      "ku pod 10.96.0.1/32 10.244.1.7 10.244.2.9\n");
    if (!result.ok()) return std::cerr << result.error->reason << '\n', 1;

    kubeproxy::flow_table flows{{.narrow = 1024, .wide = 1024}, kubeproxy::secret::from_system()};
    kubeproxy::proxy<kubeproxy::span_packet> proxy{flows, services};

    std::array datagrams{datagram{{10, 96, 0, 1}, 80}, datagram{{10, 96, 0, 1}, 81}, datagram{{198, 51, 100, 7}, 80}};
    std::array burst{kubeproxy::span_packet{datagrams[0].memory, datagram::headroom},
                     kubeproxy::span_packet{datagrams[1].memory, datagram::headroom},
                     kubeproxy::span_packet{datagrams[2].memory, datagram::headroom}};
    auto const now = std::chrono::steady_clock::now().time_since_epoch();
    proxy.process(std::span{burst}, now, [](kubeproxy::span_packet& packet, kubeproxy::outcome const& outcome) {
        std::cout << name(outcome.what.what()) << " to " << destination_of(packet) << '\n';
    });
}
