#pragma once

#include "kubeproxy/dataplane/burst.hpp"
#include "kubeproxy/dataplane/context.hpp"
#include "kubeproxy/dataplane/related.hpp"
#include "kubeproxy/dataplane/routed.hpp"
#include "kubeproxy/flow/identifications.hpp"
#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/rewrite.hpp"
#include "kubeproxy/nat/split.hpp"
#include "kubeproxy/wire/illegal_address.hpp"

#include <cstdint>
#include <optional>

namespace kubeproxy {
inline namespace v0_2 {

/// Headers, ports and checksums; a change of family; ICMP errors inside out.
template <packet_buffer P>
class rewrite_stage {
  public:
    rewrite_stage(burst_context const& burst, translation_settings const& settings,
                  identification_settings const& identifications)
        : burst_{&burst}, settings_{settings}, identifications_{identifications} {}

    template <ip_version From, ip_version To>
    [[gnu::always_inline]] step<refused<P, From>> operator()(routed<P, From, To>& r) noexcept {
        auto& card = *r.card;
        rewriter<From, To> const rewrite{settings_};
        bool const done = card.headers.is_plain &&
                          rewrite.rewrite_plain(*card.packet, card.headers, card.template becomes<To>(), card.changes);
        return done ? card.settle(verdict::forward()) : rewrite_closely(r);
    }

    template <ip_version From, ip_version To>
    step<refused<P, From>> operator()(routed_error<P, From, To>& r) const noexcept {
        auto& card = *r.card;
        if constexpr (!std::same_as<From, To>)
            if (is_illegal_source(tuple_of(card.headers).source, burst_->services->nat64_prefix))
                return card.drop(drop_reason::illegal_address);
        auto const mapping = related_mapping(card.headers, card.key, card.template becomes<To>(), *burst_->services);
        return settle(card, rewriter<From, To>{settings_}.error(*card.packet, card.headers, mapping));
    }

  private:
    template <ip_version From, ip_version To>
    [[gnu::noinline]] step<refused<P, From>> rewrite_closely(routed<P, From, To>& r) noexcept {
        auto& card = *r.card;
        std::optional<std::uint16_t> identification;
        if constexpr (std::same_as<To, ipv4>)
            if (shares_its_source(card)) {
                identification =
                    identifications_.of(fragment_key<From>::of(card.headers), card.template becomes<To>(), burst_->now);
                if (!identification) return card.drop(drop_reason::identifications_exhausted);
            }
        bool const may_be_cut = may_be_fragmented(card.headers);
        auto const result =
            rewriter<From, To>{settings_}(*card.packet, card.headers, card.template becomes<To>(), card.changes);
        if constexpr (std::same_as<To, ipv4>)
            if (result.done() && identification) set_identification(card.packet->bytes(), *identification);
        if constexpr (std::same_as<From, ipv4> && std::same_as<To, ipv6>)
            card.result->is_oversized = result.done() && may_be_cut && gso_size_of(*card.packet) == 0 &&
                                        plan_split(card.packet->bytes(), detail::cut_size(settings_)).pieces > 1;
        return settle(card, result);
    }

    /// Fragments of several hosts leave with one address of this node's, so that their own identifications may meet
    /// (RFC 6864 section 5.3).
    template <ip_version From>
    [[nodiscard]] static bool shares_its_source(packet_card<P, From> const& card) noexcept {
        return card.headers.is_fragment && card.result->masqueraded && card.result->relation != flow_relation::reply;
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
    [[nodiscard]] static step<refused<P, V>> settle(packet_card<P, V>& card, rewrite_result const& result) noexcept {
        if (result.done()) return card.settle(verdict::forward());
        card.drop(result.why);
        if (!result.answer) return settled{};
        return refused<P, V>{card, *result.answer};
    }

    burst_context const* burst_;
    translation_settings settings_;
    fragment_identifications identifications_;
};

} // namespace v0_2
} // namespace kubeproxy
