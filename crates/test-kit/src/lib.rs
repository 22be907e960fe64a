//! What tests build on: pods written in one line, and a node in memory to run them on.
//!
//! | module | holds |
//! |---|---|
//! | [`pods`] | [`pod`]: a builder of [`AdmittedPod`](pod_model::AdmittedPod)s with all defaults filled in |
//! | [`script`] | [`Program`], [`Script`]: how containers behave and which actions fail, take long or hang |
//! | [`machine`] | [`Machine`]: the fake kernel with its executors. It panics when it is told to do what must never be done |
//! | [`world`] | [`World`]: the production `NodeCore` on a [`Machine`], in virtual time, with a disk, crashes and reboots |
//! | [`mod@summary`] | a status as one line of text |
//!
//! Everything is deterministic: no clock, no thread, no chance. What it deliberately does not know: tokio, the real kernel.

pub mod machine;
pub mod pods;
pub mod script;
pub mod summary;
pub mod world;

pub use machine::Machine;
pub use pods::{PodBuilder, pod};
pub use script::{Program, Script};
pub use summary::summary;
pub use world::{Crash, World};
