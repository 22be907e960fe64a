//! What is probed, and what a probe's answer means. Probing itself is done elsewhere.

use crate::PodRecord;
use crate::step::Scene;
use pod_model::{AdmittedPod, ProbeFailed, ProbeTarget, Probed};

/// What is to be probed of the pod, as its record stands.
pub fn targets(_record: &PodRecord, _pod: &AdmittedPod) -> Vec<ProbeTarget> {
    Vec::new()
}

impl Scene<'_> {
    pub(crate) fn absorb_probed(&mut self, _probed: &Probed) {}
    pub(crate) fn absorb_probe_failed(&mut self, _failed: &ProbeFailed) {}
}
