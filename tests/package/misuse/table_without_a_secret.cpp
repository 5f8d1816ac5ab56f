// error: a table needs a secret: \{size, secret::from_system\(\)\}
#include <kubeproxy/flow/table.hpp>

kubeproxy::flow_table flows{{.narrow = 1024, .wide = 1024}};
