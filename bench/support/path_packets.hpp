#pragma once

#include "kubeproxy/sync/memory.hpp"
#include "kubeproxy/wire/checksum.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

#include "support/packet_builder.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

/// Packets for the whole-path benchmarks: made from a flow's number, into buffers that lie as a device's do.
namespace kubeproxy::bench {

inline constexpr std::size_t burst_size = 32, headroom = 128;

/// Clients of one version, pods of another, and the service between them.
struct translation {
    char const* name;
    char const* vip_prefix;
    char const* options; ///< of its `ku vip` line
    char const* client;  ///< the lowest address of the clients
    char const* vip;
    char const* pod;          ///< the lowest address of the pods
    char const* seen_by_pods; ///< the lowest address that clients have for pods
    char const* setting = ""; ///< a `ku conf` line that it needs
};

inline constexpr std::array translations{
    translation{"44", "90.0.0.0/8", "", "11.0.0.0", "90.0.0.1", "10.244.0.0", "11.0.0.0"},
    translation{"66", "fd00:90::/64", "", "2001:db8::", "fd00:90::1", "fd00:244::", "2001:db8::"},
    translation{"46", "91.0.0.0/8", " nat6", "11.0.0.0", "91.0.0.1", "fd00:245::", "64:ff9b:1::11.0.0.0"},
    translation{"64", "fd00:91::/64", " nat4", "2001:db8::", "fd00:91::1", "10.245.0.0", "198.18.0.0",
                "ku conf snat4 198.18.0.0-198.18.0.255\n"}};

inline constexpr unsigned pods = 100;

/// The address that is the lowest one plus `host`.
[[nodiscard]] inline std::string text_of(build::octets address, std::uint32_t host) {
    auto const end = address.size() - 4;
    store_be(mutable_byte_span{address}, end, load_be<std::uint32_t>(address, end) + host);
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(address.size() == 4 ? AF_INET : AF_INET6, address.data(), text.data(), text.size());
    return text.data();
}

/// The service on port 80 with 100 pods on port 8080.
[[nodiscard]] inline std::string ku_text_of(translation const& t) {
    auto const prefix = std::string{" "} + t.vip_prefix;
    auto ku = t.setting + ("ku vip" + prefix) + " port 80 target_port 8080" + t.options + '\n';
    auto const pod = build::address(t.pod);
    for (unsigned i = 1; i <= pods; ++i) ku += "ku pod" + prefix + ' ' + text_of(pod, i) + '\n';
    return ku;
}

enum class transport : std::uint8_t { udp, tcp };
/// What a device would deliver: all packets small, or 7 : 4 : 1 of 64, 576 and 1480 bytes: the largest that fits
/// an MTU of 1500 behind a longer header too.
enum class sizes : std::uint8_t { smallest, imix };

[[nodiscard]] constexpr std::size_t packet_size(sizes s, std::size_t slot) noexcept {
    if (s == sizes::smallest || slot % 12 < 7) return 64;
    return slot % 12 < 11 ? 576 : 1480;
}

/// A packet of a flow whose changing fields are still zero. Checksums stay right when they are filled in.
class packet_form {
  public:
    packet_form(build::packet const& p, unsigned checksum_at) : bytes_{build::bytes_of(p)} {
        is_ipv6_ = std::to_integer<unsigned>(bytes_[0]) >> 4 == 6;
        transport_ = is_ipv6_ ? 40 : 20;
        checksum_at_ = transport_ + checksum_at;
    }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

    /// From the client whose address is the lowest one plus `host`.
    void write_from(mutable_byte_span to, std::uint32_t host, std::uint16_t port) const noexcept {
        copy_head(to);
        add(to, is_ipv6_ ? 20 : 12, host);
        set(to, transport_, port);
    }
    /// From pod number `pod` to the lowest address plus `host`.
    void write_to(mutable_byte_span to, std::uint32_t host, std::uint16_t port, unsigned pod) const noexcept {
        copy_head(to);
        add(to, is_ipv6_ ? 20 : 12, pod);
        add(to, is_ipv6_ ? 36 : 16, host);
        set(to, transport_ + 2, port);
    }

