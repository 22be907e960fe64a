//! What a container looks like from outside: the one view that phase, conditions and status share.

use crate::policy::is_restarted;
use crate::step::Scene;
use crate::{
    Admission, Condition, ContainerRecord, ContainerState, Ending, Live, Phase, PodRecord, Stage,
    Waiting,
};
use k8s_openapi::api::core::v1::Container;
use pod_model::{AdmittedPod, ContainerRole};

/// What stands under `initContainerStatuses`, and what under `containerStatuses`.
pub(crate) const INITS: &[ContainerRole] = &[ContainerRole::Init, ContainerRole::Sidecar];
pub(crate) const MAINS: &[ContainerRole] = &[ContainerRole::Main];
/// What stands under `ephemeralContainerStatuses`.
pub(crate) const EPHEMERAL: &[ContainerRole] = &[ContainerRole::Ephemeral];

/// `state` of a container status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State<'a> {
    /// `None`: its turn has not come.
    Waiting(Option<&'a Waiting>),
    Running(&'a Live),
    Ended(&'a Ending),
    /// The pod is over, and nothing is known of this container: a kubelet says that it could not be located.
    Lost,
}

impl State<'_> {
    fn is_started(self) -> bool {
        !matches!(self, State::Waiting(_))
    }
}

/// `state` and `lastState` of a container status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View<'a> {
    pub(crate) role: ContainerRole,
    pub(crate) state: State<'a>,
    pub(crate) last: Option<&'a Ending>,
}

impl View<'_> {
    /// `started` of a container status.
    pub(crate) fn has_started(&self, spec: &Container) -> bool {
        matches!(self.state, State::Running(live) if self.role == ContainerRole::Init || is_started(live, spec))
    }
    /// `ready` of a container status.
    pub(crate) fn is_ready(&self, spec: &Container) -> bool {
        match (self.role, self.state) {
            (ContainerRole::Init, State::Ended(ending)) => ending.code == 0,
            (ContainerRole::Init | ContainerRole::Ephemeral, _) => false,
            (_, State::Running(live)) => {
                is_started(live, spec) && (live.ready || spec.readiness_probe.is_none())
            }
            _ => false,
        }
    }
}

/// Whether the program has started, as far as anybody asked for it.
pub(crate) fn is_started(live: &Live, spec: &Container) -> bool {
    live.hooked && (live.started || spec.startup_probe.is_none())
}

/// The containers of these roles, in the pod's order.
pub(crate) fn views<'a>(
    record: &'a PodRecord,
    pod: &AdmittedPod,
    roles: &[ContainerRole],
) -> Vec<(&'a ContainerRecord, View<'a>)> {
    let mut views: Vec<_> = pod
        .containers()
        .filter(|(role, _, _)| roles.contains(role))
        .filter_map(|(role, name, _)| Some((role, record.container(name)?)))
        .map(|(role, container)| (container, view(record, pod, role, container)))
        .collect();
    if record.stage.rank() >= Stage::CleaningUp.rank() && roles != EPHEMERAL {
        mark_lost(record, pod, roles, &mut views);
    }
    views
}

fn view<'a>(
    record: &PodRecord,
    pod: &AdmittedPod,
    role: ContainerRole,
    container: &'a ContainerRecord,
) -> View<'a> {
    let (newest, older) = (container.endings.first(), container.endings.get(1));
    // a kubelet says that it runs once its `postStart` is over
    if let Some(live) = container.state.running().filter(|live| live.hooked) {
        return View {
            role,
            state: State::Running(live),
            last: newest,
        };
    }
    let will_start = record.stage.is_before_termination()
        && (container.state != ContainerState::Down || is_restarted(pod, container));
    let is_hooking = container.state.running().is_some();
    let reason = container
        .waiting
        .as_ref()
        .filter(|_| will_start || is_hooking);
    // after a reboot an init container that had succeeded has to run again
    let runs_again =
        will_start && role == ContainerRole::Init && newest.is_some_and(|e| e.code == 0);
    match newest {
        Some(_) if reason.is_some() || runs_again || is_hooking => View {
            role,
            state: State::Waiting(reason),
            last: newest,
        },
        Some(ending) => View {
            role,
            state: State::Ended(ending),
            last: older,
        },
        None => View {
            role,
            state: State::Waiting(reason),
            last: None,
        },
    }
}

