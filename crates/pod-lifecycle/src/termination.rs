//! The end of a pod: its containers are ended, what they left is cleaned up, it is forgotten.

use crate::ending::bounded;
use crate::step::Scene;
use crate::{ContainerState, Stage, StopStep, Terminating, WhyTerminating};
use pod_model::{Action, ContainerKey, ContainerRole, Failure, Reason};
use std::time::Duration;

/// A kubelet's `minimumGracePeriodInSeconds`. Only an explicit zero is shorter.
pub(crate) const LEAST_GRACE: Duration = Duration::from_secs(2);
/// A kubelet's `immediateEvictionGracePeriodSeconds` is 1, and then the least grace counts.
const EVICTION_GRACE: Duration = LEAST_GRACE;
/// Who evicts or preempts a pod waits for its end no shorter, whatever its grace period is: `killPodNow` of a kubelet.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);
const EXCEEDED_GRACE_PERIOD: &str = "ExceededGracePeriod";
const OVERDUE: &str = "Container runtime did not kill the pod within specified grace period.";
/// Reasons of the event and of the status.
pub(crate) const EVICTED: &str = "Evicted";
pub(crate) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
pub(crate) const PREEMPTING: &str = "Preempting";
const PREEMPTED: &str = "Preempted in order to admit critical pod";
const PAST_DEADLINE: &str = "Pod was active on the node longer than the specified deadline";
pub(crate) const FIRST_RETRY: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Scene<'_> {
    pub(crate) fn absorb_delete(
        &mut self,
        why: WhyTerminating,
        grace: Option<Duration>,
        withdrawn: &[Action],
    ) {
        self.record.deleted = true;
        self.absorb_withdrawn(withdrawn);
        let grace = match grace {
            Some(Duration::ZERO) => Duration::ZERO,
            Some(grace) => grace.max(LEAST_GRACE),
            None => self.spec_grace(),
        };
        let now = self.now;
        match &mut self.record.stage {
            Stage::Terminating(terminating) => {
                terminating.why = why;
                terminating.grace = terminating.grace.min(grace);
                terminating.deadline = terminating.deadline.min(now.mono.plus(grace));
            }
            stage if stage.is_before_termination() => {
                self.record.stage = self.terminating(why, grace);
            }
            _ => {}
        }
    }

    /// A kubelet's `evictPod` for local storage: an event, no time to speak of, and in the end a failed pod. No `DisruptionTarget`: a
    /// kubelet sets that for pressure on the node, not for a pod's own excess.
    pub(crate) fn absorb_evict(&mut self, message: &str, withdrawn: &[Action]) {
        self.absorb_withdrawn(withdrawn);
        if !self.record.stage.is_before_termination() {
            return;
        }
        let message = bounded(message);
        self.say(Reason::warning(EVICTED, message.clone()));
        self.record.evicted = Some(message);
        self.record.stage = self.terminating(WhyTerminating::Evicted, EVICTION_GRACE);
    }

    /// As a kubelet's `evictPodsToFreeRequests`: in the pod's own time.
    pub(crate) fn absorb_preempt(&mut self, withdrawn: &[Action]) {
        for action in withdrawn {
            self.withdraw(action);
        }
        if !self.record.stage.is_before_termination() {
            return;
        }
        self.say(Reason::warning(PREEMPTING, PREEMPTED));
        self.record.evicted = Some(PREEMPTED.to_owned());
        self.record.preempted = true;
        let grace = self.spec_grace();
        self.record.stage = self.terminating(WhyTerminating::Evicted, grace);
    }

    /// A kubelet's `activeDeadlineHandler`: whether the pod has been active for too long, and fails now.
    pub(crate) fn fail_past_deadline(&mut self) -> bool {
        let Some(start) = self.record.start_time else {
            return false;
        };
        let now = self.now;
        let passed = u64::try_from(now.wall.0.saturating_sub(start.0)).unwrap_or(0);
        // noted of every pod: it may be given a deadline later, and the wall clock may be set until then
        let (since, before) = *self
            .record
            .active
            .get_or_insert((now.mono, Duration::from_nanos(passed)));
        let Some(seconds) = self.pod.and_then(|pod| pod.spec().active_deadline_seconds) else {
            return false;
        };
        let allowed = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if !self.is_due(Some(since.plus(allowed.saturating_sub(before)))) {
            return false;
        }
        self.say(Reason::normal(DEADLINE_EXCEEDED, PAST_DEADLINE));
        self.record.evicted = Some(PAST_DEADLINE.to_owned());
        self.record.past_deadline = true;
        let grace = self.spec_grace();
        self.record.stage = self.terminating(WhyTerminating::Evicted, grace);
        true
    }

    pub(crate) fn spec_grace(&self) -> Duration {
        self.pod
            .map_or(Duration::ZERO, |pod| pod.grace_period().max(LEAST_GRACE))
    }

    /// The containers have ended, and none of them is started again. What else runs is stopped.
    pub(crate) fn terminating_by_itself(&mut self) -> Stage {
        let grace = self.spec_grace();
        self.terminating(WhyTerminating::Completed, grace)
    }

    fn terminating(&mut self, why: WhyTerminating, grace: Duration) -> Stage {
        // a pull may take long, and nothing waits for it any more
        self.abandon(|action| matches!(action, Action::EnsureImage { .. }));
        let deadline = self.now.mono.plus(grace);
        Stage::Terminating(Terminating {
            why,
            since: self.now,
            grace,
            deadline,
        })
    }

    pub(crate) fn absorb_withdrawn(&mut self, actions: &[Action]) {
        for action in actions {
            self.withdraw(action);
        }
    }

    /// The action was never begun.
    fn withdraw(&mut self, action: &Action) {
        if !self.record.in_flight.remove(action) {
            return;
        }
        if let Action::Start { container: key, .. } = action
            && let Some(container) = self.record.container_mut(&key.name)
            && container.state
                == (ContainerState::Creating {
                    attempt: key.attempt,
                })
        {
            container.state = ContainerState::Waiting;
        }
    }

    /// [`Stage::Terminating`]
    pub(crate) fn terminate(&mut self) {
        let Stage::Terminating(terminating) = &self.record.stage else {
            return;
        };
        let deadline = terminating.deadline;
        let at_once = terminating.grace.is_zero();
        // a pod that asks for no time has its least, and no hooks
        let asks_for_none = self.pod.is_some_and(|pod| pod.grace_period().is_zero());
        let has_time = !asks_for_none || terminating.grace > LEAST_GRACE;
        let mut up = Vec::new();
        for container in &mut self.record.containers {
            match &mut container.state {
                ContainerState::Up(_) => up.push(container.name.clone()),
                ContainerState::Stopping { stop, .. } => {
                    stop.deadline = stop.deadline.min(deadline);
                    if at_once {
                        stop.step = StopStep::Signal;
                        stop.least = stop.least.min(deadline);
                    }
                }
                _ => {}
            }
        }
        for name in up {
            let text = format!("Stopping container {name}");
            let step = match self.pod.and_then(|pod| pod.container(&name)) {
                _ if at_once => StopStep::Signal,
                _ if has_time && self.has_pre_stop(&name) => StopStep::Hook,
                Some((ContainerRole::Sidecar, _)) => StopStep::Turn,
                _ => StopStep::Signal,
            };
            self.begin_stop(&name, text, deadline, step);
        }
        if at_once {
            self.abandon(|action| matches!(action, Action::PreStop { .. }));
        }
        self.stop_containers();
        self.tend_remains();
        let is_preparing = self.in_flight(|a| matches!(a, Action::Prepare { .. }));
        if self.looked && !is_preparing && !self.record.may_have_processes() {
            self.record.stage = Stage::CleaningUp;
        } else {
            self.tell_overdue();
        }
    }

    /// A kubelet that evicts or preempts a pod waits one and a half of the grace period that it gives, and then says once that it waited
    /// in vain. It goes on all the same.
    fn tell_overdue(&mut self) {
        let Stage::Terminating(terminating) = &self.record.stage else {
            return;
        };
        let is_awaited = self.record.evicted.is_some() && !self.record.past_deadline;
        if !is_awaited || self.record.overdue {
            return;
        }
        let given = match self.pod {
            Some(pod) if self.record.preempted => pod.grace_period().as_secs(),
            // `immediateEvictionGracePeriodSeconds`
            _ => 1,
        };
        let patience = Duration::from_secs(given.saturating_add(given / 2)).max(LEAST_PATIENCE);
        let at = terminating.since.mono.plus(patience);
        if self.is_due(Some(at)) {
            self.record.overdue = true;
            self.say(Reason::warning(EXCEEDED_GRACE_PERIOD, OVERDUE));
        }
    }

    /// Removes what dead attempts left, and kills the ones that should not live.
    pub(crate) fn tend_remains(&mut self) {
        if !self.looked {
            return;
        }
        for index in 0..self.record.remains.len() {
            let remains = &self.record.remains[index];
            let key = ContainerKey::new(
                self.record.uid.clone(),
                remains.container.clone(),
                remains.attempt,
            );
            let (retry_at, alive) = (remains.retry.at, remains.alive);
            let has_start = self
                .in_flight(|a| matches!(a, Action::Start { container, .. } if *container == key));
            let action = if alive {
                Action::Kill { container: key }
            } else {
                Action::Remove { container: key }
            };
            if !has_start && !self.record.in_flight.contains(&action) && self.is_due(retry_at) {
                self.issue(action);
            }
        }
    }

    pub(crate) fn remove_answered(&mut self, key: &ContainerKey, failure: Option<&Failure>) {
        let now = self.now.mono;
        let is_it = |r: &crate::Remains| r.container == key.name && r.attempt == key.attempt;
        match failure {
            None => self.record.remains.retain(|r| !is_it(r) || r.alive),
            Some(failure) => {
                if let Some(remains) = self.record.remains.iter_mut().find(|r| is_it(r)) {
                    remains
                        .retry
                        .later(FIRST_RETRY, LONGEST_RETRY, failure.retry_after, now);
                }
                self.say_not_killed(failure);
            }
        }
    }

    /// [`Stage::CleaningUp`]: first what the containers left, then the sandbox, the last made first.
    pub(crate) fn clean_up(&mut self) {
        self.tend_remains();
        if self.looked && self.record.remains.is_empty() && self.undo_parts() {
            self.record.stage = Stage::Finished;
        }
    }

    /// [`Stage::Finished`]
    pub(crate) fn forget(&mut self) {
        self.tend_remains();
        if !self.looked || !self.record.remains.is_empty() || !self.undo_parts() {
            return;
        }
        if !self.record.deleted || self.record.forgotten {
            return;
        }
        let action = Action::Forget {
            pod: self.record.uid.clone(),
        };
        // a signal on its way must not find a later pod of the same uid
        if self.in_flight(|other| *other != action) {
            return;
        }
        if !self.record.in_flight.contains(&action) && self.is_due(self.record.forgetting.at) {
            self.issue(action);
        }
    }

    pub(crate) fn forget_answered(&mut self, failure: Option<&Failure>) {
        let now = self.now.mono;
        match failure {
            None => self.record.forgotten = true,
            Some(failure) => {
                self.record
                    .forgetting
                    .later(FIRST_RETRY, LONGEST_RETRY, failure.retry_after, now);
                self.say_not_killed(failure);
            }
        }
    }
}
