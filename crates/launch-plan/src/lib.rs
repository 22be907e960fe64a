//! Pod + image config + node facts → one complete [`LaunchDescription`]. Pure: no I/O, no clock.
//!
//! ```text
//! PlanInput ─► plan() ─► Planned { description, fds }       exec_plan(&Planned, request) ─► ExecPlanned
//!                                    │         └ what each descriptor of the description is to be opened from, in order
//!                                    └ everything the keeper's child does, decided
//! ```
//!
//! | module | decides |
//! |---|---|
//! | [`description`] | nothing: the words shared with the keeper |
//! | [`facts`] | nothing: what a plan is made from; what an image says is [`FromTenant`] until it was checked here |
//! | `user`, [`capabilities`], `security` | who the process is and what it may |
//! | `env`, `command`, [`expansion`] | what is executed, with which environment, where |
//! | `mounts` | what it sees |
//! | [`fds`] | which descriptors that takes |
//! | [`seccomp`] | profiles → programs for the kernel |
//! | [`signal`] | how it is asked to stop |
//!
//! What it deliberately does not know: whether a volume, a namespace or a file exists (the caller says so and opens them), how a mount is
//! made, labels and annotations: none of them is read, but for an environment variable that names one.

pub mod capabilities;
mod command;
pub mod description;
mod env;
mod error;
mod exec;
pub mod expansion;
pub mod facts;
pub mod fds;
mod mounts;
mod plan;
pub mod seccomp;
mod security;
pub mod signal;
mod tenant;
mod user;

pub use description::*;
pub use error::PlanError;
pub use exec::{ExecPlanned, ExecRequest, exec_plan};
pub use facts::{
    HostFacts, ImageConfig, ImageFacts, NodeFacts, PlanInput, SandboxFacts, SecurityDefaults,
    VolumeFacts,
};
pub use fds::{BindSource, FdSource, NamespaceKind, PodFile};
pub use plan::{Planned, plan};
pub use security::SeccompSource;
pub use signal::{parse_signal, signal_name, stop_signal};
pub use tenant::FromTenant;
pub use user::MAX_USER_FILE_BYTES;
