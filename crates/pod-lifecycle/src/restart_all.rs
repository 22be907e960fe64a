//! A container whose rules say `RestartAllContainers` has ended (KEP-5532): the pod begins again in the sandbox that it has.
//!
//! ```text
//!             a rule matches                    nothing of them is left
//!  containers ──────────────► killed, removed ──────────────────────────► all wait, init containers first
//!                             AllContainersRestarting=True                AllContainersRestarting=False
//! ```
//!
//! The first half is [`PodRecord::restarting_all`], so the next agent goes on with it. Sandbox, address, volumes, logs, ephemeral
//! containers, counts and back-off stay: each container waits as its own back-off says, so that a loop of such restarts slows down.

use crate::step::Scene;
use crate::{ContainerState, PodRecord, Retry, StopStep, policy};
use k8s_openapi::api::core::v1::Container;
use pod_model::{Action, AdmittedPod, ContainerName, ContainerRole};

/// The action of a rule.
const RESTART_ALL: &str = "RestartAllContainers";

/// Whether a container's rules say of this exit code that all containers are restarted.
fn says_so(container: &Container, code: i32) -> bool {
    policy::matching_rule(container, code).is_some_and(|rule| rule.action == RESTART_ALL)
}

/// Whether any container of the pod has such a rule.
pub(crate) fn is_possible(pod: &AdmittedPod) -> bool {
    let mut rules = pod
        .containers()
        .flat_map(|(_, _, c)| c.restart_policy_rules.iter().flatten());
    rules.any(|rule| rule.action == RESTART_ALL)
}

/// An ephemeral container was not there at the beginning, and stays as it is.
fn takes_part(pod: &AdmittedPod, name: &ContainerName) -> bool {
    let role = pod.container(name).map(|(role, _)| role);
    role != Some(ContainerRole::Ephemeral)
}

/// Something of the containers is there, or is being made.
fn is_something_left(record: &PodRecord, pod: &AdmittedPod) -> bool {
    let live = record
        .containers
        .iter()
        .filter(|c| c.state.live_attempt().is_some());
    let remains = record.remains.iter().map(|r| &r.container);
    let at_it = record.in_flight.iter().filter_map(|action| match action {
        Action::Start { container, .. } | Action::Remove { container } => Some(&container.name),
        _ => None,
    });
    let mut left = live.map(|c| &c.name).chain(remains).chain(at_it);
    left.any(|name| takes_part(pod, name))
}

impl Scene<'_> {
    /// In [`Stage::Running`](crate::Stage::Running): whether the containers are being ended so that all begin again.
    pub(crate) fn is_restarting_all(&mut self) -> bool {
        let Some(pod) = self.pod else { return false };
        self.record.restarting_all |= self.has_triggered(pod);
        if !self.record.restarting_all {
            return false;
        }
        if is_something_left(&self.record, pod) {
            self.kill_all(pod);
            return true;
        }
        self.begin_all_again();
        false
    }

    /// What a probe ended is started again before anybody looks at its exit code.
    fn has_triggered(&self, pod: &AdmittedPod) -> bool {
        let mut ended = self
            .record
            .containers
            .iter()
            .filter(|c| c.state == ContainerState::Down && !c.was_ended_to_restart());
        ended.any(|container| {
            let code = container.last_ending().map(|ending| ending.code);
            let spec = pod.container(&container.name).map(|(_, spec)| spec);
            matches!((spec, code), (Some(spec), Some(code)) if says_so(spec, code))
        })
    }

    /// No order, no hooks, no grace.
    fn kill_all(&mut self, pod: &AdmittedPod) {
        let now = self.now.mono;
        let all = self.record.containers.iter();
        let names = all.map(|container| container.name.clone());
        let names: Vec<_> = names.filter(|name| takes_part(pod, name)).collect();
        for name in names {
            match self.record.container_mut(&name).map(|c| &mut c.state) {
                Some(ContainerState::Up(_)) => {
                    let text =
                        format!("Container {name} is killed, as all containers are restarted");
                    self.begin_stop(&name, text, now, StopStep::Signal);
                }
                Some(ContainerState::Stopping { stop, .. }) => {
                    stop.deadline = stop.deadline.min(now);
                    stop.least = stop.least.min(now);
                    stop.step = StopStep::Signal;
                    self.break_off_hooks(&name);
                }
                _ => {}
            }
        }
        self.stop_containers();
    }

    /// As if none had ever run, but for what is counted.
    pub(crate) fn begin_all_again(&mut self) {
        self.record.restarting_all = false;
        let Some(pod) = self.pod else { return };
        let all = self.record.containers.iter_mut();
        for container in all.filter(|c| takes_part(pod, &c.name)) {
            container.succeeded = false;
            container.again = None;
            container.refused = Retry::default();
            container.waiting = None;
            if container.state == ContainerState::Down {
                container.state = ContainerState::Waiting;
            }
        }
    }
}
