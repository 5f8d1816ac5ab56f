#pragma once

#include "pcap_nat/frame.hpp"
#include "pcap_nat/progress.hpp"
#include "pcap_nat/translator.hpp"

#include "support/capture.hpp"
#include "support/report.hpp"

#include "kubeproxy/dataplane/proxy.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <vector>

namespace examples::pcap_nat {

/// The frames of a capture, from the reader through the library to the writer.
class capture_run {
  public:
    static constexpr std::size_t burst_size = kubeproxy::proxy<frame>::burst_size;
    /// The library has one time for a burst, so this is how exact a flow's lifetime is.
    static constexpr auto burst_time = std::chrono::milliseconds{1};
    static_assert(frame::front_room >= kubeproxy::proxy<frame>::headroom);

    capture_run(translator& nat, capture_reader const& in, capture_writer& out, std::ostream* report,
                capture_point point)
        : nat_{nat}, in_{in}, out_{out}, report_{report}, link_{*link_layer_of(in.data_link())}, point_{point},
          frames_(burst_size) {}

    void take(captured_packet const& packet) {
        auto const time = std::max(in_.time_of(packet.header), now_); // a capture's clock may step back, ours must not
        if (waiting_ == burst_size || time > burst_began_ + burst_time) flush();
        if (packet.bytes.size() > frame::capacity || !is_for_library(packet)) return pass_unread(packet);
        if (waiting_ == 0) burst_began_ = time;
        now_ = time;
        ++waiting_;
    }

    void flush() {
        nat_.process(std::span{frames_}.first(waiting_), burst_began_, spares_,
                     [&](frame& f, kubeproxy::outcome const& o) { settle(f, o); });
        waiting_ = 0;
        progress_.show(packets_);
    }

    [[nodiscard]] std::uint64_t packets() const noexcept { return packets_; }
    [[nodiscard]] std::uint64_t not_ip() const noexcept { return not_ip_; }

  private:
    /// The library drops packets with damaged headers. It gets such a packet only if the packet may be meant for a
    /// service; all others are written unchanged, as a router that does not check these lengths would forward them.
    [[nodiscard]] bool is_for_library(captured_packet const& packet) {
        auto& f = frames_[waiting_];
        switch (f.assign(link_, packet, point_)) {
        case frame::content::packet: return true;
        case frame::content::malformed: return nat_.may_be_ours(f);
        case frame::content::other: break;
        }
        return false;
    }

    void pass_unread(captured_packet const& packet) {
        flush();
        out_.write(packet.header, packet.bytes, packet.header.len);
        ++not_ip_;
        ++packets_;
        if (report_ != nullptr) write_json_line(*report_, packets_, {});
    }

    void settle(frame& f, kubeproxy::outcome const& o) {
        if (f.from() == frame::origin::capture) {
            ++packets_;
            if (report_ != nullptr) write_json_line(*report_, packets_, nat_.describe(f, o));
        }
        write(f, o.what.what());
        if (f.from() == frame::origin::spare) spares_.give_back(f);
    }

    void write(frame& f, kubeproxy::action what) {
        switch (what) {
        case kubeproxy::action::forward: return write(f, f.forwarded());
        case kubeproxy::action::reply: return write(f, f.replied());
        case kubeproxy::action::pass:
            return write(f, f.from() == frame::origin::capture ? f.captured() : f.forwarded());
        case kubeproxy::action::drop: break;
        }
    }

    void write(frame const& f, frame::output const& whole) { out_.write(f.record(), whole.bytes, whole.on_wire); }

    translator& nat_;
    capture_reader const& in_;
    capture_writer& out_;
    std::ostream* report_; ///< null if there is no --report
    link_layer link_;
    capture_point point_;
    std::vector<frame> frames_;
    spare_frames spares_;
    std::size_t waiting_ = 0;
    std::uint64_t packets_ = 0;
    std::uint64_t not_ip_ = 0;
    std::chrono::nanoseconds now_{};
    std::chrono::nanoseconds burst_began_{};
    progress progress_;
};

} // namespace examples::pcap_nat
