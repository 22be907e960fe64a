//! An ephemeral container beside the others of its pod.

use super::container;
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::PodSpec;
use pod_model::pod::as_container;
use std::collections::BTreeSet;

/// Checks the one at `index` of the list; those before it were checked when they came.
pub(super) fn check(spec: &PodSpec, index: usize, findings: &mut Findings) {
    let list = spec.ephemeral_containers.as_deref().unwrap_or_default();
    let Some(given) = list.get(index) else { return };
    let (spec_path, key) = (FieldPath::Root.key("spec"), "ephemeralContainers");
    let list_path = spec_path.key(key);
    let path = list_path.index(index);
    let volumes: BTreeSet<&str> = spec
        .volumes
        .iter()
        .flatten()
        .map(|volume| volume.name.as_str())
        .collect();
    let init = spec.init_containers.iter().flatten();
    let own: BTreeSet<&str> = init
        .chain(&spec.containers)
        .map(|c| c.name.as_str())
        .collect();
    let surroundings = container::Surroundings {
        volumes: &volumes,
        containers: &own,
    };
    container::check(&as_container(given), &surroundings, &path, findings);
    let mut others = list[..index].iter().map(|c| c.name.as_str());
    let is_taken = own.contains(given.name.as_str()) || others.any(|name| name == given.name);
    if !given.name.is_empty() && is_taken {
        findings.duplicate(&path.key("name"), &given.name);
    }
    let target = given.target_container_name.as_deref().unwrap_or_default();
    if !target.is_empty() && !own.contains(target) {
        findings.not_found(&path.key("targetContainerName"), target);
    }
}
