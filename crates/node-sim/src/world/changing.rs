//! What people change in a pod that runs: the image of a container, and ephemeral containers, which they add.

use super::World;
use super::effects::failure;
use super::kernel::image_id;
use crate::history::PodPlan;
use k8s_openapi::api::core::v1::PodStatus;
use pod_model::{Action, AdmittedPod, ContainerKey, Failure, FailureReason, PodUid};

impl World<'_> {
    /// The core is told what images the containers of the pod are to have.
    pub(super) fn note_images(&mut self, pod: &AdmittedPod) {
        let life = self.truth.life(pod.uid());
        let mut changed = Vec::new();
        for (_, name, spec) in pod.containers() {
            let image = spec.image.as_deref().unwrap_or_default();
            let truth = life.containers.entry(name.clone()).or_default();
            if truth.is_told_image(image) {
                changed.push(name.clone());
            }
        }
        life.disturbed |= !changed.is_empty();
        let Some(agent) = &mut self.agent else { return };
        // what failed with another image is tried at once
        agent.failed.retain(|action, _| match action {
            Action::EnsureImage {
                pod: of, container, ..
            } => of != pod.uid() || !changed.contains(container),
            Action::Start { container, .. } => {
                container.pod != *pod.uid() || !changed.contains(&container.name)
            }
            _ => true,
        });
    }

    pub(super) fn is_ephemeral(&self, key: &ContainerKey) -> bool {
        let plan = self.pod_plan(&key.pod);
        plan.is_some_and(|plan| plan.is_ephemeral(key.name.as_str()))
    }
    /// It may be ended, so that it is started with another image. An init container is left alone.
    pub(super) fn is_changed(&self, key: &ContainerKey) -> bool {
        let life = self.truth.lives.get(&key.pod);
        let truth = life.and_then(|life| life.containers.get(&key.name));
        let plan = self.plan_of(key);
        truth.is_some_and(|truth| truth.is_changed(key.attempt.0))
            && plan.is_some_and(|c| c.sidecar || !c.init)
    }

    /// Once in the life of its pod, whatever came of it.
    pub(super) fn judge_ephemeral_start(&mut self, key: &ContainerKey) {
        let life = self.truth.life(&key.pod);
        let was_started = life
            .attempts(key.name.as_str())
            .any(|a| a.executed && (a.known.made || !a.vanished));
        let is_again = key.attempt.0 > 0 || was_started;
        if is_again && !life.tainted {
            self.find("an ephemeral container is started once", || key.to_string());
        }
    }

    /// Whose processes it is to see has to run. Once faults stop, nobody insists on that.
    pub(super) fn target_objection(&self, key: &ContainerKey) -> Option<Failure> {
        let target = self.plan_of(key)?.target.as_deref()?;
        let is_target = |of: &ContainerKey| of.pod == key.pod && of.name.as_str() == target;
        let runs = self.kernel.living().any(|(of, _)| is_target(of));
        (!self.calm && !runs).then(|| {
            let text = "the target container does not run";
            failure(FailureReason::CreateContainerError, text)
        })
    }

    /// What runs has the image that is wanted, and what was added was started.
    pub(super) fn judge_changes_at_rest(
        &mut self,
        plan: &PodPlan,
        uid: &PodUid,
        shown: &PodStatus,
    ) {
        if let Some(text) = self.of_other_image(uid) {
            return self.find("what rests has the image that is wanted", || text);
        }
        let missing = self.missing_ephemeral(plan, uid);
        let runs = shown.phase.as_deref() == Some("Running");
        if let Some(name) = missing.filter(|_| runs) {
            self.find("an ephemeral container is started", || {
                format!("{uid}/{name}")
            });
        }
    }

    fn of_other_image(&self, uid: &PodUid) -> Option<String> {
        let pod = self.pods.iter().find(|pod| pod.uid() == uid)?;
        let mut living = self.kernel.living().filter(|(key, _)| key.pod == *uid);
        let other = living.find(|(key, process)| {
            let spec = pod.container(&key.name).map(|(_, spec)| spec);
            let image = spec.and_then(|spec| spec.image.as_deref());
            image.map(image_id).as_ref() != Some(&process.image_id)
        });
        other.map(|(key, _)| key.to_string())
    }

    fn missing_ephemeral(&self, plan: &PodPlan, uid: &PodUid) -> Option<String> {
        let pod = self.pods.iter().find(|pod| pod.uid() == uid)?;
        let life = self.truth.lives.get(uid)?;
        let is_missing = |name: &str| !life.attempts(name).any(|a| a.executed || a.end.is_some());
        let added = pod.containers().map(|(_, name, _)| name.as_str());
        let mut added = added.filter(|name| plan.is_ephemeral(name));
        added.find(|name| is_missing(name)).map(str::to_owned)
    }
}
