//! What a status may say of containers that run, and has to: what the core was told of them, no more and no less.

use super::World;
use crate::history::{ContainerPlan, PodPlan};
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use pod_lifecycle::StatusUpdate;
use pod_model::{PodUid, ProbeKind};

fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let inits = status.init_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten())
}

fn holds(status: &PodStatus, type_: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|c| c.type_ == type_ && c.status == "True")
}

fn is_running(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

impl World<'_> {
    /// What is said to have started, or to be ready, is what was told; and a pod is ready with its containers and its gate.
    pub(super) fn judge_readiness(&mut self, update: &StatusUpdate) {
        let Some(plan) = self.pod_plan(&update.uid) else {
            return;
        };
        let mut wrong = None;
        for status in all(&update.status) {
            let container = plan.containers.iter().find(|c| c.name == status.name);
            if let Some(container) = container.filter(|c| c.sidecar || !c.init)
                && !self.is_as_told(&update.uid, container, status)
            {
                wrong = Some(format!("{}/{}", update.uid, status.name));
            }
        }
        if let Some(text) = wrong {
            return self.find("what is ready is what was told", || text);
        }
        let is_wrong = self.is_condition_wrong(plan, update);
        if let Some(condition) = is_wrong {
            self.find("conditions follow from the containers", || {
                format!("{}: {condition}", update.uid)
            });
        }
    }

    /// The first condition that does not say what its containers and its gate say.
    fn is_condition_wrong(&self, plan: &PodPlan, update: &StatusUpdate) -> Option<&'static str> {
        let status = &update.status;
        let phase = status.phase.as_deref().unwrap_or_default();
        let is_over = ["Succeeded", "Failed"].contains(&phase);
        let runs_on = |name: &str| {
            let mut containers = plan.containers.iter();
            containers.any(|c| c.name == name && (c.sidecar || !c.init))
        };
        let are_ready = !is_over && all(status).all(|s| s.ready || !runs_on(&s.name));
        let gate = self.gate_told(plan, &update.uid);
        let life = self.truth.lives.get(&update.uid)?;
        let has_initialized = |c: &ContainerPlan| {
            let mut attempts = life.attempts(&c.name);
            !c.init || attempts.any(|a| c.sidecar || a.end.is_some_and(|end| end.code == 0))
        };
        if holds(status, "ContainersReady") != are_ready {
            Some("ContainersReady")
        } else if gate.is_some_and(|is_open| holds(status, "Ready") != (are_ready && is_open)) {
            Some("Ready")
        } else if holds(status, "Initialized") && !plan.containers.iter().all(has_initialized) {
            Some("Initialized")
        } else {
            None
        }
    }
    /// Whether the gate is open, or there is none; `None` if this agent was not told of it.
    fn gate_told(&self, plan: &PodPlan, uid: &PodUid) -> Option<bool> {
        if !plan.gate {
            return Some(true);
        }
        let goes = self.truth.lives.get(uid)?.deleted;
        let told = self.agent.as_ref()?.gates.get(uid).copied();
        told.filter(|_| !goes)
    }

    fn is_as_told(&self, uid: &PodUid, plan: &ContainerPlan, status: &ContainerStatus) -> bool {
        let newest = self
            .truth
            .lives
            .get(uid)
            .and_then(|life| life.attempts(&status.name).last());
        let (Some(newest), true) = (newest, is_running(status)) else {
            return status.started != Some(true) && !status.ready;
        };
        let asks = |kind| plan.probes.contains(&kind);
        let started = newest.known.passed || !asks(ProbeKind::Startup);
        let ready = started && (newest.known.fit || !asks(ProbeKind::Readiness));
        let is_hooked = newest.hooked || !plan.post_start;
        is_hooked && status.started == Some(started) && status.ready == ready
    }

    /// A pod is not said to run before each of its containers has been made.
    pub(super) fn judge_begun(&mut self, update: &StatusUpdate) {
        let (Some(plan), Some(life)) = (
            self.pod_plan(&update.uid),
            self.truth.lives.get(&update.uid),
        ) else {
            return;
        };
        let is_begun = |name: &str| life.attempts(name).any(|a| a.executed || a.end.is_some());
        let mut containers = plan.containers.iter();
        let missing = containers
            .find(|c| !is_begun(&c.name))
            .map(|c| c.name.clone());
        if let Some(name) = missing
            && update.status.phase.as_deref() == Some("Running")
        {
            self.find("what runs has begun", || format!("{}/{name}", update.uid));
        }
    }

    /// Once all is quiet, a container that runs is as ready as its program is.
    pub(super) fn judge_ready_at_rest(&mut self, uid: &PodUid, status: &PodStatus) {
        let Some(plan) = self.pod_plan(uid) else {
            return;
        };
        let mut wrong = None;
        for status in all(status).filter(|status| is_running(status)) {
            let container = plan.containers.iter().find(|c| c.name == status.name);
            let Some(container) = container.filter(|c| c.sidecar || !c.init) else {
                continue;
            };
            let mut living = self.kernel.living();
            let Some((_, process)) =
                living.find(|(key, _)| key.pod == *uid && key.name.as_str() == container.name)
            else {
                continue;
            };
            let finds = |kind| process.program.answer(kind, u64::MAX / 2).0 == Some(true);
            let passes = |kind| !container.probes.contains(&kind) || finds(kind);
            let started = passes(ProbeKind::Startup);
            let ready = started && passes(ProbeKind::Readiness);
            if status.started != Some(started) || status.ready != ready {
                wrong = Some(format!(
                    "{uid}/{}: started {started}, ready {ready}",
                    status.name
                ));
            }
        }
        if let Some(text) = wrong {
            self.find("what rests is as ready as its programs", || text);
        }
    }
}
