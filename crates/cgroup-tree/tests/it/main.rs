//! Against the kernel's own cgroups: on v1 in its hierarchies, on v2 in the unified tree, chosen by what the machine has. Each test works in a
//! cgroup root of its own and takes it away, also when it fails.

mod containing;
mod making;
mod support;