  private:
    /// What the path may have written; the payload behind it is zero in every packet, and stays.
    void copy_head(mutable_byte_span to) const noexcept {
        auto const size = std::min<std::size_t>(bytes_.size(), 128);
        std::memcpy(to.data(), bytes_.data(), size);
    }
    void add(mutable_byte_span to, std::size_t address_end, std::uint32_t host) const noexcept {
        auto const before = load_be<std::uint32_t>(to, address_end);
        store_be(to, address_end, before + host);
        auto const change = sum_change(before, std::uint64_t{before} + host);
        adjust_transport(to, change);
        if (!is_ipv6_) adjust(to, 10, change);
    }
    void set(mutable_byte_span to, std::size_t at, std::uint16_t port) const noexcept {
        adjust_transport(to, sum_change(load_be<std::uint16_t>(to, at), port));
        store_be(to, at, port);
    }
    /// 0 would say that there is none.
    void adjust_transport(mutable_byte_span to, std::uint16_t change) const noexcept {
        adjust(to, checksum_at_, change);
        store_be(to, checksum_at_, udp_checksum(load_be<std::uint16_t>(to, checksum_at_)));
    }
    static void adjust(mutable_byte_span to, std::size_t at, std::uint16_t change) noexcept {
        store_be(to, at, checksum_plus(load_be<std::uint16_t>(to, at), change));
    }

    build::octets bytes_;
    bool is_ipv6_ = false;
    std::size_t transport_ = 0, checksum_at_ = 0;
};

/// The flows of one translation and transport. Flow n has client n / 16, and one of its 16 ports.
class client_flows {
  public:
    client_flows(translation const& t, transport over)
        : of_{&t}, seen_by_pods_{low_word(t.seen_by_pods)}, opening_{form(t, over, 64, 0x02)} {
        for (auto const size : {64u, 576u, 1480u}) {
            requests_.push_back(form(t, over, size, 0x10));
            replies_.push_back(reply_form(t, over, size, 0x10));
        }
        answers_.push_back(reply_form(t, over, 64, 0x12));
    }

    /// A flow's first packet: a SYN where it is TCP.
    void write_opening(mutable_byte_span to, std::uint32_t flow) const noexcept { from_client(opening_, to, flow); }
    void write_request(mutable_byte_span to, std::uint32_t flow) const noexcept {
        from_client(form_of(requests_, to.size()), to, flow);
    }
    /// \pre learn(flow, …)
    void write_reply(mutable_byte_span to, std::uint32_t flow) const noexcept {
        from_pod(form_of(replies_, to.size()), to, flow);
    }
    /// The SYN with ACK that a pod answers with. \pre learn(flow, …)
    void write_answer(mutable_byte_span to, std::uint32_t flow) const noexcept { from_pod(answers_[0], to, flow); }

    /// What a pod answers where nobody listens: port unreachable, about a UDP packet. \pre learn(flow, …)
    [[nodiscard]] build::octets error_about(std::uint32_t flow) const {
        auto const& key = learnt_[flow];
        build::packet const quoted{.source = text_of(build::address(of_->seen_by_pods), key.host),
                                   .destination = text_of(build::address(of_->pod), key.pod),
                                   .message = seed::udp(build::octets(16), key.port, 8080)};
        bool const is_ipv6 = quoted.source.find(':') != std::string::npos;
        return build::bytes_of({.source = quoted.destination,
                                .destination = quoted.source,
                                .protocol = is_ipv6 ? 58u : 1u,
                                .message = seed::icmp(is_ipv6 ? 1 : 3, is_ipv6 ? 4 : 3, 0, build::bytes_of(quoted))});
    }

    /// Reads in a packet as it left where replies to it come from and go to.
    void learn(std::uint32_t flow, byte_span forwarded) {
        bool const is_ipv6 = load_be<std::uint8_t>(forwarded, 0) >> 4 == 6;
        if (flow >= learnt_.size()) learnt_.resize(std::size_t{flow} + 1);
        learnt_[flow] = {load_be<std::uint32_t>(forwarded, is_ipv6 ? 20 : 12) - seen_by_pods_,
                         load_be<std::uint16_t>(forwarded, is_ipv6 ? 40 : 20),
                         load_be<std::uint8_t>(forwarded, is_ipv6 ? 39 : 19)};
    }
    /// Room for what is learnt of so many flows.
    void reserve(std::size_t flows) { learnt_.reserve(flows); }

