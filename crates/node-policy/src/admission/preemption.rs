//! Who makes room for a critical pod. As `pkg/kubelet/preemption`, whose rules are: guaranteed pods are spared before burstable ones,
//! and those before the rest; then as few as possible end; then as small ones as possible.

use super::fit::{Counted, Shortage};
use super::{Rejection, RejectionReason, Verdict};
use pod_model::{AdmittedPod, QosClass};

/// `system-cluster-critical` and `system-node-critical` are at least this.
const SYSTEM_CRITICAL_PRIORITY: i32 = 2_000_000_000;
pub(super) const SOURCE: &str = "kubernetes.io/config.source";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A kubelet's `IsCriticalPod`: static pods, their mirrors, and those of the two system classes.
pub fn is_critical(pod: &AdmittedPod) -> bool {
    let annotations = pod.pod().metadata.annotations.as_ref();
    let has = |key: &str| annotations.and_then(|annotations| annotations.get(key));
    let is_static = has(SOURCE).is_some_and(|source| source != "api");
    let priority = pod.spec().priority.unwrap_or(i32::MIN);
    is_static || has(MIRROR).is_some() || priority >= SYSTEM_CRITICAL_PRIORITY
}

/// Of two critical pods the one with the greater priority, where both name one.
fn may_preempt(pod: &AdmittedPod, other: &AdmittedPod) -> bool {
    if is_critical(pod) && !is_critical(other) {
        return true;
    }
    match (pod.spec().priority, other.spec().priority) {
        (Some(own), Some(theirs)) => own > theirs,
        _ => false,
    }
}

/// For a critical pod that lacks nothing but room.
pub(super) fn verdict(
    pod: &AdmittedPod,
    others: &[&AdmittedPod],
    shortages: &[Shortage],
    first: Counted,
) -> Verdict {
    let needs = Needs(shortages.iter().map(|s| (s.what, s.missing())).collect());
    match victims(pod, others, &needs) {
        Ok(victims) => Verdict::Preempts {
            victims: victims.into_iter().map(|pod| pod.uid().clone()).collect(),
            signal: first.name(),
        },
        Err(unmet) => {
            let message = format!(
                "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to \
                 preempt: no set of running pods found to reclaim resources: {}",
                unmet.text()
            );
            let reason = RejectionReason::UnexpectedAdmissionError;
            Verdict::Rejected(Rejection::new(reason, message))
        }
    }
}

/// What has to become free, each in its unit and more than nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Needs(Vec<(Counted, i64)>);

impl Needs {
    /// What is still needed when these pods are gone.
    fn without<'a>(&self, pods: impl IntoIterator<Item = &'a AdmittedPod> + Clone) -> Needs {
        let left = |(what, amount): &(Counted, i64)| {
            let freed = pods
                .clone()
                .into_iter()
                .map(|pod| what.asked_by(pod.spec()));
            let left = freed.fold(*amount, i64::saturating_sub);
            (left > 0).then_some((*what, left))
        };
        Needs(self.0.iter().filter_map(left).collect())
    }
    /// How far the end of this pod is from meeting the needs, each weighing the same.
    #[expect(clippy::cast_precision_loss, reason = "as upstream; only compared")]
    fn distance(&self, pod: &AdmittedPod) -> f64 {
        let parts = self.0.iter().map(|(what, amount)| {
            let left = amount.saturating_sub(what.asked_by(pod.spec())).max(0);
            (left as f64 / *amount as f64).powi(2)
        });
        parts.sum()
    }
    /// As Go prints it.
    fn text(&self) -> String {
        let each =
            |(what, amount): &(Counted, i64)| format!("(res: {}, q: {amount}), ", what.name());
        format!("[{}]", self.0.iter().map(each).collect::<String>())
    }
}

fn victims<'a>(
    pod: &AdmittedPod,
    others: &[&'a AdmittedPod],
    needs: &Needs,
) -> Result<Vec<&'a AdmittedPod>, Needs> {
    let of = |qos: QosClass| -> Vec<&'a AdmittedPod> {
        let others = others.iter().copied();
        others
            .filter(|other| other.qos() == qos && may_preempt(pod, other))
            .collect()
    };
    let best_effort = of(QosClass::BestEffort);
    let burstable = of(QosClass::Burstable);
    let guaranteed = of(QosClass::Guaranteed);
    let gone = |lists: [&[&'a AdmittedPod]; 2]| needs.without(lists.concat());
    let unmet = needs.without([&best_effort[..], &burstable, &guaranteed].concat());
    if !unmet.0.is_empty() {
        return Err(unmet);
    }
    // each class gives what all of the lower ones together cannot, and then no more of those than is still needed
    let guaranteed = nearest(guaranteed, gone([&best_effort, &burstable]))?;
    let burstable = nearest(burstable, gone([&best_effort, &guaranteed]))?;
    let best_effort = nearest(best_effort, gone([&burstable, &guaranteed]))?;
    Ok([best_effort, burstable, guaranteed].concat())
}

/// One after the other the pod whose end comes nearest to the needs, of equally near ones the smaller.
fn nearest(mut pods: Vec<&AdmittedPod>, mut needs: Needs) -> Result<Vec<&AdmittedPod>, Needs> {
    let mut chosen = Vec::new();
    while !needs.0.is_empty() {
        let mut best: Option<(usize, f64)> = None;
        for (index, pod) in pods.iter().enumerate() {
            let distance = needs.distance(pod);
            let is_better = best.is_none_or(|(at, least)| {
                distance < least || (distance == least && is_smaller(pod, pods[at]))
            });
            if is_better {
                best = Some((index, distance));
            }
        }
        let Some((index, _)) = best else {
            return Err(needs);
        };
        let pod = pods.swap_remove(index);
        needs = needs.without([pod]);
        chosen.push(pod);
    }
    Ok(chosen)
}

/// Also when it is equal, so that of equal pods the last is chosen.
fn is_smaller(pod: &AdmittedPod, other: &AdmittedPod) -> bool {
    let size =
        |pod: &AdmittedPod| [Counted::Memory, Counted::Cpu].map(|what| what.asked_by(pod.spec()));
    size(pod) <= size(other)
}
