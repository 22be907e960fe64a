//! The end of one container, while its pod goes on or with it: `preStop`, its turn, the stop signal, the kill.

use crate::step::Scene;
use crate::termination::{FIRST_RETRY, LEAST_GRACE, LONGEST_RETRY};
use crate::{ContainerState, Retry, Stage, StopProgress, StopStep};
use pod_model::{Action, ContainerKey, ContainerName, ContainerRole, Failure, MonoTime, Reason};
use std::time::Duration;

/// A kill was delivered, and the end has not been seen: look after it.
const FIRST_REKILL: Duration = Duration::from_secs(5);

impl Scene<'_> {
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

    pub(crate) fn begin_stop(
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

    /// Whether nothing lives that was started after this container. Init and ephemeral containers are nobody's to wait for; who is no sidecar, or is
    /// ended while its pod goes on, waits for nobody.
    fn has_turn(&self, name: &ContainerName) -> bool {
        let all: Vec<_> = self.pod.iter().flat_map(|pod| pod.containers()).collect();
        let its = all.iter().find(|(_, other, _)| *other == name);
        let is_pods_end = matches!(self.record.stage, Stage::Terminating(_));
        if !is_pods_end || its.is_none_or(|(role, _, _)| *role != ContainerRole::Sidecar) {
            return true;
        }
        let mut after = all
            .iter()
            .skip_while(|(_, other, _)| *other != name)
            .skip(1);
        !after.any(|(role, other, _)| {
            !matches!(role, ContainerRole::Init | ContainerRole::Ephemeral)
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
}
