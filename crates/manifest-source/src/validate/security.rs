//! Security contexts of pods and containers.

use super::{local_path, names, one_of};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};
use node_policy::admission::{SysctlNamespace, dotted, namespace};
use std::collections::BTreeSet;

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

/// Which of them a pod may have here is for admission to say; see `node_policy::admission`.
pub(super) fn sysctls(spec: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    let context = spec.security_context.as_ref();
    let given = context.and_then(|context| context.sysctls.as_ref());
    let list = path.key("sysctls");
    let mut seen = BTreeSet::new();
    for (index, sysctl) in given.into_iter().flatten().enumerate() {
        let path = list.index(index);
        let path = path.key("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            findings.required(&path, "");
        } else if !names::is_sysctl(name) {
            let detail = format!(
                "must have at most 253 characters and match regex {}",
                names::SYSCTL
            );
            findings.invalid(&path, name, &detail);
        } else if !seen.insert(name) {
            findings.duplicate(&path, name);
        }
        let shared = match namespace(&dotted(name)) {
            Some(SysctlNamespace::Net) if spec.host_network == Some(true) => "hostNetwork",
            Some(SysctlNamespace::Ipc) if spec.host_ipc == Some(true) => "hostIPC",
            _ => continue,
        };
        let detail = format!("may not be specified when '{shared}' is true");
        findings.invalid(&path, name, &detail);
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
