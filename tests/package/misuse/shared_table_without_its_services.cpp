// error: a shared table needs its workers' source: \{size, secret, services\}
#include <kubeproxy/flow/table.hpp>

kubeproxy::shared_flow_table flows{{.narrow = 1024, .wide = 1024}, kubeproxy::secret{1}};
