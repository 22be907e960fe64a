//! A manifest that was edited and kept its uid: the same pod, changed.

use crate::defaults;
use crate::field_path::Findings;
use crate::identity;
use crate::validate;
use k8s_openapi::api::core::v1::Pod;
use pod_model::{AdmittedPod, FieldError};

/// The pod that `before` becomes when its manifest says `wanted` now. Both have one uid. Ephemeral containers are no part of a manifest:
/// whether `before` has some makes no difference. A manifest whose values have not changed changes nothing.
///
/// # Errors
/// What was changed and may not be, each with the path of its field, in the words of the API server (`ValidatePodUpdate`).
pub fn updated(before: &AdmittedPod, wanted: &AdmittedPod) -> Result<AdmittedPod, Vec<FieldError>> {
    if identity::is_of_same_manifest(before, wanted) {
        return Ok(before.clone());
    }
    let mut known: Pod = before.pod().clone();
    // a default that the agent has learnt since the pod was written down is nobody's change
    defaults::fill_in(&mut known);
    let mut findings = Findings::default();
    validate::update(&known, wanted.pod(), &mut findings);
    if !findings.is_empty() {
        return Err(findings.into_errors());
    }
    let mut pod = wanted.pod().clone();
    identity::keep_first_seen(&mut pod, &known);
    AdmittedPod::from_validated(pod, wanted.qos()).map_err(|e| {
        vec![FieldError {
            path: "metadata.uid".to_owned(),
            message: e.to_string(),
        }]
    })
}
