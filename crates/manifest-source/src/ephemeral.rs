//! One more ephemeral container for a pod that runs, checked as the API server checks its subresource `ephemeralcontainers`.

use crate::defaults;
use crate::field_path::{FieldPath, Findings};
use crate::fields;
use crate::shape;
use crate::validate;
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use pod_model::{AdmittedPod, FieldError};
use serde_json::{Value, json};

/// The pod as it is with `container`, a `v1` EphemeralContainer, at the end of its list: the same pod, with the same uid.
///
/// # Errors
/// Every mistake found, each with the path of its field, in the words of the API server.
pub fn with_ephemeral(pod: &AdmittedPod, container: Value) -> Result<AdmittedPod, Vec<FieldError>> {
    let mut findings = Findings::default();
    let mut changed: Pod = pod.pod().clone();
    let spec = changed.spec.get_or_insert_default();
    let list = spec.ephemeral_containers.get_or_insert_default();
    let index = list.len();
    list.push(decoded(container, index, &mut findings).map_err(Findings::into_errors)?);
    validate::ephemeral(spec, index, &mut findings);
    if !findings.is_empty() {
        return Err(findings.into_errors());
    }
    AdmittedPod::from_validated(changed, pod.qos()).map_err(|e| {
        let mut findings = Findings::default();
        findings.say(&FieldPath::Root, e.to_string());
        findings.into_errors()
    })
}

/// Checks names and types of the fields where they stand in a pod, so that paths are those of the pod.
fn decoded(
    container: Value,
    index: usize,
    findings: &mut Findings,
) -> Result<EphemeralContainer, Findings> {
    let mut list = vec![Value::Object(Default::default()); index];
    list.push(container);
    let mut pod = json!({"spec": {"ephemeralContainers": list}});
    shape::check(&mut pod, fields::WITH_EPHEMERAL, findings);
    if !findings.is_empty() {
        return Err(std::mem::take(findings));
    }
    let container = pod["spec"]["ephemeralContainers"][index].take();
    serde_json::from_value(container)
        .map(|mut container| {
            defaults::ephemeral(&mut container);
            container
        })
        .map_err(|e| {
            let mut findings = Findings::default();
            let spec = FieldPath::Root.key("spec");
            let list = spec.key("ephemeralContainers");
            findings.say(&list.index(index), e.to_string());
            findings
        })
}
