// Hosts that compile the library once, in a unit of its own, instantiate its classes explicitly.
#include "kubeproxy/kubeproxy.hpp"

template class kubeproxy::proxy<kubeproxy::span_packet>;
template class kubeproxy::proxy<kubeproxy::span_packet, kubeproxy::shared_flow_table>;
template class kubeproxy::basic_flow_table<kubeproxy::single_worker, kubeproxy::huge_page_memory>;
template class kubeproxy::basic_flow_table<kubeproxy::shared_workers, kubeproxy::huge_page_memory>;
