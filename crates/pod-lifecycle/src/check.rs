//! What must hold after every step, written down without looking at how a step is made.

mod starting;
mod stopping;

use crate::step::{Context, Event};
use crate::{ContainerState, Phase, PodRecord, Stage, Step};
use pod_model::{Action, AdmittedPod, ContainerKey, PodUid};
use std::collections::BTreeSet;
use std::fmt;

/// Something that must never happen has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub pod: PodUid,
    pub rule: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}: {}: {}", self.pod, self.rule, self.detail)
    }
}

/// More than this in one record is a leak. A pod has few containers, and each a bounded number of things in flight.
const MOST_IN_FLIGHT_PER_CONTAINER: usize = 8;

/// What is wrong with `step`, made of `before`. Empty: nothing.
pub fn check(
    before: &PodRecord,
    pod: Option<&AdmittedPod>,
    event: &Event<'_>,
    context: Context<'_>,
    step: &Step,
) -> Vec<Violation> {
    let mut found = Checker {
        before,
        after: &step.record,
        step,
        pod,
        event,
        context,
        violations: Vec::new(),
    };
    found.keys_are_issued_once();
    found.one_attempt_lives();
    found.what_lives_is_not_left();
    found.nothing_starts_after_termination();
    found.init_containers_come_first();
    found.post_starts_are_waited_for();
    found.all_end_before_all_begin();
    found.ephemeral_containers_start_once();
    found.hooks_have_their_time();
    found.sidecars_stop_last();
    found.nothing_is_undone_under_a_process();
    found.nothing_goes_back();
    found.somebody_will_look_again();
    found.it_stays_small();
    found.violations
}

struct Checker<'a> {
    before: &'a PodRecord,
    after: &'a PodRecord,
    step: &'a Step,
    pod: Option<&'a AdmittedPod>,
    event: &'a Event<'a>,
    context: Context<'a>,
    violations: Vec<Violation>,
}

