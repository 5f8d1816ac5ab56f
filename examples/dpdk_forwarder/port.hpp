#pragma once

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace dpdk {

/// A port, or what the environment has for it, does not do what is asked for.
class port_error : public std::runtime_error {
  public:
    port_error(std::string const& port, std::string const& what, int error)
        : std::runtime_error{port + ": " + what + ": " + rte_strerror(error < 0 ? -error : error)} {}
    port_error(std::string const& port, std::string const& what) : std::runtime_error{port + ": " + what} {}
};

/// What the port counted, beside the library's counters.
struct port_counters {
    std::uint64_t received = 0, received_bytes = 0, missed = 0, receive_errors = 0;
    std::uint64_t sent = 0, sent_bytes = 0, send_errors = 0;
};

/// An Ethernet port with a queue pair for each worker: started from construction to destruction.
class ethernet_port {
  public:
    struct settings {
        std::uint16_t workers = 1;
        std::uint16_t mtu = RTE_ETHER_MTU;
        rte_mempool* pool = nullptr; ///< of all ports; none of its buffers is shared or indirect
    };

    ethernet_port(std::uint16_t number, settings const& s) : number_{number}, name_{name_of(number)} {
        rte_eth_dev_info about{};
        require(rte_eth_dev_info_get(number, &about), "no information");
        if (about.max_tx_queues < s.workers)
            throw port_error{name_, "has " + std::to_string(about.max_tx_queues) + " queues to send, and each of " +
                                        std::to_string(s.workers) + " lcores needs one"};
        receive_queues_ = std::min(s.workers, about.max_rx_queues);
        configure(about, s);
        if (int const failed = rte_eth_dev_start(number_); failed != 0) {
            rte_eth_dev_close(number_);
            throw port_error{name_, "cannot start", failed};
        }
        // Ports that have no such mode, as most of vdevs, have no address filter either.
        (void)rte_eth_promiscuous_enable(number_);
        (void)rte_eth_macaddr_get(number_, &address_);
    }
    ethernet_port(ethernet_port const&) = delete;
    ethernet_port& operator=(ethernet_port const&) = delete;
    ~ethernet_port() {
        (void)rte_eth_dev_stop(number_);
        (void)rte_eth_dev_close(number_);
    }

    [[nodiscard]] std::uint16_t number() const noexcept { return number_; }
    [[nodiscard]] std::string const& name() const noexcept { return name_; }
    [[nodiscard]] rte_ether_addr const& address() const noexcept { return address_; }
    /// Worker i receives from queue i, if there is one. Every worker has a queue to send.
    [[nodiscard]] std::uint16_t receive_queues() const noexcept { return receive_queues_; }
    /// RTE_ETH_TX_OFFLOAD_…, as configured.
    [[nodiscard]] std::uint64_t send_offloads() const noexcept { return send_offloads_; }
    [[nodiscard]] bool spreads_flows() const noexcept { return spreads_flows_; }

    [[nodiscard]] port_counters counters() const noexcept {
        rte_eth_stats s{};
        if (rte_eth_stats_get(number_, &s) != 0) return {};
        return {.received = s.ipackets,
                .received_bytes = s.ibytes,
                .missed = s.imissed + s.rx_nombuf,
                .receive_errors = s.ierrors,
                .sent = s.opackets,
                .sent_bytes = s.obytes,
                .send_errors = s.oerrors};
    }

  private:
    static constexpr std::uint16_t ring_size = 1024;
    /// A service's flows spread by ports; fragments have none, and follow the addresses on every device.
    static constexpr std::uint64_t spread_by = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;
    static constexpr std::uint64_t wanted_to_send = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
                                                    RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
                                                    RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

    [[nodiscard]] static std::string name_of(std::uint16_t number) {
        char name[RTE_ETH_NAME_MAX_LEN] = "";
        return rte_eth_dev_get_name_by_port(number, name) == 0 ? name : "port " + std::to_string(number);
    }

    void require(int result, std::string const& what) const {
        if (result != 0) throw port_error{name_, what, result};
    }

    void configure(rte_eth_dev_info const& about, settings const& s) {
        rte_eth_conf wanted{};
        wanted.rxmode.mtu = std::clamp(s.mtu, about.min_mtu, about.max_mtu);
        spreads_flows_ = receive_queues_ > 1 && (about.flow_type_rss_offloads & spread_by) != 0;
        if (spreads_flows_) {
            wanted.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
            wanted.rx_adv_conf.rss_conf.rss_hf = about.flow_type_rss_offloads & spread_by;
        }
        send_offloads_ = about.tx_offload_capa & wanted_to_send;
        wanted.txmode.offloads = send_offloads_;
        // A virtual device hands over packets whose checksum is not complete only if it is told that they are welcome.
        wanted.rxmode.offloads = about.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
        require(rte_eth_dev_configure(number_, receive_queues_, s.workers, &wanted), "cannot configure");
        auto receive_size = ring_size, send_size = ring_size;
        require(rte_eth_dev_adjust_nb_rx_tx_desc(number_, &receive_size, &send_size), "cannot set ring sizes");
        auto const socket = static_cast<unsigned>(std::max(rte_eth_dev_socket_id(number_), 0));
        for (std::uint16_t q = 0; q < receive_queues_; ++q)
            require(rte_eth_rx_queue_setup(number_, q, receive_size, socket, nullptr, s.pool), "no queue to receive");
        auto send = about.default_txconf;
        send.offloads = send_offloads_;
        for (std::uint16_t q = 0; q < s.workers; ++q)
            require(rte_eth_tx_queue_setup(number_, q, send_size, socket, &send), "no queue to send");
    }

    std::uint16_t number_;
    std::string name_;
    rte_ether_addr address_{};
    std::uint16_t receive_queues_ = 0;
    std::uint64_t send_offloads_ = 0;
    bool spreads_flows_ = false;
};

} // namespace dpdk
