//! A directory of manifests as a source of pods.
//!
//! In: `v1` Pods in the `*.yaml`, `*.yml` and `*.json` files of one directory. Out: a [`Snapshot`] in a `watch` channel, complete each
//! time, whenever something changed: the pods to run, checked and with their defaults ([`pod_model::AdmittedPod`]), and what is wrong,
//! with file, line and field.
//!
//! One thread runs here (`manifests`): it waits on inotify and every 20 s reads everything again. Reading, parsing and checking happen in
//! it, at once when a file was closed or moved into place; nothing sleeps between a saved file and its snapshot.
//!
//! What holds whatever happens to the files:
//!
//! - A directory that is missing or unreadable is a source that is not ready; it never means that there are no pods.
//! - A file that cannot be read or does not parse keeps its last good pods. One that was never good since the agent started is
//!   undecided, which is not the same as empty.
//! - Only a file's absence from a readable directory, or its good new content, ends a pod.
//! - Two manifests with one name or one uid: the first in sort order has it, and the other is told of.
//! - A pod's uid is a hash of its manifest's values: another content is another pod, another layout or comment is not. A manifest that
//!   names a `metadata.uid` keeps it: another content is the same pod changed. Whether it may be so changed is judged by [`updated`], for
//!   whoever knows the pod as it is.
//!
//! This crate does not know what becomes of the pods, keeps nothing on disk, and asks nothing but the kernel.

mod admit;
mod defaults;
mod ephemeral;
mod field_path;
mod fields;
mod file;
mod follower;
mod identity;
mod manifest;
mod problem;
mod shape;
mod snapshot;
mod source;
mod table;
mod update;
mod validate;
mod watch;

#[cfg(test)]
mod tests;

pub use admit::admit;
pub use ephemeral::with_ephemeral;
pub use identity::{Origin, manifest_file};
pub use located_yaml::Place;
pub use manifest::read_manifest;
pub use problem::Problem;
pub use snapshot::{Snapshot, SourcedPod, Verdict};
pub use source::{ManifestSource, Running, SourceError};
pub use update::updated;
