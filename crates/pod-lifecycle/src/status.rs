//! The pod's status as a kubelet would write it. A function of the record; nothing is remembered here.

use crate::ending::{LOST, cut};
use crate::restart_all;
use crate::termination::{DEADLINE_EXCEEDED, EVICTED, PREEMPTING};
use crate::view::{
    EPHEMERAL, INITS, MAINS, State, View, closed_gates, incomplete_inits, unready, views,
};
use crate::{
    Admission, Condition, ContainerRecord, EndReason, Ending, Phase, PodRecord, Settings,
    WaitReason,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, HostIP, LinuxContainerUser,
    PodCondition, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use node_policy::admission::Rejection;
use pod_model::{AdmittedPod, Attempt, ContainerKey, ContainerRole, WallTime};

/// A kubelet's `MaxPodTerminationMessageLogLength`: the containers share it evenly.
const LONGEST_MESSAGES_OF_A_POD: usize = 12 << 10;

/// The status that goes with `record`.
pub fn status(record: &PodRecord, pod: &AdmittedPod, settings: &Settings) -> PodStatus {
    if let Admission::Rejected(rejection) = &record.admission {
        return rejected(record, pod, rejection);
    }
    let host_ips: Vec<&String> = settings.host_ips.iter().take(2).collect();
    // a pod on the host's network has the host's addresses
    let pod_ips: Vec<&String> = if pod.host_network() {
        host_ips.clone()
    } else {
        record.addresses.iter().collect()
    };
    let generation = generation(pod);
    let evicted = record
        .evicted
        .as_ref()
        .filter(|_| record.phase == Phase::Failed);
    PodStatus {
        phase: Some(record.phase.as_str().to_owned()),
        reason: evicted.map(|_| {
            let reason = if record.past_deadline {
                DEADLINE_EXCEEDED
            } else if record.preempted {
                PREEMPTING
            } else {
                EVICTED
            };
            reason.to_owned()
        }),
        message: evicted.cloned(),
        conditions: Some(conditions(record, pod, generation)),
        host_ip: host_ips.first().map(|ip| (*ip).clone()),
        host_ips: list(host_ips.into_iter().map(|ip| HostIP { ip: ip.clone() })),
        pod_ip: pod_ips.first().map(|ip| (*ip).clone()),
        pod_ips: list(pod_ips.into_iter().map(|ip| PodIP { ip: ip.clone() })),
        start_time: record.start_time.map(time),
        qos_class: Some(pod.qos().as_str().to_owned()),
        observed_generation: generation,
        init_container_statuses: list(container_statuses(record, pod, INITS).into_iter()),
        container_statuses: list(container_statuses(record, pod, MAINS).into_iter()),
        ephemeral_container_statuses: list(container_statuses(record, pod, EPHEMERAL).into_iter()),
        ..PodStatus::default()
    }
}

/// A kubelet's `rejectPod`: no conditions, no containers.
fn rejected(record: &PodRecord, pod: &AdmittedPod, rejection: &Rejection) -> PodStatus {
    PodStatus {
        phase: Some(Phase::Failed.as_str().to_owned()),
        reason: Some(rejection.reason.as_str().to_owned()),
        message: Some(rejection.status_message()),
        start_time: record.start_time.map(time),
        qos_class: Some(pod.qos().as_str().to_owned()),
        observed_generation: generation(pod),
        ..PodStatus::default()
    }
}

fn generation(pod: &AdmittedPod) -> Option<i64> {
    pod.pod().metadata.generation.filter(|g| *g != 0)
}

/// An empty list is left out, as in Go's `omitempty`.
fn list<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

/// Times of the API have whole seconds. A time that no calendar has becomes 1970.
pub(crate) fn time(at: WallTime) -> Time {
    Time(Timestamp::from_second(at.0.div_euclid(1_000_000_000)).unwrap_or_default())
}

fn conditions(record: &PodRecord, pod: &AdmittedPod, generation: Option<i64>) -> Vec<PodCondition> {
    let condition = |type_: &str,
                     condition: Condition,
                     reason: Option<&str>,
                     message: Option<String>| PodCondition {
        type_: type_.to_owned(),
        status: if condition.holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(time(condition.since)),
        reason: reason.map(str::to_owned),
        message,
        observed_generation: generation,
        ..PodCondition::default()
    };
    let held = &record.conditions;
    let (not_initialized, not_initialized_message) = match (held.initialized.holds, record.phase) {
        (true, Phase::Succeeded) => (Some("PodCompleted"), None),
        (true, _) => (None, None),
        (false, _) => {
            let names = incomplete_inits(record, pod).join(" ");
            (
                Some("ContainersNotInitialized"),
                Some(format!("containers with incomplete status: [{names}]")),
            )
        }
    };
    let (not_ready, not_ready_message) = match record.phase {
        Phase::Succeeded => (Some("PodCompleted"), None),
        Phase::Failed => (Some("PodFailed"), None),
        _ if held.containers_ready.holds => (None, None),
        _ => {
            let names = unready(record, pod).join(" ");
            (
                Some("ContainersNotReady"),
                Some(format!("containers with unready status: [{names}]")),
            )
        }
    };
    // as the condition before it, and then what others say
    let (gate, gate_message) = if held.containers_ready.holds && !held.ready.holds {
        let text = closed_gates(pod).join(", ");
        (Some("ReadinessGatesNotReady"), Some(text))
    } else {
        (not_ready, not_ready_message.clone())
    };
    let (restarting, restarting_message) = match record.phase {
        Phase::Succeeded => (Some("PodCompleted"), None),
        Phase::Failed => (Some("PodFailed"), None),
        _ if held.all_containers_restarting.holds => (
            Some("RestartAllContainersStarted"),
            Some("container exited with restart policy rule".to_owned()),
        ),
        _ => (None, None),
    };
    let restarting = condition(
        "AllContainersRestarting",
        held.all_containers_restarting,
        restarting,
        restarting_message,
    );
    let mut conditions = vec![
        condition(
            "PodReadyToStartContainers",
            held.ready_to_start_containers,
            None,
            None,
        ),
        condition(
            "Initialized",
            held.initialized,
            not_initialized,
            not_initialized_message,
        ),
        condition("Ready", held.ready, gate, gate_message),
        condition(
            "ContainersReady",
            held.containers_ready,
            not_ready,
            not_ready_message,
        ),
        condition("PodScheduled", held.scheduled, None, None),
    ];
    if restart_all::is_possible(pod) {
        conditions.push(restarting);
    }
    if held.disruption_target.holds {
        conditions.push(condition(
            "DisruptionTarget",
            held.disruption_target,
            Some("TerminationByKubelet"),
            Some("Pod was preempted by Kubelet to accommodate a critical pod.".to_owned()),
        ));
    }
    conditions
}

fn container_statuses(
    record: &PodRecord,
    pod: &AdmittedPod,
    roles: &[ContainerRole],
) -> Vec<ContainerStatus> {
    let has_init = pod
        .spec()
        .init_containers
        .as_ref()
        .is_some_and(|list| !list.is_empty());
    let initial = if has_init {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    let mut statuses: Vec<ContainerStatus> = views(record, pod, roles)
        .into_iter()
        .filter_map(|(container, view)| {
            let (_, spec) = pod.container(&container.name)?;
            Some(container_status(record, container, spec, view, initial))
        })
        .collect();
    if roles != INITS {
        // a kubelet sorts them by name; init containers keep their order
        statuses.sort_by(|a, b| a.name.cmp(&b.name));
    }
    statuses
}

fn container_status(
    record: &PodRecord,
    container: &ContainerRecord,
    spec: &Container,
    view: View<'_>,
    initial: &str,
) -> ContainerStatus {
    let id = |attempt: Attempt| {
        ContainerKey::new(record.uid.clone(), container.name.clone(), attempt)
            .id()
            .uri()
    };
    let longest = LONGEST_MESSAGES_OF_A_POD / record.containers.len().max(1);
    let made = container.made.as_ref();
    let process = made.and_then(|made| made.process.as_ref());
    ContainerStatus {
        name: container.name.to_string(),
        image: spec.image.clone().unwrap_or_default(),
        image_id: made.map(|made| made.image_id.clone()).unwrap_or_default(),
        container_id: made.map(|made| id(made.attempt)),
        restart_count: made.map_or(0, |made| i32::try_from(made.attempt.0).unwrap_or(i32::MAX)),
        ready: view.is_ready(spec),
        // nobody asks whether an ephemeral container has started
        started: (view.role != ContainerRole::Ephemeral).then(|| view.has_started(spec)),
        state: Some(state(view.state, initial, &id, longest)),
        last_state: Some(
            view.last
                .map(|ending| terminated(ending, &id, longest))
                .unwrap_or_default(),
        ),
        user: process.map(|process| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: i64::from(process.uid),
                gid: i64::from(process.gid),
                supplemental_groups: list(process.supplementary_gids.iter().map(|g| i64::from(*g))),
            }),
        }),
        stop_signal: process
            .map(|process| process.stop_signal.clone())
            .filter(|signal| !signal.is_empty()),
        // what the node has given it: for now always what it asks for
        resources: made.map(|_| spec.resources.clone().unwrap_or_default()),
        allocated_resources: made
            .and_then(|_| spec.resources.as_ref()?.requests.clone())
            .filter(|r| !r.is_empty()),
        volume_mounts: list(spec.volume_mounts.iter().flatten().map(|mount| {
            let read_only = mount.read_only.filter(|read_only| *read_only);
            let recursive = match mount.recursive_read_only.as_deref() {
                Some("Enabled" | "IfPossible") => "Enabled",
                _ => "Disabled",
            };
            VolumeMountStatus {
                name: mount.name.clone(),
                mount_path: mount.mount_path.clone(),
                read_only,
                recursive_read_only: read_only.map(|_| recursive.to_owned()),
                volume_status: None,
            }
        })),
        ..ContainerStatus::default()
    }
}

