// Any bytes through parse() and tuple_of(): no sanitizer report, and every promise of the result is kept.

#include "kubeproxy/wire/packet.hpp"

#include "support/parse_invariants.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

[[noreturn]] void fail(char const* what) {
    std::fprintf(stderr, "parse: %s\n", what);
    std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::vector<std::byte> bytes(size);
    std::transform(data, data + size, bytes.begin(), [](std::uint8_t octet) { return std::byte{octet}; });
    auto const before = bytes;
    auto const result = kubeproxy::parse(bytes);
    if (auto const* const what = kubeproxy::invariant::in_result(result, bytes)) fail(what);
    if (bytes != before) fail("parsing wrote");
    return 0;
}
