//! A pod as one row of a table: `printPod` of Kubernetes' printers.

use crate::age;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::cmp::max;

pub(crate) const HEADINGS: [&str; 5] = ["NAME", "READY", "STATUS", "RESTARTS", "AGE"];
pub(crate) const WIDE_HEADINGS: [&str; 4] = ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"];

pub(crate) fn row(pod: &Pod, wide: bool, now: Timestamp) -> Vec<String> {
    let seen = look(pod);
    let restarts = match seen.last_restart {
        Some(last) if seen.restarts != 0 => {
            format!("{} ({} ago)", seen.restarts, age::since(Some(last), now))
        }
        _ => seen.restarts.to_string(),
    };
    let mut row = vec![
        pod.metadata.name.clone().unwrap_or_default(),
        format!("{}/{}", seen.ready, seen.containers),
        seen.reason,
        restarts,
        age::since(pod.metadata.creation_timestamp.as_ref(), now),
    ];
    if wide {
        let or_none = |text: Option<&str>| match text {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => "<none>".to_owned(),
        };
        let status = pod.status.as_ref();
        let ip = status
            .and_then(|s| s.pod_ips.as_ref()?.first())
            .map(|ip| ip.ip.as_str());
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        let nominated = status.and_then(|s| s.nominated_node_name.as_deref());
        row.extend([or_none(ip), or_none(node), or_none(nominated), gates(pod)]);
    }
    row
}

fn gates(pod: &Pod) -> String {
    let gates = pod.spec.as_ref().and_then(|s| s.readiness_gates.as_deref());
    let Some(gates) = gates.filter(|g| !g.is_empty()) else {
        return "<none>".to_owned();
    };
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref());
    let is_true = |kind: &str| {
        let mut all = conditions.into_iter().flatten();
        all.any(|c| c.type_ == kind && c.status == "True")
    };
    let passed = gates.iter().filter(|g| is_true(&g.condition_type)).count();
    format!("{passed}/{}", gates.len())
}

/// What the row says.
struct Seen<'a> {
    ready: usize,
    containers: usize,
    reason: String,
    restarts: i32,
    last_restart: Option<&'a Time>,
}

fn look(pod: &Pod) -> Seen<'_> {
    const NONE: &[ContainerStatus] = &[];
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or_default();
    let stated = status
        .and_then(|s| s.reason.as_deref())
        .filter(|r| !r.is_empty());
    let mut seen = Seen {
        ready: 0,
        containers: spec.map_or(0, |s| s.containers.len()),
        reason: stated.unwrap_or(phase).to_owned(),
        restarts: 0,
        last_restart: None,
    };
    if status.is_some_and(is_gated) {
        seen.reason = "SchedulingGated".to_owned();
    }
    let init = spec
        .and_then(|s| s.init_containers.as_deref())
        .unwrap_or_default();
    seen.containers += init.iter().filter(|c| is_sidecar(c)).count();

    let (mut side_restarts, mut side_last) = (0, None);
    let mut initializing = false;
    let init_statuses = status.and_then(|s| s.init_container_statuses.as_deref());
    for (index, container) in init_statuses.unwrap_or(NONE).iter().enumerate() {
        seen.restarts += container.restart_count;
        let last = last_finished(container);
        seen.last_restart = later(seen.last_restart, last);
        let sidecar = init
            .iter()
            .any(|c| c.name == container.name && is_sidecar(c));
        if sidecar {
            side_restarts += container.restart_count;
            side_last = later(side_last, last);
        }
        let state = container.state.as_ref();
        let terminated = state.and_then(|s| s.terminated.as_ref());
        let waiting = state
            .and_then(|s| s.waiting.as_ref()?.reason.as_deref())
            .filter(|reason| !reason.is_empty() && *reason != "PodInitializing");
        if terminated.is_some_and(|t| t.exit_code == 0) {
            continue;
        }
        if sidecar && container.started == Some(true) {
            seen.ready += usize::from(container.ready);
            continue;
        }
        seen.reason = if let Some(terminated) = terminated {
            format!("Init:{}", ending(terminated))
        } else if let Some(reason) = waiting {
            format!("Init:{reason}")
        } else {
            format!("Init:{index}/{}", init.len())
        };
        initializing = true;
        break;
    }

    if !initializing || status.is_some_and(|s| has_condition(s, "Initialized")) {
        seen.restarts = side_restarts;
        seen.last_restart = side_last;
        let statuses = status.and_then(|s| s.container_statuses.as_deref());
        let mut has_running = false;
        for container in statuses.unwrap_or(NONE).iter().rev() {
            seen.restarts += container.restart_count;
            seen.last_restart = later(seen.last_restart, last_finished(container));
            let state = container.state.as_ref();
            let waiting = state
                .and_then(|s| s.waiting.as_ref()?.reason.as_deref())
                .filter(|reason| !reason.is_empty());
            if let Some(reason) = waiting {
                seen.reason = reason.to_owned();
            } else if let Some(terminated) = state.and_then(|s| s.terminated.as_ref()) {
                seen.reason = ending(terminated);
            } else if container.ready && state.is_some_and(|s| s.running.is_some()) {
                has_running = true;
                seen.ready += 1;
            }
        }
        if seen.reason == "Completed" && has_running {
            let is_ready = status.is_some_and(|s| has_condition(s, "Ready"));
            seen.reason = if is_ready { "Running" } else { "NotReady" }.to_owned();
        }
    }

    if pod.metadata.deletion_timestamp.is_some() {
        if stated == Some("NodeLost") {
            seen.reason = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            seen.reason = "Terminating".to_owned();
        }
    }
    seen
}

