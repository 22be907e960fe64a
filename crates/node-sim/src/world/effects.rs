//! The executors: what each action does to the machine, wholly or, when the agent dies in the midst of it, by half.

use super::kernel::{Process, image_id};
use super::{Happening, MS, World, note};
use crate::kind::{Kind, Moment};
use crate::truth::End;
use pod_model::pod::image_pull_policy;
use pod_model::{
    Action, ContainerKey, ExitCause, ExitRecord, Fact, Failure, FailureReason, Fault, ImageFact,
    ImagePullPolicy, Outcome, PodUid, ProcessFacts, SandboxPart, Seq,
};
use std::time::Duration;

impl World<'_> {
    /// The time of an action has come: it is done, and answered; or the agent dies at it.
    pub(super) fn effect_is_due(&mut self, action: &Action, token: u64) {
        let keeper_back_at = self.keeper_back_at;
        let Some(work) = self
            .agent
            .as_mut()
            .and_then(|agent| agent.work.get_mut(action))
            .filter(|work| work.token == token)
        else {
            return;
        };
        let (fails, broken_off) = (work.fails.take(), work.broken_off);
        let needs_keeper = matches!(action, Action::Start { .. } | Action::Remove { .. });
        if let Some(back_at) = keeper_back_at.filter(|_| needs_keeper) {
            work.fails = fails;
            let token = self.effect_after(back_at.saturating_sub(self.t) + MS, action);
            return self.set_token(action, token);
        }
        let kind = Kind::of(action);
        if let Some(down_ms) = self.dies_in_half(kind, action) {
            return self.agent_dies(down_ms);
        }
        let outcome = match fails {
            _ if broken_off => Err(failure(FailureReason::ErrImagePull, "broken off")),
            Some((failure, half)) => {
                if half && !matches!(action, Action::Start { .. }) {
                    self.leave_half(action);
                }
                self.start_has_failed(action, &failure);
                Err(failure)
            }
            None => self.carry_out(action, false),
        };
        if let Some(work) = self.agent.as_mut().and_then(|a| a.work.get_mut(action)) {
            work.done = true;
        }
        if self.finding.is_some() || self.dies_at(kind, Moment::Done) {
            return;
        }
        let seq = Seq(self.agent.as_ref().map_or(0, |agent| agent.seq));
        let fact = Fact {
            key: action.clone(),
            outcome,
            at: self.now(),
            seq,
            spans: Vec::new(),
        };
        let late = self.history.weather.answer_late;
        let later = if self.is_bad_weather(late, "answer late") {
            self.chance("how late").pick(&[10, 500, 4_000]) * MS
        } else {
            0
        };
        let life = self.life;
        self.after(later, Happening::Answer { life, fact });
    }

    fn dies_in_half(&mut self, kind: Kind, action: &Action) -> Option<u64> {
        let index = self.falls_due(kind, Moment::Half)?;
        let armed = self.armed.remove(index);
        self.figures.crashed_at[armed.point.index()] += 1;
        note!(self, "at {kind:?} Half:");
        self.leave_half(action);
        if let Some(agent) = &mut self.agent {
            agent.work.remove(action);
        }
        Some(armed.down_ms)
    }

    /// A part of it is done, and nobody answers.
    pub(super) fn leave_half(&mut self, action: &Action) {
        note!(self, "half done: {}", super::issuing::text_of(action));
        let _ = self.carry_out(action, true);
    }

    /// Does it. By half: something of it is there, or is still there.
    pub(super) fn carry_out(&mut self, action: &Action, half: bool) -> Result<Outcome, Failure> {
        match action {
            Action::Prepare { pod, part } => {
                self.judge_prepare(pod);
                let whole = self.kernel.parts.entry((pod.clone(), *part)).or_default();
                *whole |= !half;
                let addresses = match part {
                    SandboxPart::Network => vec![address(pod)],
                    _ => Vec::new(),
                };
                Ok(Outcome::Prepared { addresses })
            }
            Action::EnsureImage { .. } if half => Ok(Outcome::Done),
            Action::EnsureImage { .. } => self.ensure_image(action),
            Action::Start {
                container,
                image_id,
            } => self.start(container, image_id, half),
            Action::PostStart { container } | Action::PreStop { container } => {
                self.run_hook(action, container, half)
            }
            Action::Stop { container } => {
                self.stop(container);
                Ok(Outcome::Done)
            }
            Action::Kill { container } => {
                self.kill(container);
                Ok(Outcome::Done)
            }
            Action::Remove { container } => {
                self.judge_remove(container);
                if !half && self.kernel.processes.remove(container).is_some() {
                    self.next_seq();
                }
                Ok(Outcome::Done)
            }
            Action::Undo { pod, part } => {
                self.judge_undo(pod, action);
                if half {
                    if let Some(whole) = self.kernel.parts.get_mut(&(pod.clone(), *part)) {
                        *whole = false;
                    }
                } else {
                    self.kernel.parts.remove(&(pod.clone(), *part));
                }
                Ok(Outcome::Done)
            }
            Action::Forget { pod } => {
                self.judge_forget(pod, action);
                if !half {
                    self.kernel.logs.remove(pod);
                }
                Ok(Outcome::Done)
            }
        }
    }

    fn run_hook(
        &mut self,
        action: &Action,
        key: &ContainerKey,
        half: bool,
    ) -> Result<Outcome, Failure> {
        let lives = self.kernel.processes.get(key).is_some_and(|p| p.lives());
        let is_post_start = matches!(action, Action::PostStart { .. });
        if !lives {
            let reason = if is_post_start {
                FailureReason::FailedPostStartHook
            } else {
                FailureReason::FailedPreStopHook
            };
            return Err(failure(reason, "the container does not run"));
        }
        let fails = self
            .plan_of(key)
            .is_some_and(|c| c.program(key.attempt.0).post_start_fails);
        if is_post_start && fails && !half {
            let text = "as the history says";
            return Err(failure(FailureReason::FailedPostStartHook, text));
        }
        self.truth.attempt(key).hooked |= is_post_start && !half;
        Ok(Outcome::Done)
    }

    fn next_seq(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.seq += 1;
        }
    }

    /// Whoever wants the pod again wants another life of it.
    pub(super) fn life_is_over(&mut self, uid: &PodUid) {
        if let Some(agent) = &mut self.agent {
            agent.hooks_run.retain(|action| action.pod() != uid);
        }
        if let Some(life) = self.truth.lives.remove(uid) {
            self.figures.lives += 1;
            self.truth.over.insert(uid.clone(), life);
        }
        let is_wanted_again = self.agent.as_ref().is_some_and(|a| a.told.contains(uid));
        if is_wanted_again {
            let index = self.pods.iter().position(|pod| pod.uid() == uid);
            let deadline = index.and_then(|index| self.edited[index].deadline_seconds);
            let life = self.truth.life(uid);
            life.told = true;
            life.has_deadline(deadline);
            if let Some(pod) = index.map(|index| self.pods[index].clone()) {
                self.note_images(&pod);
            }
        }
    }

    fn spec_of(&self, action: &Action) -> Option<(String, ImagePullPolicy)> {
        let Action::EnsureImage { pod, container, .. } = action else {
            return None;
        };
        let pod = self.pods.iter().find(|p| p.uid() == pod)?;
        let (_, spec) = pod.container(container)?;
        Some((spec.image.clone()?, image_pull_policy(spec)))
    }
    pub(super) fn has_to_pull(&self, action: &Action) -> bool {
        self.spec_of(action)
            .is_some_and(|(image, policy)| match policy {
                ImagePullPolicy::Always => true,
                ImagePullPolicy::IfNotPresent => !self.kernel.images.contains(&image),
                ImagePullPolicy::Never => false,
            })
    }
    fn ensure_image(&mut self, action: &Action) -> Result<Outcome, Failure> {
        let Some((image, policy)) = self.spec_of(action) else {
            return Err(failure(
                FailureReason::InvalidImageName,
                "no such container",
            ));
        };
        let was_present = self.kernel.images.contains(&image);
        if !was_present && policy == ImagePullPolicy::Never {
            return Err(failure(FailureReason::ErrImageNeverPull, "not here"));
        }
        let id = image_id(&image);
        self.kernel.images.insert(image);
        Ok(Outcome::Image(ImageFact {
            repo_digest: format!("registry.test/x@{id}"),
            id,
            was_present,
            size_bytes: 4096,
            pull: Duration::from_millis(1),
        }))
    }

    fn start(
        &mut self,
        key: &ContainerKey,
        image_id: &str,
        half: bool,
    ) -> Result<Outcome, Failure> {
        self.kernel.logs.insert(key.pod.clone());
        if let Some(process) = self.kernel.processes.get(key).filter(|p| p.executed) {
            return Ok(Outcome::Started {
                pid: process.pid,
                at: process.started,
                process: ProcessFacts::default(),
            });
        }
        if !self.kernel.has_image(image_id) {
            let text = "the image is not here any more";
            return Err(failure(FailureReason::CreateContainerError, text));
        }
        let refused = self.sandbox_objection(key);
        if let Some(refused) = refused.or_else(|| self.target_objection(key)) {
            return Err(refused);
        }
        if !half {
            self.judge_start(key);
        }
        let now = self.now();
        let plan = self.plan_of(key);
        let program = plan.map(|c| c.program(key.attempt.0)).unwrap_or_default();
        let pid = self.kernel.new_pid();
        let process = Process {
            pid,
            started: now,
            program,
            image_id: image_id.to_owned(),
            executed: !half,
            ends: None,
            exit: None,
            noted: false,
        };
        self.kernel.processes.insert(key.clone(), process);
        if half {
            return Ok(Outcome::Done);
        }
        let boot = self.truth.boot;
        let attempt = self.truth.attempt(key);
        attempt.executed = true;
        attempt.started = now.mono;
        attempt.boot = boot;
        // it may have been said to have failed, to an agent that died
        attempt.end = None;
        if let Some(runs) = program.runs_ms {
            self.ends_after(key, runs * MS);
        }
        self.next_seq();
        Ok(Outcome::Started {
            pid,
            at: now,
            process: ProcessFacts::default(),
        })
    }

    /// Without a whole sandbox there is nothing to start in. Only a record that is old can be the cause.
    fn sandbox_objection(&mut self, key: &ContainerKey) -> Option<Failure> {
        let stands = |part| self.kernel.parts.get(&(key.pod.clone(), part)) == Some(&true);
        if SandboxPart::ALL.into_iter().all(stands) {
            return None;
        }
        if !self.truth.life(&key.pod).tainted {
            self.find("a container starts in a whole sandbox", || key.to_string());
        }
        let text = "the pod's network is gone";
        Some(failure(FailureReason::CreateContainerError, text))
    }

    /// The attempt counts although its program was not executed.
    fn start_has_failed(&mut self, action: &Action, failure: &Failure) {
        if let Action::Start { container, .. } = action
            && failure.reason == FailureReason::RunContainerError
        {
            let at = self.now().mono;
            self.truth.life(&container.pod).disturbed = true;
            self.truth.ended(
                container,
                End {
                    code: 128,
                    at,
                    unknown: false,
                },
            );
        }
    }

    fn ends_after(&mut self, key: &ContainerKey, nanos: u64) {
        let at = self.t + nanos;
        let sooner = self
            .kernel
            .processes
            .get(key)
            .is_some_and(|p| p.ends.is_none_or(|(_, ends)| at < ends));
        if sooner {
            let token = self.order + 1;
            let key = key.clone();
            if let Some(process) = self.kernel.processes.get_mut(&key) {
                process.ends = Some((token, at));
            }
            self.schedule(at, Happening::ProcessEnds { key, token });
        }
    }
    fn stop(&mut self, key: &ContainerKey) {
        let Some(process) = self.kernel.processes.get_mut(key).filter(|p| p.lives()) else {
            return;
        };
        let Some((takes, code)) = process.program.stops else {
            return;
        };
        let at = self.t + takes * MS;
        if process.ends.is_none_or(|(_, ends)| at < ends) {
            process.program.code = code;
            process.program.oom = false;
            self.ends_after(key, takes * MS);
        }
    }
    fn kill(&mut self, key: &ContainerKey) {
        let Some(process) = self.kernel.processes.get_mut(key).filter(|p| p.lives()) else {
            return;
        };
        let hangs = process.program.hangs_ms * MS;
        // killed twice, it dies of the first
        process.program.hangs_ms = 0;
        let at = self.t + hangs;
        if hangs == 0 && process.ends.is_some_and(|(_, ends)| ends <= at) {
            return;
        }
        if process.ends.is_none_or(|(_, ends)| at < ends) {
            process.program.code = 137;
            process.program.oom = false;
            self.ends_after(key, hangs);
        }
    }

    pub(super) fn process_ends(&mut self, key: &ContainerKey, token: u64) {
        let unknown = self.keeper_back_at.is_some() && self.history.node.old_kernel;
        let now = self.now();
        let Some(process) = self.kernel.processes.get_mut(key) else {
            return;
        };
        if process.exit.is_some() || process.ends.is_none_or(|(number, _)| number != token) {
            return;
        }
        let code = process.program.own_code();
        let exit = ExitRecord {
            code: if unknown { 137 } else { code },
            signal: (code == 137).then_some(9),
            cause: match (unknown, process.program.oom) {
                (true, _) => ExitCause::Unknown,
                (false, true) => ExitCause::OomKilled,
                (false, false) => ExitCause::Exited,
            },
            started_at: process.started.wall,
            finished_at: now.wall,
            finished_mono: now.mono,
        };
        process.exit = Some(exit.clone());
        note!(self, "{key} ends with {}", exit.code);
        self.truth.ended(
            key,
            End {
                code: exit.code,
                at: now.mono,
                unknown,
            },
        );
        self.tell_unheard_exits();
    }
}

fn address(pod: &PodUid) -> String {
    let sum: u32 = pod.as_str().bytes().map(u32::from).sum();
    format!("10.88.{}.{}", sum / 250 % 250, sum % 250 + 1)
}

pub(super) fn failure(reason: FailureReason, message: &str) -> Failure {
    Failure {
        reason,
        message: message.to_owned(),
        fault: Fault::Node,
        retry: true,
        retry_after: None,
    }
}
