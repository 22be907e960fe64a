//! Who starts beside whom.

use super::Checker;
use crate::ContainerState;
use pod_model::{AdmittedPod, Attempt, ContainerKey, ContainerName, ContainerRole};

fn is_ephemeral(pod: &AdmittedPod, name: &ContainerName) -> bool {
    let role = pod.container(name).map(|(role, _)| role);
    role == Some(ContainerRole::Ephemeral)
}

impl Checker<'_> {
    /// The starts of this step, but for those of containers that have no place in the order.
    fn starts_in_order(&self, pod: &AdmittedPod) -> Vec<ContainerKey> {
        let mut starts = self.starts();
        starts.retain(|key| !is_ephemeral(pod, &key.name));
        starts
    }

    /// An ephemeral container has one attempt, ever.
    pub(super) fn ephemeral_containers_start_once(&mut self) {
        let Some(pod) = self.pod else { return };
        for key in self.starts() {
            let is_again = is_ephemeral(pod, &key.name) && key.attempt != Attempt::FIRST;
            self.unless(!is_again, "ephemeral containers start once", &key);
        }
    }

    /// Nothing starts between the start of a container and the end of its `postStart`.
    pub(super) fn post_starts_are_waited_for(&mut self) {
        let Some(pod) = self.pod else { return };
        let starts = self.starts_in_order(pod);
        for (index, key) in starts.iter().enumerate() {
            for (_, name, spec) in pod.containers() {
                let lifecycle = spec.lifecycle.as_ref();
                let has_hook = lifecycle.is_some_and(|l| l.post_start.is_some());
                let comes_later = starts[index..].iter().any(|other| other.name == *name);
                if !has_hook || comes_later {
                    continue;
                }
                let state = self.after.container(name).map(|c| &c.state);
                let is_starting = match state {
                    Some(ContainerState::Creating { .. }) => true,
                    Some(ContainerState::Up(live) | ContainerState::Stopping { live, .. }) => {
                        !live.hooked
                    }
                    _ => false,
                };
                self.unless(!is_starting, "a postStart is waited for", (key, name));
            }
        }
    }

    /// While all containers are being ended none is started, and none is before the last one is gone.
    pub(super) fn all_end_before_all_begin(&mut self) {
        let Some(pod) = self.pod else { return };
        let starts = self.starts_in_order(pod);
        if self.after.restarting_all {
            self.unless(starts.is_empty(), "all end before all begin", &starts);
            return;
        }
        if !self.before.restarting_all || !self.after.stage.is_before_termination() {
            return;
        }
        for container in &self.after.containers {
            let live = container.state.live_attempt();
            let is_new = starts.iter().any(|key| key.name == container.name);
            let is_apart = is_ephemeral(pod, &container.name);
            self.unless(
                live.is_none() || is_new || is_apart,
                "all end before all begin",
                &container.name,
            );
        }
    }

    pub(super) fn init_containers_come_first(&mut self) {
        let Some(pod) = self.pod else { return };
        for key in self.starts_in_order(pod) {
            for (role, name, _) in pod.containers() {
                if *name == key.name || role == ContainerRole::Main {
                    break;
                }
                let done = self.after.container(name).is_some_and(|c| c.succeeded);
                self.unless(done, "init containers come first", (&key, name));
            }
        }
    }
}
