// error: (no_stage_handles|is_same_v)<[^ ]*seen<
#include <kubeproxy/dataplane/burst.hpp>
#include <kubeproxy/dataplane/parse.hpp>

using namespace kubeproxy;

// A filter of a host's own, whose second stage must come first.
struct admit {
    settled operator()(seen<span_packet, ipv4>&) const noexcept { return {}; }
    settled operator()(seen<span_packet, ipv6>&) const noexcept { return {}; }
};

pipeline<frame<span_packet>, 32, admit, parse_stage<span_packet>> filter{admit{}, parse_stage<span_packet>{}};
