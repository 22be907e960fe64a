//! A container more in a pod that runs. The pod with it is written down like any pod, so that the next agent knows of it.

use node_server::NodeError;
use pod_model::{FieldError, PodUid};
use pod_worker::{Board, Change, Command, Inputs};
use serde_json::Value;
use tokio::sync::oneshot;

/// Lets the worker put the container into the pod, and waits until it has.
pub(super) async fn add(
    board: &Board,
    inputs: &Inputs,
    uid: &PodUid,
    container: Value,
) -> Result<(), NodeError> {
    let gone = || NodeError::NotFound(format!("pod {uid} not found"));
    let view = board.pod(uid).ok_or_else(gone)?;
    let name = &view.pod.name().name;
    let refused = |errors: Vec<FieldError>| NodeError::Invalid(invalid(name, &errors));
    // first here, where nobody else depends on it: it is a person's text
    manifest_source::with_ephemeral(&view.pod, container.clone()).map_err(refused)?;
    let (answer, answered) = oneshot::channel();
    let command = Command::Changed {
        uid: uid.clone(),
        change: Change::new(move |pod| manifest_source::with_ephemeral(pod, container)),
        answer,
    };
    inputs
        .send(command)
        .map_err(|e| NodeError::Unavailable(e.to_string()))?;
    match answered.await {
        Ok(done) => done.map_err(refused),
        Err(_) if board.pod(uid).is_none() => Err(gone()),
        Err(_) => {
            let message = format!("pod {name:?} is being deleted");
            Err(NodeError::Conflict(message))
        }
    }
}

/// As the API server lists what is wrong.
pub(super) fn invalid(pod: &str, errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [one] => format!("Pod {pod:?} is invalid: {one}"),
        all => format!("Pod {pod:?} is invalid: [{}]", all.join(", ")),
    }
}