fn state(
    state: State<'_>,
    initial: &str,
    id: &dyn Fn(Attempt) -> String,
    longest: usize,
) -> ContainerState {
    match state {
        State::Waiting(waiting) => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(
                    waiting
                        .map_or(initial, |w| WaitReason::as_str(w.reason))
                        .to_owned(),
                ),
                message: waiting.map(|w| w.message.clone()),
            }),
            ..ContainerState::default()
        },
        State::Running(live) => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(time(live.started_at)),
            }),
            ..ContainerState::default()
        },
        State::Ended(ending) => terminated(ending, id, longest),
        State::Lost => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 137,
                reason: Some(EndReason::ContainerStatusUnknown.as_str().to_owned()),
                message: Some(LOST.to_owned()),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        },
    }
}

fn terminated(ending: &Ending, id: &dyn Fn(Attempt) -> String, longest: usize) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: ending.code,
            // a kubelet leaves `signal` empty: the runtime interface does not carry it
            signal: None,
            reason: Some(ending.reason.as_str().to_owned()),
            message: ending
                .message
                .as_deref()
                .map(|message| cut(message, longest).to_owned()),
            started_at: ending.started_at.map(time),
            finished_at: ending.finished_at.map(time),
            container_id: Some(id(ending.attempt)),
        }),
        ..ContainerState::default()
    }
}
