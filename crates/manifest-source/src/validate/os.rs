//! `spec.os`, and what a pod of another system than this node's may not say. Admission rejects such a pod; it has to be a good one.

use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{PodSpec, SecurityContext};

const FORBIDDEN: &str = "cannot be set for a windows pod";

pub(super) fn check(spec: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    let Some(os) = &spec.os else { return };
    let key = path.key("os");
    match os.name.as_str() {
        "" => findings.required(&key.key("name"), ""),
        "linux" => {}
        "windows" => windows(spec, path, findings),
        other => findings.unsupported(&key, other, &["linux", "windows"]),
    }
}

fn windows(spec: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    forbid(
        path,
        &[
            ("hostUsers", spec.host_users.is_some()),
            ("hostPID", spec.host_pid == Some(true)),
            ("hostIPC", spec.host_ipc == Some(true)),
            (
                "shareProcessNamespace",
                spec.share_process_namespace.is_some(),
            ),
        ],
        findings,
    );
    if let Some(context) = &spec.security_context {
        forbid(
            &path.key("securityContext"),
            &[
                ("seccompProfile", context.seccomp_profile.is_some()),
                ("fsGroup", context.fs_group.is_some()),
                ("sysctls", context.sysctls.is_some()),
                ("runAsUser", context.run_as_user.is_some()),
                ("runAsGroup", context.run_as_group.is_some()),
                ("supplementalGroups", context.supplemental_groups.is_some()),
                (
                    "supplementalGroupsPolicy",
                    context.supplemental_groups_policy.is_some(),
                ),
            ],
            findings,
        );
    }
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    for (list, containers) in [("initContainers", inits), ("containers", &spec.containers)] {
        let path = path.key(list);
        for (index, container) in containers.iter().enumerate() {
            if let Some(context) = &container.security_context {
                of_container(context, &path.index(index), findings);
            }
        }
    }
}

fn of_container(context: &SecurityContext, path: &FieldPath<'_>, findings: &mut Findings) {
    forbid(
        &path.key("securityContext"),
        &[
            ("seccompProfile", context.seccomp_profile.is_some()),
            ("capabilities", context.capabilities.is_some()),
            (
                "readOnlyRootFilesystem",
                context.read_only_root_filesystem.is_some(),
            ),
            ("privileged", context.privileged.is_some()),
            (
                "allowPrivilegeEscalation",
                context.allow_privilege_escalation.is_some(),
            ),
            ("procMount", context.proc_mount.is_some()),
            ("runAsUser", context.run_as_user.is_some()),
            ("runAsGroup", context.run_as_group.is_some()),
        ],
        findings,
    );
}

fn forbid(path: &FieldPath<'_>, fields: &[(&str, bool)], findings: &mut Findings) {
    for (key, _) in fields.iter().filter(|(_, is_set)| *is_set) {
        findings.forbidden(&path.key(key), FORBIDDEN);
    }
}
