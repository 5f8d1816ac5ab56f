#pragma once

#include "kubeproxy/control/config/configuration.hpp"

#include <boost/asio/ip/address.hpp>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

/// At which addresses of this host a node port is served: kube-proxy's NodePortAddresses.GetNodeIPs.
namespace examples {

/// The addresses of the network interfaces of this namespace; link-local ones with their scope.
[[nodiscard]] inline std::vector<boost::asio::ip::address> interface_addresses() {
    std::vector<boost::asio::ip::address> all;
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) return all;
    std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> const list{first, &::freeifaddrs};
    for (auto const* one = first; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr) continue;
        if (one->ifa_addr->sa_family == AF_INET) {
            sockaddr_in v4{};
            std::memcpy(&v4, one->ifa_addr, sizeof v4);
            all.emplace_back(boost::asio::ip::address_v4{ntohl(v4.sin_addr.s_addr)});
        } else if (one->ifa_addr->sa_family == AF_INET6) {
            sockaddr_in6 v6{};
            std::memcpy(&v6, one->ifa_addr, sizeof v6);
            boost::asio::ip::address_v6::bytes_type bytes;
            std::copy_n(std::begin(v6.sin6_addr.s6_addr), bytes.size(), bytes.begin());
            all.emplace_back(boost::asio::ip::address_v6{bytes, v6.sin6_scope_id});
        }
    }
    return all;
}

namespace detail {

[[nodiscard]] inline kubeproxy::ip_address to_library(boost::asio::ip::address const& a) {
    auto const convert = [](auto const& bytes, auto result) {
        std::ranges::transform(bytes, result.begin(), [](unsigned char b) { return std::byte{b}; });
        return result;
    };
    if (a.is_v4()) return convert(a.to_v4().to_bytes(), kubeproxy::ipv4::address{});
    return convert(a.to_v6().to_bytes(), kubeproxy::ipv6::address{});
}

/// The ranges of nodePortAddresses that are of version V; without nodePortAddresses, the node's primary address.
template <kubeproxy::ip_version V>
[[nodiscard]] std::vector<kubeproxy::prefix<V>> node_port_ranges(kubeproxy::node_configuration const& node) {
    std::vector<kubeproxy::prefix<V>> ranges;
    if (node.node_port_addresses) {
        for (auto const& p : *node.node_port_addresses)
            if (auto const* range = std::get_if<kubeproxy::prefix<V>>(&p)) ranges.push_back(*range);
    } else if (auto const primary = kubeproxy::primary_address<V>(node)) {
        ranges.push_back(kubeproxy::prefix<V>::of(*primary, sizeof(typename V::address) * 8));
    }
    return ranges;
}

} // namespace detail

/// The addresses of version V to listen at: those of `here` that are in the ranges of nodePortAddresses, or the node's
/// primary address if there is no such setting. None means all addresses, as in kube-proxy: there is no range of this
/// version, a range contains every address, or no interface has an address in the ranges.
template <kubeproxy::ip_version V>
[[nodiscard]] std::vector<boost::asio::ip::address> listen_addresses(kubeproxy::node_configuration const& node,
                                                                     std::span<boost::asio::ip::address const> here) {
    auto const ranges = detail::node_port_ranges<V>(node);
    std::vector<boost::asio::ip::address> found;
    if (std::ranges::any_of(ranges, [](auto const& range) { return range.length == 0; })) return found;
    for (auto const& one : here) {
        auto const any = detail::to_library(one);
        auto const* address = std::get_if<typename V::address>(&any);
        auto const contains = [&](auto const& range) { return range.contains(*address); };
        if (address != nullptr && std::ranges::any_of(ranges, contains) && std::ranges::count(found, one) == 0)
            found.push_back(one);
    }
    return found;
}

} // namespace examples
