//! Where a container sees the pod's volumes.

use super::{local_path, one_of};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use std::collections::BTreeSet;

pub(super) fn check(
    container: &Container,
    volumes: &BTreeSet<&str>,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    let privileged = container
        .security_context
        .as_ref()
        .is_some_and(|s| s.privileged == Some(true));
    let path = path.key("volumeMounts");
    let mut seen = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.index(index);
        if mount.name.is_empty() {
            findings.required(&path.key("name"), "");
        } else if !volumes.contains(mount.name.as_str()) {
            findings.not_found(&path.key("name"), &mount.name);
        }
        let key = path.key("mountPath");
        match mount.mount_path.trim_end_matches('/') {
            "" if mount.mount_path.is_empty() => findings.required(&key, ""),
            // Stricter than upstream, where no container starts with its root covered.
            "" => findings.invalid(&key, &mount.mount_path, "must not be the root"),
            // Stricter than upstream, where a kubelet puts a `/` before it.
            inside if !inside.starts_with('/') => {
                findings.invalid(&key, &mount.mount_path, "must be an absolute path");
            }
            // Stricter than upstream, where `/x` and `/x/` are two.
            inside => {
                if !seen.insert(inside) {
                    findings.invalid(&key, &mount.mount_path, "must be unique");
                }
            }
        }
        sub_path(mount, &path, findings);
        propagation(mount, privileged, &path, findings);
    }
}

fn sub_path(mount: &VolumeMount, path: &FieldPath<'_>, findings: &mut Findings) {
    let plain = mount.sub_path.as_deref().unwrap_or_default();
    let expression = mount.sub_path_expr.as_deref().unwrap_or_default();
    local_path(plain, &path.key("subPath"), findings);
    local_path(expression, &path.key("subPathExpr"), findings);
    if !plain.is_empty() && !expression.is_empty() {
        findings.invalid(
            &path.key("subPathExpr"),
            expression,
            "subPathExpr and subPath are mutually exclusive",
        );
    }
}

fn propagation(
    mount: &VolumeMount,
    privileged: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    let mode = mount.mount_propagation.as_deref();
    let key = path.key("mountPropagation");
    one_of(
        mode,
        &["Bidirectional", "HostToContainer", "None"],
        &key,
        findings,
    );
    if mode == Some("Bidirectional") && !privileged {
        findings.forbidden(
            &key,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
    let recursive = mount.recursive_read_only.as_deref();
    let key = path.key("recursiveReadOnly");
    one_of(
        recursive,
        &["Disabled", "Enabled", "IfPossible"],
        &key,
        findings,
    );
    if matches!(recursive, Some("Enabled" | "IfPossible")) {
        if mount.read_only != Some(true) {
            findings.forbidden(&key, "may only be specified when readOnly is true");
        }
        if !matches!(mode, None | Some("None")) {
            findings.forbidden(
                &key,
                "may only be specified when mountPropagation is None or not specified",
            );
        }
    }
}
