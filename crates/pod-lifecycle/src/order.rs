//! One start at a time, where it can be told: a kubelet starts the containers of a pod one after the other, and the start of a container
//! is over when its `postStart` is, or has failed and its container has ended. Where there is no `postStart` nobody waits.

use crate::step::Scene;
use crate::{ContainerState, PodRecord};
use pod_model::{Action, AdmittedPod, ContainerName, ContainerRole};

impl Scene<'_> {
    /// Whether the `postStart` of another container has to be over before this one is started: of any that is being started, and of
    /// one before it for which an image is being looked for. One that backs off is not waited for, as a kubelet passes over it.
    pub(crate) fn waits_for_post_start(&self, name: &ContainerName) -> bool {
        let Some(pod) = self.pod else { return false };
        let role = pod.container(name).map(|(role, _)| role);
        // whoever looks into a pod may want to see why its hook hangs
        if role == Some(ContainerRole::Ephemeral) {
            return false;
        }
        let mut is_before = true;
        pod.containers().any(|(_, other, _)| {
            if other == name {
                is_before = false;
                return false;
            }
            let is_about_to_start = is_before && self.looks_for_image(other);
            has_post_start(pod, other) && (is_about_to_start || is_starting(&self.record, other))
        })
    }

    fn looks_for_image(&self, name: &ContainerName) -> bool {
        self.in_flight(|a| matches!(a, Action::EnsureImage { container, .. } if container == name))
    }
}

fn has_post_start(pod: &AdmittedPod, name: &ContainerName) -> bool {
    let lifecycle = pod.container(name).and_then(|(_, c)| c.lifecycle.as_ref());
    lifecycle.is_some_and(|lifecycle| lifecycle.post_start.is_some())
}

/// Its start was issued, and its `postStart` is not over.
fn is_starting(record: &PodRecord, name: &ContainerName) -> bool {
    match record.container(name).map(|c| &c.state) {
        Some(ContainerState::Creating { .. } | ContainerState::Unsure { .. }) => true,
        Some(ContainerState::Up(live) | ContainerState::Stopping { live, .. }) => !live.hooked,
        Some(ContainerState::Waiting | ContainerState::Down) | None => false,
    }
}
