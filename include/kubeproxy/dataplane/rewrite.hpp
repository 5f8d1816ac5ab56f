#pragma once

#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/packet_states.hpp"
#include "kubeproxy/flow/identifications.hpp"
#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/rewrite.hpp"
#include "kubeproxy/nat/split.hpp"
#include "kubeproxy/service/snapshot.hpp"
#include "kubeproxy/wire/embedded_address.hpp"
#include "kubeproxy/wire/illegal_address.hpp"

#include <cstdint>
#include <optional>

namespace kubeproxy {
inline namespace v0_2 {

namespace detail {

/// The source address for an ICMP error that a router sent, and not an end of the flow. If the IP version stays, the
/// address stays. Translated to IPv6, the address is embedded in the NAT64 prefix, as addresses of clients are.
/// Translated to IPv4, an address within that prefix is extracted; any other router appears as the flow's end on its
/// side (RFC 6791 suggests a pool of addresses for this).
template <ip_version From, ip_version To>
typename To::address router_address(typename From::address const& router, typename To::address const& flow_end,
                                    snapshot const& services) noexcept {
    if constexpr (std::same_as<From, To>)
        return router;
    else if constexpr (std::same_as<To, ipv6>)
        return embed(services.nat64_prefix, router);
    else
        return services.nat64_prefix.contains(router) ? extract(services.nat64_prefix, router) : flow_end;
}

} // namespace detail

/// The addresses and the quoted tuple that an ICMP error about a flow must get.
/// \param key the flow's tuple in packets that travel in the direction of the error; the error quotes a packet of the
///     opposite direction
/// \param after the tuple that such packets leave with
template <ip_version From, ip_version To>
[[nodiscard]] error_mapping<To> related_mapping(parsed<From> const& error, tuple<From> const& key,
                                                tuple<To> const& after, snapshot const& services) noexcept {
    auto const sender = tuple_of(error).source;
    return {.source =
                sender == key.source ? after.source : detail::router_address<From, To>(sender, after.source, services),
            .destination = after.destination,
            .quoted = after.mirrored()};
}

/// Rewrites addresses, ports and checksums, changes the IP version, and translates ICMP errors with their quotation.
template <packet_buffer P>
class rewrite_stage {
  public:
    rewrite_stage(burst_context const& burst, translation_settings const& settings,
                  identification_settings const& identifications)
        : burst_{&burst}, settings_{settings}, identifications_{identifications} {}

    template <ip_version From, ip_version To>
    [[gnu::always_inline]] step<rejected<P, From>> operator()(resolved<P, From, To> p) noexcept {
        rewriter<From, To> const rewrite{settings_};
        bool const done =
            p.headers().is_plain && rewrite.rewrite_plain(p.packet(), p.headers(), p.after(), p.changes());
        return done ? p.settle(verdict::forward()) : rewrite_closely(p);
    }

    template <ip_version From, ip_version To>
    step<rejected<P, From>> operator()(resolved_error<P, From, To> p) const noexcept {
        if constexpr (!std::same_as<From, To>)
            if (is_illegal_source(tuple_of(p.headers()).source, burst_->services->nat64_prefix))
                return p.drop(drop_reason::illegal_address);
        auto const mapping = related_mapping(p.headers(), p.key(), p.after(), *burst_->services);
        return settle(p, rewriter<From, To>{settings_}.error(p.packet(), p.headers(), mapping));
    }

  private:
    template <ip_version From, ip_version To>
    [[gnu::noinline]] step<rejected<P, From>> rewrite_closely(resolved<P, From, To> p) noexcept {
        std::optional<std::uint16_t> identification;
        if constexpr (std::same_as<To, ipv4>)
            if (shares_its_source(p)) {
                identification = identifications_.of(fragment_key<From>::of(p.headers()), p.after(), burst_->now);
                if (!identification) return p.drop(drop_reason::identifications_exhausted);
            }
        bool const may_be_cut = may_be_fragmented(p.headers());
        auto const result = rewriter<From, To>{settings_}(p.packet(), p.headers(), p.after(), p.changes());
        if constexpr (std::same_as<To, ipv4>)
            if (result.done() && identification) set_identification(p.packet().bytes(), *identification);
        if constexpr (std::same_as<From, ipv4> && std::same_as<To, ipv6>)
            p.result().is_oversized = result.done() && may_be_cut && gso_size_of(p.packet()) == 0 &&
                                      plan_split(p.packet().bytes(), detail::cut_size(settings_)).pieces > 1;
        return settle(p, result);
    }

    /// Fragments of several hosts leave with one address of this node's, so that their own identifications may meet
    /// (RFC 6864 section 5.3).
    template <ip_version From>
    [[nodiscard]] static bool shares_its_source(packet_state<P, From> p) noexcept {
        return p.headers().is_fragment && p.result().masqueraded && p.result().relation != flow_relation::reply;
    }
    static void set_identification(mutable_byte_span packet, std::uint16_t identification) noexcept {
        using at = ipv4_view::at;
        auto const before = load_be<std::uint16_t>(packet, at::identification);
        auto const checksum = load_be<std::uint16_t>(packet, at::checksum);
        store_be(packet, at::identification, identification);
        store_be(packet, at::checksum, checksum_after(checksum, before, identification));
    }

    /// Only the sender fragments IPv6 (RFC 8200 section 4.5), and DF says the same of IPv4: also of a packet that is
    /// a fragment already (RFC 791 section 3.1, RFC 7915 section 4).
    [[nodiscard]] static bool may_be_fragmented(parsed<ipv4> const& p) noexcept {
        return !ipv4_view{p.bytes}.dont_fragment();
    }
    [[nodiscard]] static constexpr bool may_be_fragmented(parsed<ipv6> const&) noexcept { return false; }

    template <ip_version V>
    [[nodiscard]] static step<rejected<P, V>> settle(packet_state<P, V> p, rewrite_result const& result) noexcept {
        if (result.done()) return p.settle(verdict::forward());
        p.drop(result.why);
        if (!result.answer) return settled{};
        return rejected<P, V>{p, *result.answer};
    }

    burst_context const* burst_;
    translation_settings settings_;
    fragment_identifications identifications_;
};

} // namespace v0_2
} // namespace kubeproxy
