//! The `kubepods` tree of cgroups: limits in, processes contained, figures out.
//!
//! ```text
//! <cgroup-root>/kubepods/[burstable/|besteffort/]pod<uid>/<container>.<attempt>/exec-<session>
//! ```
//!
//! [`CgroupTree::detect`] looks at the mount table once and chooses v2, or v1 (also on a hybrid machine whose v2 tree has no controllers).
//! After that every operation is a handful of system calls on small files: no task, no thread, no state but the paths. Names carry uid,
//! container and attempt, so the tree itself tells a restarted agent what there is ([`CgroupTree::list`]).
//!
//! Operations block for microseconds, [`CgroupTree::kill_container`] on v1, freezing and removing a busy cgroup for up to a second: call
//! them where blocking is allowed. Nobody is ever moved into a cgroup here: on v2 a process is born in it, on v1 it enters by itself
//! (a [`Placement`] says where), because a write to `cgroup.procs` waits for an RCU grace period.
//!
//! | module | holds |
//! |---|---|
//! | `mounts` | the mount table → hierarchies |
//! | [`tree`] | detection, making the node's level, pods, containers, exec sessions |
//! | `v1`, `v2` | numbers → control files |
//! | [`devices`] | which device nodes may be opened; `device_program` is the same as an eBPF program |
//! | `kill` | kill whole, freeze, thaw |
//! | `remove` | removal deepest first, sweep, `remove_all` |
//! | [`found`] | what the tree says there is |
//! | `session` | more processes in a container, by themselves |
//! | [`stats`] | usage, out-of-memory kills |
//!
//! What it deliberately does not know: what a pod is (it takes numbers of `node-policy`), who starts processes, and clocks.

mod device_program;
pub mod devices;
mod error;
mod file;
pub mod found;
mod hierarchy;
mod kill;
mod mounts;
mod names;
mod remove;
mod session;
pub mod stats;
pub mod tree;
mod v1;
mod v2;

#[cfg(test)]
mod unified_tests;

pub use devices::DevicePolicy;
pub use error::CgroupError;
pub use found::{FoundContainer, FoundPod};
pub use kill::Killed;
pub use remove::{Removed, Swept};
pub use session::{Session, SessionOwner, SweptSession};
pub use stats::{CpuStats, MemoryStats, NodeStats, Stats};
pub use tree::{CgroupKind, CgroupTree, Made, Placement};
