// Packets of established flows for callgrind to count the instructions of: callgrind_path TRANSLATION BATCHES.
// callgrind_path.py runs it; only what happens inside process_batch counts.

#include "support/path_bed.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using namespace kubeproxy;
using namespace kubeproxy::bench;
using worker_type = path_worker<flow_table>;

} // namespace

/// By this name callgrind knows it.
extern "C" __attribute__((noinline)) void process_batch(worker_type& worker, tally& verdicts) {
    (void)worker.run(verdicts);
}

int main(int count, char** arguments) {
    auto const* const wanted = count == 3 ? arguments[1] : "";
    auto const t =
        std::ranges::find_if(translations, [&](auto const& each) { return std::strcmp(each.name, wanted) == 0; });
    auto const batches = count == 3 ? std::strtoul(arguments[2], nullptr, 10) : 0;
    if (t == translations.end() || batches == 0) {
        std::fputs("usage: callgrind_path 44|66|46|64 BATCHES\n", stderr);
        return 2;
    }
    constexpr std::uint32_t flows = 1024;
    path_bed<flow_table> bed{ku_text_of(*t), bed_size::for_flows(*t, flows)};
    client_flows clients{*t, transport::udp};
    bed.establish(clients, 0, flows);
    auto& worker = bed.worker();
    tally verdicts;
    for (unsigned long i = 0; i < batches; ++i) {
        worker.fill(sizes::smallest, [&](std::size_t slot, mutable_byte_span to) {
            auto const flow = worker.random_below(flows);
            return slot % 2 == 0 ? clients.write_request(to, flow) : clients.write_reply(to, flow);
        });
        process_batch(worker, verdicts);
    }
    std::printf("packets %zu\n", batches * worker.batch());
    return verdicts.forwarded == batches * worker.batch() && verdicts.fresh == 0 ? 0 : 1;
}
