//! The deterministic simulator: the production [`NodeCore`](pod_lifecycle::NodeCore) on a node of paper, in virtual time, under faults.
//!
//! # What flows
//!
//! ```text
//!  seed ──► History ──► World ──────────────────────────► Finding (which rule broke) or none
//!        generate    │  ┌──────────── worker ───────────┐     figures, and a trace if asked for
//!                    │  │ NodeCore ─► records ─► disk    │
//!   operations ──────┼─►│    ▲  └──► actions ─► effects  │──► truth ──► oracle, reference
//!   (manifests,      │  │    └─ facts, exits, looks ◄──┐ │
//!    troubles,       │  └────────── kernel ────────────┴─┘
//!    crashes)        └── a clock that jumps to the next happening
//! ```
//!
//! A [`History`] is data: pods and what their programs do, the node, how often events are late, and a list of operations with times.
//! A seed makes one ([`generate()`]); one that was found to break something is shortened ([`shrink()`]) and written down under
//! `regressions/`, where it stays a test however the generator changes. What chance decides during a run (how long an action takes,
//! whether an event is late) is drawn from the history's salt and the thing that it is about, never from a shared sequence: leaving
//! something out of a history leaves the rest as it was. The same history gives the same trace, byte for byte.
//!
//! # What is real and what is played
//!
//! The core, its `check()` and its records (written as JSON and read back at each restart) are the production ones. The worker is played
//! in the order in which `pod_worker` does things: inputs in, records, statuses, actions. Executors, container host, keeper, registry,
//! disk and sources are played as those of the node behave: a container host counts versions from 0 in each agent's life, tells exits
//! when it comes to hear of them, and lists what it has heard; the run directory's records win over the root directory's.
//!
//! # What is judged
//!
//! - after every step, `pod_lifecycle::check`;
//! - at every action issued or carried out, record written and status shown, rules that look only at what really happened
//!   (`oracle`, `truth`): one attempt at a time, a start has its reason and its time, grace is granted, nothing is undone under a process, an
//!   ending is what happened, an exit that was told is believed, what failed is tried again after a while, phases do not go back, what is
//!   ready is what was told, nothing is begun after the deadline, …;
//! - what people and rules do to a pod that runs: all containers end before all begin again, init containers too (`beginning`); an
//!   ephemeral container is started once; what rests has the image that is wanted (`changing`);
//! - where a node has little room, after every step: the pods that were taken on and have not ended fit (`room`);
//! - when a pod is over, wherever in the history that is: its last phase and its restart counts are those of a deliberately naive
//!   `reference`, computed from what happened to its containers, and where nothing disturbed it, from its plan alone;
//! - once faults stop (`rest`): it comes to rest, and resting does and says nothing; what rests is as the same `reference` says, and as
//!   ready as its programs are; then everything is taken away, and nothing is left.
//!
//! A pod whose record was damaged, or could not be written, is *tainted*: its counts may differ, safety and rest may not.
//!
//! # Whether it can fail
//!
//! [`mutants()`] are decisions that are wrong on purpose, in the place of [`step()`](pod_lifecycle::step()); each must be found (docs/adr/0008).
//!
//! # What it deliberately does not know
//!
//! The kernel, tokio, files, real time. Wrong beliefs about those are found by `tests/node`. It does not run `pod_worker` itself.
//!
//! How a probe comes to its answer: the world's prober tells what a program's probes find, perhaps late, and perhaps of one that is gone.
//!
//! Places that later features take: a new action is a new [`Kind`], with effects in `effects` and crash points of its own.

mod chance;
mod figures;
mod generate;
mod history;
mod kind;
mod mutants;
mod reference;
mod shrink;
mod truth;
mod world;

pub use figures::Figures;
pub use generate::generate;
pub use history::{
    ContainerPlan, Edit, History, Node, Op, PodPlan, Program, Room, Trouble, Weather,
};
pub use kind::{CrashPoint, Kind, Moment};
pub use mutants::{Mutant, mutants};
pub use shrink::shrink;
pub use world::Finding;

use pod_lifecycle::Decide;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of one history.
#[derive(Debug)]
pub struct Outcome {
    pub finding: Option<Finding>,
    pub figures: Figures,
    /// Empty unless it was asked for.
    pub trace: String,
}

/// Lives through a history with `decide` in the core: [`pod_lifecycle::step`], or a mutant of it.
pub fn run(history: &History, decide: Decide, trace: bool) -> Outcome {
    let mut world = world::World::new(history, decide, trace);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    if let Err(panic) = lived {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        world.find("nothing panics", || text);
    }
    Outcome {
        finding: world.finding,
        figures: world.figures,
        trace: world.trace.unwrap_or_default(),
    }
}
