//! Whether a container that ended is started again: its rules, then its own policy, then the pod's.

use crate::ContainerRecord;
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule};
use pod_model::{AdmittedPod, ContainerRole, RestartPolicy};

/// Whether the container, having ended with `code`, is started again. A kubelet's `ContainerShouldRestart`.
pub(crate) fn restarts(
    pod: &AdmittedPod,
    role: ContainerRole,
    container: &Container,
    code: i32,
) -> bool {
    match role {
        ContainerRole::Sidecar => true,
        ContainerRole::Ephemeral => false,
        // it has done what it was for
        ContainerRole::Init if code == 0 => false,
        ContainerRole::Init | ContainerRole::Main => {
            // either of a rule's actions starts it again
            matching_rule(container, code).is_some()
                || match policy(pod, container) {
                    RestartPolicy::Always => true,
                    RestartPolicy::OnFailure => code != 0,
                    RestartPolicy::Never => false,
                }
        }
    }
}

/// The first rule of the container that is about this exit code. Rules count only beside a policy of its own.
pub(crate) fn matching_rule(container: &Container, code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy.as_ref()?;
    let mut rules = container.restart_policy_rules.iter().flatten();
    rules.find(|rule| matches(rule, code))
}

/// Its own policy, else the pod's.
pub(crate) fn policy(pod: &AdmittedPod, container: &Container) -> RestartPolicy {
    match container.restart_policy.as_deref() {
        Some("Always") => RestartPolicy::Always,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        _ => pod.restart_policy(),
    }
}

fn matches(rule: &ContainerRestartRule, code: i32) -> bool {
    rule.exit_codes.as_ref().is_some_and(|codes| {
        let is_listed = codes.values.iter().flatten().any(|value| *value == code);
        match codes.operator.as_str() {
            "In" => is_listed,
            "NotIn" => !is_listed,
            _ => false,
        }
    })
}

/// Whether this container, having ended, is started again. A kubelet starts what a probe ended in the same breath, and does not look at
/// its exit code.
pub(crate) fn is_restarted(pod: &AdmittedPod, container: &ContainerRecord) -> bool {
    let Some((role, spec)) = pod.container(&container.name) else {
        return false;
    };
    container.was_ended_to_restart()
        || container
            .last_ending()
            .is_some_and(|ending| restarts(pod, role, spec, ending.code))
}
