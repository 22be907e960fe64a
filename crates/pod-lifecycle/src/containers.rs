//! Which container starts when, and whether it starts again.
//!
//! Init containers run one after the other, each until it succeeds; a sidecar among them lets the next one start once it has started,
//! and runs on; then all main containers are started in order and run side by side. A hook or a probe that fails turns `Up` into
//! `Stopping` while the pod stays [`Stage::Running`](crate::Stage::Running).

use crate::back_off::Fingerprint;
use crate::ending::bounded;
use crate::step::Scene;
use crate::view::is_started;
use crate::{ContainerRecord, ContainerState, Ending, Made, Remains, Retry, WaitReason, Waiting};
use pod_model::{
    Action, Attempt, ContainerKey, ContainerName, ContainerRole, ExitRecord, Failure,
    FailureReason, MonoTime, Now, ProcessFacts, Reason,
};
use std::time::Duration;

/// For a start that was refused: a kubelet tries again with every sync.
const FIRST_REFUSED: Duration = Duration::from_secs(10);
const LONGEST_REFUSED: Duration = Duration::from_secs(60);
/// A container of which this many dead attempts could not be removed is not started again until one could.
pub(crate) const MOST_REMAINS: usize = 4;

/// What the crash back-off is counted from: the end of the container. What a probe ended, a kubelet starts again before it has seen that
/// end, and counts from the one before; only if that makes it wait, it looks again and finds the new one.
fn back_off_from(container: &ContainerRecord, fingerprint: u64) -> Option<MonoTime> {
    let finished = container.last_ending()?.finished_mono;
    if !container.was_ended_to_restart() {
        return Some(finished);
    }
    let before = container.endings.get(1)?.finished_mono;
    let waits = container
        .crash
        .until(before, fingerprint, finished)
        .is_some();
    Some(if waits { finished } else { before })
}

