//! The kinds of actions, and the moments of each at which an agent may die.
//!
//! ```text
//!  decided ──► recorded ──► issued ──► half ──► done ──► answered
//!  the core    the record   an         a part   all of   the core has
//!  wants it    is written   executor   of its   it; no   the answer, and
//!              down         has it     effect   answer   nothing is written
//! ```
//!
//! This is the order in which a worker writes and acts (`pod_worker`): records first, then the actions they speak of.

use pod_model::{Action, SandboxPart};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Prepare(SandboxPart),
    EnsureImage,
    Start,
    PostStart,
    PreStop,
    Stop,
    Kill,
    Remove,
    Undo(SandboxPart),
    Forget,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Prepare(SandboxPart::Cgroup),
        Kind::Prepare(SandboxPart::Network),
        Kind::Prepare(SandboxPart::Volumes),
        Kind::EnsureImage,
        Kind::Start,
        Kind::PostStart,
        Kind::PreStop,
        Kind::Stop,
        Kind::Kill,
        Kind::Remove,
        Kind::Undo(SandboxPart::Volumes),
        Kind::Undo(SandboxPart::Network),
        Kind::Undo(SandboxPart::Cgroup),
        Kind::Forget,
    ];

    /// Exhaustive on purpose: a new action is a new kind, with crash points of its own.
    pub fn of(action: &Action) -> Self {
        match action {
            Action::Prepare { part, .. } => Kind::Prepare(*part),
            Action::EnsureImage { .. } => Kind::EnsureImage,
            Action::Start { .. } => Kind::Start,
            Action::PostStart { .. } => Kind::PostStart,
            Action::PreStop { .. } => Kind::PreStop,
            Action::Stop { .. } => Kind::Stop,
            Action::Kill { .. } => Kind::Kill,
            Action::Remove { .. } => Kind::Remove,
            Action::Undo { part, .. } => Kind::Undo(*part),
            Action::Forget { .. } => Kind::Forget,
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Kind::Prepare(part) => part as usize,
            Kind::EnsureImage => 3,
            Kind::Start => 4,
            Kind::PostStart => 5,
            Kind::PreStop => 6,
            Kind::Stop => 7,
            Kind::Kill => 8,
            Kind::Remove => 9,
            Kind::Undo(part) => 12 - part as usize,
            Kind::Forget => 13,
        }
    }
}

/// Where in the life of one action the agent dies; see the drawing above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Moment {
    Decided,
    Recorded,
    Issued,
    Half,
    Done,
    Answered,
}

impl Moment {
    pub const ALL: [Moment; 6] = [
        Moment::Decided,
        Moment::Recorded,
        Moment::Issued,
        Moment::Half,
        Moment::Done,
        Moment::Answered,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CrashPoint {
    pub kind: Kind,
    pub moment: Moment,
}

impl CrashPoint {
    pub const COUNT: usize = Kind::ALL.len() * Moment::ALL.len();

    pub fn all() -> impl Iterator<Item = CrashPoint> {
        Kind::ALL.into_iter().flat_map(|kind| {
            Moment::ALL
                .into_iter()
                .map(move |moment| CrashPoint { kind, moment })
        })
    }
    pub(crate) fn index(self) -> usize {
        self.kind.index() * Moment::ALL.len() + self.moment as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_every_crash_point_is_listed_in_its_place() {
        let kinds: Vec<usize> = Kind::ALL.into_iter().map(Kind::index).collect();
        assert_eq!(kinds, (0..Kind::ALL.len()).collect::<Vec<_>>());
        let points: Vec<usize> = CrashPoint::all().map(CrashPoint::index).collect();
        assert_eq!(points, (0..CrashPoint::COUNT).collect::<Vec<_>>());
    }
}
