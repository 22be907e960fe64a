//! Carries the core's actions out with the kernel crates. One `match`; each arm is a function of its own file.

use super::parts::Parts;
use super::{containers, images, sandbox};
use pod_model::{Action, AdmittedPod, Failure, FailureReason, Fault, Outcome, SandboxPart};
use pod_worker::{Done, Executor, Line};
use std::sync::Arc;
use std::time::Duration;

/// Where the time of an action went, in order.
pub(crate) type Spans = Vec<(String, Duration)>;

pub(crate) struct NodeExecutor(pub(crate) Arc<Parts>);

impl Executor for NodeExecutor {
    async fn run(&self, action: Action, pod: Option<AdmittedPod>, mut line: Line) -> Done {
        let parts = &self.0;
        let mut spans = Spans::new();
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
            ) => containers::start(parts, pod, container, image_id, &mut spans).await,
            (Action::Prepare { .. } | Action::EnsureImage { .. } | Action::Start { .. }, None) => {
                Err(unknown_pod(&action))
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

/// This machine's fault; may pass.
pub(crate) fn node_failure(reason: FailureReason, message: String) -> Failure {
    Failure {
        reason,
        message,
        fault: Fault::Node,
        retry: true,
        retry_after: None,
    }
}

/// An error and everything below it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Runs what blocks on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    reason: FailureReason,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(node_failure(
            reason,
            format!("a defect of the agent broke it off: {error}"),
        )),
    }
}

pub(crate) const DONE: Result<Outcome, Failure> = Ok(Outcome::Done);
