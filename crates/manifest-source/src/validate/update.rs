//! What may be changed of a pod that exists: `ValidatePodUpdate` of the API server.
//!
//! Labels and annotations freely; of the spec images, the deadline (set or lowered), tolerations (added), and a negative grace period
//! (to 1). The API server appends a diff of the whole spec to its refusal; here the paths of the fields that differ take its place.

use super::difference::differences;
use crate::defaults;
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};

const MAY_CHANGE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
     `spec.tolerations` (only additions to existing tolerations),\
     `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// More fields than these are not listed.
const MAX_DIFFERENCES: usize = 8;

/// Checks `after` against `before`, both with their defaults. Ephemeral containers have a way of their own into a pod and are not compared.
pub(super) fn check(before: &Pod, after: &Pod, findings: &mut Findings) {
    let meta = FieldPath::Root.key("metadata");
    for (key, old, new) in [
        ("name", &before.metadata.name, &after.metadata.name),
        (
            "namespace",
            &before.metadata.namespace,
            &after.metadata.namespace,
        ),
    ] {
        if old != new {
            let name = new.as_deref().unwrap_or_default();
            findings.invalid(&meta.key(key), name, "field is immutable");
        }
    }
    if let (Some(before), Some(after)) = (&before.spec, &after.spec) {
        spec(before, after, &FieldPath::Root.key("spec"), findings);
    }
}

fn spec(before: &PodSpec, after: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    for (key, old, new) in [
        (
            "containers",
            before.containers.len(),
            after.containers.len(),
        ),
        ("initContainers", count(before), count(after)),
    ] {
        if old != new {
            let detail = "pod updates may not add or remove containers";
            return findings.forbidden(&path.key(key), detail);
        }
    }
    deadline(before, after, &path.key("activeDeadlineSeconds"), findings);
    tolerations(before, after, &path.key("tolerations"), findings);
    let differences = differences(before, &with_what_may_change_of(after, before), path);
    if !differences.is_empty() {
        let more = differences.len().saturating_sub(MAX_DIFFERENCES);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let listed = &differences[..differences.len().min(MAX_DIFFERENCES)];
        let detail = format!(
            "pod updates may not change fields other than {MAY_CHANGE}; changed: {}{more}",
            listed.join(", ")
        );
        findings.forbidden(path, &detail);
    }
}

fn count(spec: &PodSpec) -> usize {
    spec.init_containers.as_ref().map_or(0, Vec::len)
}

fn deadline(before: &PodSpec, after: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    match (
        before.active_deadline_seconds,
        after.active_deadline_seconds,
    ) {
        (Some(_), None) => {
            let detail = "must not update from a positive integer to nil value";
            findings.invalid(path, format_args!("null"), detail);
        }
        (Some(old), Some(new)) if new > old => {
            findings.invalid(path, new, "must be less than or equal to previous value");
        }
        _ => {}
    }
}

fn tolerations(before: &PodSpec, after: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    fn shape(toleration: &Toleration) -> [&str; 4] {
        [
            &toleration.key,
            &toleration.operator,
            &toleration.value,
            &toleration.effect,
        ]
        .map(|text| text.as_deref().unwrap_or_default())
    }
    let mut old = before.tolerations.iter().flatten().map(shape);
    let new: Vec<_> = after.tolerations.iter().flatten().map(shape).collect();
    if !old.all(|toleration| new.contains(&toleration)) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        findings.forbidden(path, detail);
    }
}

/// `after` with `before`'s value of each field that may be changed, or that is judged on its own.
fn with_what_may_change_of(after: &PodSpec, before: &PodSpec) -> PodSpec {
    let mut spec = after.clone();
    images(&mut spec.containers, &before.containers);
    if let (Some(new), Some(old)) = (&mut spec.init_containers, &before.init_containers) {
        images(new, old);
    }
    spec.active_deadline_seconds = before.active_deadline_seconds;
    spec.tolerations.clone_from(&before.tolerations);
    spec.ephemeral_containers
        .clone_from(&before.ephemeral_containers);
    let grace = &mut spec.termination_grace_period_seconds;
    let old_grace = before.termination_grace_period_seconds;
    if *grace == Some(1) && old_grace.is_some_and(|seconds| seconds < 0) {
        *grace = old_grace;
    }
    spec
}

/// A pull policy that follows from the image's tag, before and after, goes with the image: nobody has said another one.
fn images(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        if follows_from_image(new) && follows_from_image(old) {
            new.image_pull_policy.clone_from(&old.image_pull_policy);
        }
        new.image.clone_from(&old.image);
    }
}

fn follows_from_image(container: &Container) -> bool {
    let image = container.image.as_deref().unwrap_or_default();
    container.image_pull_policy.as_deref() == Some(defaults::pull_policy(image))
}
