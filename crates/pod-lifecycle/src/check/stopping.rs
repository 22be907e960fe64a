//! Hooks, and the order in which containers are told to stop.

use super::Checker;
use crate::termination::LEAST_GRACE;
use crate::{ContainerState, Stage, StopStep};
use pod_model::{Action, ContainerRole, MonoTime};

impl Checker<'_> {
    /// `postStart` is of a container that runs, `preStop` of one that is stopped, and a signal waits for it or breaks it off.
    pub(super) fn hooks_have_their_time(&mut self) {
        for action in self.step.actions.clone() {
            let Some(attempt) = action.attempt() else {
                continue;
            };
            let (Action::PostStart { container }
            | Action::PreStop { container }
            | Action::Stop { container }
            | Action::Kill { container }) = &action
            else {
                continue;
            };
            let state = self.after.container(&container.name).map(|c| &c.state);
            let holds = match (&action, state) {
                (Action::PostStart { .. }, Some(ContainerState::Up(live))) => {
                    live.attempt == attempt && !live.hooked
                }
                (Action::PreStop { .. }, Some(ContainerState::Stopping { live, stop })) => {
                    live.attempt == attempt && stop.step == StopStep::Hook
                }
                (Action::PostStart { .. } | Action::PreStop { .. }, _) => false,
                _ => {
                    let hook = Action::PreStop {
                        container: container.clone(),
                    };
                    !self.after.in_flight.contains(&hook)
                }
            };
            self.unless(holds, "hooks have their time", &action);
        }
        let mut orphans = self.after.in_flight.iter().filter(|action| {
            let (Action::PostStart { container } | Action::PreStop { container }) = action else {
                return false;
            };
            let state = self.after.container(&container.name).map(|c| &c.state);
            state.and_then(ContainerState::live_attempt) != Some(container.attempt)
        });
        let orphan = orphans.next().cloned();
        self.unless(orphan.is_none(), "a hook ends with its container", &orphan);
    }

    /// As long as the pod's grace lasts, a sidecar is told to stop when nothing lives any more that was started after it.
    pub(super) fn sidecars_stop_last(&mut self) {
        let (Some(pod), Stage::Terminating(_)) = (self.pod, &self.after.stage) else {
            return;
        };
        for action in self.step.actions.clone() {
            let Action::Stop { container: key } = &action else {
                continue;
            };
            let is_sidecar = |(role, _)| role == ContainerRole::Sidecar;
            if !pod.container(&key.name).is_some_and(is_sidecar) {
                continue;
            }
            let Some(ContainerState::Stopping { stop, .. }) =
                self.after.container(&key.name).map(|c| &c.state)
            else {
                continue;
            };
            // its turn came before: with this step the signal is only tried again
            let before = self.before.container(&key.name).map(|c| &c.state);
            if matches!(before, Some(ContainerState::Stopping { stop, .. }) if stop.step == StopStep::Signal)
            {
                continue;
            }
            // its turn came with the deadline, or it was being stopped before the pod was
            if stop.least >= stop.deadline.plus(LEAST_GRACE) || stop.least == MonoTime::default() {
                continue;
            }
            let mut after = pod
                .containers()
                .skip_while(|(_, name, _)| **name != key.name);
            after.next();
            let counts = |role| matches!(role, ContainerRole::Sidecar | ContainerRole::Main);
            for (role, name, _) in after.filter(|(role, _, _)| counts(*role)) {
                let live = self
                    .after
                    .container(name)
                    .and_then(|c| c.state.live_attempt());
                self.unless(live.is_none(), "sidecars stop last", (key, role, name));
            }
        }
    }
}
