//! What is mounted where, and which host directories and files that needs.

use crate::command::clean_path;
use crate::description::{Mount, MountKind, Propagation};
use crate::env::PodEnv;
use crate::error::PlanError;
use crate::expansion::expand;
use crate::facts::SandboxFacts;
use crate::fds::{BindSource, Fds, PodFile};
use crate::security::Security;
use k8s_openapi::api::core::v1::{Container, VolumeMount};
use pod_model::AdmittedPod;

const MIB: u64 = 1 << 20;
/// `/dev` and `/dev/shm`, as containerd.
pub(crate) const DEV_BYTES: u64 = 64 * MIB;
/// Where a program may leave its last words, unless the pod says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// What runc lets be mounted over below `/proc`: single files, for lxcfs.
const MOUNTABLE_IN_PROC: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
];

/// All mounts in order. First the runtime's own; then, the shorter target first, the pod's volumes and the files made for it. A volume takes
/// the place of what would be mounted at its target, and one on `/dev` of everything below that.
pub(crate) fn mounts(
    pod: &AdmittedPod,
    container: &Container,
    security: &Security<'_>,
    sandbox: &SandboxFacts,
    env: &PodEnv,
    fds: &mut Fds,
) -> Result<Vec<Mount>, PlanError> {
    let mut binds = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        binds.push(volume(mount, sandbox, env)?);
    }
    let taken: Vec<String> = binds.iter().map(|b| b.target.clone()).collect();
    let free = |target: &str| !taken.iter().any(|t| t == target);
    let dev_taken = !free("/dev");

    let last_words = container
        .termination_message_path
        .as_deref()
        .filter(|p| !p.is_empty())
        .unwrap_or(TERMINATION_LOG);
    let last_words = target(last_words).map_err(|rule| PlanError::BadMessagePath {
        path: last_words.to_owned(),
        rule,
    })?;
    let writable = !security.read_only_root;
    let mut file = |target: &str, source, readonly| {
        if free(target) {
            binds.push(Bind::plain(target, source, readonly));
        }
    };
    if !sandbox.pod_ips.is_empty() {
        file("/etc/hosts", BindSource::PodFile(PodFile::Hosts), !writable);
    }
    file(&last_words, BindSource::TerminationLog, false);
    file(
        "/etc/hostname",
        BindSource::PodFile(PodFile::Hostname),
        !writable,
    );
    file(
        "/etc/resolv.conf",
        BindSource::PodFile(PodFile::ResolvConf),
        !writable,
    );
    let shm = if pod.host_ipc() {
        BindSource::HostShm
    } else {
        BindSource::PodShm
    };
    file("/dev/shm", shm, false);
    // stable: of two with as many parts the first stays the first
    binds.sort_by_key(|b| b.target.matches('/').count());

    let own = |target: &str, what| Mount {
        target: target.to_owned(),
        what,
    };
    let mut all: Vec<Mount> = [
        own("/proc", MountKind::Proc),
        own(
            "/dev",
            MountKind::Tmpfs {
                size_bytes: Some(DEV_BYTES),
                mode: 0o755,
                noexec: false,
            },
        ),
        own("/dev/pts", MountKind::Devpts),
        own("/dev/mqueue", MountKind::Mqueue),
        own(
            "/sys",
            MountKind::Sysfs {
                readonly: !security.privileged,
            },
        ),
        own(
            "/sys/fs/cgroup",
            MountKind::Cgroup {
                readonly: !security.privileged,
            },
        ),
    ]
    .into_iter()
    .filter(|m| free(&m.target) && !(dev_taken && m.target.starts_with("/dev/")))
    .collect();
    for bind in binds {
        all.push(Mount {
            target: bind.target,
            what: MountKind::Bind {
                source: fds.bind(bind.source),
                recursive: true,
                readonly: bind.readonly,
                recursive_readonly: bind.recursive_readonly,
                propagation: bind.propagation,
            },
        });
    }
    Ok(all)
}

struct Bind {
    target: String,
    source: BindSource,
    readonly: bool,
    recursive_readonly: bool,
    propagation: Propagation,
}

