//! What a container looks like from outside: the one view that phase, conditions and status share.

use crate::containers::is_restarted;
use crate::step::Scene;
use crate::{
    Condition, ContainerRecord, ContainerState, Ending, Live, Phase, PodRecord, Stage, Waiting,
};
use pod_model::{AdmittedPod, ContainerRole};

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
    pub(crate) state: State<'a>,
    pub(crate) last: Option<&'a Ending>,
}

/// The containers of one role, in the pod's order.
pub(crate) fn views<'a>(
    record: &'a PodRecord,
    pod: &AdmittedPod,
    role: ContainerRole,
) -> Vec<(&'a ContainerRecord, View<'a>)> {
    let mut views: Vec<_> = pod
        .containers()
        .filter(|(r, _, _)| *r == role)
        .filter_map(|(_, name, _)| record.container(name))
        .map(|container| (container, view(record, pod, role, container)))
        .collect();
    if record.stage.rank() >= Stage::CleaningUp.rank() {
        mark_lost(record, pod, role, &mut views);
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
    if let Some(live) = container.state.running() {
        return View {
            state: State::Running(live),
            last: newest,
        };
    }
    let will_start = record.stage.is_before_termination()
        && (container.state != ContainerState::Down || is_restarted(pod, container));
    let reason = container.waiting.as_ref().filter(|_| will_start);
    // after a reboot an init container that had succeeded has to run again
    let runs_again =
        will_start && role == ContainerRole::Init && newest.is_some_and(|e| e.code == 0);
    match newest {
        Some(_) if reason.is_some() || runs_again => View {
            state: State::Waiting(reason),
            last: newest,
        },
        Some(ending) => View {
            state: State::Ended(ending),
            last: older,
        },
        None => View {
            state: State::Waiting(reason),
            last: None,
        },
    }
}

/// A kubelet's `TerminatePod`: once all is over, whatever has no end is said to be lost, except where a container's turn never came.
fn mark_lost(
    record: &PodRecord,
    pod: &AdmittedPod,
    role: ContainerRole,
    views: &mut [(&ContainerRecord, View<'_>)],
) {
    let count = match role {
        ContainerRole::Main if has_initialized(record, pod) => views.len(),
        ContainerRole::Main => 0,
        ContainerRole::Init | ContainerRole::Sidecar => views
            .iter()
            .rposition(|(_, view)| view.state.is_started() || view.last.is_some())
            .map_or(1, |i| i + 1),
    };
    for (_, view) in views.iter_mut().take(count) {
        if matches!(view.state, State::Waiting(_)) {
            view.state = State::Lost;
        }
    }
}

fn has_initialized(record: &PodRecord, pod: &AdmittedPod) -> bool {
    let of_role = |wanted: ContainerRole| {
        pod.containers()
            .filter(move |(role, _, _)| *role == wanted)
            .filter_map(|(_, name, _)| record.container(name))
    };
    let last_init = of_role(ContainerRole::Init).last();
    last_init.is_none_or(|c| c.succeeded) || of_role(ContainerRole::Main).any(|c| c.made.is_some())
}

/// Whether the pod comes from an API server, which decides who has the last word about its phase. A static pod's never ends by
/// being deleted.
pub(crate) fn comes_from_api(pod: &AdmittedPod) -> bool {
    let annotations = pod.pod().metadata.annotations.as_ref();
    annotations
        .and_then(|a| a.get("kubernetes.io/config.source"))
        .is_some_and(|source| source == "api")
}

/// A kubelet's `getPhase`, and then never backwards.
pub(crate) fn phase(record: &PodRecord, pod: &AdmittedPod) -> Phase {
    if record.phase.is_terminal() {
        return record.phase;
    }
    let is_over = record.stage.rank() >= Stage::CleaningUp.rank();
    if record.evicted.is_some() {
        // as a kubelet, which reports no end before nothing can run any more
        return if is_over { Phase::Failed } else { record.phase };
    }
    let policy = pod.restart_policy();
    let restarts = |role, code| crate::containers::restarts(role, policy, code);
    let mut pending_inits = 0;
    for (_, view) in views(record, pod, ContainerRole::Init) {
        let code = match (view.state, view.last) {
            (State::Ended(ending), _) | (State::Waiting(_), Some(ending)) => ending.code,
            // being lost is said only once the pod is over, and does not change how it stood
            (State::Running(_), _) | (State::Waiting(_), None) | (State::Lost, _) => {
                pending_inits += 1;
                continue;
            }
        };
        if code != 0 && !restarts(ContainerRole::Init, code) {
            return Phase::Failed;
        }
    }
    let (mut running, mut waiting, mut stopped, mut for_good, mut succeeded) = (0, 0, 0, 0, 0);
    for (_, view) in views(record, pod, ContainerRole::Main) {
        let code = match (view.state, view.last) {
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
                ending.code
            }
            (State::Waiting(_), Some(ending)) => ending.code,
        };
        stopped += 1;
        for_good += usize::from(!restarts(ContainerRole::Main, code));
    }
    let computed = if pending_inits > 0 || waiting > 0 {
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
        let now = self.now.wall;
        let conditions = &mut self.record.conditions;
        let set = |condition: &mut Condition, holds| condition.set(holds, now);
        set(&mut conditions.ready_to_start_containers, can_start);
        set(&mut conditions.initialized, initialized);
        set(&mut conditions.containers_ready, ready);
        // readiness gates will be a part of this one
        set(&mut conditions.ready, ready);
        set(&mut conditions.scheduled, true);
    }
}

fn is_initialized(record: &PodRecord, pod: &AdmittedPod) -> bool {
    // once initialized, a pod is not uninitialized
    record.conditions.initialized.holds
        || record.phase == Phase::Succeeded
        || incomplete_inits(record, pod).is_empty()
        || views(record, pod, ContainerRole::Main)
            .iter()
            .any(|(_, view)| view.state.is_started())
}

fn are_containers_ready(record: &PodRecord, pod: &AdmittedPod) -> bool {
    !record.phase.is_terminal() && unready_mains(record, pod).is_empty()
}

pub(crate) fn incomplete_inits<'a>(record: &'a PodRecord, pod: &AdmittedPod) -> Vec<&'a str> {
    let inits = views(record, pod, ContainerRole::Init).into_iter();
    inits
        .filter(|(_, view)| !matches!(view.state, State::Ended(e) if e.code == 0))
        .map(|(c, _)| c.name.as_str())
        .collect()
}

pub(crate) fn unready_mains<'a>(record: &'a PodRecord, pod: &AdmittedPod) -> Vec<&'a str> {
    let mains = views(record, pod, ContainerRole::Main).into_iter();
    mains
        .filter(|(_, view)| !matches!(view.state, State::Running(_)))
        .map(|(c, _)| c.name.as_str())
        .collect()
}
