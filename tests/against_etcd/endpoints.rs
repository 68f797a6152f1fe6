//! detcdctl and etcdctl with several endpoints, of which the first is of no use.
