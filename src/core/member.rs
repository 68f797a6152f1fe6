//! Member and cluster ids, as etcd computes them.
