// Any text through the `ku` language: no sanitizer report, a refused text changes nothing, and a text that is taken is
// taken again by a controller that starts from nothing, with the same result.

#include "kubeproxy/control/controller.hpp"

#include "fuzz/snapshot_invariants.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace {

using namespace kubeproxy;

[[noreturn]] void fail(char const* what) {
    std::fprintf(stderr, "ku: %s\n", what);
    std::abort();
}

/// What is in force, to be printed: costs as much as the rest of an input.
std::string printed(controller& control) { return control.apply("show ku\nshow ku vip verbose").text; }

/// What a refused line must leave as it was. Unchanged parts of a configuration are the same objects.
struct observed {
    explicit observed(controller const& control)
        : published{control.current()}, node{control.configuration().shared_node()},
          services{control.configuration().services()} {}
    [[nodiscard]] bool operator==(observed const& other) const {
        constexpr auto page = valid_configuration::slots::page_size;
        if (published != other.published || node != other.node || services.size() != other.services.size())
            return false;
        for (std::size_t number = 0; number * page < services.size(); ++number)
            if (services.page_at(number) != other.services.page_at(number)) return false;
        return true;
    }

    snapshot const* published;
    std::shared_ptr<node_configuration const> node;
    valid_configuration::slots services;
};

/// Large rings are no other code than small ones, but take their time.
bool asks_for_large_rings(std::string_view text) {
    return text.find("new_len") != text.npos || text.find("weight") != text.npos;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string text(size, '\0');
    std::transform(data, data + size, text.begin(), [](std::uint8_t octet) { return static_cast<char>(octet); });
    if (size > 4096 && asks_for_large_rings(text)) return 0;

    kubeproxy::service_source source;
    kubeproxy::controller control{source};
    for (std::string_view rest = text; !rest.empty();) {
        auto const end = std::min(rest.find('\n'), rest.size());
        observed const before{control};
        if (!control.execute(rest.substr(0, end)).ok() && !(observed{control} == before))
            fail("a refused line did something");
        if (control.current() != before.published)
            if (auto const broken = broken_invariant(*control.current())) fail(broken);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }

    if (text.find('\n') == text.npos) return 0; // the whole text was one line
    kubeproxy::service_source again_source;
    kubeproxy::controller again{again_source};
    observed const empty{again};
    if (!again.apply(text).ok()) {
        if (!(observed{again} == empty)) fail("a refused text did something");
    } else if (printed(again) != printed(control)) {
        fail("a text as a whole and by its lines differ");
    }
    return 0;
}
