//! The worker's numbers under the names of a kubelet's metrics.

use pod_lifecycle::{EndReason, Tally};
use pod_model::{Action, ContainerRole, Fact, Outcome, SandboxPart};
use pod_worker::Account;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{ContainerKind, NodeMetrics};

pub(super) struct Accountant(pub(super) Arc<NodeMetrics>);

fn kind(role: Option<ContainerRole>) -> ContainerKind {
    match role {
        Some(ContainerRole::Init | ContainerRole::Sidecar) => ContainerKind::InitContainer,
        Some(ContainerRole::Ephemeral) => ContainerKind::EphemeralContainer,
        Some(ContainerRole::Main) | None => ContainerKind::Container,
    }
}

impl Account for Accountant {
    fn answered(&self, fact: &Fact, role: Option<ContainerRole>, took: Duration) {
        let metrics = &self.0;
        let failed = fact.outcome.as_ref().err();
        metrics.observe_operation(fact.key.operation(), took, failed.is_some());
        match (&fact.key, &fact.outcome) {
            (Action::Prepare { part, .. }, _) => match part {
                SandboxPart::Network => metrics.observe_sandbox(took, failed.is_some()),
                SandboxPart::Cgroup => metrics.observe_cgroup("create", took),
                SandboxPart::Volumes => {}
            },
            (
                Action::Undo {
                    part: SandboxPart::Cgroup,
                    ..
                },
                _,
            ) => metrics.observe_cgroup("destroy", took),
            (Action::Start { .. }, _) => {
                let reason = failed.map(|failure| failure.reason.as_str());
                metrics.observe_container_start(kind(role), reason);
            }
            (_, Ok(Outcome::Image(image))) if !image.was_present => {
                metrics.observe_image_pull(image.pull, image.size_bytes)
            }
            _ => {}
        }
    }
    fn began(&self, since_seen: Duration) {
        self.0.observe_pod_worker_start(since_seen);
    }
    fn worked(&self, operation: &'static str, took: Duration) {
        self.0.observe_pod_work(operation, took);
    }
    fn runs(&self, since_seen: Duration, pulls_and_init: Duration) {
        self.0.observe_pod_running(since_seen, pulls_and_init);
    }
    fn ended(&self, role: ContainerRole, code: i32, reason: EndReason) {
        let kind = kind(Some(role));
        self.0.observe_container_end(kind, code, reason.as_str());
    }
    fn came_back(&self) {
        self.0.observe_restarted_pod();
    }
    fn judged(&self, tally: Tally) {
        match tally {
            Tally::Rejected(reason) => self.0.observe_rejection(reason.metric_label()),
            Tally::Preempted { signal } => self.0.observe_preemption(signal),
        }
    }
}
