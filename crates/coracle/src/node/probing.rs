//! Probing, between the worker that says what is probed and the task that probes.

use super::command;
use super::parts::Parts;
use pod_lifecycle::Input;
use pod_model::{AdmittedPod, ContainerKey, PodUid, ProbeKind, ProbeTarget, Reason};
use pod_probes::{Exec, Listen, Named, Prober, Ran, Said, TryResult};
use pod_worker::{Inputs, TimelineEntry};
use std::sync::Arc;
use std::time::Duration;
use telemetry::{NodeMetrics, ProbeLabels};

/// Builds both ends; the task is run by whoever builds the node.
pub(crate) fn build(
    parts: &Arc<Parts>,
    inputs: Inputs,
    metrics: Arc<NodeMetrics>,
) -> (Prober<Commands, Ear>, Box<dyn pod_worker::Probes>) {
    let host = parts.node.host_ips.first().map(ToString::to_string);
    let ear = Ear {
        parts: Arc::clone(parts),
        inputs,
        metrics,
    };
    let (prober, probes) = Prober::new(
        Arc::new(Commands(Arc::clone(parts))),
        ear,
        host.unwrap_or_else(|| "127.0.0.1".to_owned()),
        parts.now,
    );
    (prober, Box::new(Hand(probes)))
}

struct Hand(pod_probes::Probes);

impl pod_worker::Probes for Hand {
    fn tend(&mut self, pod: &AdmittedPod, targets: Vec<ProbeTarget>) {
        self.0.tend(pod, targets);
    }
    fn forget(&mut self, uid: &PodUid) {
        self.0.forget(uid);
    }
}

/// Exec probes.
pub(crate) struct Commands(Arc<Parts>);

impl Exec for Commands {
    async fn exec(&self, key: &ContainerKey, argv: &[String], at_most: Duration) -> Ran {
        match self.0.board.pod(&key.pod) {
            Some(view) => command::run(&self.0, &view.pod, key, argv, Some(at_most)).await,
            None => Ran::Failed(format!("pod {} is not known", key.pod)),
        }
    }
}

/// What the probes say goes to the core, into events and into metrics.
pub(crate) struct Ear {
    parts: Arc<Parts>,
    inputs: Inputs,
    metrics: Arc<NodeMetrics>,
}

impl Listen for Ear {
    fn hear(&self, said: Said<'_>) {
        match said {
            Said::Probed(probed) => self.tell(Input::Probed(probed)),
            Said::Failed(failed) => self.tell(Input::ProbeFailed(failed)),
            Said::Warned(named, text) => {
                let message = format!("{} probe warning: {text}", capital(named.kind));
                self.note(named, "ProbeWarning", message);
            }
            Said::Errored(named, result, text) => {
                let (kind, result) = (capital(named.kind), result.as_str());
                let message =
                    format!("{kind} probe errored and resulted in {result} state: {text}");
                self.note(named, "Unhealthy", message);
            }
            Said::Tried {
                named,
                result,
                took,
                is_first,
            } => {
                let ok = result == TryResult::Successful;
                self.metrics.observe_probe(labels(named), ok, took);
                if is_first {
                    self.explain_first(named, ok, took);
                }
            }
            Said::Gone(named) => self.metrics.forget_probe(labels(named)),
        }
    }
}

impl Ear {
    fn tell(&self, input: Input) {
        // the worker ends with the agent
        let _ = self.inputs.observe(input);
    }
    fn explain_first(&self, named: Named<'_>, ok: bool, took: Duration) {
        let entry = TimelineEntry {
            at: (self.parts.now)(),
            took: Some(took),
            container: Some(named.container.name.to_string()),
            what: format!("first {} probe", named.kind),
            detail: if ok { "succeeded" } else { "failed" }.to_owned(),
        };
        self.parts.board.note(&named.container.pod, entry);
    }
    fn note(&self, named: Named<'_>, reason: &'static str, message: String) {
        let key = named.container;
        let Some(view) = self.parts.board.pod(&key.pod) else {
            return;
        };
        let role = view.pod.container(&key.name).map(|(role, _)| role);
        let reason = Reason::warning(reason, message).of(&key.name);
        let now = (self.parts.now)();
        self.parts
            .board
            .note_event(&key.pod, named.pod, role, &reason, now);
    }
}

fn labels(named: Named<'_>) -> ProbeLabels<'_> {
    ProbeLabels {
        probe_type: capital(named.kind),
        container: named.container.name.as_str(),
        pod: &named.pod.name,
        namespace: &named.pod.namespace,
        pod_uid: named.container.pod.as_str(),
    }
}

/// As a kubelet's events and metrics name it.
fn capital(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Readiness => "Readiness",
        ProbeKind::Liveness => "Liveness",
    }
}
