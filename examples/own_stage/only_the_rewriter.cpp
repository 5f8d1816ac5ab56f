// The rewriter alone: a static NAT of one address, whose host keeps no flows at all.

#include "datagram.hpp"

#include <kubeproxy/nat/rewrite.hpp>
#include <kubeproxy/wire/address_text.hpp>
#include <kubeproxy/wire/packet.hpp>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <span>

using namespace kubeproxy;

/// Gives a packet from 192.0.2.1 the source 203.0.113.5. \return whether it was one, and could be changed
template <packet_buffer P>
bool translate(P& packet) {
    auto const bytes = mutable_byte_span{packet.bytes()};
    if (check_as<ipv4>(bytes) != drop_reason::none) return false;
    auto const headers = parse_as<ipv4>(bytes);
    auto const before = tuple_of(headers);
    if (before.source != *parse_address<ipv4>("192.0.2.1")) return false;
    auto after = before;
    after.source = *parse_address<ipv4>("203.0.113.5");
    return rewriter<ipv4, ipv4>{}(packet, headers, after, changes_of(before, after)).done();
}

int main() {
    auto ours = datagram(1, 0xc6336407, 53), other = datagram(2, 0xc6336407, 53);
    auto const header = std::span{ours}.subspan(room, 20);
    span_packet packet{ours, room}, stranger{other, room};
    bool const is_changed = translate(packet), is_strange = translate(stranger);
    std::cout << "from " << to_text(ipv4_view{packet.bytes()}.source()) << (is_changed ? ", changed" : ", unchanged")
              << "; from " << to_text(ipv4_view{stranger.bytes()}.source())
              << (is_strange ? ", changed\n" : ", unchanged\n");
    bool const is_valid = checksum_of(sum_of(header)) == 0; // RFC 1624: right stays right
    return is_changed && !is_strange && is_valid ? 0 : 1;
}
