#pragma once

// The core, in the order in which a packet meets it: what a unit that moves packets needs. Configuration is included
// where it is read, for it takes three times as long to compile: control/controller.hpp (the ku language) and
// control/kubernetes/reader.hpp (Kubernetes objects, needs Boost.JSON). So are flows that outlive a process:
// handover/file.hpp and handover/transfer.hpp.

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
