#include "kubeproxy/verdict.hpp"

#include <array>
#include <cstddef>
#include <set>
#include <string_view>

#include <gtest/gtest.h>

namespace kubeproxy::verdict_tests {
namespace {

struct reason_case {
    drop_reason why;
    std::string_view spelling;
};

// The spelling is the compiler's, from the enumerator itself.
#define KUBEPROXY_REASON(enumerator)                                                                                   \
    reason_case { drop_reason::enumerator, #enumerator }
constexpr std::array reasons{
    KUBEPROXY_REASON(none),
    KUBEPROXY_REASON(truncated),
    KUBEPROXY_REASON(bad_version),
    KUBEPROXY_REASON(bad_header_length),
    KUBEPROXY_REASON(bad_length),
    KUBEPROXY_REASON(bad_extension_header),
    KUBEPROXY_REASON(truncated_transport),
    KUBEPROXY_REASON(tiny_fragment),
    KUBEPROXY_REASON(bad_ipv4_checksum),
    KUBEPROXY_REASON(bad_icmp_checksum),
    KUBEPROXY_REASON(bad_transport_checksum),
    KUBEPROXY_REASON(source_route),
    KUBEPROXY_REASON(zero_udp_checksum),
    KUBEPROXY_REASON(icmp_type),
    KUBEPROXY_REASON(icmp_fragment),
    KUBEPROXY_REASON(sctp_fragment),
    KUBEPROXY_REASON(protocol_unsupported),
    KUBEPROXY_REASON(extension_after_fragment),
    KUBEPROXY_REASON(quoted_truncated),
    KUBEPROXY_REASON(quoted_icmp_error),
    KUBEPROXY_REASON(quoted_icmp_fragment),
    KUBEPROXY_REASON(too_big),
    KUBEPROXY_REASON(hop_limit_exceeded),
    KUBEPROXY_REASON(no_headroom),
    KUBEPROXY_REASON(illegal_address),
    KUBEPROXY_REASON(quoted_other_source),
    KUBEPROXY_REASON(no_endpoints),
    KUBEPROXY_REASON(no_local_endpoint),
    KUBEPROXY_REASON(source_not_allowed),
    KUBEPROXY_REASON(unallocated_address),
    KUBEPROXY_REASON(backend_removed),
    KUBEPROXY_REASON(no_source_address),
    KUBEPROXY_REASON(denied_by_host),
    KUBEPROXY_REASON(ports_exhausted),
    KUBEPROXY_REASON(identifications_exhausted),
    KUBEPROXY_REASON(flow_table_full),
    KUBEPROXY_REASON(flow_rate_limited),
    KUBEPROXY_REASON(reject_rate_limited),
    KUBEPROXY_REASON(reject_forbidden),
    KUBEPROXY_REASON(fragment_store_full),
    KUBEPROXY_REASON(fragment_timeout),
    KUBEPROXY_REASON(fragment_held),
    KUBEPROXY_REASON(no_spare_packet),
};
#undef KUBEPROXY_REASON
static_assert(reasons.size() == drop_reason_count, "a row for each reason");

TEST(verdict, a_reason_s_name_is_its_enumerator) {
    for (auto const& row : reasons) EXPECT_EQ(name(row.why), row.spelling);
}

TEST(verdict, names_are_distinct) {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < drop_reason_count; ++i) names.insert(name(static_cast<drop_reason>(i)));
    EXPECT_EQ(names.size(), drop_reason_count);
    EXPECT_FALSE(names.contains(""));
}

TEST(verdict, an_action_s_name_is_the_word_of_the_report) {
    EXPECT_EQ(name(action::pass), "pass");
    EXPECT_EQ(name(action::forward), "forward");
    EXPECT_EQ(name(action::reply), "reply");
    EXPECT_EQ(name(action::drop), "drop");
}

TEST(verdict, only_a_drop_and_a_reply_have_a_reason) {
    EXPECT_EQ(verdict::pass().what(), action::pass);
    EXPECT_EQ(verdict::pass().why(), drop_reason::none);
    EXPECT_EQ(verdict::forward().what(), action::forward);
    EXPECT_EQ(verdict::forward().why(), drop_reason::none);
    EXPECT_EQ(verdict::reply(drop_reason::no_endpoints).what(), action::reply);
    EXPECT_EQ(verdict::reply(drop_reason::no_endpoints).why(), drop_reason::no_endpoints);
    EXPECT_EQ(verdict::drop(drop_reason::truncated).what(), action::drop);
    EXPECT_EQ(verdict::drop(drop_reason::truncated).why(), drop_reason::truncated);
}

TEST(verdict, equal_is_the_same_action_for_the_same_reason) {
    EXPECT_EQ(verdict::drop(drop_reason::truncated), verdict::drop(drop_reason::truncated));
    EXPECT_NE(verdict::drop(drop_reason::truncated), verdict::drop(drop_reason::bad_version));
    EXPECT_NE(verdict::drop(drop_reason::no_endpoints), verdict::reply(drop_reason::no_endpoints));
    EXPECT_NE(verdict::pass(), verdict::forward());
}

TEST(verdict_counters, each_packet_is_counted_once) {
    verdict_counters counters;
    counters.count(verdict::pass());
    counters.count(verdict::forward());
    counters.count(verdict::forward());
    counters.count(verdict::reply(drop_reason::no_endpoints));
    counters.count(verdict::drop(drop_reason::no_endpoints));
    counters.count(verdict::drop(drop_reason::no_endpoints));
    counters.count(verdict::drop(drop_reason::no_spare_packet));
    EXPECT_EQ(counters.packets(action::pass), 1u);
    EXPECT_EQ(counters.packets(action::forward), 2u);
    EXPECT_EQ(counters.packets(action::reply), 1u);
    EXPECT_EQ(counters.packets(action::drop), 3u);
    EXPECT_EQ(counters.replied(drop_reason::no_endpoints), 1u);
    EXPECT_EQ(counters.dropped(drop_reason::no_endpoints), 2u);
    EXPECT_EQ(counters.dropped(drop_reason::no_spare_packet), 1u);
    EXPECT_EQ(counters.replied(drop_reason::no_spare_packet), 0u);
}

TEST(verdict_counters, a_packet_that_goes_on_counts_for_no_reason) {
    verdict_counters counters;
    counters.count(verdict::pass());
    counters.count(verdict::forward());
    for (auto const& row : reasons) {
        EXPECT_EQ(counters.dropped(row.why), 0u) << row.spelling;
        EXPECT_EQ(counters.replied(row.why), 0u) << row.spelling;
    }
}

TEST(verdict_counters, every_reason_has_a_counter_of_its_own) {
    verdict_counters counters;
    std::uint64_t expected = 0;
    for (auto const& row : reasons) {
        if (row.why == drop_reason::none) continue;
        ++expected;
        for (std::uint64_t i = 0; i < expected; ++i) counters.count(verdict::drop(row.why));
        counters.count(verdict::reply(row.why));
    }
    expected = 0;
    for (auto const& row : reasons) {
        if (row.why == drop_reason::none) continue;
        EXPECT_EQ(counters.dropped(row.why), ++expected) << row.spelling;
        EXPECT_EQ(counters.replied(row.why), 1u) << row.spelling;
    }
}

TEST(verdict_counters, bytes_go_with_their_packets) {
    verdict_counters counters;
    counters.count(verdict::forward(), 1500);
    counters.count(verdict::forward(), 40);
    counters.count(verdict::drop(drop_reason::truncated), 7);
    counters.count(verdict::drop(drop_reason::fragment_timeout));
    EXPECT_EQ(counters.packets(verdict::forward()), 2u);
    EXPECT_EQ(counters.bytes(verdict::forward()), 1540u);
    EXPECT_EQ(counters.bytes(verdict::drop(drop_reason::truncated)), 7u);
    EXPECT_EQ(counters.packets(verdict::drop(drop_reason::fragment_timeout)), 1u);
    EXPECT_EQ(counters.bytes(verdict::drop(drop_reason::fragment_timeout)), 0u);
    EXPECT_EQ(counters.bytes(verdict::pass()), 0u);
}

} // namespace
} // namespace kubeproxy::verdict_tests
