//! How a pod lives: what is done when, and what its status says. The decisions of a kubelet 1.36 as a function.
//!
//! # What flows
//!
//! ```text
//!  desired pods ─┐                                    ┌─► actions   (what executors do)
//!  facts ────────┤                                    ├─► statuses  (what the world sees)
//!  exits ────────┼─► NodeCore ── step() per pod ──────┼─► reasons   (events)
//!  listings ─────┤      ▲  record in, record out      ├─► records   (what a new agent needs)
//!  time ─────────┘      └─────────────────────────────┴─► the next wake
//! ```
//!
//! [`step()`] is one decision about one pod, [`NodeCore`] is all pods. Both are total and synchronous. They know no clock (`now` is an
//! argument), no task, no file, no logger and no chance; the same inputs give the same outputs.
//!
//! # The life of a pod ([`Stage`])
//!
//! ```text
//!         taken on, name is free     all parts ready            ended for good, or deleted
//!  Admitted ────────────────► Preparing ────────────► Running ──────────────────────────────► Terminating
//!      │                          │                                                               │
//!      └── deleted ───────────────┴── deleted ──────────────────────────────────────────────────► │
//!                                                                                    no process lives
//!                                                                                                 ▼
//!  (forgotten) ◄──── deleted ──── Finished ◄──── nothing is left ──── CleaningUp ◄────────────────┘
//! ```
//!
//! A pod that the node does not take on is [`Stage::Finished`] at once. There is no way back. Half-done is a state: each part of the sandbox ([`PartState`]) and each container ([`ContainerState`]) has its
//! own small machine with a place to resume, in both directions.
//!
//! # Rules
//!
//! - An action is issued once; its key stays in [`PodRecord::in_flight`] until its fact comes. Executors answer, only `step` decides.
//! - A look at the kernel that is older than the last completed action of a pod proves no absence. Exits are facts for ever.
//! - Starting up is recovery: [`NodeCore::restore`], look, step. Nothing is started or taken away before the first
//!   [`Input::Observed`]; nothing unknown is taken away before [`Input::SourcesReady`].
//! - [`check()`] says after every step what must never be; tests run it always.
//!
//! | module | decides |
//! |---|---|
//! | `step` | the order within one step |
//! | `admission` | what comes of the node's verdict about a new pod |
//! | `facts` | what answers, exits and listings mean |
//! | `sandbox` | making and undoing the sandbox |
//! | `images` | having the image, backing off from a registry |
//! | `containers` | init order, crash back-off |
//! | `order` | whose `postStart` a start waits for |
//! | `policy` | whether a container that ended is started again |
//! | `definition` | what a changed spec means for containers that run |
//! | `restart_all` | when all containers begin again, and how |
//! | `hooks` | `postStart`, `preStop` |
//! | `probes` | what is probed, and what it means |
//! | `adoption` | containers whose start was not written down |
//! | `restore` | what a record becomes after a restart or a reboot |
//! | `stopping` | the hook before it, stop, kill |
//! | `termination` | why and when a pod ends, clean up, forget |
//! | `view` | what a container looks like from outside; phase; conditions |
//! | `status` | the `PodStatus` |
//! | `dispatch` | limits over all pods |
//! | `node` | [`NodeCore`] |

mod admission;
mod adoption;
mod back_off;
mod check;
mod container;
mod containers;
mod definition;
mod dispatch;
mod ending;
mod facts;
mod go_text;
mod hooks;
mod images;
mod input;
mod node;
mod order;
mod policy;
mod probes;
mod record;
mod restart_all;
mod restore;
mod sandbox;
mod settings;
mod status;
mod step;
mod stopping;
mod termination;
mod view;

pub use admission::{Admission, Tally};
pub use back_off::{CrashBackOff, PullBackOff, Retry};
pub use check::{Violation, check};
pub use container::{
    ContainerRecord, ContainerState, ImageProgress, Live, Made, Remains, StopProgress, StopStep,
    WaitReason, Waiting,
};
pub use ending::{EndReason, Ending};
pub use input::{Input, StatusUpdate};
pub use node::{Decide, NodeCore};
pub use probes::targets;
pub use record::{
    Condition, Conditions, PartState, Phase, PodRecord, Sandbox, Stage, Terminating, WhyTerminating,
};
pub use settings::Settings;
pub use status::status;
pub use step::{Context, Event, Look, Step, step};
