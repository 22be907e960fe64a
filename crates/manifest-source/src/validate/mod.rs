//! The API server's rules for the fields that this agent honours, with its paths and wordings.
//!
//! Source: `pkg/apis/core/validation/validation.go` and `apimachinery/pkg/util/validation`. Where a rule here is stricter, its comment says
//! so; then a manifest is refused that upstream would take and fail to run.

mod container;
mod difference;
mod ephemeral;
mod handlers;
mod metadata;
mod mounts;
mod names;
mod network;
mod node_choice;
mod os;
mod resources;
mod security;
mod spec;
mod update;
mod volumes;

use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Checks a pod whose defaults are filled in (so it has a spec), before it is given the identity of a static pod of `node_name`.
pub(crate) fn pod(pod: &Pod, node_name: &str, findings: &mut Findings) {
    metadata::check(&pod.metadata, node_name, findings);
    let path = FieldPath::Root.key("spec");
    if let Some(spec) = &pod.spec {
        spec::check(spec, node_name, &path, findings);
    }
}

/// Checks the ephemeral container at `index` of a pod that was checked before.
pub(crate) fn ephemeral(spec: &PodSpec, index: usize, findings: &mut Findings) {
    ephemeral::check(spec, index, findings);
}

/// Checks what a manifest that kept its uid has changed of its pod; both have their defaults, and were checked before.
pub(crate) fn update(before: &Pod, after: &Pod, findings: &mut Findings) {
    update::check(before, after, findings);
}

/// Adds "Unsupported value" unless `value` is one of `supported`.
fn one_of(value: Option<&str>, supported: &[&str], path: &FieldPath<'_>, findings: &mut Findings) {
    if let Some(value) = value
        && !supported.contains(&value)
    {
        findings.unsupported(path, value, supported);
    }
}

fn not_negative(value: Option<i64>, path: &FieldPath<'_>, findings: &mut Findings) {
    if let Some(value) = value.filter(|v| *v < 0) {
        findings.invalid(path, value, "must be greater than or equal to 0");
    }
}

/// A path inside something: relative and never upwards.
fn local_path(value: &str, path: &FieldPath<'_>, findings: &mut Findings) {
    if value.starts_with('/') {
        findings.invalid(path, value, "must be a relative path");
    }
    no_dot_dot(value, path, findings);
}

fn no_dot_dot(value: &str, path: &FieldPath<'_>, findings: &mut Findings) {
    if value.split('/').any(|part| part == "..") {
        findings.invalid(path, value, "must not contain '..'");
    }
}
