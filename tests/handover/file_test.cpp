#include "kubeproxy/handover/file.hpp"

#include "support/hex.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kubeproxy::flow_file_tests {
namespace {

using bytes = std::vector<std::byte>;

tuple<ipv4> narrow(std::uint8_t protocol, std::uint16_t port) {
    return {ipv4_address(0xc000'0201), ipv4_address(0x0a60'0001), port, 80, protocol};
}
tuple<ipv6> wide(std::uint8_t protocol, std::uint16_t port) {
    return {{std::byte{0x20}, std::byte{1}}, {std::byte{0xfd}}, port, 8080, protocol};
}

/// One flow for each pair of versions, and an echo across them.
flow_images some() {
    using enum flow_state;
    return {.services = {"shop/web:http", "90.0.0.0/8:3306", ""},
            .flows = {{0, narrow(6, 1), narrow(6, 2), tcp_established, false, 5, 7'440'000, {3, 0xffff'ffff}},
                      {1, wide(17, 1), wide(17, 2), udp_assured, true, 0, 300'000, {1, 1}},
                      {1, narrow(132, 1), wide(132, 2), sctp_established, false, 209'999, 210'000, {}},
                      {2, wide(58, 1), narrow(1, 1), icmp_unreplied, true, 59'999, 60'000, {}},
                      {0, wide(47, 0), wide(47, 0), other_replied, false, 1, 300'000, {}}}};
}

std::string refusal(byte_span file) {
    auto const read = read_flow_file(file);
    auto const* wrong = std::get_if<flow_file_error>(&read);
    return wrong == nullptr ? "" : wrong->reason;
}
/// With a checksum that fits.
bytes sealed(bytes file) {
    store_crc32c(file, file.size() - 4, crc32c(byte_span{file}.first(file.size() - 4)));
    return file;
}
bytes changed(bytes file, std::size_t at, unsigned value) {
    file.at(at) = static_cast<std::byte>(value);
    return sealed(std::move(file));
}

TEST(flow_file, reads_what_it_wrote) {
    auto const read = read_flow_file(flow_file_of(some()));
    ASSERT_TRUE(std::holds_alternative<flow_images>(read));
    EXPECT_EQ(std::get<flow_images>(read).services, some().services);
    EXPECT_EQ(std::get<flow_images>(read).flows, some().flows);
    EXPECT_EQ(refusal(flow_file_of({})), "") << "no flows are a file, too";
}

TEST(flow_file, layout_of_version_2) { // by hand, from the comment in flow_image.hpp; CRC32c by the bitwise algorithm
    auto file = flow_file_of({.services = {"a"},
                              .flows = {{.service = 0,
                                         .original = narrow(6, 0x1234),
                                         .translated = narrow(6, 0x5678),
                                         .state = flow_state::tcp_established,
                                         .masqueraded = true,
                                         .silent = 7,
                                         .timeout = 240'000,
                                         .packets = {1, 2}}}});
    auto const expected = hex::bytes_of("4b55464c4f57530a"     // magic
                                        "00020000"             // version
                                        "00000001"             // services
                                        "0000000000000001"     // flows
                                        "0000000000000057"     // size
                                        "000161"               // "a"
                                        "00000000090106060000" // service, state, flags, protocols, silent
                                        "00070003a9800000000100000002"
                                        "c00002010a60000112340050c00002010a60000156780050");
    ASSERT_EQ(file.size(), expected.size() + 4);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), file.begin()));
}

TEST(flow_file, version_1_is_read_with_its_own_numbers_of_states) {
    struct row {
        std::uint8_t protocol, number;
        flow_state state;
    };
    using enum flow_state;
    for (auto const& r : std::vector<row>{{6, 1, tcp_syn_sent},
                                          {6, 4, tcp_established},
                                          {6, 7, tcp_closed},
                                          {6, 8, tcp_reset},
                                          {6, 9, tcp_reset},
                                          {17, 10, udp_unreplied},
                                          {17, 11, udp_assured},
                                          {1, 13, icmp_assured},
                                          {132, 14, sctp_init},
                                          {132, 20, sctp_closed},
                                          {47, 22, other_assured}}) {
        auto const file = flow_file_of(
            {.services = {"a"},
             .flows = {
                 {.original = narrow(r.protocol, 1), .translated = narrow(r.protocol, 2), .state = tcp_established}}});
        auto const read = read_flow_file(changed(changed(file, 9, 1), 32 + 3 + 4, r.number));
        ASSERT_TRUE(std::holds_alternative<flow_images>(read)) << int{r.number};
        EXPECT_EQ(std::get<flow_images>(read).flows.at(0).state, r.state) << int{r.number};
    }
    auto const file = changed(flow_file_of(some()), 9, 1);
    EXPECT_EQ(refusal(changed(file, 32 + 3 * 2 + 13 + 15 + 4, 23)),
              "is damaged: flow 1 has a state that its protocol has not");
}

TEST(flow_file, every_truncation_is_refused) {
    auto const file = flow_file_of(some());
    for (std::size_t size = 0; size < file.size(); ++size) EXPECT_NE(refusal(byte_span{file}.first(size)), "") << size;
    EXPECT_EQ(refusal(byte_span{file}.first(file.size() - 1)), "is truncated");
    EXPECT_EQ(refusal({}), "is no file of flows");
    auto longer = file;
    longer.push_back({});
    EXPECT_EQ(refusal(longer), "has bytes behind its end");
}

TEST(flow_file, every_flipped_bit_is_refused) {
    auto const file = flow_file_of(some());
    for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
        auto bad = file;
        bad[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
        EXPECT_NE(refusal(bad), "") << "bit " << bit;
    }
}

TEST(flow_file, others_files_are_refused) {
    auto const text = [](std::string_view t) {
        bytes b;
        for (char const c : t) b.push_back(static_cast<std::byte>(c));
        return b;
    };
    EXPECT_EQ(refusal(text("ku vip 10.0.0.0/8 port 80\n")), "is no file of flows");
    EXPECT_EQ(refusal(bytes(4096)), "is no file of flows");
    EXPECT_EQ(refusal(changed(flow_file_of(some()), 9, 0)), "is of version 0, and this program reads versions 1 to 2");
    EXPECT_EQ(refusal(changed(flow_file_of(some()), 8, 1)),
              "is of version 258, and this program reads versions 1 to 2");
}

/// Where the first flow of some() is: three names before it.
constexpr std::size_t first_flow = 32 + 3 * 2 + 13 + 15;

struct damage {
    std::string_view name;
    std::size_t at;
    unsigned value;
    std::string_view reason;
};
TEST(flow_file, records_that_cannot_be_are_refused_though_the_checksum_fits) {
    for (auto const& d : std::vector<damage>{
             {"service", first_flow + 3, 3, "is damaged: flow 1 names no service"},
             {"state none", first_flow + 4, 0, "is damaged: flow 1 has a state that its protocol has not"},
             {"state of UDP", first_flow + 4, 24, "is damaged: flow 1 has a state that its protocol has not"},
             {"state beyond all", first_flow + 4, 255, "is damaged: flow 1 has a state that its protocol has not"},
             {"flags", first_flow + 5, 0x08, "is damaged: flow 1 has unknown flags"},
             {"protocol", first_flow + 7, 17, "is damaged: flow 1 has two protocols"},
             {"ICMP of the other version", first_flow + 6, 58, "is damaged: flow 1 has two protocols"},
             {"timeout", first_flow + 12, 0xff, "is damaged: flow 1 has a timeout that no flow has"},
             {"a longer name", 33, 14, ""},
             {"more flows", 23, 6, "is damaged: its records do not fill it"},
             {"fewer flows", 23, 4, "is damaged: its records do not fill it"},
             {"flows without end", 16, 0xff, "is damaged: its header does not fit it"},
             {"services without end", 12, 0xff, "is damaged: its header does not fit it"},
             {"a wider tuple", first_flow + 5, 0x02, ""},
         }) {
        auto const why = refusal(changed(flow_file_of(some()), d.at, d.value));
        EXPECT_NE(why, "") << d.name;
        if (!d.reason.empty()) {
            EXPECT_EQ(why, d.reason) << d.name;
        }
    }
}

TEST(flow_file, any_bytes_behind_a_right_checksum_are_read_or_refused) {
    std::mt19937 random{20240611};
    std::size_t refused = 0;
    for (int round = 0; round < 20'000; ++round) {
        auto file = flow_file_of(some());
        for (int change = 0; change < 3; ++change)
            file[8 + random() % (file.size() - 12)] = static_cast<std::byte>(random());
        auto const read = read_flow_file(sealed(std::move(file)));
        if (auto const* images = std::get_if<flow_images>(&read)) {
            for (auto const& f : images->flows) EXPECT_LT(f.service, images->services.size());
        } else {
            ++refused;
        }
    }
    EXPECT_GT(refused, 5'000u);
    EXPECT_LT(refused, 20'000u);
}

} // namespace
} // namespace kubeproxy::flow_file_tests