impl Bind {
    fn plain(target: &str, source: BindSource, readonly: bool) -> Self {
        Self {
            target: target.to_owned(),
            source,
            readonly,
            recursive_readonly: false,
            propagation: Propagation::Private,
        }
    }
}

/// The API takes a relative mountPath; the kubelet puts a slash before it.
fn absolute(path: &str) -> String {
    clean_path(&format!("/{path}"))
}

/// The path as it is mounted on, if the container may mount there.
fn target(path: &str) -> Result<String, &'static str> {
    if path.contains('\0') {
        return Err("a NUL byte in the path");
    }
    let target = absolute(path);
    if target == "/" {
        return Err("the root directory cannot be mounted over");
    }
    let in_proc = target == "/proc" || target.starts_with("/proc/");
    if in_proc && !MOUNTABLE_IN_PROC.contains(&target.as_str()) {
        return Err("it is inside /proc");
    }
    Ok(target)
}

fn volume(mount: &VolumeMount, sandbox: &SandboxFacts, env: &PodEnv) -> Result<Bind, PlanError> {
    let facts = sandbox
        .volumes
        .get(&mount.name)
        .ok_or_else(|| PlanError::NoSuchVolume {
            volume: mount.name.clone(),
        })?;
    let bad = |rule: String| PlanError::BadMount {
        volume: mount.name.clone(),
        rule,
    };
    let target = target(&mount.mount_path).map_err(|rule| PlanError::BadMountPath {
        volume: mount.name.clone(),
        path: mount.mount_path.clone(),
        rule,
    })?;
    let propagation = match mount.mount_propagation.as_deref() {
        None | Some("None") => Propagation::Private,
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        Some(other) => return Err(bad(format!("unknown mountPropagation {other:?}"))),
    };
    let readonly = mount.read_only == Some(true) || facts.read_only;
    let private = propagation == Propagation::Private;
    let recursive_readonly = match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => false,
        // every kernel that can run this has mount_setattr(2), so possible is what the API allows
        Some("IfPossible") => mount.read_only == Some(true) && private,
        Some("Enabled") if mount.read_only != Some(true) => {
            return Err(bad("recursive read-only needs readOnly: true".to_owned()));
        }
        Some("Enabled") if !private => {
            return Err(bad(
                "recursive read-only needs mountPropagation None".to_owned()
            ));
        }
        Some("Enabled") => true,
        Some(other) => return Err(bad(format!("unknown recursiveReadOnly {other:?}"))),
    };
    Ok(Bind {
        target,
        source: BindSource::Volume {
            name: mount.name.clone(),
            sub_path: sub_path(mount, env)?,
            readonly,
        },
        readonly,
        recursive_readonly,
        propagation,
    })
}

/// `subPath`, or `subPathExpr` expanded: relative, without `..`, cleaned. `None` is the volume's root.
fn sub_path(mount: &VolumeMount, env: &PodEnv) -> Result<Option<String>, PlanError> {
    let given = |s: &Option<String>| s.as_deref().filter(|s| !s.is_empty()).map(str::to_owned);
    let text = match (given(&mount.sub_path), given(&mount.sub_path_expr)) {
        (None, None) => return Ok(None),
        (Some(path), _) => path,
        (None, Some(expression)) => {
            let mut missing = None;
            let path = expand(&expression, |name| {
                env.get(name).map(str::to_owned).unwrap_or_else(|| {
                    missing.get_or_insert_with(|| name.to_owned());
                    String::new()
                })
            });
            if let Some(name) = missing {
                return Err(PlanError::SubPathVariable { expression, name });
            }
            path
        }
    };
    let bad = |rule| PlanError::BadSubPath {
        sub_path: text.clone(),
        rule,
    };
    if text.starts_with('/') {
        return Err(bad("must not be an absolute path"));
    }
    if text.split('/').any(|p| p == "..") {
        return Err(bad("must not contain '..'"));
    }
    if text.contains('\0') {
        return Err(bad("must not contain a NUL byte"));
    }
    let clean = clean_path(&text).trim_start_matches('/').to_owned();
    Ok((!clean.is_empty()).then_some(clean))
}
