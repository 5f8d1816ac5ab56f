// Any bytes as Kubernetes objects: no sanitizer report, snapshots that the data path can rely on, and the same result
// wherever the bytes are cut. The first byte of the input says how long the pieces are, and its highest bit whether
// they are read as a watch, whose changes are published piece by piece.

#include "kubeproxy/control/kubernetes/reader.hpp"

#include "fuzz/snapshot_invariants.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace kubeproxy;

[[noreturn]] void fail(char const* what) {
    std::fprintf(stderr, "kubernetes: %s\n", what);
    std::abort();
}

struct cluster {
    service_source source;
    controller control{source};
    kubernetes_reader reader{control};
    std::size_t refused = 0;

    cluster() {
        if (control.configuration().set_node({.name = "n1", .zone = "z"})) fail("the node is refused");
    }
    void read(std::string_view text, std::size_t piece) {
        for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) reader.read(text.substr(0, piece));
    }
    void feed(std::string_view text, std::size_t piece) {
        for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
            auto const before = control.current();
            static_cast<void>(reader.feed(text.substr(0, piece)));
            if (control.current() == before) continue;
            if (auto const broken = broken_invariant(*control.current())) fail(broken);
        }
    }
    /// What is in force.
    [[nodiscard]] std::string finish() {
        reader.finish();
        refused += reader.flush().size();
        if (auto const broken = broken_invariant(*control.current())) fail(broken);
        return control.apply("show services json").text;
    }
};

void read_as_a_whole_and_in_pieces(std::string_view text, std::size_t piece) {
    cluster whole, pieces;
    whole.read(text, text.size() + 1);
    pieces.read(text, piece);
    if (whole.finish() != pieces.finish()) fail("where the text is cut makes a difference");
    if (whole.refused != pieces.refused) fail("where the text is cut makes a difference to what is refused");
}

void watch(std::string_view text, std::size_t piece) {
    constexpr std::size_t max_publications = 8; // of pieces that change nothing, too: each costs as much as an object
    cluster live;
    live.feed(text, std::max(piece, text.size() / max_publications + 1));
    static_cast<void>(live.finish());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    auto const piece = std::max<std::size_t>(data[0] & 0x7fu, 1);
    std::string text(size - 1, '\0');
    std::transform(data + 1, data + size, text.begin(), [](std::uint8_t octet) { return static_cast<char>(octet); });
    if ((data[0] & 0x80u) != 0)
        watch(text, piece);
    else
        read_as_a_whole_and_in_pieces(text, piece);
    return 0;
}
