//! The effective security context: the container's, else the pod's, else the node's.

use crate::capabilities;
use crate::description::Capabilities;
use crate::error::PlanError;
use crate::facts::NodeFacts;
use k8s_openapi::api::core::v1::{
    Container, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};
use serde::{Deserialize, Serialize};

/// Which system calls a container may make; `None` of it is Unconfined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SeccompSource {
    RuntimeDefault,
    /// A profile of the node: a relative path, without `..`, below the directory of seccomp profiles. Whoever opens it follows no link,
    /// reads a regular file of at most [`crate::seccomp::MAX_PROFILE_BYTES`], and never falls back to Unconfined.
    Localhost(String),
}

/// As `DetermineEffectiveSecurityContext` of the kubelet, reduced to what is planned here.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Security<'a> {
    pub(crate) run_as_user: Option<i64>,
    pub(crate) run_as_group: Option<i64>,
    pub(crate) run_as_non_root: bool,
    pub(crate) supplemental_groups: &'a [i64],
    pub(crate) fs_group: Option<i64>,
    /// `supplementalGroupsPolicy: Strict`: the image's group file counts for nothing.
    pub(crate) strict_groups: bool,
    pub(crate) privileged: bool,
    pub(crate) read_only_root: bool,
    pub(crate) allow_privilege_escalation: Option<bool>,
    pub(crate) seccomp: Option<&'a SeccompProfile>,
    pub(crate) capabilities: Option<&'a k8s_openapi::api::core::v1::Capabilities>,
    pub(crate) proc_mount: Option<&'a str>,
}

impl<'a> Security<'a> {
    pub(crate) fn of(spec: &'a PodSpec, container: &'a Container) -> Self {
        let pod: Option<&PodSecurityContext> = spec.security_context.as_ref();
        let own: Option<&SecurityContext> = container.security_context.as_ref();
        Self {
            run_as_user: own
                .and_then(|c| c.run_as_user)
                .or_else(|| pod.and_then(|p| p.run_as_user)),
            run_as_group: own
                .and_then(|c| c.run_as_group)
                .or_else(|| pod.and_then(|p| p.run_as_group)),
            run_as_non_root: own
                .and_then(|c| c.run_as_non_root)
                .or_else(|| pod.and_then(|p| p.run_as_non_root))
                .unwrap_or(false),
            supplemental_groups: pod
                .and_then(|p| p.supplemental_groups.as_deref())
                .unwrap_or_default(),
            fs_group: pod.and_then(|p| p.fs_group),
            strict_groups: pod.and_then(|p| p.supplemental_groups_policy.as_deref())
                == Some("Strict"),
            privileged: own.and_then(|c| c.privileged).unwrap_or(false),
            read_only_root: own
                .and_then(|c| c.read_only_root_filesystem)
                .unwrap_or(false),
            allow_privilege_escalation: own.and_then(|c| c.allow_privilege_escalation),
            seccomp: own
                .and_then(|c| c.seccomp_profile.as_ref())
                .or_else(|| pod.and_then(|p| p.seccomp_profile.as_ref())),
            capabilities: own.and_then(|c| c.capabilities.as_ref()),
            proc_mount: own.and_then(|c| c.proc_mount.as_deref()),
        }
    }

    /// As the kubelet's `AddNoNewPrivileges`; a hardened node turns the default round.
    pub(crate) fn no_new_privileges(&self, node: &NodeFacts) -> bool {
        let allowed_by_default =
            !node.security.hardened || self.privileged || self.adds("SYS_ADMIN");
        !self
            .allow_privilege_escalation
            .unwrap_or(allowed_by_default)
    }

    fn adds(&self, name: &str) -> bool {
        self.capabilities
            .and_then(|c| c.add.as_ref())
            .is_some_and(|add| {
                add.iter()
                    .any(|a| a.trim_start_matches("CAP_").eq_ignore_ascii_case(name))
            })
    }

    pub(crate) fn capabilities(&self, node: &NodeFacts) -> Result<Capabilities, PlanError> {
        let all = capabilities::all(node.last_capability);
        let set = if self.privileged {
            all
        } else {
            capabilities::effective(self.capabilities, node.security.hardened, all)?
        };
        // what the program keeps of it is for execve(2) to decide; the inheritable and the ambient set stay empty
        Ok(Capabilities {
            bounding: set,
            effective: set,
            permitted: set,
        })
    }

    /// `None` is Unconfined.
    pub(crate) fn seccomp(&self, node: &NodeFacts) -> Result<Option<SeccompSource>, PlanError> {
        if self.privileged {
            return Ok(None);
        }
        let Some(profile) = self.seccomp else {
            return Ok(node
                .security
                .seccomp_runtime_default
                .then_some(SeccompSource::RuntimeDefault));
        };
        match profile.type_.as_str() {
            "RuntimeDefault" => Ok(Some(SeccompSource::RuntimeDefault)),
            "Unconfined" => Ok(None),
            "Localhost" => {
                let path = profile.localhost_profile.as_deref().unwrap_or_default();
                check_profile_path(path)?;
                Ok(Some(SeccompSource::Localhost(path.to_owned())))
            }
            other => Err(PlanError::BadSeccompProfile {
                value: other.to_owned(),
                rule: "unknown type",
            }),
        }
    }

    /// Whether `/proc` is shown whole: privileged.
    pub(crate) fn check_proc_mount(&self) -> Result<(), PlanError> {
        match self.proc_mount {
            None | Some("Default") => Ok(()),
            Some(other) => Err(PlanError::ProcMount {
                value: other.to_owned(),
            }),
        }
    }
}

/// An empty path once meant Unconfined (CVE-2023-2431).
fn check_profile_path(path: &str) -> Result<(), PlanError> {
    let rule = if path.is_empty() {
        "localhostProfile must be set when type is Localhost"
    } else if path.starts_with('/') {
        "localhostProfile must be a relative path"
    } else if path.split('/').any(|p| p == "..") {
        "localhostProfile must not contain '..'"
    } else if path.contains('\0') || path.len() > 4096 {
        "localhostProfile must be a path"
    } else {
        return Ok(());
    };
    Err(PlanError::BadSeccompProfile {
        value: path.to_owned(),
        rule,
    })
}
