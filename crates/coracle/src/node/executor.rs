//! Carries the core's actions out with the kernel crates. One `match`; each arm is a function of its own file.

use super::hooks::{self, Hook};
use super::outcome::{Spans, node_failure};
use super::parts::Parts;
use super::{containers, images, sandbox};
use pod_model::{Action, AdmittedPod, Failure, FailureReason, SandboxPart};
use pod_worker::{Done, Executor, Line};
use std::sync::Arc;

pub(crate) struct NodeExecutor(pub(crate) Arc<Parts>);

impl Executor for NodeExecutor {
    async fn run(&self, action: Action, pod: Option<AdmittedPod>, mut line: Line) -> Done {
        let parts = &self.0;
        let mut spans = Spans::new();
        let mut executed_at = None;
        let outcome = match (&action, &pod) {
            (Action::Prepare { part, .. }, Some(pod)) => match part {
                SandboxPart::Cgroup => sandbox::prepare_cgroup(parts, pod, &mut spans).await,
                SandboxPart::Network => sandbox::prepare_network(parts, pod, &mut spans).await,
                SandboxPart::Volumes => sandbox::prepare_volumes(parts, pod, &mut spans).await,
            },
            (Action::EnsureImage { container, .. }, Some(pod)) => {
                images::ensure(parts, pod, container, &mut line, &mut spans).await
            }
            (
                Action::Start {
                    container,
                    image_id,
                },
                Some(pod),
            ) => {
                let timing = (&mut spans, &mut executed_at);
                containers::start(parts, pod, container, image_id, timing).await
            }
            (Action::Prepare { .. } | Action::EnsureImage { .. } | Action::Start { .. }, None) => {
                Err(unknown_pod(&action))
            }
            (Action::PostStart { container }, pod) => {
                let hook = Hook::PostStart;
                hooks::run(parts, pod.as_ref(), container, hook, &mut line, &mut spans).await
            }
            (Action::PreStop { container }, pod) => {
                let hook = Hook::PreStop;
                hooks::run(parts, pod.as_ref(), container, hook, &mut line, &mut spans).await
            }
            (Action::Stop { container }, pod) => {
                containers::stop(parts, pod.as_ref(), container).await
            }
            (Action::Kill { container }, _) => containers::kill(parts, container).await,
            (Action::Remove { container }, _) => containers::remove(parts, container).await,
            (Action::Undo { pod: uid, part }, _) => match part {
                SandboxPart::Cgroup => sandbox::undo_cgroup(parts, uid).await,
                SandboxPart::Network => sandbox::undo_network(parts, uid).await,
                SandboxPart::Volumes => sandbox::undo_volumes(parts, uid).await,
            },
            (Action::Forget { pod: uid }, pod) => sandbox::forget(parts, uid, pod.as_ref()).await,
        };
        Done {
            outcome,
            seq: parts.host.seq(),
            spans,
            ended_at: executed_at,
        }
    }
}

/// The core builds up only pods that it knows.
fn unknown_pod(action: &Action) -> Failure {
    node_failure(
        FailureReason::FailedCreatePodSandBox,
        format!(
            "{} was asked for a pod that is not known",
            action.operation()
        ),
    )
}
