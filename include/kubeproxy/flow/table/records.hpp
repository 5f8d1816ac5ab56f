#pragma once

#include "kubeproxy/flow/table/record.hpp"
#include "kubeproxy/flow/table/record_pool.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace kubeproxy {
inline namespace v0_2 {

/// The records of a table, narrow and wide, behind flow_ref.
template <class Sharing, class Memory>
class flow_records {
  public:
    using body_type = flow_body<Sharing>;
    using narrow_type = narrow_record<Sharing>;
    using wide_type = wide_record<Sharing>;

    flow_records(std::uint32_t narrow, std::uint32_t wide, quiescent_domain* domain)
        : narrow_{narrow, domain}, wide_{wide, domain} {}

    [[nodiscard]] body_type& body(flow_ref ref) noexcept {
        return ref.is_wide() ? wide_[ref.index()].body : narrow_[ref.index()].body;
    }
    [[nodiscard]] body_type const& body(flow_ref ref) const noexcept {
        return ref.is_wide() ? wide_[ref.index()].body : narrow_[ref.index()].body;
    }
    /// \pre !ref.is_wide()
    [[nodiscard]] narrow_type& narrow(flow_ref ref) noexcept { return narrow_[ref.index()]; }
    [[nodiscard]] narrow_type const& narrow(flow_ref ref) const noexcept { return narrow_[ref.index()]; }
    /// \pre ref.is_wide()
    [[nodiscard]] wide_type& wide(flow_ref ref) noexcept { return wide_[ref.index()]; }
    [[nodiscard]] wide_type const& wide(flow_ref ref) const noexcept { return wide_[ref.index()]; }

    void prefetch(flow_ref ref) const noexcept {
        if (ref.is_wide()) {
            auto const* const record = wide_.address(ref.index());
            prefetch_for_read(record); // its tuples: all workers may have a copy
            prefetch_for_write(&record->body);
        } else
            prefetch_for_write(narrow_.address(ref.index()));
    }

    /// A live flow whose packets show `t` in the direction of `ref`.
    template <ip_version V>
    [[nodiscard, gnu::always_inline]] bool is_of(tuple<V> const& t, flow_ref ref) const noexcept {
        if (ref.is_wide()) return wide(ref).shows(t, ref.direction()) && wide(ref).body.raw_state.load() != 0;
        if constexpr (std::same_as<V, ipv4>)
            return narrow(ref).shows(t, ref.direction()) && narrow(ref).body.raw_state.load() != 0;
        else
            return false;
    }
    /// What a packet of this direction shows. \pre it is of that version
    template <ip_version V>
    [[nodiscard]] tuple<V> shown_in(flow_ref ref, flow_direction d) const noexcept {
        if constexpr (std::same_as<V, ipv4>)
            if (!ref.is_wide()) return narrow(ref).template shown_in<V>(d);
        return wide(ref).template shown_in<V>(d);
    }
    [[nodiscard]] bool is_ipv6(flow_ref ref, flow_direction d) const noexcept {
        return ref.is_wide() && wide(ref).is_ipv6(d);
    }
    /// Calls f(original, reply) with what packets of the directions show, in their versions.
    template <class F>
    decltype(auto) visit_shown(flow_ref ref, F f) const {
        using enum flow_direction;
        auto const with = [&]<ip_version O, ip_version T>(O, T) -> decltype(auto) {
            return f(shown_in<O>(ref, original), shown_in<T>(ref, reply));
        };
        if (is_ipv6(ref, original)) return is_ipv6(ref, reply) ? with(ipv6{}, ipv6{}) : with(ipv6{}, ipv4{});
        return is_ipv6(ref, reply) ? with(ipv4{}, ipv6{}) : with(ipv4{}, ipv4{});
    }

    template <ip_version O, ip_version T>
    [[nodiscard]] auto& pool_for() noexcept {
        if constexpr (is_narrow<O, T>)
            return narrow_;
        else
            return wide_;
    }
    /// \pre `ref` is to a record for these versions
    template <ip_version O, ip_version T>
    [[nodiscard]] auto& record(flow_ref ref) noexcept {
        return pool_for<O, T>()[ref.index()];
    }
    template <ip_version O, ip_version T>
    [[nodiscard]] static flow_ref ref_to(std::uint32_t number) noexcept {
        return is_narrow<O, T> ? flow_ref::narrow(number, flow_direction::original)
                               : flow_ref::wide(number, flow_direction::original);
    }

    /// Records that were ever in use, narrow ones first, are at positions below this.
    [[nodiscard]] std::size_t positions() const noexcept {
        return std::size_t{narrow_.highest_taken()} + wide_.highest_taken();
    }
    [[nodiscard]] flow_ref at(std::size_t position) const noexcept {
        auto const narrow_ones = narrow_.highest_taken();
        return position < narrow_ones
                   ? flow_ref::narrow(static_cast<std::uint32_t>(position) + 1, flow_direction::original)
                   : flow_ref::wide(static_cast<std::uint32_t>(position - narrow_ones) + 1, flow_direction::original);
    }
    /// In use, and whole: what is being inserted is left alone. Orders what the caller reads of it next.
    [[nodiscard]] bool is_complete(flow_ref ref) const noexcept {
        auto const raw = body(ref).raw_state.load_acquire();
        return raw != 0 && (raw & body_type::unfinished) == 0;
    }

    void give_back(flow_ref ref, flow_end how) noexcept {
        if (ref.is_wide())
            wide_.give_back(ref.index(), how);
        else
            narrow_.give_back(ref.index(), how);
    }
    [[nodiscard]] flow_counters counters() const noexcept {
        flow_counters sum;
        narrow_.add_to(sum);
        wide_.add_to(sum);
        return sum;
    }
    [[nodiscard]] std::uint32_t narrow_capacity() const noexcept { return narrow_.capacity(); }
    [[nodiscard]] std::uint32_t wide_capacity() const noexcept { return wide_.capacity(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return narrow_.bytes() + wide_.bytes(); }

  private:
    record_pool<narrow_type, Sharing, Memory> narrow_;
    record_pool<wide_type, Sharing, Memory> wide_;
};

} // namespace v0_2
} // namespace kubeproxy
