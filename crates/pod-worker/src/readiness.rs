//! What a new status says of who is ready, for the timeline.

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

/// Containers that became ready, or ceased to be. Against no status before nothing is a change: an agent that has just begun repeats what
/// an earlier one said.
pub(crate) fn changes(before: &PodStatus, after: &PodStatus) -> Vec<(String, &'static str)> {
    if before.phase.is_none() {
        return Vec::new();
    }
    let was: Vec<&ContainerStatus> = sidecars_and_main(before).collect();
    let mut changed = Vec::new();
    for status in sidecars_and_main(after) {
        let known = was.iter().find(|known| known.name == status.name);
        if known.is_some_and(|known| known.ready) != status.ready {
            let what = if status.ready { "ready" } else { "not ready" };
            changed.push((status.name.clone(), what));
        }
    }
    changed
}

/// An init container that ran to its end is `ready` too, and waits for nobody: it is not running.
fn sidecars_and_main(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let runs = |status: &&ContainerStatus| {
        let state = status.state.as_ref();
        state.is_none_or(|state| state.terminated.is_none())
    };
    let init = status.init_container_statuses.iter().flatten().filter(runs);
    init.chain(status.container_statuses.iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(containers: &[(&str, bool)]) -> PodStatus {
        let status = |(name, ready): &(&str, bool)| ContainerStatus {
            name: (*name).to_owned(),
            ready: *ready,
            ..ContainerStatus::default()
        };
        PodStatus {
            phase: Some("Running".to_owned()),
            container_statuses: Some(containers.iter().map(status).collect()),
            ..PodStatus::default()
        }
    }

    #[test]
    fn only_what_changes_is_told() {
        let before = status(&[("a", false), ("b", true), ("c", true)]);
        let after = status(&[("a", true), ("b", false), ("c", true), ("d", true)]);
        let told = changes(&before, &after);
        let told: Vec<_> = told.iter().map(|(name, what)| (&**name, *what)).collect();
        assert_eq!(told, [("a", "ready"), ("b", "not ready"), ("d", "ready")]);
        assert_eq!(changes(&PodStatus::default(), &after), []);
    }
}
