//! Volumes of pods on this machine: `emptyDir` on disk and in memory, and `hostPath`.
//!
//! ```text
//! <root>/pods/<uid>/volumes/<volume>/     an emptyDir; in memory: a tmpfs mounted there, so that it outlives containers
//! <root>/trash/<uid>.<n>/                 volumes of pods that are gone, until a thread of low priority has deleted them
//! ```
//!
//! What flows in: admitted pods. What flows out: a detached clone of the mount for each `volumeMount` ([`PodVolumes::mount_source`]),
//! so that nobody resolves a path of a tenant's tree by name, and that works in any mount namespace. An emptyDir is made under a
//! hidden name and renamed: one that is there is whole, so preparing twice, or after a crash, does no harm.
//!
//! Every call may block (a hostPath may lie on a dead NFS server): callers use threads of their own that may hang alone.
//!
//! | module | holds |
//! |---|---|
//! | `volumes` | [`PodVolumes`]: prepare, mount source, tear down, sweep |
//! | `kinds` | the volume source of the API → what this crate makes of it; pure |
//! | `empty_dir`, `host_path` | making one |
//! | `sub_path` | resolving and making a `subPath` beneath a volume |
//! | `mounts` | what is mounted beneath a directory, and detaching it |
//! | `propagation` | whether mounts can pass between host and container |
//! | `removal` | deleting a tree without leaving its file system |
//! | `usage` | how much a volume holds |
//!
//! What it does not know: containers, and what a pod lives through. Volumes of other types are refused by name.

mod empty_dir;
mod error;
mod host_path;
mod kinds;
mod mounts;
mod propagation;
mod removal;
mod sub_path;
mod usage;
mod volumes;

pub use error::VolumeError;
pub use propagation::Propagation;
pub use usage::{VolumeUsage, tree_bytes};
pub use volumes::{PodVolumes, Prepared};
