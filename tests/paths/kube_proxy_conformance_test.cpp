#include "kubeproxy/control/kubernetes/reader.hpp"

#include "support/conformance.hpp"
#include "support/conversation.hpp"
#include "support/testbed.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

// What kube-proxy's nftables mode does with the first packet of a connection, and with its reply: all files of the
// conformance folder's kube_proxy, and of kube_proxy/ beside this test.

namespace kubeproxy::kube_proxy_conformance_tests {
namespace {

namespace json = boost::json;
using build::conversation;
using build::is_whole;
using build::number_of;
using build::packet_of;
using build::read;
using build::segment;
using testing_support::octets;
using testing_support::settled;
using testing_support::testbed;
using namespace std::chrono_literals;

using paths = std::vector<std::filesystem::path>;

paths files_in(std::filesystem::path const& folder) {
    paths files;
    if (!std::filesystem::is_directory(folder)) return files;
    for (auto const& entry : std::filesystem::directory_iterator{folder})
        if (entry.path().extension() == ".json") files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
}

paths conformance_files() {
    auto const all = conformance::folder();
    return all ? files_in(*all / "kube_proxy") : paths{};
}
/// Ours of the same form, read off kube-proxy's source: each file's `origin` says where.
paths own_files() { return files_in(std::filesystem::path{KUBEPROXY_SOURCE_DIR} / "tests/paths/kube_proxy"); }

std::string text(json::value const& value) { return std::string{value.as_string()}; }

/// One cluster's state, step by step, and a proxy on one of its nodes.
class cluster {
  public:
    explicit cluster(json::value const& file) {
        node_configuration node;
        take_node(node, file);
        auto const wrong = bed_.control().configuration().set_node(node);
        EXPECT_FALSE(wrong) << wrong->text();
        for (auto const& a : file.at("node").at("addresses").as_array()) {
            auto& primary = text(a).find(':') == std::string::npos ? primary4_ : primary6_;
            if (primary.empty()) primary = text(a);
        }
    }

    void step(json::value const& what) {
        std::string bytes;
        for (auto const& gone : what.at("delete").as_array()) {
            auto const& o = gone.as_object();
            json::object object{{"kind", o.at("kind")},
                                {"metadata", {{"namespace", o.at("namespace")}, {"name", o.at("name")}}}};
            bytes += json::serialize(json::object{{"type", "DELETED"}, {"object", std::move(object)}}) + '\n';
        }
        for (auto const& object : what.at("apply").as_array()) bytes += json::serialize(object) + '\n';
        tell(bytes);
    }

    void flow(json::value const& row) {
        auto const& expected = row.at("expect");
        auto const verdict = text(expected.at("verdict"));
        conversation const c{number_of(text(row.at("protocol"))),
                             {text(row.at("source")), 0},
                             {text(row.at("destination")), static_cast<unsigned>(row.at("port").as_int64())}};
        ASSERT_NE(c.protocol, 0u) << "a protocol that this test does not know";
        if (verdict == "forward") return forwarded(c, expected.as_object());
        auto const sent = new_flow(c);
        auto const got = bed_.send(packet_of(sent, segment::open), clock_);
        if (verdict == "reject") rejected(sent, got);
        if (verdict == "drop") {
            EXPECT_EQ(got.what.what.what(), action::drop);
        }
        if (verdict == "pass") {
            EXPECT_EQ(got.what.what.what(), action::pass);
            EXPECT_EQ(got.bytes, packet_of(sent, segment::open));
        }
        EXPECT_TRUE(verdict == "reject" || verdict == "drop" || verdict == "pass") << verdict;
    }

  private:
    /// Cut anywhere: the reader takes bytes as they come.
    void tell(std::string_view bytes) {
        while (!bytes.empty()) {
            auto const size =
                std::min<std::size_t>(std::uniform_int_distribution<std::size_t>{1, 400}(random_), bytes.size());
            reader_.read(bytes.substr(0, size));
            bytes.remove_prefix(size);
        }
        reader_.finish();
        for (auto const& refused : reader_.flush()) ADD_FAILURE() << refused.text();
    }

    conversation new_flow(conversation c) {
        c.source.port = next_port_++;
        clock_ += 1s;
        return c;
    }

