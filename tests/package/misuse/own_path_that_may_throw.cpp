// error: stage_may_throw<count_packets,|takes<count_packets,
#include <kubeproxy/dataplane/burst.hpp>
#include <kubeproxy/dataplane/parse.hpp>

using namespace kubeproxy;

struct count_packets {
    settled operator()(frame<span_packet>&) const { return {}; }
};

pipeline<frame<span_packet>, 32, count_packets> counter{count_packets{}};
