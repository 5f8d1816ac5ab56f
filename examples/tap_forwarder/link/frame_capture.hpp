#pragma once

#include "support/capture.hpp"
#include "support/ethernet.hpp"

#include <sys/time.h>

#include <chrono>
#include <mutex>
#include <string>

namespace examples {

/// Every frame of all links, as it came in and as it went out, in one file. Checksums that are left to a device look
/// wrong in there, as in every capture on a host.
class frame_capture {
  public:
    explicit frame_capture(std::string const& file) : out_{file, DLT_EN10MB, PCAP_TSTAMP_PRECISION_NANO} {}

    /// From any thread.
    void write(byte_span frame) {
        auto const now = std::chrono::system_clock::now().time_since_epoch();
        auto const second = std::chrono::duration_cast<std::chrono::seconds>(now);
        pcap_pkthdr header{};
        header.ts.tv_sec = second.count();
        header.ts.tv_usec = std::chrono::nanoseconds{now - second}.count();
        auto const* bytes = reinterpret_cast<u_char const*>(frame.data()); // libpcap's type
        std::lock_guard const lock{mutex_};
        out_.write_whole(header, {bytes, frame.size()});
    }
    void flush() {
        std::lock_guard const lock{mutex_};
        out_.finish();
    }

  private:
    std::mutex mutex_;
    capture_writer out_;
};

} // namespace examples