/// A kubelet's `TerminatePod`: once all is over, whatever has no end is said to be lost, except where a container's turn never came.
fn mark_lost(
    record: &PodRecord,
    pod: &AdmittedPod,
    roles: &[ContainerRole],
    views: &mut [(&ContainerRecord, View<'_>)],
) {
    let is_main = roles == MAINS;
    let count = if !is_main {
        views
            .iter()
            .rposition(|(_, view)| view.state.is_started() || view.last.is_some())
            .map_or(1, |i| i + 1)
    } else if has_initialized(record, pod) {
        views.len()
    } else {
        0
    };
    for (_, view) in views.iter_mut().take(count) {
        if matches!(view.state, State::Waiting(_)) {
            view.state = State::Lost;
        }
    }
}

fn has_initialized(record: &PodRecord, pod: &AdmittedPod) -> bool {
    let among = |roles: &'static [ContainerRole]| {
        pod.containers()
            .filter(|(role, _, _)| roles.contains(role))
            .filter_map(|(_, name, _)| record.container(name))
    };
    let last_init = among(INITS).last();
    last_init.is_none_or(|c| c.succeeded) || among(MAINS).any(|c| c.made.is_some())
}

/// Whether the pod comes from an API server, which decides who has the last word about its phase. A static pod's never ends by
/// being deleted.
pub(crate) fn comes_from_api(pod: &AdmittedPod) -> bool {
    let annotations = pod.pod().metadata.annotations.as_ref();
    annotations
        .and_then(|a| a.get("kubernetes.io/config.source"))
        .is_some_and(|source| source == "api")
}

/// Whether the container will not run again: its policy says so, and nothing else has put it back to the start.
fn is_over_for_good(record: &PodRecord, pod: &AdmittedPod, container: &ContainerRecord) -> bool {
    let begins_again = record.restarting_all || container.state != ContainerState::Down;
    let will_start = record.stage.is_before_termination() && begins_again;
    !will_start && !is_restarted(pod, container)
}

/// A kubelet's `getPhase`, and then never backwards.
pub(crate) fn phase(record: &PodRecord, pod: &AdmittedPod) -> Phase {
    if record.phase.is_terminal() {
        return record.phase;
    }
    if matches!(record.admission, Admission::Rejected(_)) {
        return Phase::Failed;
    }
    let is_over = record.stage.rank() >= Stage::CleaningUp.rank();
    if record.evicted.is_some() {
        // as a kubelet, which reports no end before nothing can run any more
        return if is_over { Phase::Failed } else { record.phase };
    }
    let (mut running, mut waiting) = (0, 0);
    let (mut pending_inits, mut pending_sidecars) = (0, 0);
    for (container, view) in views(record, pod, INITS) {
        let is_sidecar = view.role == ContainerRole::Sidecar;
        let code = match (view.state, view.last) {
            (State::Ended(ending), _) | (State::Waiting(_), Some(ending)) => ending.code,
            // being lost is said only once the pod is over, and does not change how it stood
            (State::Running(live), _) if is_sidecar => {
                let spec = pod.container(&container.name).map(|(_, spec)| spec);
                pending_sidecars += usize::from(spec.is_some_and(|spec| !is_started(live, spec)));
                running += 1;
                continue;
            }
            (State::Waiting(_), None) if is_sidecar => {
                pending_sidecars += 1;
                waiting += 1;
                continue;
            }
            (State::Lost, _) if is_sidecar => continue,
            (State::Running(_), _) | (State::Waiting(_), None) | (State::Lost, _) => {
                pending_inits += 1;
                continue;
            }
        };
        // the end of a sidecar says nothing about the pod
        if !is_sidecar && code != 0 && is_over_for_good(record, pod, container) {
            return Phase::Failed;
        }
    }
    let (mut stopped, mut for_good, mut succeeded) = (0, 0, 0);
    for (container, view) in views(record, pod, MAINS) {
        match (view.state, view.last) {
            (State::Running(_), _) => {
                running += 1;
                continue;
            }
            (State::Waiting(_), None) | (State::Lost, _) => {
                waiting += 1;
                continue;
            }
            (State::Ended(ending), _) => {
                succeeded += usize::from(ending.code == 0);
            }
            (State::Waiting(_), Some(_)) => {}
        }
        stopped += 1;
        for_good += usize::from(is_over_for_good(record, pod, container));
    }
    // once the pod was initialized, a sidecar that is started again does not take that back
    let is_pending = pending_inits > 0 || (pending_sidecars > 0 && !has_initialized(record, pod));
    let computed = if is_pending || waiting > 0 {
        Phase::Pending
    } else if running > 0 {
        Phase::Running
    } else if is_over && comes_from_api(pod) {
        if stopped == succeeded {
            Phase::Succeeded
        } else {
            Phase::Failed
        }
    } else if stopped != for_good {
        Phase::Running
    } else if stopped == succeeded {
        Phase::Succeeded
    } else {
        Phase::Failed
    };
    if is_over && comes_from_api(pod) && !computed.is_terminal() {
        return Phase::Failed;
    }
    computed.max(record.phase)
}

impl Scene<'_> {
    /// Phase and conditions of the record as it is now.
    pub(crate) fn summarise(&mut self) {
        let Some(pod) = self.pod else { return };
        self.record.phase = phase(&self.record, pod);
        let initialized = is_initialized(&self.record, pod);
        let ready = are_containers_ready(&self.record, pod);
        let can_start = self.record.sandbox.is_ready();
        let restarting = self.record.restarting_all && self.record.stage.is_before_termination();
        let now = self.now.wall;
        let conditions = &mut self.record.conditions;
        let set = |condition: &mut Condition, holds| condition.set(holds, now);
        set(&mut conditions.ready_to_start_containers, can_start);
        set(&mut conditions.initialized, initialized);
        set(&mut conditions.containers_ready, ready);
        set(&mut conditions.ready, ready && closed_gates(pod).is_empty());
        set(&mut conditions.scheduled, true);
        set(&mut conditions.all_containers_restarting, restarting);
        if self.record.preempted && self.record.phase == Phase::Failed {
            set(&mut conditions.disruption_target, true);
        }
    }
}

