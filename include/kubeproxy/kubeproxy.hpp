#pragma once

// The core, in the order in which a packet meets it. Kubernetes objects (control/kubernetes.hpp) need Boost.JSON
// and are included apart.

#include "kubeproxy/version.hpp"

#include "kubeproxy/verdict.hpp"
#include "kubeproxy/wire/packet.hpp"
#include "kubeproxy/wire/packet_buffer.hpp"

#include "kubeproxy/flow/fragments.hpp"
#include "kubeproxy/flow/table.hpp"

#include "kubeproxy/service/publication.hpp"
#include "kubeproxy/service/select.hpp"

#include "kubeproxy/flow/port_pool.hpp"

#include "kubeproxy/nat/icmp_error.hpp"
#include "kubeproxy/nat/reject.hpp"
#include "kubeproxy/nat/rewrite.hpp"

#include "kubeproxy/dataplane/proxy.hpp"

#include "kubeproxy/dataplane/flow_file.hpp"
#include "kubeproxy/dataplane/flow_transfer.hpp"

#include "kubeproxy/control/controller.hpp"
