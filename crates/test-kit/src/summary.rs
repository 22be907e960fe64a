//! A status as one line, for tests that read like a specification.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodStatus};

/// `Running setup=Completed:0 app=CrashLoopBackOff last=Error:1 restarts=2`: the phase, then each container with its state, the state
/// before (if there is one) and its restarts (if there are any). A running container that is ready is `Running`, else `Unready`.
pub fn summary(status: &PodStatus) -> String {
    let mut line = status.phase.clone().unwrap_or_default();
    let inits = status
        .init_container_statuses
        .iter()
        .flatten()
        .map(|c| (true, c));
    let ephemeral = status.ephemeral_container_statuses.iter().flatten();
    // nobody asks whether they are ready
    let ephemeral = ephemeral.map(|c| (true, c));
    for (is_init, container) in inits.chain(
        status
            .container_statuses
            .iter()
            .flatten()
            .map(|c| (false, c))
            .chain(ephemeral),
    ) {
        line.push(' ');
        line.push_str(&one(container, is_init));
    }
    line
}

fn one(container: &ContainerStatus, is_init: bool) -> String {
    let now = container.state.as_ref().map(state).unwrap_or_default();
    let now = if now == "Running" && !container.ready && !is_init {
        "Unready".to_owned()
    } else {
        now
    };
    let last = container
        .last_state
        .as_ref()
        .map(state)
        .filter(|s| !s.is_empty());
    let mut text = format!("{}={now}", container.name);
    if let Some(last) = last {
        text.push_str(&format!(" last={last}"));
    }
    if container.restart_count > 0 {
        text.push_str(&format!(" restarts={}", container.restart_count));
    }
    text
}

fn state(state: &ContainerState) -> String {
    if state.running.is_some() {
        return "Running".to_owned();
    }
    if let Some(ended) = &state.terminated {
        return format!(
            "{}:{}",
            ended.reason.clone().unwrap_or_default(),
            ended.exit_code
        );
    }
    state
        .waiting
        .as_ref()
        .and_then(|waiting| waiting.reason.clone())
        .unwrap_or_default()
}