fn ending(terminated: &k8s_openapi::api::core::v1::ContainerStateTerminated) -> String {
    match (terminated.reason.as_deref(), terminated.signal) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", terminated.exit_code),
    }
}

fn last_finished(container: &ContainerStatus) -> Option<&Time> {
    let last = container.last_state.as_ref()?.terminated.as_ref()?;
    last.finished_at.as_ref()
}

fn later<'a>(a: Option<&'a Time>, b: Option<&'a Time>) -> Option<&'a Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(max(a, b)),
        (a, b) => a.or(b),
    }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn has_condition(status: &PodStatus, kind: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|c| c.type_ == kind && c.status == "True")
}

fn is_gated(status: &PodStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("SchedulingGated"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(spec: Value, status: Value, metadata: Value) -> String {
        let mut pod = json!({
            "metadata": { "name": "p", "creationTimestamp": "2026-11-21T09:59:00Z" },
            "spec": { "containers": [{ "name": "a" }, { "name": "b" }] },
            "status": status,
        });
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        for (key, value) in metadata.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        let pod: Pod = serde_json::from_value(pod).unwrap();
        row(&pod, false, "2026-11-21T10:00:00Z".parse().unwrap())[1..].join(" ")
    }

    fn container(name: &str, ready: bool, state: Value) -> Value {
        json!({ "name": name, "ready": ready, "restartCount": 0, "image": "", "imageID": "", "state": state })
    }

    fn restarted(mut status: Value, count: i32, finished: &str) -> Value {
        status["restartCount"] = json!(count);
        status["lastState"] = json!({ "terminated": { "exitCode": 1, "finishedAt": finished } });
        status
    }

    #[test]
    fn a_row_says_what_kubectl_would_say() {
        let none = || json!({});
        let running = |name, ready| container(name, ready, json!({ "running": {} }));
        let waiting =
            |name, reason: &str| container(name, false, json!({ "waiting": { "reason": reason } }));
        let ended = |name, code: i32, reason: &str| {
            container(
                name,
                false,
                json!({ "terminated": { "exitCode": code, "reason": reason } }),
            )
        };
        let killed = |name| {
            container(
                name,
                false,
                json!({ "terminated": { "exitCode": 137, "signal": 9 } }),
            )
        };
        let main = |list: Value| json!({ "phase": "Running", "containerStatuses": list });
        let init = |list: Value| {
            json!({ "phase": "Pending", "initContainerStatuses": list,
                    "containerStatuses": [waiting("a", "PodInitializing"), waiting("b", "PodInitializing")] })
        };
        let two = || json!({ "initContainers": [{ "name": "i" }, { "name": "j" }] });
        for (want, spec, status, metadata) in [
            (
                "0/2 Pending 0 60s",
                none(),
                json!({ "phase": "Pending" }),
                none(),
            ),
            (
                "0/2 Evicted 0 60s",
                none(),
                json!({ "phase": "Failed", "reason": "Evicted" }),
                none(),
            ),
            (
                "2/2 Running 0 60s",
                none(),
                main(json!([running("a", true), running("b", true)])),
                none(),
            ),
            (
                "1/2 Running 0 60s",
                none(),
                main(json!([running("a", true), running("b", false)])),
                none(),
            ),
            (
                "0/2 ContainerCreating 0 60s",
                none(),
                main(json!([
                    waiting("a", "ContainerCreating"),
                    waiting("b", "ContainerCreating")
                ])),
                none(),
            ),
            // The first container that has something to say is heard last.
            (
                "0/2 ErrImagePull 0 60s",
                none(),
                main(json!([
                    waiting("a", "ErrImagePull"),
                    waiting("b", "ImagePullBackOff")
                ])),
                none(),
            ),
            (
                "1/2 Error 0 60s",
                none(),
                main(json!([ended("a", 1, "Error"), running("b", true)])),
                none(),
            ),
            (
                "0/2 ExitCode:3 0 60s",
                none(),
                main(json!([ended("a", 3, ""), ended("b", 0, "Completed")])),
                none(),
            ),
            (
                "0/2 Signal:9 0 60s",
                none(),
                main(json!([killed("a"), killed("b")])),
                none(),
            ),
            (
                "0/2 Completed 0 60s",
                none(),
                main(json!([
                    ended("a", 0, "Completed"),
                    ended("b", 0, "Completed")
                ])),
                none(),
            ),
            (
                "1/2 NotReady 0 60s",
                none(),
                main(json!([ended("a", 0, "Completed"), running("b", true)])),
                none(),
            ),
            (
                "1/2 Running 0 60s",
                none(),
                json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
                        "containerStatuses": [ended("a", 0, "Completed"), running("b", true)] }),
                none(),
            ),
            (
                "1/2 CrashLoopBackOff 4 (25s ago) 60s",
                none(),
                main(json!([
                    restarted(waiting("a", "CrashLoopBackOff"), 3, "2026-11-21T09:59:35Z"),
                    restarted(running("b", true), 1, "2026-11-21T09:59:10Z")
                ])),
                none(),
            ),
            (
                "0/2 Init:0/2 0 60s",
                two(),
                init(json!([
                    running("i", false),
                    waiting("j", "PodInitializing")
                ])),
                none(),
            ),
            (
                "0/2 Init:1/2 0 60s",
                two(),
                init(json!([ended("i", 0, "Completed"), running("j", false)])),
                none(),
            ),
            (
                "0/2 Init:Error 0 60s",
                two(),
                init(json!([ended("i", 1, "Error")])),
                none(),
            ),
            (
                "0/2 Init:ExitCode:2 0 60s",
                two(),
                init(json!([ended("i", 2, "")])),
                none(),
            ),
            (
                "0/2 Init:CrashLoopBackOff 2 (5s ago) 60s",
                two(),
                init(json!([restarted(
                    waiting("i", "CrashLoopBackOff"),
                    2,
                    "2026-11-21T09:59:55Z"
                )])),
                none(),
            ),
            (
                "0/2 PodInitializing 0 60s",
                two(),
                init(json!([
                    ended("i", 0, "Completed"),
                    ended("j", 0, "Completed")
                ])),
                none(),
            ),
            (
                "3/3 Running 0 60s",
                json!({ "initContainers": [{ "name": "i", "restartPolicy": "Always" }] }),
                json!({ "phase": "Running",
                        "initContainerStatuses": [{ "name": "i", "ready": true, "started": true, "restartCount": 0, "image": "", "imageID": "", "state": { "running": {} } }],
                        "containerStatuses": [running("a", true), running("b", true)] }),
                none(),
            ),
            (
                "2/2 Terminating 0 60s",
                none(),
                main(json!([running("a", true), running("b", true)])),
                json!({ "deletionTimestamp": "2026-11-21T10:00:30Z" }),
            ),
            (
                "0/2 Completed 0 60s",
                none(),
                json!({ "phase": "Succeeded", "containerStatuses": [ended("a", 0, "Completed"), ended("b", 0, "Completed")] }),
                json!({ "deletionTimestamp": "2026-11-21T10:00:30Z" }),
            ),
        ] {
            assert_eq!(shown(spec, status, metadata), want);
        }
    }

    #[test]
    fn a_wide_row_goes_on() {
        let pod = serde_json::from_value(json!({
            "metadata": { "name": "p" },
            "spec": { "nodeName": "n", "containers": [], "readinessGates": [{ "conditionType": "x" }, { "conditionType": "y" }] },
            "status": { "podIPs": [{ "ip": "10.88.0.2" }], "conditions": [{ "type": "y", "status": "True" }] },
        }))
        .unwrap();
        let row = row(&pod, true, Timestamp::UNIX_EPOCH);
        assert_eq!(row[4..], ["<unknown>", "10.88.0.2", "n", "<none>", "1/2"]);
        assert_eq!(row.len(), HEADINGS.len() + WIDE_HEADINGS.len());
    }
}
