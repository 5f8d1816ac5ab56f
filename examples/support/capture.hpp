#pragma once

#include <pcap/pcap.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

/// Captures, read and written through libpcap. The name `-` is standard input or output.
namespace examples {

/// A capture cannot be opened or written: one line that names the file.
class capture_error : public std::runtime_error {
  public:
    capture_error(std::string const& file, std::string const& reason) : std::runtime_error{file + ": " + reason} {}
};

/// A packet as it stands in the capture. The bytes stay valid until the next one is read.
struct captured_packet {
    pcap_pkthdr header; ///< its time in the capture's own precision
    std::span<u_char const> bytes;
};

namespace detail {

struct close_file {
    void operator()(std::FILE* file) const noexcept {
        if (file != stdin && file != stdout) std::fclose(file);
    }
};
struct close_capture {
    void operator()(pcap_t* capture) const noexcept { pcap_close(capture); }
};
struct close_dumper {
    void operator()(pcap_dumper_t* dumper) const noexcept { pcap_dump_close(dumper); }
};

using file_handle = std::unique_ptr<std::FILE, close_file>;
using capture_handle = std::unique_ptr<pcap_t, close_capture>;
using dumper_handle = std::unique_ptr<pcap_dumper_t, close_dumper>;

[[nodiscard]] inline std::string errno_text() { return std::strerror(errno); }

/// libpcap scales times to the precision asked for and does not tell the file's own, so that is told here by the
/// first byte: C promises one byte of pushback, also on a pipe. Microseconds are d4 (pcap) or 34 (its "modified"
/// form), little-endian. A pcapng file may have any precision, a big-endian pcap either one: nanoseconds lose nothing.
[[nodiscard]] inline u_int precision_of(std::FILE* file) noexcept {
    int const first = std::getc(file);
    if (first != EOF) std::ungetc(first, file);
    return first == 0xd4 || first == 0x34 ? PCAP_TSTAMP_PRECISION_MICRO : PCAP_TSTAMP_PRECISION_NANO;
}

} // namespace detail

class capture_reader {
  public:
    explicit capture_reader(std::string file) : file_{std::move(file)} {
        detail::file_handle input{file_ == "-" ? stdin : std::fopen(file_.c_str(), "rb")};
        if (!input) throw capture_error{file_, detail::errno_text()};
        precision_ = detail::precision_of(input.get());
        char reason[PCAP_ERRBUF_SIZE] = "";
        capture_.reset(pcap_fopen_offline_with_tstamp_precision(input.get(), precision_, reason));
        if (!capture_) throw capture_error{file_, reason};
        static_cast<void>(input.release()); // pcap_close() closes it
    }

    /// The next packet; none at the end of the capture, or where it is damaged.
    [[nodiscard]] std::optional<captured_packet> next() {
        pcap_pkthdr* header = nullptr;
        u_char const* data = nullptr;
        int const result = pcap_next_ex(capture_.get(), &header, &data);
        if (result == 1) return captured_packet{*header, {data, header->caplen}};
        if (result != PCAP_ERROR_BREAK) damage_ = pcap_geterr(capture_.get());
        return std::nullopt;
    }

    /// Why the rest of the capture cannot be read; empty when there is none.
    [[nodiscard]] std::string const& damage() const noexcept { return damage_; }
    /// Whether the rest is sound, but of interfaces that libpcap does not read together.
    [[nodiscard]] bool has_several_interfaces() const noexcept {
        return damage_.find("different from the") != std::string::npos &&
               damage_.find("interface") != std::string::npos;
    }

    /// When a packet of this capture was captured, since 1970. A damaged time is the nearest that can be said.
    [[nodiscard]] std::chrono::nanoseconds time_of(pcap_pkthdr const& header) const noexcept {
        constexpr std::int64_t latest = 9'000'000'000; // seconds: the year 2255, 7 before 64 bits of nanoseconds end
        auto const second = std::clamp(static_cast<std::int64_t>(header.ts.tv_sec), std::int64_t{0}, latest);
        auto const fraction = std::clamp(static_cast<std::int64_t>(header.ts.tv_usec), std::int64_t{0}, latest);
        return std::chrono::seconds{second} +
               std::chrono::nanoseconds{precision_ == PCAP_TSTAMP_PRECISION_MICRO ? fraction * 1000 : fraction};
    }

    [[nodiscard]] std::string const& file() const noexcept { return file_; }
    [[nodiscard]] int data_link() const noexcept { return pcap_datalink(capture_.get()); }
    [[nodiscard]] u_int precision() const noexcept { return precision_; }

  private:
    std::string file_;
    std::string damage_;
    u_int precision_ = PCAP_TSTAMP_PRECISION_MICRO;
    detail::capture_handle capture_;
};

class capture_writer {
  public:
    /// libpcap's own bound for a packet: what grew by a translation must fit as well.
    static constexpr int snap_length = 262144;

    /// Creates the file, or empties it.
    capture_writer(std::string file, int data_link, u_int precision)
        : file_{std::move(file)}, format_{pcap_open_dead_with_tstamp_precision(data_link, snap_length, precision)} {
        if (!format_) throw capture_error{file_, "out of memory"};
        dumper_.reset(file_ == "-" ? pcap_dump_fopen(format_.get(), stdout)
                                   : pcap_dump_open(format_.get(), file_.c_str()));
        if (!dumper_) throw capture_error{file_, opening_failure()};
    }

    /// A packet at the time of `header`. \param on_wire its size on the wire, of which `bytes` may be the beginning
    void write(pcap_pkthdr header, std::span<u_char const> bytes, std::size_t on_wire) {
        header.caplen = static_cast<bpf_u_int32>(bytes.size());
        header.len = static_cast<bpf_u_int32>(on_wire);
        // pcap_dump() is a pcap_handler, whose first argument stands for any pointer.
        pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, bytes.data());
    }

    /// A packet that is whole: its size on the wire is that of its bytes.
    void write_whole(pcap_pkthdr const& header, std::span<u_char const> bytes) { write(header, bytes, bytes.size()); }

    /// Says whether everything arrived; pcap_dump() itself does not.
    void finish() {
        if (pcap_dump_flush(dumper_.get()) != 0 || std::ferror(pcap_dump_file(dumper_.get())) != 0) {
            throw capture_error{file_, "cannot write: " + detail::errno_text()};
        }
    }

  private:
    /// libpcap's text starts with the file's name, which capture_error says already.
    [[nodiscard]] std::string opening_failure() const {
        std::string const reason = pcap_geterr(format_.get());
        return reason.starts_with(file_ + ": ") ? reason.substr(file_.size() + 2) : reason;
    }

    std::string file_;
    detail::capture_handle format_;
    detail::dumper_handle dumper_;
};

} // namespace examples