impl Scene<'_> {
    pub(crate) fn is_restarted(&self, container: &ContainerRecord) -> bool {
        self.pod
            .is_some_and(|pod| crate::policy::is_restarted(pod, container))
    }

    pub(crate) fn names(&self, role: ContainerRole) -> Vec<ContainerName> {
        self.pod
            .iter()
            .flat_map(|pod| pod.containers())
            .filter(|(r, _, _)| *r == role)
            .map(|(_, name, _)| name.clone())
            .collect()
    }

    /// [`Stage::Running`](crate::Stage::Running)
    pub(crate) fn run_containers(&mut self) {
        self.tend_remains();
        if self.fail_past_deadline() {
            return;
        }
        self.stop_changed();
        self.stop_containers();
        if self.is_restarting_all() {
            return self.start_ephemeral();
        }
        if self.has_ended() {
            self.record.stage = self.terminating_by_itself();
            return;
        }
        self.start_ephemeral();
        let all = self.in_order();
        for (_, name) in &all {
            self.run_post_start(name);
        }
        for (role, name) in all {
            if role == ContainerRole::Ephemeral {
                continue;
            }
            self.start(&name);
            if role == ContainerRole::Sidecar {
                self.note_start_of_sidecar(&name);
            }
            let may_follow = self.record.container(&name).is_none_or(|c| c.succeeded);
            if role != ContainerRole::Main && !may_follow {
                return;
            }
        }
    }

    /// As a kubelet's `computePodActions`: whatever the others do, also while init containers run.
    fn start_ephemeral(&mut self) {
        for name in self.names(ContainerRole::Ephemeral) {
            self.start(&name);
        }
    }

    fn note_start_of_sidecar(&mut self, name: &ContainerName) {
        let Some((_, spec)) = self.pod.and_then(|pod| pod.container(name)) else {
            return;
        };
        if let Some(container) = self.record.container_mut(name)
            && let ContainerState::Up(live) = &container.state
            && is_started(live, spec)
        {
            container.succeeded = true;
        }
    }

    /// The pod's containers in their order of start.
    fn in_order(&self) -> Vec<(ContainerRole, ContainerName)> {
        let all = self.pod.iter().flat_map(|pod| pod.containers());
        all.map(|(role, name, _)| (role, name.clone())).collect()
    }

    /// Nothing of it runs and nothing of it is to be started any more.
    pub(crate) fn has_ended(&self) -> bool {
        let is_over = |name: &ContainerName| {
            self.record
                .container(name)
                .is_none_or(|c| c.state == ContainerState::Down && !self.is_restarted(c))
        };
        let init_failed = self
            .names(ContainerRole::Init)
            .iter()
            .any(|name| self.record.container(name).is_some_and(|c| !c.succeeded) && is_over(name));
        init_failed || self.names(ContainerRole::Main).iter().all(is_over)
    }

    /// The sandbox is new after a reboot: what init containers did in the old one is gone. Those that the policy does not start
    /// again stay as they ended.
    pub(crate) fn begin_again_after_reboot(&mut self) {
        for name in self.names(ContainerRole::Init) {
            let again = self
                .record
                .container(&name)
                .is_some_and(|c| c.succeeded || self.is_restarted(c));
            if let Some(container) = self.record.container_mut(&name).filter(|_| again) {
                container.succeeded = false;
                container.state = ContainerState::Waiting;
            }
        }
        for name in self.names(ContainerRole::Sidecar) {
            if let Some(container) = self.record.container_mut(&name) {
                container.succeeded = false;
            }
        }
    }

    /// Starts the container if it is to be started, as soon as nothing is in the way.
    fn start(&mut self, name: &ContainerName) {
        let has_start = self
            .in_flight(|a| matches!(a, Action::Start { container, .. } if container.name == *name));
        if !self.looked || has_start || !self.wants_start(name) || !self.record.sandbox.is_ready() {
            return;
        }
        let remains = self.record.remains.iter().filter(|r| r.container == *name);
        let next = self.record.container(name).map(|c| c.next);
        let (mut count, mut in_the_way) = (0, false);
        for r in remains {
            count += 1;
            in_the_way |= r.alive || Some(r.attempt) == next;
        }
        // both are waited for by `tend_remains`
        if in_the_way || count >= MOST_REMAINS {
            return;
        }
        if !self.back_off_is_over(name) || !self.image_is_ready(name) {
            return;
        }
        if self.waits_for_post_start(name) {
            return;
        }
        let Some(refused_until) = self.record.container(name).map(|c| c.refused.at) else {
            return;
        };
        if !self.is_due(refused_until) {
            return;
        }
        self.serve_back_off(name);
        let uid = self.record.uid.clone();
        let definition = self.definition(name);
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        container.definition = definition;
        let Some(image_id) = container.image.ready.as_ref().map(|image| image.id.clone()) else {
            return;
        };
        let key = ContainerKey::new(uid, name.clone(), container.next);
        container.state = ContainerState::Creating {
            attempt: container.next,
        };
        self.issue(Action::Start {
            container: key,
            image_id,
        });
    }

    /// Whether a container that ended has waited long enough; if not, says so and waits.
    pub(crate) fn back_off_is_over(&mut self, name: &ContainerName) -> bool {
        let fingerprint = self.fingerprint(name);
        let now = self.now.mono;
        let until = self.record.container(name).and_then(|container| {
            let from =
                back_off_from(container, fingerprint).filter(|_| !container.back_off_served)?;
            container.crash.until(from, fingerprint, now)
        });
        if until.is_none() {
            return true;
        }
        let pod_text = self.pod_text();
        let Some(container) = self.record.container_mut(name) else {
            return true;
        };
        if container
            .waiting
            .as_ref()
            .is_none_or(|w| w.reason != WaitReason::CrashLoopBackOff)
        {
            let delay = crate::go_text::duration_ms(container.crash.delay());
            container.waiting = Some(Waiting {
                reason: WaitReason::CrashLoopBackOff,
                message: format!(
                    "back-off {delay} restarting failed container={name} pod={pod_text}"
                ),
            });
            let text = format!("Back-off restarting failed container {name} in pod {pod_text}");
            self.say(Reason::warning("BackOff", text).of(name));
        }
        self.is_due(until)
    }

    /// Counts the back-off before this attempt, once, however often the attempt is refused.
    pub(crate) fn serve_back_off(&mut self, name: &ContainerName) {
        let (fingerprint, now, settings) = (self.fingerprint(name), self.now.mono, self.settings);
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        if container.back_off_served {
            return;
        }
        if let Some(from) = back_off_from(container, fingerprint) {
            container.crash.advance(from, fingerprint, settings, now);
        }
        container.back_off_served = container.last_ending().is_some();
    }

    /// Of what a kubelet keys its back-off with: a change of the image or the resources begins anew.
    fn fingerprint(&self, name: &ContainerName) -> u64 {
        match self.pod.and_then(|pod| pod.container(name)) {
            Some((_, c)) => Fingerprint::of(format_args!("{:?}{:?}", c.image, c.resources)),
            None => 0,
        }
    }

    /// As a kubelet's `format.Pod` writes it.
    fn pod_text(&self) -> String {
        match self.pod {
            Some(pod) => format!(
                "{}_{}({})",
                pod.name().name,
                pod.name().namespace,
                pod.uid()
            ),
            None => format!("({})", self.record.uid),
        }
    }

    /// The executor says that the program runs.
    pub(crate) fn started(
        &mut self,
        key: &ContainerKey,
        pid: u32,
        at: Now,
        process: Option<&ProcessFacts>,
    ) {
        let live = self.newly_live(key, pid, at.wall, at.mono);
        let Some(container) = self.record.container_mut(&key.name) else {
            return;
        };
        // its exit, or a look, may have come first
        if !matches!(container.state, ContainerState::Creating { attempt } | ContainerState::Unsure { attempt } if attempt == key.attempt)
        {
            return;
        }
        container.state = ContainerState::Up(live);
        self.was_started(&key.name, key.attempt, at.mono);
        let container = self.record.container_mut(&key.name);
        if let Some(made) = container.and_then(|container| container.made.as_mut()) {
            made.process = process.cloned();
        }
    }

    /// The attempt was made and started, however that became known; it was seen to run `at` this time.
    pub(crate) fn was_started(&mut self, name: &ContainerName, attempt: Attempt, at: MonoTime) {
        self.was_made(name, attempt);
        if let Some(container) = self.record.container_mut(name) {
            container.crash.started(at);
            container.waiting = None;
            container.refused = Retry::default();
        }
        self.say(Reason::normal("Started", "Container started").of(name));
    }

    fn was_made(&mut self, name: &ContainerName, attempt: Attempt) {
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        let known = container
            .image
            .ready
            .as_ref()
            .map(|image| &image.repo_digest);
        let image_id = known
            .or(container.made.as_ref().map(|made| &made.image_id))
            .cloned()
            .unwrap_or_default();
        container.made = Some(Made {
            attempt,
            image_id,
            process: None,
        });
        container.next = container.next.max(attempt.next());
        self.say(Reason::normal("Created", "Container created").of(name));
    }

    /// The executor could not start it.
    pub(crate) fn not_started(&mut self, key: &ContainerKey, failure: &Failure, at: Now) {
        let Some(container) = self.record.container_mut(&key.name) else {
            return;
        };
        if !matches!(container.state, ContainerState::Creating { attempt } | ContainerState::Unsure { attempt } if attempt == key.attempt)
        {
            return;
        }
        let message = bounded(&failure.message);
        if failure.reason == FailureReason::RunContainerError {
            // it was made: the attempt counts, and its end is one like any other
            self.was_made(&key.name, key.attempt);
            self.ended(&key.name, Ending::start_error(key.attempt, &message, at));
            if let Some(container) = self.record.container_mut(&key.name) {
                container.crash.started(at.mono);
                container.waiting = Some(Waiting {
                    reason: WaitReason::RunContainerError,
                    message: message.clone(),
                });
            }
        } else {
            let reason = match failure.reason {
                FailureReason::CreateContainerConfigError => WaitReason::CreateContainerConfigError,
                _ => WaitReason::CreateContainerError,
            };
            container.state = ContainerState::Waiting;
            container.waiting = Some(Waiting {
                reason,
                message: message.clone(),
            });
            // the image may be what is wrong with it: look for it again
            container.image.ready = None;
            container.refused.later(
                FIRST_REFUSED,
                LONGEST_REFUSED,
                failure.retry_after,
                self.now.mono,
            );
            container.image.retry.at = container.refused.at;
        }
        self.say(Reason::warning("Failed", format!("Error: {message}")).of(&key.name));
    }

    /// An attempt that was live has ended. Its remains are removed from now on.
    pub(crate) fn exited(
        &mut self,
        key: &ContainerKey,
        exit: &ExitRecord,
        last_words: Option<&str>,
    ) {
        let was_creating = self.record.container(&key.name).is_some_and(|c| {
            matches!(c.state, ContainerState::Creating { attempt } | ContainerState::Unsure { attempt } if attempt == key.attempt)
        });
        if was_creating {
            self.was_started(&key.name, key.attempt, exit.finished_mono);
        }
        self.ended(&key.name, Ending::from_exit(key.attempt, exit, last_words));
    }

    pub(crate) fn ended(&mut self, name: &ContainerName, ending: Ending) {
        let role = self.pod.and_then(|pod| pod.container(name)).map(|(r, _)| r);
        self.break_off_hooks(name);
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        container.succeeded = match role {
            Some(ContainerRole::Init) => ending.code == 0,
            Some(ContainerRole::Sidecar) => container.succeeded,
            Some(ContainerRole::Main | ContainerRole::Ephemeral) | None => false,
        };
        container.state = ContainerState::Down;
        let attempt = ending.attempt;
        container.ended(ending);
        self.leave(name, attempt, false);
    }

    /// Notes that something of this attempt is there which has to go.
    pub(crate) fn leave(&mut self, name: &ContainerName, attempt: Attempt, alive: bool) {
        let known = self
            .record
            .remains
            .iter_mut()
            .find(|r| r.container == *name && r.attempt == attempt);
        match known {
            Some(remains) => remains.alive |= alive,
            None => self.record.remains.push(Remains {
                container: name.clone(),
                attempt,
                alive,
                retry: Retry::default(),
            }),
        }
    }
}
