#pragma once

#include "kubeproxy/dataplane/outcome.hpp"
#include "kubeproxy/flow/port_space.hpp"
#include "kubeproxy/flow/table.hpp"
#include "kubeproxy/nat/tcp_reset.hpp"
#include "kubeproxy/service/standing.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

/// A bare ACK from `from` to `to`, as a receiver of TCP may send one at any time.
template <ip_version V>
void write_probe(mutable_byte_span whole, tuple<V> const& way, std::uint32_t sequence) noexcept {
    constexpr std::uint8_t data_offset = 5 << 4;
    constexpr auto size = transport_header_size(ip_protocol::tcp);
    write_answer_header<V>(whole, {ip_protocol::tcp, 0, 0, atomic_datagram}, way.source, way.destination);
    auto const segment = whole.subspan(V::minimum_header);
    std::ranges::fill(segment, std::byte{0});
    store_be(segment, ports_at::source, way.source_port);
    store_be(segment, ports_at::destination, way.destination_port);
    store_be(segment, tcp_at::sequence, sequence);
    store_be(segment, tcp_at::data_offset, data_offset);
    store_be(segment, tcp_at::flags, tcp_flag::ack);
    auto const sum = pseudo_header_sum(way.source, way.destination, ip_protocol::tcp, size) + sum_of(segment);
    store_be(segment, tcp_at::checksum, checksum_of(sum));
}

} // namespace detail

/// Makes the ends of silent TCP connections speak, where the connections are to be reset.
///
/// A reset needs the sequence number that its receiver expects, and flows do not keep it. But a segment outside the
/// receive window is answered with an ACK that has it (RFC 9293 section 3.10.7.4), and the path turns that ACK into a
/// reset of the other end, or answers it with one. The probes' sequence numbers differ by a third of all, so that at
/// most one of three is within a window. Only what snapshots say is new is looked at, in passes over the flow table.
template <class Table>
class removed_probe {
  public:
    removed_probe(Table& flows, worker_share share) noexcept : flows_{&flows}, share_{share} {}

    /// A part of a pass, where one is due. `make(size)` returns a P*, or null; `emit(packet)` is called for each of
    /// them when it is written.
    /// \pre the caller is inside the quiescent domain of a shared table
    template <class Make, class Emit>
    void step(snapshot const& services, flow_time now, Make& make, Emit& emit) {
        if (epoch_ != services.reset_epoch) {
            epoch_ = services.reset_epoch;
            passes_left_ = passes;
            at_ = 0;
            next_pass_ = now;
        }
        bool const is_due = at_ != 0 || next_pass_.since(now) == 0;
        if (passes_left_ == 0 || !is_due) return;
        std::size_t probes = max_probes;
        auto const visit = [&](flow_ref flow) { probe(services, flow, now, make, emit, probes); };
        for (std::size_t part = 0; part < parts_of_a_step && at_ < flows_->positions() && probes > 0; ++part) {
            bool const is_ours = at_ / part_size % share_.count == share_.index;
            at_ = is_ours ? flows_->for_each(at_, part_size, visit) : at_ + part_size;
        }
        if (at_ < flows_->positions()) return;
        at_ = 0;
        --passes_left_;
        next_pass_ = flow_time::of(now.milliseconds() + between_passes);
    }

  private:
    static constexpr std::uint8_t passes = 4;
    static constexpr std::uint32_t between_passes = 1000; ///< milliseconds; Linux answers twice a second at most
    static constexpr std::size_t part_size = 64, parts_of_a_step = 64;
    static constexpr std::size_t max_probes = 64; ///< that a step begins; its last part may go on

    template <class Make, class Emit>
    void probe(snapshot const& services, flow_ref flow, flow_time now, Make& make, Emit& emit, std::size_t& probes) {
        auto const& body = flows_->body(flow);
        auto const state = body.state();
        bool const is_tcp = kind_of(state) == flow_kind::tcp && state != flow_state::tcp_syn_sent;
        if (!is_tcp || state == flow_state::tcp_closed || body.is_expired(now)) return;
        if (services.is_current(body.backend.load(), body.generation.load())) return;
        if (!is_to_be_reset(services, standing_of(services, *flows_, flow).what)) return;
        flows_->visit_tuples(flow, [&](auto const& original, auto const& translated) {
            if (state != flow_state::tcp_cut_reply) send(original.mirrored(), make, emit, probes);
            if (state != flow_state::tcp_cut_original) send(translated, make, emit, probes);
        });
    }

    template <ip_version V, class Make, class Emit>
    void send(tuple<V> const& way, Make& make, Emit& emit, std::size_t& probes) {
        auto* const packet = make(V::minimum_header + transport_header_size(ip_protocol::tcp));
        if (packet == nullptr) {
            probes = 0;
            return;
        }
        detail::write_probe<V>(packet->bytes(), way, 0x5555'5555u * passes_left_);
        if (probes > 0) --probes;
        emit(*packet);
    }

    Table* flows_;
    worker_share share_;
    std::uint64_t epoch_ = 0;
    std::size_t at_ = 0; ///< position in the flow table
    flow_time next_pass_{};
    std::uint8_t passes_left_ = 0;
};

} // namespace v0_2
} // namespace kubeproxy
