//! What must never be, judged by what really happened. The core's own rules (`pod_lifecycle::check`) run besides, after every step.

use super::{SECOND, World, note};
use crate::history::{ContainerPlan, PodPlan};
use crate::truth::{Holds, Start};
use pod_lifecycle::{ContainerState, EndReason, PodRecord, StatusUpdate};
use pod_model::{Action, ContainerKey, ExitSeen, PodUid};
use std::time::Duration;

impl World<'_> {
    pub(super) fn pod_plan(&self, uid: &PodUid) -> Option<&'_ PodPlan> {
        let index = self.pods.iter().position(|pod| pod.uid() == uid)?;
        self.history.pods.get(index)
    }
    pub(super) fn plan_of(&self, key: &ContainerKey) -> Option<&ContainerPlan> {
        let plan = self.pod_plan(&key.pod)?;
        let mut all = plan.containers.iter().chain(&plan.ephemeral);
        all.find(|c| c.name == key.name.as_str())
    }

    /// The core wants an executor to do this.
    pub(super) fn judge_issue(&mut self, action: &Action) {
        let is_in_work = self
            .agent
            .as_ref()
            .is_some_and(|agent| agent.work.contains_key(action));
        if is_in_work {
            return self.find("nothing is issued while it is in work", || {
                format!("{action:?}")
            });
        }
        self.judge_retry(action);
        let uid = action.pod();
        match action {
            Action::Prepare { .. } | Action::EnsureImage { .. } | Action::Start { .. } => {
                let life = self.truth.lives.get(uid);
                let (told, deleted) = life.map_or((false, false), |l| (l.told, l.deleted));
                if !told {
                    return self.find("nothing is begun for a pod that nobody wants", || {
                        format!("{action:?}")
                    });
                }
                if deleted {
                    return self.find("nothing is begun for a pod that is to go", || {
                        format!("{action:?}")
                    });
                }
                let (tainted, rejected) = life.map_or((false, false), |l| (l.tainted, l.rejected));
                self.truth.life(uid).begun = true;
                if !tainted && rejected {
                    return self.find("nothing is begun for a pod that was rejected", || {
                        format!("{action:?}")
                    });
                }
                if !tainted && self.is_past_deadline(uid) {
                    return self.find("nothing is begun after the deadline", || {
                        format!("{action:?}")
                    });
                }
                if let Action::Start {
                    container,
                    image_id,
                } = action
                {
                    self.judge_start_issued(container, image_id);
                }
            }
            Action::Stop { container } => {
                self.judge_end("stopped", container);
                self.judge_order(container);
                self.truth.attempt(container).told = true;
            }
            Action::Kill { container } => self.judge_kill(container),
            Action::PostStart { .. } | Action::PreStop { .. } => self.judge_hook(action),
            Action::Remove { .. } | Action::Undo { .. } | Action::Forget { .. } => {}
        }
    }

    /// What failed is not tried again at once. An agent that died may have forgotten that it failed.
    fn judge_retry(&mut self, action: &Action) {
        let now = self.now().mono;
        let is_signal = matches!(action, Action::Stop { .. } | Action::Kill { .. });
        let failed = self
            .agent
            .as_ref()
            .filter(|_| !is_signal)
            .and_then(|agent| {
                agent
                    .failed
                    .get(&super::issuing::without_try(action))
                    .copied()
            });
        if let Some(failed) = failed.filter(|failed| now < failed.again_from) {
            self.find("what failed is tried again after a while", || {
                format!("{action:?} at {now:?}: {failed:?}")
            });
        }
    }

    /// The core was told how this container ended; it must not believe any more that it lives.
    pub(super) fn judge_exit_told(&mut self, seen: &ExitSeen) {
        let key = &seen.container;
        let process = self.kernel.processes.get(key);
        // it may be the exit of a former life
        let is_its = process.is_some_and(|p| p.exit.as_ref() == Some(&seen.exit));
        let record = self.agent.as_ref().and_then(|a| a.core.record(&key.pod));
        let container = record.and_then(|record| record.container(&key.name));
        let live = container.and_then(|c| c.state.live_attempt());
        if is_its && live == Some(key.attempt) {
            self.find("an exit that was told is believed", || key.to_string());
        }
    }

    fn judge_start_issued(&mut self, key: &ContainerKey, image_id: &str) {
        let history = self.history;
        let index = self.pods.iter().position(|pod| *pod.uid() == key.pod);
        let Some(plan) = index.and_then(|index| history.pods.get(index)) else {
            return self.find("only pods that are known are started", || key.to_string());
        };
        if plan.is_ephemeral(key.name.as_str()) {
            return self.judge_ephemeral_start(key);
        }
        let container = plan.containers.iter().find(|c| c.name == key.name.as_str());
        let Some(container) = container else {
            return self.find("only containers of the pod are started", || key.to_string());
        };
        let start = Start {
            key,
            image_id,
            now: self.now().mono,
            boot: self.truth.boot,
            longest: Duration::from_secs(history.node.longest_back_off_seconds.clamp(1, 300)),
        };
        let life = self.truth.life(&key.pod);
        let objection = life.objection_to_start(plan, container, &start);
        if let Some(text) = objection {
            self.find("a start has its reason and its time", || {
                format!("{key}: {text}")
            });
        }
    }

    /// An agent that has the answer does not run a hook again.
    fn judge_hook(&mut self, action: &Action) {
        let was_run = self
            .agent
            .as_ref()
            .is_some_and(|agent| agent.hooks_run.contains(action));
        if was_run {
            return self.find("a hook is run once", || format!("{action:?}"));
        }
        if let Action::PreStop { container } = action {
            self.truth.attempt(container).pre_stopped = true;
            self.judge_end("stopped", container);
        }
    }

    /// As long as there is time, a container is told to stop after its `preStop`, and a sidecar after all that came after it.
    fn judge_order(&mut self, key: &ContainerKey) {
        let mono = self.now().mono;
        let (Some(plan), Some(life)) = (self.pod_plan(&key.pod), self.truth.lives.get(&key.pod))
        else {
            return;
        };
        let has_time = life.kill_from.is_some_and(|from| mono < from);
        if life.tainted || life.ends_itself || !has_time {
            return;
        }
        let Some(at) = plan
            .containers
            .iter()
            .position(|c| c.name == key.name.as_str())
        else {
            return;
        };
        let container = &plan.containers[at];
        let attempt = self.truth.known_attempt(key).filter(|a| a.lives());
        let Some(attempt) = attempt.filter(|a| !a.failed) else {
            return;
        };
        // a pod that asks for no time has no hooks
        if container.pre_stop && !attempt.pre_stopped && plan.grace_seconds > 0 {
            return self.find("what is stopped has had its hook", || key.to_string());
        }
        let mut after = plan.containers[at + 1..]
            .iter()
            .filter(|c| container.sidecar && (c.sidecar || !c.init));
        let lives = after.find(|c| life.attempts(&c.name).any(|a| a.lives()));
        if let Some(other) = lives.map(|c| c.name.clone()) {
            self.find("sidecars stop last", || format!("{key} before {other}"));
        }
    }

    /// The core was told that this container is sick, or never came up: it is ended.
    pub(super) fn judge_probe_told(&mut self, key: &ContainerKey) {
        let record = self.agent.as_ref().and_then(|a| a.core.record(&key.pod));
        let state = record
            .and_then(|record| record.container(&key.name))
            .map(|container| &container.state);
        if let Some(ContainerState::Up(live)) = state
            && live.attempt == key.attempt
        {
            self.find("what fails its probes is ended", || key.to_string());
        }
    }

    /// A sidecar without a main container: it is ended, whatever becomes of the pod.
    fn is_left_sidecar(&self, key: &ContainerKey) -> bool {
        let is_sidecar = self.plan_of(key).is_some_and(|c| c.sidecar);
        (is_sidecar || self.is_ephemeral(key)) && self.ends_itself(&key.pod)
    }
    /// So long after it was to go, nothing of it is alive that nobody has tried to kill.
    pub(super) fn judge_grace_over(&mut self, uid: &PodUid) {
        let (agent, mono) = (self.life, self.now().mono);
        let Some(life) = self.truth.lives.get(uid) else {
            return;
        };
        // what was told of a former life is not due yet
        let least = Duration::from_secs(2);
        let is_due = life.kill_from.is_some_and(|from| from.plus(least) < mono);
        if life.tainted || life.told_to_go != Some(agent) || !is_due {
            return;
        }
        // a start that was under way may end late, and then has its least grace
        let is_spared = |key: &ContainerKey| {
            let attempt = self.truth.known_attempt(key);
            attempt.is_some_and(|a| {
                a.has_to_go && !a.killed && a.lives() && a.started.plus(least) < mono
            })
        };
        let keys = self.kernel.living().map(|(key, _)| key);
        let of_pod: Vec<_> = keys.filter(|key| key.pod == *uid).collect();
        let spared = of_pod.into_iter().find(|key| is_spared(key)).cloned();
        if let Some(key) = spared {
            self.find("grace comes to an end", || key.to_string());
        }
    }

    /// When its deadline is over, if there is one that has begun; by the shortest that it had, or by the longest.
    fn deadline(&self, uid: &PodUid, of: impl Fn((u64, u64)) -> u64) -> Option<u64> {
        let life = self.truth.lives.get(uid)?;
        let seconds = life
            .deadlines
            .map(of)
            .filter(|seconds| *seconds < u64::MAX)?;
        Some(life.active_from? + seconds * SECOND)
    }
    pub(super) fn may_be_past_deadline(&self, uid: &PodUid) -> bool {
        // by which clock a boot is bridged, nobody can tell
        let is_unsure = self.clock_stepped && self.truth.boot > 0;
        self.deadline(uid, |(shortest, _)| shortest)
            .is_some_and(|at| at <= self.t || is_unsure)
    }
    pub(super) fn is_past_deadline(&self, uid: &PodUid) -> bool {
        let is_unsure = self.clock_stepped && self.truth.boot > 0;
        let at = self.deadline(uid, |(_, longest)| longest);
        at.is_some_and(|at| at < self.t && !is_unsure)
    }

    /// No main container of the pod goes on.
    pub(super) fn ends_itself(&self, uid: &PodUid) -> bool {
        let (Some(plan), Some(life)) = (self.pod_plan(uid), self.truth.lives.get(uid)) else {
            return false;
        };
        let mut mains = plan.containers.iter().filter(|c| !c.init);
        !mains.any(|c| life.attempts(&c.name).any(|a| a.lives() && !a.failed))
    }

    /// Only what is to go is ended.
    fn judge_end(&mut self, how: &str, key: &ContainerKey) {
        let Some(life) = self.truth.lives.get(&key.pod) else {
            return;
        };
        let is_over = life.phase >= 2;
        let lives = self
            .truth
            .known_attempt(key)
            .is_some_and(|a| a.executed && a.end.is_none() && !a.failed);
        let has_cause = is_over
            || (life.restarts_all && !self.is_ephemeral(key))
            || self.is_changed(key)
            || life.preempted != Holds::No
            || life.deleted
            || life.evicted != Holds::No
            || self.is_left_sidecar(key)
            || self.may_be_past_deadline(&key.pod);
        if lives && !has_cause && !life.tainted {
            self.find("nothing is ended without a cause", || {
                format!("{key} is {how}")
            });
        }
    }
    fn judge_kill(&mut self, key: &ContainerKey) {
        self.judge_end("killed", key);
        self.truth.attempt(key).killed = true;
        let mono = self.now().mono;
        let agent = self.life;
        let Some(life) = self.truth.lives.get(&key.pod).filter(|life| !life.tainted) else {
            return;
        };
        // what was being ended before its pod was, has had its time
        let has_failed = self.truth.known_attempt(key).is_some_and(|a| a.failed);
        let was_ended_before = has_failed || life.ends_itself;
        if !was_ended_before && life.kill_from.is_some_and(|from| mono < from) {
            let text = format!("{key} at {mono:?}, not before {:?}", life.kill_from);
            return self.find("grace is granted", || text);
        }
        let could_be_told = life.deleted_to == Some(agent);
        let attempt = self.truth.known_attempt(key);
        if could_be_told && attempt.is_some_and(|a| a.has_to_be_told && !a.told && a.end.is_none())
        {
            self.find("what is killed was told to stop", || key.to_string());
        }
    }

    pub(super) fn judge_prepare(&mut self, uid: &PodUid) {
        let Some(plan) = self.pod_plan(uid).filter(|plan| !plan.from_api) else {
            return;
        };
        let name = plan.name.clone();
        let namesakes = self
            .history
            .pods
            .iter()
            .zip(&self.pods)
            .filter(|(p, pod)| p.name == name && !p.from_api && pod.uid() != uid);
        let mut there = None;
        for (_, pod) in namesakes {
            let tainted = |uid| self.truth.lives.get(uid).is_none_or(|life| life.tainted);
            let has_part = self.kernel.parts.keys().any(|(of, _)| of == pod.uid());
            if has_part && !tainted(pod.uid()) && !tainted(uid) {
                there = Some(pod.uid().clone());
            }
        }
        if let Some(other) = there {
            self.find("one pod at a time has a name", || {
                format!("{uid} is made while {other} is there")
            });
        }
    }

    /// The program is about to be executed.
    pub(super) fn judge_start(&mut self, key: &ContainerKey) {
        let twin = self
            .kernel
            .living()
            .find(|(other, _)| other.pod == key.pod && other.name == key.name)
            .map(|(other, _)| other.clone());
        if let Some(twin) = twin {
            return self.find("at most one attempt of a container lives", || {
                format!("{key} beside {twin}")
            });
        }
        let tainted = self.truth.life(&key.pod).tainted;
        let boot = self.truth.boot;
        let was_executed = self
            .truth
            .known_attempt(key)
            .is_some_and(|a| a.executed && a.boot == boot && !a.vanished);
        if was_executed && !tainted {
            self.find("an attempt is made once", || key.to_string());
        }
    }

    pub(super) fn judge_remove(&mut self, key: &ContainerKey) {
        let lives = self.kernel.processes.get(key).is_some_and(|p| p.lives());
        if lives {
            self.find("what lives is not removed", || key.to_string());
        }
    }
    pub(super) fn judge_undo(&mut self, uid: &PodUid, action: &Action) {
        let lives = self.kernel.living().find(|(key, _)| key.pod == *uid);
        let lives = lives.map(|(key, _)| key.to_string());
        let starts = self.agent.as_ref().and_then(|agent| {
            let mut work = agent.work.keys();
            work.find(|a| matches!(a, Action::Start { container, .. } if container.pod == *uid))
                .map(super::issuing::text_of)
        });
        if let Some(text) = lives.or(starts) {
            self.find("nothing is undone under a process", || {
                format!("{action:?} beside {text}")
            });
        }
    }
    pub(super) fn judge_forget(&mut self, uid: &PodUid, action: &Action) {
        self.judge_undo(uid, action);
        let left = self.kernel.uids().any(|other| other == uid);
        if left {
            self.find("nothing is forgotten that is there", || uid.to_string());
        }
    }

    /// What is written down of endings is what happened.
    pub(super) fn recorded(&mut self, record: &PodRecord) {
        if let Some(life) = self.truth.lives.get_mut(&record.uid) {
            life.first_seen = record.first_seen.wall;
            if record.start_time.is_some() {
                life.active_from.get_or_insert(self.t);
            }
        }
        self.note_round(record);
        self.note_admission(record);
        let Some(life) = self.truth.lives.get(&record.uid).filter(|l| !l.tainted) else {
            return;
        };
        let mut wrong = None;
        for container in &record.containers {
            let attempts = life.containers.get(&container.name).map(|c| &c.attempts);
            for ending in &container.endings {
                let end = attempts
                    .and_then(|attempts| attempts.get(&ending.attempt.0))
                    .and_then(|attempt| attempt.end);
                let holds = match (ending.reason, end) {
                    (EndReason::ContainerStatusUnknown, Some(end)) => {
                        end.unknown && ending.code == 137
                    }
                    (_, Some(end)) => end.code == ending.code && !end.unknown,
                    (_, None) => false,
                };
                if !holds {
                    wrong = Some(format!(
                        "{}/{}: {ending:?}, in truth {end:?}",
                        record.uid, container.name
                    ));
                }
            }
        }
        if let Some(text) = wrong {
            self.find("an ending is what happened", || text);
        }
    }

    /// What the world is shown never goes back, and is never better than the truth.
    pub(super) fn published(&mut self, update: &StatusUpdate) {
        self.figures.statuses += 1;
        note!(
            self,
            "  {} is {}",
            update.uid,
            test_kit::summary(&update.status)
        );
        let phase = match update.status.phase.as_deref() {
            Some("Running") => 1,
            Some("Succeeded") => 2,
            Some("Failed") => 3,
            _ => 0,
        };
        let Some(life) = self.truth.lives.get_mut(&update.uid) else {
            return;
        };
        let before = std::mem::replace(&mut life.phase, phase);
        life.has_run |= phase == 1;
        if life.tainted {
            return;
        }
        let text = format!("{}: {before} to {phase}", update.uid);
        if phase < before || (before >= 2 && phase != before) {
            return self.find("a phase is not gone back to", || text);
        }
        let statuses = update.status.container_statuses.iter().flatten();
        for status in statuses.chain(update.status.init_container_statuses.iter().flatten()) {
            let shown = life.restarts.entry(status.name.clone()).or_default();
            let before = std::mem::replace(shown, status.restart_count);
            if status.restart_count < before {
                let text = format!("{}/{}", update.uid, status.name);
                return self.find("restart counts only grow", || text);
            }
        }
        self.judge_restarting_all(update);
        self.judge_readiness(update);
        self.judge_begun(update);
        if update.released {
            self.judge_released(update);
        }
        let Some(life) = self.truth.lives.get(&update.uid) else {
            return;
        };
        let mains = update.status.container_statuses.iter().flatten();
        let unproved = mains
            .filter(|_| phase == 2)
            .find(|status| {
                let attempts = life
                    .containers
                    .iter()
                    .find(|(name, _)| name.as_str() == status.name)
                    .and_then(|(_, truth)| truth.attempts.values().next_back());
                attempts.and_then(|a| a.end).is_none_or(|end| end.code != 0)
            })
            .map(|status| status.name.clone());
        if let Some(name) = unproved {
            let uid = &update.uid;
            self.find("success is true", || format!("{uid}/{name}"));
        }
    }
}
