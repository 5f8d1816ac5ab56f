#include "kubeproxy/service/select.hpp"

#include "kubeproxy/wire/address_text.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

/// The values on which nodes must agree, whatever processor each has: they choose a flow's pod. README.md, "Many
/// nodes". The expected ones are what ring_values.py prints. Whoever changes them makes nodes of different versions
/// disagree, which the release notes must say.
namespace kubeproxy::ring_values_tests {
namespace {

struct hash_row {
    std::uint64_t seed;
    std::string source;
    std::uint16_t source_port;
    std::string destination;
    std::uint16_t destination_port;
    std::uint8_t protocol;
    std::uint64_t hash;
};

template <ip_version V>
tuple<V> tuple_of(hash_row const& row) {
    return {.source = *parse_address<V>(row.source),
            .destination = *parse_address<V>(row.destination),
            .source_port = row.source_port,
            .destination_port = row.destination_port,
            .protocol = row.protocol};
}

template <ip_version V>
void expect_hash(hash_row const& row) {
    auto const t = tuple_of<V>(row);
    ring_entry_hash const hash{row.seed};
    EXPECT_EQ(hash(t), row.hash) << row.source << " to " << row.destination;
    EXPECT_EQ(hash(words_of(t)), row.hash) << "in registers, " << row.source << " to " << row.destination;
}

TEST(ring_entry_hash, has_the_same_value_on_every_machine) {
    for (hash_row const& row : std::vector<hash_row>{
             {0x1, "192.0.2.1", 40000, "10.96.0.1", 80, 6, 0x1dfd3f1f701e29f0},
             {0x1, "10.96.0.1", 80, "192.0.2.1", 40000, 6, 0xc8ca1651a7332a24},
             {0x1, "198.51.100.255", 1, "203.0.113.128", 65535, 17, 0xdd56f1ebe2462591},
             {0xfedcba9876543210, "192.0.2.1", 40000, "10.96.0.1", 80, 6, 0x13bdd7c9149d743b},
             {0x1, "192.0.2.1", 0, "10.96.0.1", 0, 47, 0x3a2c403c5b74c167}, // a protocol without ports
         })
        expect_hash<ipv4>(row);
    for (hash_row const& row : std::vector<hash_row>{
             {0x1, "2001:db8::1", 40000, "2001:db8:96::1", 443, 6, 0x699464c3c754ee12},
             {0x1, "2001:db8:96::1", 443, "2001:db8::1", 40000, 6, 0x6ad753173fa87177},
             {0x1, "fd00:10:244:1:2:3:4:5", 53, "fd00:10:96::a", 53, 17, 0xf272925d1aa690fd},
             {0xfedcba9876543210, "2001:db8::1", 4660, "2001:db8:96::1", 0, 58, 0xb9d557b2754e6b30}, // an echo request
         })
        expect_hash<ipv6>(row);
}

/// Constants are computed by the compiler, flows by the machine.
TEST(ring_entry_hash, is_the_same_for_a_constant) {
    constexpr tuple<ipv4> t{.source = ipv4_address(0xc000'0201),
                            .destination = ipv4_address(0x0a60'0001),
                            .source_port = 40000,
                            .destination_port = 80,
                            .protocol = 6};
    static_assert(ring_entry_hash{1}(t) == 0x1dfd'3f1f'701e'29f0);
}

struct key_row {
    std::uint64_t seed;
    std::string address;
    std::uint16_t port;
    std::uint64_t key;
};

template <ip_version V>
void expect_key(key_row const& row) {
    std::vector<std::byte> identity;
    std::ranges::copy(*parse_address<V>(row.address), std::back_inserter(identity));
    identity.push_back(static_cast<std::byte>(row.port >> 8));
    identity.push_back(static_cast<std::byte>(row.port & 0xff));
    EXPECT_EQ(ring_key(identity, row.seed), row.key) << row.address;
}

TEST(ring_key, has_the_same_value_on_every_machine) {
    expect_key<ipv4>({0x1, "10.244.1.17", 8080, 0x9396ba2d607f996b});
    expect_key<ipv6>({0x1, "2001:db8:244::17", 8080, 0x5cbd90ee10db1fe8});
    expect_key<ipv4>({0xfedcba9876543210, "10.244.1.17", 8080, 0x8921de99eb88b78a});
}

} // namespace
} // namespace kubeproxy::ring_values_tests
