//! Security contexts of pods and containers.

use super::{local_path, one_of};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{PodSecurityContext, SeccompProfile, SecurityContext};

pub(super) fn pod(context: &PodSecurityContext, path: &FieldPath<'_>, findings: &mut Findings) {
    id(context.run_as_user, &path.key("runAsUser"), findings);
    id(context.run_as_group, &path.key("runAsGroup"), findings);
    id(context.fs_group, &path.key("fsGroup"), findings);
    let groups = path.key("supplementalGroups");
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), &groups.index(index), findings);
    }
    one_of(
        context.supplemental_groups_policy.as_deref(),
        &["Merge", "Strict"],
        &path.key("supplementalGroupsPolicy"),
        findings,
    );
    if let Some(profile) = &context.seccomp_profile {
        seccomp(profile, &path.key("seccompProfile"), findings);
    }
}

pub(super) fn container(context: &SecurityContext, path: &FieldPath<'_>, findings: &mut Findings) {
    id(context.run_as_user, &path.key("runAsUser"), findings);
    id(context.run_as_group, &path.key("runAsGroup"), findings);
    if let Some(profile) = &context.seccomp_profile {
        seccomp(profile, &path.key("seccompProfile"), findings);
    }
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            findings.invalid(
                path,
                "",
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let added = context.capabilities.as_ref().and_then(|c| c.add.as_ref());
        // Stricter than upstream, which looks for the name with its prefix only, though runtimes want it without.
        if added
            .into_iter()
            .flatten()
            .any(|c| c == "SYS_ADMIN" || c == "CAP_SYS_ADMIN")
        {
            findings.invalid(
                path,
                "",
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

/// A user's or group's number.
fn id(value: Option<i64>, path: &FieldPath<'_>, findings: &mut Findings) {
    if let Some(value) = value
        && !(0..=i64::from(i32::MAX)).contains(&value)
    {
        findings.invalid(path, value, "must be between 0 and 2147483647, inclusive");
    }
}

fn seccomp(profile: &SeccompProfile, path: &FieldPath<'_>, findings: &mut Findings) {
    let key = path.key("localhostProfile");
    let file = profile.localhost_profile.as_deref();
    match profile.type_.as_str() {
        "" => findings.required(&path.key("type"), ""),
        // An empty profile must never come to mean "unconfined" (CVE-2023-2431).
        "Localhost" => match file.unwrap_or_default() {
            "" => findings.required(&key, "must be set when seccomp type is Localhost"),
            file => local_path(file, &key, findings),
        },
        "RuntimeDefault" | "Unconfined" => {
            if let Some(file) = file {
                findings.invalid(&key, file, "can only be set when seccomp type is Localhost");
            }
        }
        other => findings.unsupported(
            &path.key("type"),
            other,
            &["Localhost", "RuntimeDefault", "Unconfined"],
        ),
    }
}