  private:
    struct reply_key {
        std::uint32_t host = 0;
        std::uint16_t port = 0;
        std::uint8_t pod = 0;
    };

    [[nodiscard]] static std::uint32_t low_word(char const* address) {
        auto const bytes = build::address(address);
        return load_be<std::uint32_t>(bytes, bytes.size() - 4);
    }
    [[nodiscard]] static build::octets message(transport over, std::size_t size, unsigned source, unsigned destination,
                                               unsigned flags) {
        build::octets const data(size - (over == transport::tcp ? 20 : 8));
        return over == transport::tcp ? seed::tcp(data, flags, source, destination)
                                      : seed::udp(data, source, destination);
    }
    /// IPv6 with TCP takes 60 bytes of headers, so that "64 bytes" is true of every one.
    [[nodiscard]] static packet_form form_between(char const* source, char const* destination, transport over,
                                                  std::size_t size, unsigned source_port, unsigned destination_port,
                                                  unsigned flags) {
        std::size_t const header = std::string{source}.find(':') == std::string::npos ? 20 : 40;
        return {{.source = source,
                 .destination = destination,
                 .protocol = over == transport::tcp ? 6u : 17u,
                 .message = message(over, size - header, source_port, destination_port, flags)},
                over == transport::tcp ? 16u : 6u};
    }
    [[nodiscard]] static packet_form form(translation const& t, transport over, std::size_t size, unsigned flags) {
        return form_between(t.client, t.vip, over, size, 0, 80, flags);
    }
    [[nodiscard]] static packet_form reply_form(translation const& t, transport over, std::size_t size,
                                                unsigned flags) {
        return form_between(t.pod, t.seen_by_pods, over, size, 8080, 0, flags);
    }
    [[nodiscard]] static packet_form const& form_of(std::vector<packet_form> const& forms, std::size_t size) noexcept {
        return forms[size == 64 ? 0 : size == 576 ? 1 : 2];
    }
    static void from_client(packet_form const& form, mutable_byte_span to, std::uint32_t flow) noexcept {
        form.write_from(to, flow / 16, static_cast<std::uint16_t>(1024 + flow % 16));
    }
    void from_pod(packet_form const& form, mutable_byte_span to, std::uint32_t flow) const noexcept {
        auto const& key = learnt_[flow];
        form.write_to(to, key.host, key.port, key.pod);
    }

    translation const* of_;
    std::uint32_t seen_by_pods_;
    packet_form opening_;
    std::vector<packet_form> requests_, replies_, answers_;
    std::vector<reply_key> learnt_;
};

/// The buffers of some bursts, spaced and aligned as a device's are: 2048 bytes behind the headroom, and one line more
/// so that they do not all compete for the same places of the cache.
class packet_buffers {
  public:
    explicit packet_buffers(std::size_t bursts) : memory_{bursts * burst_size * spacing} {
        packets_.resize(bursts * burst_size, span_packet{{}, 0});
    }
    [[nodiscard]] std::size_t size() const noexcept { return packets_.size(); }
    [[nodiscard]] std::size_t bursts() const noexcept { return packets_.size() / burst_size; }
    [[nodiscard]] span_packet const& operator[](std::size_t slot) const noexcept { return packets_[slot]; }
    [[nodiscard]] std::span<span_packet> burst(std::size_t i) noexcept {
        return std::span{packets_}.subspan(i * burst_size, burst_size);
    }
    /// An unwritten packet in this buffer.
    [[nodiscard]] mutable_byte_span renew(std::size_t slot, std::size_t size) noexcept {
        mutable_byte_span const memory{&memory_[slot * spacing], headroom + size};
        packets_[slot] = span_packet{memory, headroom};
        return memory.subspan(headroom);
    }

  private:
    static constexpr std::size_t spacing = headroom + 2048 + 64;
    zeroed_array<std::byte, huge_page_memory> memory_;
    std::vector<span_packet> packets_;
};

} // namespace kubeproxy::bench
