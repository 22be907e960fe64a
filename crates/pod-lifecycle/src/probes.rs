//! What is probed, and what a probe's answer means. Probing itself is done elsewhere.
//!
//! ```text
//!                postStart is over       startup probe passed
//!  Up: nothing ──────────────────► startup ──────────────────► readiness, liveness
//!                                      │ failed                          │ liveness failed
//!                                      └────────────► Stopping ◄─────────┘     readiness goes on
//! ```

use crate::ending::bounded;
use crate::policy::policy;
use crate::step::Scene;
use crate::view::is_started;
use crate::{ContainerState, PodRecord};
use k8s_openapi::api::core::v1::Probe;
use pod_model::{
    AdmittedPod, ContainerKey, ContainerName, ContainerRole, ProbeFailed, ProbeKind, ProbeTarget,
    Probed, Reason, RestartPolicy,
};
use std::time::Duration;

/// What is to be probed of the pod, as its record stands. While a container is stopped only its readiness is asked for.
pub fn targets(record: &PodRecord, pod: &AdmittedPod) -> Vec<ProbeTarget> {
    let pod_ip = record.addresses.first().filter(|_| !pod.host_network());
    let mut targets = Vec::new();
    for (role, name, spec) in pod.containers() {
        let Some(container) = record.container(name) else {
            continue;
        };
        let Some(live) = container.state.running().filter(|live| live.hooked) else {
            continue;
        };
        if role == ContainerRole::Init {
            continue;
        }
        let is_stopping = matches!(container.state, ContainerState::Stopping { .. });
        let has_started = is_started(live, spec);
        let kinds = [
            (
                ProbeKind::Startup,
                spec.startup_probe.is_some() && !has_started && !is_stopping,
                None,
            ),
            (
                ProbeKind::Readiness,
                spec.readiness_probe.is_some() && has_started,
                Some(live.ready),
            ),
            (
                ProbeKind::Liveness,
                spec.liveness_probe.is_some() && has_started && !is_stopping,
                Some(true),
            ),
        ];
        for (kind, _, healthy) in kinds.into_iter().filter(|(_, is_probed, _)| *is_probed) {
            targets.push(ProbeTarget {
                container: ContainerKey::new(record.uid.clone(), name.clone(), live.attempt),
                kind,
                pod_ip: pod_ip.cloned(),
                started: live.since,
                healthy,
            });
        }
    }
    targets
}

impl Scene<'_> {
    /// An answer about another attempt than the one that lives is late, and so is one about what is not probed any more.
    pub(crate) fn absorb_probed(&mut self, probed: &Probed) {
        let Some(pod) = self.pod else { return };
        let is_asked = targets(&self.record, pod)
            .iter()
            .any(|target| target.container == probed.container && target.kind == probed.kind);
        if !is_asked {
            return;
        }
        let name = &probed.container.name;
        match (probed.kind, probed.healthy) {
            (ProbeKind::Readiness, healthy) => {
                if let Some(live) = self.running_mut(&probed.container) {
                    live.ready = healthy;
                }
            }
            (ProbeKind::Startup, true) => {
                if let Some(live) = self.running_mut(&probed.container) {
                    live.started = true;
                }
            }
            (ProbeKind::Liveness, true) => {}
            (kind @ (ProbeKind::Startup | ProbeKind::Liveness), false) => {
                self.end_for_probe(name, kind)
            }
        }
    }

    /// A kubelet's `computePodActions`: it is killed, and started again if its policy is not `Never`.
    fn end_for_probe(&mut self, name: &ContainerName, kind: ProbeKind) {
        let Some((pod, (role, spec))) = self.pod.and_then(|pod| Some((pod, pod.container(name)?)))
        else {
            return;
        };
        let restarts = policy(pod, spec) != RestartPolicy::Never;
        let text = match (role, restarts) {
            (ContainerRole::Main, true) => {
                format!("Container {name} failed {kind} probe, will be restarted")
            }
            (ContainerRole::Main, false) => format!("Container {name} failed {kind} probe"),
            _ => format!("Init container {name} failed {kind} probe"),
        };
        let others = self.names(ContainerRole::Main);
        let mut others = others.iter().filter(|other| *other != name);
        let goes_on = others.any(|other| {
            let container = self.record.container(other);
            let lives = container.is_some_and(|c| c.state.live_attempt().is_some());
            lives || self.wants_start(other)
        });
        // its rules may want it again, once its exit code is known
        let has_rules = spec.restart_policy_rules.iter().flatten().next().is_some();
        if role == ContainerRole::Main && !restarts && !has_rules && !goes_on {
            // nothing of the pod would be left: a kubelet ends all of it
            self.record.stage = self.terminating_by_itself();
            return;
        }
        let probe = match kind {
            ProbeKind::Startup => &spec.startup_probe,
            ProbeKind::Readiness => &spec.readiness_probe,
            ProbeKind::Liveness => &spec.liveness_probe,
        };
        let grace = probe
            .as_ref()
            .and_then(own_grace)
            .unwrap_or(pod.grace_period());
        if restarts && let Some(container) = self.record.container_mut(name) {
            container.again = container.state.live_attempt();
        }
        self.stop_one(name, text, grace);
    }

    pub(crate) fn absorb_probe_failed(&mut self, failed: &ProbeFailed) {
        if self.running_mut(&failed.container).is_none() {
            return;
        }
        let kind = match failed.kind {
            ProbeKind::Startup => "Startup",
            ProbeKind::Readiness => "Readiness",
            ProbeKind::Liveness => "Liveness",
        };
        let text = format!("{kind} probe failed: {}", failed.message);
        self.say(Reason::warning("Unhealthy", bounded(&text)).of(&failed.container.name));
    }
}

/// `terminationGracePeriodSeconds` of the probe.
fn own_grace(probe: &Probe) -> Option<Duration> {
    let seconds = u64::try_from(probe.termination_grace_period_seconds?).ok()?;
    Some(Duration::from_secs(seconds))
}
