//! One step of one pod: what happened goes in, what to do comes out.
//!
//! ```text
//!            absorb                     advance                     summarise
//!  event ──► the record learns it  ──►  stage by stage: actions ──► phase and conditions
//!                                       and the next wake
//! ```

use crate::{PodRecord, Settings, Stage, WhyTerminating};
use node_policy::admission::Rejection;
use pod_model::{
    Action, AdmittedPod, ContainerKey, ContainerName, ExitSeen, Fact, MonoTime, Now,
    ObservedContainer, PodUid, ProbeFailed, Probed, Reason, Seq,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// What happened to the pod.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Nothing; look what is due.
    Wake,
    /// The node takes the pod on, once these have ended.
    Admitted { after: &'a BTreeSet<PodUid> },
    /// The node does not take the pod on.
    Rejected(&'a Rejection),
    /// A pod has ended that makes room for this one.
    MadeRoom(&'a PodUid),
    /// An action was answered.
    Fact(&'a Fact),
    /// A container ended. May come before the answer to its start, twice, or late.
    Exit(&'a ExitSeen),
    /// A probe's answer has changed.
    Probed(&'a Probed),
    /// A probe failed once.
    ProbeFailed(&'a ProbeFailed),
    /// A full listing.
    Look(Look<'a>),
    /// The pod is to go. `withdrawn` are actions of it that were issued and not begun: they will not be answered.
    Delete {
        why: WhyTerminating,
        grace: Option<Duration>,
        withdrawn: &'a [Action],
    },
    /// The pod is to fail for what it did, with this message. `withdrawn` as above.
    Evict {
        message: &'a str,
        withdrawn: &'a [Action],
    },
    /// The pod ends by its own step, and these actions that it had issued will not begin, nor be answered.
    Withdrawn(&'a [Action]),
    /// The pod is to fail to make room for a critical one. `withdrawn` as above.
    Preempt { withdrawn: &'a [Action] },
    /// Somebody has brought images onto the node.
    ImagesCame,
    /// The executor found no image and begins to pull one.
    PullBegins(&'a ContainerName),
}

/// The part of a full listing that is about one pod, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Look<'a> {
    pub as_of: Seq,
    pub containers: Vec<(&'a ContainerKey, &'a ObservedContainer)>,
}

/// What else a step depends on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub settings: &'a Settings,
    /// An earlier pod of the same name is still there: this one has to wait.
    pub held: bool,
    /// The kernel has been looked at since this agent started. Before that nothing is started and nothing is taken away.
    pub looked: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub record: PodRecord,
    /// New ones; they are in `record.in_flight` already.
    pub actions: Vec<Action>,
    /// In flight, and nobody waits for them any more: they may be broken off, and their answer is ignored.
    pub abandoned: Vec<Action>,
    /// Step again at this time if nothing happens before.
    pub next_wake: Option<MonoTime>,
    pub reasons: Vec<Reason>,
}

/// Decides. Total: every combination of arguments has an answer. `pod` is `None` for a pod that nobody wants.
///
/// The status that goes with the new record is [`status`](crate::status()) of it.
pub fn step(
    record: PodRecord,
    pod: Option<&AdmittedPod>,
    event: &Event<'_>,
    context: Context<'_>,
    now: Now,
) -> Step {
    let mut scene = Scene {
        record,
        pod,
        settings: context.settings,
        held: context.held,
        looked: context.looked,
        now,
        actions: Vec::new(),
        abandoned: Vec::new(),
        reasons: Vec::new(),
        wake: None,
    };
    scene.absorb(event);
    scene.advance();
    scene.summarise();
    Step {
        record: scene.record,
        actions: scene.actions,
        abandoned: scene.abandoned,
        next_wake: scene.wake,
        reasons: scene.reasons,
    }
}

/// A step being made.
pub(crate) struct Scene<'a> {
    pub(crate) record: PodRecord,
    pub(crate) pod: Option<&'a AdmittedPod>,
    pub(crate) settings: &'a Settings,
    pub(crate) held: bool,
    pub(crate) looked: bool,
    pub(crate) now: Now,
    actions: Vec<Action>,
    abandoned: Vec<Action>,
    reasons: Vec<Reason>,
    wake: Option<MonoTime>,
}

impl Scene<'_> {
    fn absorb(&mut self, event: &Event<'_>) {
        match event {
            Event::Wake => {}
            Event::Admitted { after } => self.absorb_admitted(after),
            Event::Rejected(rejection) => self.absorb_rejected(rejection),
            Event::MadeRoom(by) => self.absorb_made_room(by),
            Event::Fact(fact) => self.absorb_fact(fact),
            Event::Exit(seen) => self.absorb_exit(seen),
            Event::Probed(probed) => self.absorb_probed(probed),
            Event::ProbeFailed(failed) => self.absorb_probe_failed(failed),
            Event::Look(look) => self.absorb_look(look),
            Event::Delete {
                why,
                grace,
                withdrawn,
            } => self.absorb_delete(*why, *grace, withdrawn),
            Event::Evict { message, withdrawn } => self.absorb_evict(message, withdrawn),
            Event::Withdrawn(actions) => self.absorb_withdrawn(actions),
            Event::Preempt { withdrawn } => self.absorb_preempt(withdrawn),
            Event::ImagesCame => self.absorb_images_came(),
            Event::PullBegins(name) => self.absorb_pull_begins(name),
        }
    }

    /// Goes down the stages as far as possible now.
    fn advance(&mut self) {
        loop {
            let stage = self.record.stage.rank();
            // what has to be waited for in a stage that has passed is of no interest
            self.wake = None;
            match self.record.stage {
                Stage::Admitted => self.admit(),
                Stage::Preparing => self.prepare(),
                Stage::Running => self.run_containers(),
                Stage::Terminating(_) => self.terminate(),
                Stage::CleaningUp => self.clean_up(),
                Stage::Finished => self.forget(),
            }
            if self.record.stage.rank() == stage {
                return;
            }
        }
    }

    /// Issues `action`, unless it is in flight.
    pub(crate) fn issue(&mut self, action: Action) {
        if self.record.in_flight.insert(action.clone()) {
            self.actions.push(action);
        }
    }
    /// Nobody waits any more for the answers to the actions that `which` names.
    pub(crate) fn abandon(&mut self, which: impl Fn(&Action) -> bool) {
        let gone: Vec<Action> = self
            .record
            .in_flight
            .iter()
            .filter(|action| which(action))
            .cloned()
            .collect();
        self.record.in_flight.retain(|action| !which(action));
        self.abandoned.extend(gone);
    }
    pub(crate) fn in_flight(&self, which: impl Fn(&Action) -> bool) -> bool {
        self.record.in_flight.iter().any(which)
    }
    pub(crate) fn say(&mut self, reason: Reason) {
        self.reasons.push(reason);
    }
    /// Whether `at` has come; if not, the pod is stepped again then.
    pub(crate) fn is_due(&mut self, at: Option<MonoTime>) -> bool {
        match at {
            Some(at) if at > self.now.mono => {
                self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
                false
            }
            _ => true,
        }
    }
}
