// Hosts that compile the proxy once, in a unit of its own, instantiate the class explicitly.
#include "kubeproxy/kubeproxy.hpp"

template class kubeproxy::proxy<kubeproxy::span_packet>;
template class kubeproxy::proxy<kubeproxy::span_packet, kubeproxy::shared_flow_table>;
