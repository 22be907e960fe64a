//! cgroup-tree