impl Checker<'_> {
    fn report(&mut self, rule: &'static str, detail: impl fmt::Display) {
        self.violations.push(Violation {
            pod: self.after.uid.clone(),
            rule,
            detail: detail.to_string(),
        });
    }
    fn unless(&mut self, holds: bool, rule: &'static str, detail: impl fmt::Debug) {
        if !holds {
            self.report(rule, format_args!("{detail:?}"));
        }
    }
    fn starts(&self) -> Vec<ContainerKey> {
        self.step
            .actions
            .iter()
            .filter_map(|a| match a {
                Action::Start { container, .. } => Some(container.clone()),
                _ => None,
            })
            .collect()
    }

    fn keys_are_issued_once(&mut self) {
        let mut seen = BTreeSet::new();
        for action in self.step.actions.clone() {
            self.unless(seen.insert(action.clone()), "a key is issued once", &action);
            self.unless(
                self.after.in_flight.contains(&action),
                "what is issued is in flight",
                &action,
            );
            self.unless(
                action.pod() == &self.after.uid,
                "a pod acts on itself only",
                &action,
            );
        }
        for action in self.step.actions.clone() {
            // answered by this very event, it may be issued again
            let is_answered = matches!(self.event, Event::Fact(fact) if fact.key == action);
            self.unless(
                is_answered || !self.before.in_flight.contains(&action),
                "nothing is issued while it is in flight",
                &action,
            );
        }
    }

    fn one_attempt_lives(&mut self) {
        for key in self.starts() {
            let before = self.before.container(&key.name);
            let was_live = before.and_then(|c| c.state.live_attempt());
            let is_retry = was_live == Some(key.attempt);
            // ended or refused within this step
            let ended = self
                .after
                .container(&key.name)
                .is_some_and(|c| c.endings.iter().any(|e| Some(e.attempt) == was_live));
            self.unless(
                was_live.is_none() || ended || is_retry,
                "at most one attempt of a container lives",
                &key,
            );
            let in_flight = |a: &&Action| matches!(a, Action::Start { container, .. } if container.name == key.name);
            self.unless(
                self.after.in_flight.iter().filter(in_flight).count() == 1,
                "one start of a container at a time",
                &key,
            );
            let strays = self
                .after
                .remains
                .iter()
                .any(|r| r.container == key.name && r.alive);
            self.unless(!strays, "nothing starts beside a stray", &key);
            let newest = before
                .into_iter()
                .flat_map(|c| c.made.as_ref())
                .map(|made| made.attempt)
                .max();
            self.unless(
                newest.is_none_or(|newest| key.attempt > newest),
                "an attempt is made once",
                &key,
            );
            self.unless(
                self.context.looked,
                "nothing starts before the first look",
                &key,
            );
            self.unless(
                self.after.sandbox.is_ready(),
                "a container starts in a sandbox",
                &key,
            );
        }
    }

    /// An attempt has one place in the record, and so one hand that kills and removes it.
    fn what_lives_is_not_left(&mut self) {
        for remains in &self.after.remains {
            let container = self.after.container(&remains.container);
            let live = container.and_then(|c| c.state.live_attempt());
            let is_left_alive = live == Some(remains.attempt);
            self.unless(!is_left_alive, "what lives is not left over", remains);
        }
    }

    fn nothing_starts_after_termination(&mut self) {
        if self.after.stage.is_before_termination() && !self.after.deleted {
            return;
        }
        for action in self.step.actions.clone() {
            let builds = matches!(
                action,
                Action::Start { .. } | Action::Prepare { .. } | Action::EnsureImage { .. }
            );
            self.unless(!builds, "nothing starts after termination", &action);
        }
        let creating = self
            .after
            .in_flight
            .iter()
            .any(|a| matches!(a, Action::EnsureImage { .. }));
        self.unless(!creating, "termination waits for no image", ());
    }

    fn nothing_is_undone_under_a_process(&mut self) {
        let undoes = self
            .step
            .actions
            .iter()
            .any(|a| matches!(a, Action::Undo { .. } | Action::Forget { .. }));
        if undoes {
            self.unless(
                !self.after.may_have_processes(),
                "nothing is undone under a process",
                &self.after.containers,
            );
            self.unless(
                self.context.looked,
                "nothing is undone before the first look",
                (),
            );
            let building = self
                .after
                .in_flight
                .iter()
                .any(|a| matches!(a, Action::Prepare { .. }));
            self.unless(!building, "nothing is undone while it is made", ());
        }
        if self
            .step
            .actions
            .iter()
            .any(|a| matches!(a, Action::Forget { .. }))
        {
            self.unless(
                self.after.sandbox.is_absent(),
                "nothing is forgotten that is there",
                &self.after.sandbox,
            );
        }
        let removed: Vec<_> = self
            .step
            .actions
            .iter()
            .filter(|a| matches!(a, Action::Remove { .. }))
            .cloned()
            .collect();
        for action in removed {
            let lives = action.attempt().is_some_and(|attempt| {
                let Action::Remove { container } = &action else {
                    return false;
                };
                self.after
                    .container(&container.name)
                    .and_then(|c| c.state.live_attempt())
                    == Some(attempt)
            });
            self.unless(!lives, "what lives is not removed", &action);
        }
    }

    fn nothing_goes_back(&mut self) {
        let (before, after) = (self.before, self.after);
        self.unless(
            before.stage.rank() <= after.stage.rank(),
            "a stage is not gone back to",
            (&before.stage, &after.stage),
        );
        self.unless(
            before.phase <= after.phase,
            "a phase is not gone back to",
            (before.phase, after.phase),
        );
        let left_terminal = before.phase.is_terminal() && before.phase != after.phase;
        self.unless(
            !left_terminal,
            "a terminal phase is not left",
            (before.phase, after.phase),
        );
        self.unless(
            !before.deleted || after.deleted,
            "deletion is not taken back",
            (),
        );
        if let (Stage::Terminating(before), Stage::Terminating(after)) =
            (&before.stage, &after.stage)
        {
            self.unless(
                after.deadline <= before.deadline,
                "a deadline only comes nearer",
                (before, after),
            );
        }
        for (a, b) in before
            .containers
            .iter()
            .filter_map(|c| Some((c, after.container(&c.name)?)))
        {
            self.unless(a.next <= b.next, "attempts only grow", &b.name);
            let count = |c: &crate::ContainerRecord| c.made.as_ref().map(|m| m.attempt);
            self.unless(count(a) <= count(b), "restart counts only grow", &b.name);
        }
    }

    /// Every pod that is not final has an action, a key in flight, a wake or a named steady state.
    fn somebody_will_look_again(&mut self) {
        let after = self.after;
        let is_awaited =
            !after.in_flight.is_empty() || self.step.next_wake.is_some() || !self.context.looked;
        let is_steady = match after.stage {
            // who is undecided is judged when all pods were looked at
            Stage::Admitted => self.context.held || after.admission.holds_back(),
            Stage::Running => after
                .containers
                .iter()
                .any(|c| matches!(c.state, ContainerState::Up(_))),
            Stage::Finished => !after.deleted || after.forgotten,
            Stage::Preparing | Stage::Terminating(_) | Stage::CleaningUp => false,
        };
        self.unless(
            is_awaited || is_steady,
            "somebody looks again",
            &after.stage,
        );
    }

    fn it_stays_small(&mut self) {
        let after = self.after;
        let containers = after.containers.len() + after.remains.len() + 1;
        self.unless(
            after.in_flight.len() <= containers * MOST_IN_FLIGHT_PER_CONTAINER,
            "a record stays small",
            after.in_flight.len(),
        );
        self.unless(
            after.containers.iter().all(|c| c.endings.len() <= 2),
            "a record stays small",
            "endings",
        );
        let is_odd = after.phase == Phase::Running && after.start_time.is_none();
        self.unless(!is_odd, "what runs was started", ());
    }
}
