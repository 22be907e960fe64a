//! From a manifest's value to a pod that can be run, or to everything that is wrong with it.

use crate::defaults;
use crate::field_path::{FieldPath, Findings};
use crate::fields;
use crate::identity::{self, Identity, Origin};
use crate::shape;
use crate::validate;
use k8s_openapi::api::core::v1::Pod;
use pod_model::{AdmittedPod, FieldError};
use serde_json::Value;

/// Checks a `v1` Pod, fills in its defaults and gives it the identity of a static pod.
///
/// # Errors
/// Every mistake found, each with the path of its field, in the words of the API server. Unknown fields and wrong types come alone:
/// what they leave cannot be judged.
pub fn admit(mut manifest: Value, origin: &Origin<'_>) -> Result<AdmittedPod, Vec<FieldError>> {
    let mut findings = Findings::default();
    shape::check(&mut manifest, fields::POD, &mut findings);
    if !findings.is_empty() {
        return Err(findings.into_errors());
    }
    let identity = Identity::of(&manifest, origin);
    let mut pod: Pod = serde_path_to_error::deserialize(manifest).map_err(|e| {
        vec![FieldError {
            path: e.path().to_string(),
            message: e.into_inner().to_string(),
        }]
    })?;
    defaults::fill_in(&mut pod);
    validate::pod(&pod, origin.node_name, &mut findings);
    if !findings.is_empty() {
        return Err(findings.into_errors());
    }
    identity::adopt(&mut pod, identity, origin);
    let spec = pod.spec.get_or_insert_default();
    let qos = node_policy::qos_class(spec);
    AdmittedPod::from_validated(pod, qos).map_err(|e| {
        let mut findings = Findings::default();
        findings.say(&FieldPath::Root, e.to_string());
        findings.into_errors()
    })
}
