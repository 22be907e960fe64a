//! One container, init or main.

use super::{mounts, names, network, one_of, resources, security};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource};
use std::collections::BTreeSet;

/// What a container may refer to.
pub(super) struct Surroundings<'a> {
    pub(super) volumes: &'a BTreeSet<&'a str>,
    pub(super) containers: &'a BTreeSet<&'a str>,
}

const FIELDS: [&str; 11] = [
    "metadata.annotations['<key>']",
    "metadata.labels['<key>']",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

pub(super) fn check(
    container: &Container,
    surroundings: &Surroundings<'_>,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    let key = path.key("name");
    if container.name.is_empty() {
        findings.required(&key, "");
    } else if let Some(wrong) = names::dns_label(&container.name) {
        findings.invalid(&key, &container.name, wrong);
    }
    let key = path.key("image");
    match container.image.as_deref().unwrap_or_default() {
        "" => findings.required(&key, ""),
        image if image.trim() != image => {
            findings.invalid(&key, image, "must not have leading or trailing whitespace")
        }
        _ => {}
    }
    one_of(
        container.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
        &path.key("imagePullPolicy"),
        findings,
    );
    one_of(
        container.termination_message_policy.as_deref(),
        &["File", "FallbackToLogsOnError"],
        &path.key("terminationMessagePolicy"),
        findings,
    );
    network::ports(container, path, findings);
    let key = path.key("env");
    for (index, variable) in container.env.iter().flatten().enumerate() {
        env(variable, surroundings, &key.index(index), findings);
    }
    mounts::check(container, surroundings.volumes, path, findings);
    if let Some(needs) = &container.resources {
        resources::check(needs, &path.key("resources"), findings);
    }
    if let Some(context) = &container.security_context {
        security::container(context, &path.key("securityContext"), findings);
    }
}

fn env(
    variable: &EnvVar,
    surroundings: &Surroundings<'_>,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    let key = path.key("name");
    if variable.name.is_empty() {
        findings.required(&key, "");
    } else if let Some(wrong) = names::env_name(&variable.name) {
        findings.invalid(&key, &variable.name, wrong);
    }
    let Some(source) = &variable.value_from else {
        return;
    };
    let path = path.key("valueFrom");
    if variable.value.as_deref().is_some_and(|v| !v.is_empty()) {
        findings.invalid(&path, "", "may not be specified when `value` is not empty");
    }
    env_source(source, surroundings, &path, findings);
}

fn env_source(
    source: &EnvVarSource,
    surroundings: &Surroundings<'_>,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    match (&source.field_ref, &source.resource_field_ref) {
        (None, None) => findings.invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`",
        ),
        (Some(_), Some(_)) => findings.invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        ),
        (Some(field), None) => {
            let path = path.key("fieldRef");
            field_path(&field.field_path, &path.key("fieldPath"), findings);
        }
        (None, Some(resource)) => {
            let path = path.key("resourceFieldRef");
            resources::reference(resource, surroundings.containers, &path, findings);
        }
    }
}

fn field_path(text: &str, path: &FieldPath<'_>, findings: &mut Findings) {
    if text.is_empty() {
        findings.required(path, "");
        return;
    }
    let subscript = ["metadata.labels", "metadata.annotations"]
        .iter()
        .find_map(|map| text.strip_prefix(map))
        .and_then(|rest| rest.strip_prefix("['")?.strip_suffix("']"));
    match subscript {
        Some(key) => {
            if let Some(wrong) = names::qualified_name(&key.to_lowercase()) {
                findings.invalid(path, text, wrong);
            }
        }
        None if FIELDS.contains(&text) && !text.contains('[') => {}
        None => findings.unsupported(path, text, &FIELDS),
    }
}
