//! Which attempt of a container a log request is about, by `validateContainerLogStatus` of the kubelet.

use crate::node::PodView;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus};
use pod_model::{Attempt, ContainerKey, ContainerName};

fn status_of<'a>(view: &'a PodView, container: &ContainerName) -> Option<&'a ContainerStatus> {
    let status = &view.status;
    status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .find(|c| c.name == container.as_str())
}

/// The number in the log's file name, or the kubelet's text for why there is none.
pub(super) fn choose(
    view: &PodView,
    container: &ContainerName,
    previous: bool,
) -> Result<u32, String> {
    let pod = &view.pod.name().name;
    let Some(status) = status_of(view, container) else {
        return Err(format!(
            "container \"{container}\" in pod \"{pod}\" is not available"
        ));
    };
    let state = status.state.clone().unwrap_or_default();
    let last = status
        .last_state
        .as_ref()
        .and_then(|s| s.terminated.as_ref())
        .and_then(|t| t.container_id.as_deref())
        .filter(|id| !id.is_empty());
    let current = u32::try_from(status.restart_count).unwrap_or(0);
    // The restart count says nearly everything; which of two attempts the last state is of, only its id does.
    let by_id = |id: &str| {
        [current, current.saturating_sub(1)].into_iter().find(|n| {
            let key = ContainerKey::new(view.pod.uid().clone(), container.clone(), Attempt(*n));
            key.id().uri() == id
        })
    };
    if previous {
        return last.and_then(by_id).ok_or_else(|| {
            format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")
        });
    }
    let ended = state
        .terminated
        .as_ref()
        .and_then(|t| t.container_id.as_deref());
    if state.running.is_some() {
        Ok(current)
    } else if let Some(found) = ended.and_then(by_id) {
        Ok(found)
    } else if let Some(found) = last.and_then(by_id) {
        Ok(found)
    } else {
        Err(waiting(&state, container, pod))
    }
}

fn waiting(state: &ContainerState, container: &ContainerName, pod: &str) -> String {
    let what = format!("container \"{container}\" in pod \"{pod}\"");
    let reason = state.waiting.as_ref().and_then(|w| w.reason.as_deref());
    match reason {
        _ if state.terminated.is_some() => format!("{what} is terminated"),
        Some("ErrImagePull") => format!("{what} is waiting to start: image can't be pulled"),
        Some("ImagePullBackOff") => {
            format!("{what} is waiting to start: trying and failing to pull image")
        }
        Some(reason) if !reason.is_empty() => format!("{what} is waiting to start: {reason}"),
        _ => format!("{what} is waiting to start - no logs yet"),
    }
}

/// This attempt writes nothing more.
pub(super) fn is_over(view: &PodView, container: &ContainerName, attempt: u32) -> bool {
    let Some(status) = status_of(view, container) else {
        return false;
    };
    let current = u32::try_from(status.restart_count).unwrap_or(0);
    let is_running = status.state.as_ref().is_some_and(|s| s.running.is_some());
    current > attempt || !is_running
}
