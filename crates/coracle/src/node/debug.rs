//! A container more in a pod that runs. The pod with it is written down like any pod, so that the next agent knows of it.

use node_server::NodeError;
use pod_model::{FieldError, PodUid};
use pod_worker::{Board, Command, Inputs};
use serde_json::Value;
use tokio::sync::Mutex;

/// Checks the container, gives the pod with it to the worker, and waits until the worker has it.
pub(super) async fn add(
    board: &Board,
    inputs: &Inputs,
    changing: &Mutex<()>,
    uid: &PodUid,
    container: Value,
) -> Result<(), NodeError> {
    // what is changed is what the last one made of it
    let _alone = changing.lock().await;
    let gone = || NodeError::NotFound(format!("pod {uid} not found"));
    let mut changes = board.changes();
    let view = board.pod(uid).ok_or_else(gone)?;
    let name = view.pod.name().name.clone();
    let changed = manifest_source::with_ephemeral(&view.pod, container)
        .map_err(|errors| NodeError::Invalid(invalid(&name, &errors)))?;
    inputs
        .send(Command::Changed(changed.clone()))
        .map_err(|e| NodeError::Unavailable(e.to_string()))?;
    loop {
        let view = board.pod(uid).ok_or_else(gone)?;
        if view.pod == changed {
            return Ok(());
        }
        if view.deleting.is_some() {
            let message = format!("pod {name:?} is being deleted");
            return Err(NodeError::Conflict(message));
        }
        // it only waits for the next change, and looks anew afterwards
        changes
            .changed()
            .await
            .map_err(|e| NodeError::Unavailable(e.to_string()))?;
    }
}

/// As the API server lists what is wrong.
fn invalid(pod: &str, errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [one] => format!("Pod {pod:?} is invalid: {one}"),
        all => format!("Pod {pod:?} is invalid: [{}]", all.join(", ")),
    }
}