fn is_initialized(record: &PodRecord, pod: &AdmittedPod) -> bool {
    // once initialized, a pod is not uninitialized
    record.conditions.initialized.holds
        || record.phase == Phase::Succeeded
        || incomplete_inits(record, pod).is_empty()
        || views(record, pod, MAINS)
            .iter()
            .any(|(_, view)| view.state.is_started())
}

fn are_containers_ready(record: &PodRecord, pod: &AdmittedPod) -> bool {
    !record.phase.is_terminal() && unready(record, pod).is_empty()
}

pub(crate) fn incomplete_inits<'a>(record: &'a PodRecord, pod: &AdmittedPod) -> Vec<&'a str> {
    let inits = views(record, pod, INITS).into_iter();
    inits
        .filter(|(container, view)| {
            let spec = pod.container(&container.name).map(|(_, spec)| spec);
            spec.is_none_or(|spec| match view.role {
                ContainerRole::Sidecar => !view.has_started(spec),
                ContainerRole::Init | ContainerRole::Main | ContainerRole::Ephemeral => {
                    !view.is_ready(spec)
                }
            })
        })
        .map(|(c, _)| c.name.as_str())
        .collect()
}

/// Sidecars and main containers that are not ready.
pub(crate) fn unready<'a>(record: &'a PodRecord, pod: &AdmittedPod) -> Vec<&'a str> {
    let sidecars = views(record, pod, INITS).into_iter();
    let sidecars = sidecars.filter(|(_, view)| view.role == ContainerRole::Sidecar);
    sidecars
        .chain(views(record, pod, MAINS))
        .filter(|(container, view)| {
            let spec = pod.container(&container.name).map(|(_, spec)| spec);
            spec.is_none_or(|spec| !view.is_ready(spec))
        })
        .map(|(c, _)| c.name.as_str())
        .collect()
}

/// What is said of each readiness gate of the pod that is not open, in a kubelet's words.
pub(crate) fn closed_gates(pod: &AdmittedPod) -> Vec<String> {
    let given = pod
        .pod()
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_ref());
    let gates = pod.spec().readiness_gates.iter().flatten();
    gates
        .filter_map(|gate| {
            let type_ = &gate.condition_type;
            match given.into_iter().flatten().find(|c| c.type_ == *type_) {
                None => Some(format!(
                    "corresponding condition of pod readiness gate {type_:?} does not exist."
                )),
                Some(condition) if condition.status != "True" => Some(format!(
                    "the status of pod readiness gate {type_:?} is not \"True\", but {}",
                    condition.status
                )),
                Some(_) => None,
            }
        })
        .collect()
}
