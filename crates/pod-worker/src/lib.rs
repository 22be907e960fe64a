//! The tokio driver around [`NodeCore`](pod_lifecycle::NodeCore): inputs in, actions to the executor, facts back.
//!
//! ```text
//!  manifests ─┐                     ┌─► Records  (before the actions that follow)
//!  exits ─────┼─► Input ─► NodeCore ├─► Executor ──► Fact ─┐
//!  listings ──┤      ▲              ├─► Board (status, events, timeline)
//!  commands ──┤      └──────────────┼──────────────────────┘
//!  probes ────┘                     ├─► Probes (what is probed from now on)
//!                                   └─► next wake
//! ```
//!
//! One task owns the core ([`Worker::run`]); everything reaches it by one channel. It decides nothing: every decision is the core's.
//! It never waits for anything but that channel and the core's next wake. Each action runs in a task of its own; what bounds their
//! number is the core's dispatcher.
//!
//! What it deliberately does not know: cgroups, images, networks, the API server. It declares the ports it needs in [`ports`].

mod account;
pub mod board;
mod command;
pub mod ports;
mod readiness;
pub mod records;
mod worker;

pub use account::{Account, NoAccount};
pub use board::{Board, EventView, PodView, TimelineEntry};
pub use command::{Change, Command, Inputs, Stopped};
pub use ports::{Clock, Done, Executor, Line, NoProbes, Probes, Records};
pub use records::{Loaded, RecordFiles, StoredPod};
pub use worker::{Look, RECORD_VERSION, Worker};
