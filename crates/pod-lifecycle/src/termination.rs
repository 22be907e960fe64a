//! The end of a pod: told to stop, killed at the deadline, cleaned up, forgotten.

use crate::ending::bounded;
use crate::step::Scene;
use crate::{ContainerState, Retry, Stage, StopProgress, StopStep, Terminating, WhyTerminating};
use pod_model::{Action, ContainerKey, ContainerName, ContainerRole, Failure, MonoTime, Reason};
use std::time::Duration;

/// A kubelet's `minimumGracePeriodInSeconds`. Only an explicit zero is shorter.
pub(crate) const LEAST_GRACE: Duration = Duration::from_secs(2);
/// A kubelet's `immediateEvictionGracePeriodSeconds` is 1, and then the least grace counts.
const EVICTION_GRACE: Duration = LEAST_GRACE;
/// Reasons of the event and of the status.
pub(crate) const EVICTED: &str = "Evicted";
pub(crate) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
const PAST_DEADLINE: &str = "Pod was active on the node longer than the specified deadline";
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// A kill was delivered, and the end has not been seen: look after it.
const FIRST_REKILL: Duration = Duration::from_secs(5);

impl Scene<'_> {
    pub(crate) fn absorb_delete(
        &mut self,
        why: WhyTerminating,
        grace: Option<Duration>,
        withdrawn: &[Action],
    ) {
        self.record.deleted = true;
        for action in withdrawn {
            self.withdraw(action);
        }
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
        for action in withdrawn {
            self.withdraw(action);
        }
        if !self.record.stage.is_before_termination() {
            return;
        }
        let message = bounded(message);
        self.say(Reason::warning(EVICTED, message.clone()));
        self.record.evicted = Some(message);
        self.record.stage = self.terminating(WhyTerminating::Evicted, EVICTION_GRACE);
    }

    /// A kubelet's `activeDeadlineHandler`: whether the pod has been active for too long, and fails now.
    pub(crate) fn fail_past_deadline(&mut self) -> bool {
        let seconds = self.pod.and_then(|pod| pod.spec().active_deadline_seconds);
        let (Some(seconds), Some(start)) = (seconds, self.record.start_time) else {
            return false;
        };
        let allowed = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let now = self.now;
        let passed = u64::try_from(now.wall.0.saturating_sub(start.0)).unwrap_or(0);
        let (since, before) = *self
            .record
            .active
            .get_or_insert((now.mono, Duration::from_nanos(passed)));
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
                _ if self.has_pre_stop(&name) => StopStep::Hook,
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
        }
    }

    /// One container is ended, while the pod goes on. No time at all leaves no time for the hook.
    pub(crate) fn stop_one(&mut self, name: &ContainerName, text: String, grace: Duration) {
        let deadline = self.now.mono.plus(grace.max(LEAST_GRACE));
        let step = if self.has_pre_stop(name) && !grace.is_zero() {
            StopStep::Hook
        } else {
            StopStep::Signal
        };
        self.begin_stop(name, text, deadline, step);
    }

    fn begin_stop(
        &mut self,
        name: &ContainerName,
        text: String,
        deadline: MonoTime,
        step: StopStep,
    ) {
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        let ContainerState::Up(live) = &container.state else {
            return;
        };
        container.state = ContainerState::Stopping {
            live: live.clone(),
            stop: StopProgress {
                deadline,
                least: MonoTime::default(),
                step,
                told: false,
                retry: Retry::default(),
                killed: false,
            },
        };
        self.break_off_hooks(name);
        self.say(Reason::normal("Killing", text).of(name));
    }

    /// Goes on with what comes before the stop signal. True when the signal's time has come.
    fn is_signalled(&mut self, key: &ContainerKey) -> bool {
        let now = self.now.mono;
        loop {
            let Some(stop) = self.stopping_mut(key) else {
                return false;
            };
            let is_over = stop.deadline <= now;
            let (step, deadline) = (stop.step, stop.deadline);
            match step {
                StopStep::Signal => return true,
                StopStep::Hook if is_over => {
                    stop.hook_is_over(now.plus(LEAST_GRACE));
                    self.break_off_hooks(&key.name);
                }
                StopStep::Turn if is_over || self.has_turn(&key.name) => {
                    if let Some(stop) = self.stopping_mut(key) {
                        stop.step = StopStep::Signal;
                        stop.least = now.plus(LEAST_GRACE);
                    }
                }
                StopStep::Hook => {
                    if self.looked {
                        self.issue(Action::PreStop {
                            container: key.clone(),
                        });
                    }
                    return self.is_due(Some(deadline));
                }
                StopStep::Turn => return self.is_due(Some(deadline)),
            }
        }
    }

    /// Whether nothing lives that was started after this container. Init containers are nobody's to wait for; who is no sidecar waits
    /// for nobody.
    fn has_turn(&self, name: &ContainerName) -> bool {
        let all: Vec<_> = self.pod.iter().flat_map(|pod| pod.containers()).collect();
        let its = all.iter().find(|(_, other, _)| *other == name);
        if its.is_none_or(|(role, _, _)| *role != ContainerRole::Sidecar) {
            return true;
        }
        let mut after = all
            .iter()
            .skip_while(|(_, other, _)| *other != name)
            .skip(1);
        !after.any(|(role, other, _)| {
            *role != ContainerRole::Init
                && self
                    .record
                    .container(other)
                    .is_some_and(|c| c.state.live_attempt().is_some())
        })
    }

    /// The next thing to do about each container that is stopping.
    pub(crate) fn stop_containers(&mut self) {
        let now = self.now.mono;
        for index in 0..self.record.containers.len() {
            let container = &self.record.containers[index];
            let ContainerState::Stopping { live, .. } = &container.state else {
                continue;
            };
            let key = ContainerKey::new(
                self.record.uid.clone(),
                container.name.clone(),
                live.attempt,
            );
            if !self.is_signalled(&key) {
                continue;
            }
            let Some(stop) = self.stopping_mut(&key) else {
                continue;
            };
            let (told, retry_at, killed, deadline) =
                (stop.told, stop.retry.at, stop.killed, stop.kill_at());
            let (stop_key, kill_key) = (
                Action::Stop {
                    container: key.clone(),
                },
                Action::Kill { container: key },
            );
            if deadline <= now {
                // the first kill does not wait for a stop signal that failed
                if !self.record.in_flight.contains(&kill_key) && (!killed || self.is_due(retry_at))
                {
                    self.issue(kill_key);
                    if let ContainerState::Stopping { stop, .. } =
                        &mut self.record.containers[index].state
                        && !std::mem::replace(&mut stop.killed, true)
                    {
                        stop.retry = Retry::default();
                    }
                }
            } else {
                self.is_due(Some(deadline));
                if !told && !self.record.in_flight.contains(&stop_key) && self.is_due(retry_at) {
                    self.issue(stop_key);
                }
            }
        }
    }

    pub(crate) fn stopping_mut(&mut self, key: &ContainerKey) -> Option<&mut StopProgress> {
        match &mut self.record.container_mut(&key.name)?.state {
            ContainerState::Stopping { live, stop } if live.attempt == key.attempt => Some(stop),
            _ => None,
        }
    }

    pub(crate) fn stop_answered(&mut self, key: &ContainerKey, failure: Option<&Failure>) {
        let now = self.now.mono;
        let Some(stop) = self.stopping_mut(key) else {
            return;
        };
        match failure {
            None => stop.told = true,
            Some(failure) => {
                if !stop.killed {
                    stop.retry.later(FIRST_RETRY, LONGEST_RETRY, None, now);
                }
                self.say_not_killed(failure);
            }
        }
    }

    pub(crate) fn kill_answered(&mut self, key: &ContainerKey, failure: Option<&Failure>) {
        let now = self.now.mono;
        let first = if failure.is_some() {
            FIRST_RETRY
        } else {
            FIRST_REKILL
        };
        let stray = self
            .record
            .remains
            .iter_mut()
            .find(|r| r.container == key.name && r.attempt == key.attempt && r.alive);
        let retry = match stray {
            Some(stray) => Some(&mut stray.retry),
            None => self.stopping_mut(key).map(|stop| &mut stop.retry),
        };
        if let Some(retry) = retry {
            retry.later(first, LONGEST_RETRY, None, now);
        }
        if let Some(failure) = failure {
            self.say_not_killed(failure);
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