    void forwarded(conversation const& like, json::object const& expected) {
        constexpr int flows = 64; // of four backends each gets one, but for one time in 10^7
        std::set<std::string> allowed, seen;
        for (auto const& b : expected.at("backends").as_array()) allowed.insert(text(b));
        bool const masquerade = expected.at("masquerade").as_bool();
        for (int i = 0; i < flows; ++i) {
            auto const sent = new_flow(like);
            auto const got = bed_.send(packet_of(sent, segment::open), clock_);
            ASSERT_EQ(got.what.what, verdict::forward()) << name(got.what.what.why());
            ASSERT_TRUE(is_whole(got.bytes));
            auto const out = read(got.bytes);
            ASSERT_TRUE(allowed.contains(out.destination.text())) << out.text();
            seen.insert(out.destination.text());
            ASSERT_EQ(got.what.masqueraded, masquerade);
            if (masquerade)
                ASSERT_EQ(out.source.address,
                          out.source.address.find(':') == std::string::npos ? primary4_ : primary6_);
            else
                ASSERT_EQ(out.source, sent.source);
            answered(out, sent);
        }
        if (!has_affinity_) {
            EXPECT_EQ(seen, allowed);
        }
    }

    /// The client hears from the address and port that it spoke to.
    void answered(conversation const& out, conversation const& sent) {
        auto const got = bed_.send(packet_of(out.back(), segment::accept), clock_);
        ASSERT_EQ(got.what.what, verdict::forward());
        ASSERT_EQ(read(got.bytes), sent.back());
        ASSERT_TRUE(is_whole(got.bytes));
    }

    /// An ICMP error from the destination that was spoken to; port unreachable, as nftables' reject sends it.
    static void rejected(conversation const& sent, settled const& got) {
        ASSERT_EQ(got.what.what.what(), action::reply) << name(got.what.what.why());
        bool const is_ipv6 = sent.source.address.find(':') != std::string::npos;
        auto const out = read(got.bytes);
        EXPECT_EQ(out.protocol, is_ipv6 ? 58u : 1u);
        EXPECT_EQ(out.source.port, is_ipv6 ? 0x0104u : 0x0303u); // type and code stand where ports would
        EXPECT_EQ(out.destination.address, sent.source.address);
    }

    testbed bed_{"", {}, {8192, 8192}};
    kubernetes_reader reader_{bed_.control()};
    std::string primary4_, primary6_;
    std::mt19937 random_{7};
    unsigned next_port_ = 2000;
    std::chrono::nanoseconds clock_ = 1s;

  public:
    bool has_affinity_ = false; ///< then a client does not see all backends
};

class kube_proxy_conformance : public testing::TestWithParam<std::filesystem::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(kube_proxy_conformance);

TEST_P(kube_proxy_conformance, decides_alike) {
    auto const contents = conformance::contents(GetParam());
    auto const file = json::parse(contents);
    cluster c{file};
    c.has_affinity_ = contents.find("ClientIP") != std::string::npos;
    std::size_t number = 0, flows = 0;
    for (auto const& step : file.at("steps").as_array()) {
        SCOPED_TRACE("step " + std::to_string(++number));
        c.step(step);
        for (auto const& row : step.at("flows").as_array()) {
            SCOPED_TRACE(text(row.at("name")));
            c.flow(row);
            ++flows;
        }
    }
    EXPECT_GT(flows, 0u);
}

std::string test_name(testing::TestParamInfo<std::filesystem::path> const& one) {
    auto name = one.param.stem().string();
    std::ranges::replace_if(
        name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
    return name;
}
INSTANTIATE_TEST_SUITE_P(files, kube_proxy_conformance, testing::ValuesIn(conformance_files()), test_name);
INSTANTIATE_TEST_SUITE_P(own, kube_proxy_conformance, testing::ValuesIn(own_files()), test_name);

TEST(kube_proxy_conformance_files, are_there) {
    EXPECT_FALSE(own_files().empty());
    if (conformance_files().empty()) GTEST_SKIP() << conformance::absent;
}

} // namespace
} // namespace kubeproxy::kube_proxy_conformance_tests
