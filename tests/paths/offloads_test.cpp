#include "support/packet_builder.hpp"
#include "support/testbed.hpp"

#include <gtest/gtest.h>

#include <string>

// A host that leaves checksums and segmentation to its device (virtio NEEDS_CSUM, GSO): the transport checksum field
// holds the sum of the pseudo-header, and the packet may be up to 64 KiB long.

namespace kubeproxy::offloads_tests {
namespace {

using build::bytes_of;
using testing_support::octets;
using namespace std::chrono_literals;

class virtio_packet {
  public:
    virtio_packet(octets const& bytes, checksum_state state, std::size_t gso)
        : packet_{bytes}, state_{state}, gso_{gso} {}
    [[nodiscard]] mutable_byte_span bytes() const noexcept { return packet_.bytes(); }
    [[nodiscard]] std::size_t headroom() const noexcept { return packet_.headroom(); }
    void grow_front(std::size_t n) noexcept { packet_.grow_front(n); }
    void shrink_front(std::size_t n) noexcept { packet_.shrink_front(n); }
    void truncate(std::size_t size) noexcept { packet_.truncate(size); }
    [[nodiscard]] checksum_state transport_checksum() const noexcept { return state_; }
    [[nodiscard]] std::size_t gso_size() const noexcept { return gso_; }

  private:
    testing_support::test_packet packet_;
    checksum_state state_;
    std::size_t gso_;
};
static_assert(packet_buffer<virtio_packet>);

struct offload_case {
    std::string name, ku, client, vip, pod;
};
void PrintTo(offload_case const& c, std::ostream* out) { *out << c.name; }

/// The sum of the pseudo-header as it stands in the packet, folded and not complemented.
std::uint16_t pseudo_sum(octets const& packet) {
    bool const is_ipv4 = std::to_integer<unsigned>(packet[0]) >> 4 == 4;
    std::size_t const header = is_ipv4 ? 20 : 40;
    auto const first = packet.begin() + (is_ipv4 ? 12 : 8);
    octets const addresses(first, first + (is_ipv4 ? 8 : 32));
    auto const covered = seed::joined(
        {addresses, seed::be32(packet.size() - header), seed::be32(packet[is_ipv4 ? 9 : 6] == std::byte{6} ? 6 : 17)});
    auto const complement = seed::internet_checksum(covered);
    return static_cast<std::uint16_t>(
        ~(std::to_integer<unsigned>(complement[0]) << 8 | std::to_integer<unsigned>(complement[1])));
}

std::size_t field_of(octets const& packet, unsigned protocol) {
    return (std::to_integer<unsigned>(packet[0]) >> 4 == 4 ? 20u : 40u) + (protocol == 6 ? 16u : 6u);
}

class offloads : public testing::TestWithParam<offload_case> {
  protected:
    offloads() { EXPECT_TRUE(control_.apply(GetParam().ku).ok()); }
    octets send(octets const& bytes, std::size_t gso) {
        virtio_packet packet{bytes, checksum_state::partial, gso};
        octets out;
        proxy_.process(std::span{&packet, 1}, 0s, [&](virtio_packet& p, outcome const& o) {
            EXPECT_EQ(o.what, verdict::forward());
            out.assign(p.bytes().begin(), p.bytes().end());
        });
        return out;
    }

  private:
    service_source services_;
    flow_table flows_{{64, 64}, secret{1}};
    controller control_{services_};
    proxy<virtio_packet> proxy_{flows_, services_};
};

TEST_P(offloads, a_partial_checksum_stays_the_sum_of_the_pseudo_header) {
    for (unsigned const protocol : {6u, 17u}) {
        for (std::size_t const size : {1u, 100u, 60'000u}) {
            SCOPED_TRACE(std::to_string(protocol) + ", " + std::to_string(size));
            auto const data = seed::counted(size);
            auto const message = protocol == 6 ? seed::tcp(data, 0x10, 4711, 80) : seed::udp(data, 4711, 80);
            auto packet = bytes_of(
                {.source = GetParam().client, .destination = GetParam().vip, .protocol = protocol, .message = message});
            packet = seed::with(packet, {{field_of(packet, protocol), seed::be16(pseudo_sum(packet))}});
            auto const out = send(packet, size > 1400 ? 1400 : 0);
            ASSERT_FALSE(out.empty());
            auto const at = field_of(out, protocol);
            EXPECT_EQ(octets(out.begin() + static_cast<std::ptrdiff_t>(at),
                             out.begin() + static_cast<std::ptrdiff_t>(at) + 2),
                      seed::be16(pseudo_sum(out)));
            EXPECT_EQ(octets(out.end() - static_cast<std::ptrdiff_t>(size), out.end()), data);
            EXPECT_TRUE(build::header_checksum_is_valid(out));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    table, offloads,
    testing::Values(
        offload_case{"nat44", "ku vip 10.96.0.0/16 port 80 target_port 8080\nku pod 10.96.0.0/16 10.244.1.7\n",
                     "192.0.2.1", "10.96.0.1", "10.244.1.7"},
        offload_case{"nat66", "ku vip fd00:96::/64 port 80 target_port 8080\nku pod fd00:96::/64 fd00:244::7\n",
                     "2001:db8::1", "fd00:96::1", "fd00:244::7"},
        offload_case{"nat46", "ku vip 10.96.0.0/16 port 80 target_port 8080 nat6\nku pod 10.96.0.0/16 fd00:244::7\n",
                     "192.0.2.1", "10.96.0.1", "fd00:244::7"},
        offload_case{"nat64", "ku vip fd00:96::/64 port 80 target_port 8080 nat4\nku pod fd00:96::/64 10.244.1.7\n",
                     "2001:db8::1", "fd00:96::1", "10.244.1.7"}),
    [](auto const& one) { return one.param.name; });

} // namespace
} // namespace kubeproxy::offloads_tests
