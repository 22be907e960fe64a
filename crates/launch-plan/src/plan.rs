//! Putting a plan together.

use crate::description::{
    Device, DeviceKind, LaunchDescription, Namespaces, PidNamespace, Process, Rootfs,
    SharedNamespace, Stdio,
};
use crate::env::{self, PodEnv};
use crate::error::PlanError;
use crate::facts::{NodeFacts, PlanInput};
use crate::fds::{FdSource, Fds, NamespaceKind};
use crate::security::Security;
use crate::{command, mounts, user};
use node_policy::{OomFacts, oom_score_adj};
use pod_model::{AdmittedPod, ContainerKey};
use serde::{Deserialize, Serialize};

/// A description and what its descriptors are. Written beside the container, it is all that a later exec session needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub description: LaunchDescription,
    /// Descriptor *n* of the description is made from entry *n*.
    pub fds: Vec<FdSource>,
}

/// Of command and environment together; the kernel takes a quarter of the stack's limit, which is 2 MiB by default.
const MAX_ARGUMENT_BYTES: usize = 2 << 20;

/// As the kubelet (`ConvertToRuntimeMaskedPaths`); the thermal throttles come per CPU.
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The nodes that every `/dev` has; `ptmx` is a link into the container's own devpts, `console` a pty that the keeper makes.
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Decides everything about one launch.
///
/// # Errors
/// What the pod or its image asks for and cannot have; [`PlanError::failure`] is what the core is told.
pub fn plan(input: &PlanInput<'_>) -> Result<Planned, PlanError> {
    let (_, container) = input
        .pod
        .container(input.container)
        .ok_or_else(|| PlanError::NoSuchContainer(input.container.to_string()))?;
    let spec = input.pod.spec();
    let image = input.image.config.unchecked();
    let security = Security::of(spec, container);
    if input.image.layers.is_empty() {
        return Err(PlanError::NoLayers);
    }
    security.check_proc_mount()?;

    let identity = user::resolve(
        &security,
        input.image,
        &described(input.pod),
        &container.name,
    )?;
    let pod_env = PodEnv::resolve(input.pod, container, input.node, input.sandbox)?;
    let terminal = container.tty == Some(true);
    let hostname = if input.sandbox.uts {
        &input.sandbox.hostname
    } else {
        &input.node.hostname
    };
    let environment = env::environment(image, &pod_env, hostname, &identity.home, terminal)?;
    let argv = command::argv(container, image, &pod_env)?;
    check_size(&argv, &environment)?;

    let mut fds = Fds::default();
    let namespaces = namespaces(input, &mut fds);
    let mounts = mounts::mounts(
        input.pod,
        container,
        &security,
        input.sandbox,
        &pod_env,
        &mut fds,
    )?;
    let capabilities = security.capabilities(input.node)?;
    let seccomp = security.seccomp(input.node)?.map(|source| {
        fds.add(FdSource::Seccomp {
            source,
            capabilities: capabilities.bounding,
        })
    });
    let dev_is_ours = mounts
        .iter()
        .any(|m| m.target == "/dev" && matches!(m.what, crate::MountKind::Tmpfs { .. }));
    let paths = |list: &[&str]| -> Vec<String> {
        if security.privileged {
            Vec::new()
        } else {
            list.iter().map(|p| (*p).to_owned()).collect()
        }
    };
    let mut masked_paths = paths(&MASKED_PATHS);
    if !security.privileged {
        masked_paths.extend(
            input
                .node
                .throttle_cpus
                .iter()
                .map(|n| format!("/sys/devices/system/cpu/cpu{n}/thermal_throttle")),
        );
    }

    let description = LaunchDescription {
        container: ContainerKey::new(
            input.pod.uid().clone(),
            input.container.clone(),
            input.attempt,
        ),
        namespaces,
        cgroup: input.host.cgroup.clone(),
        hostname: input.sandbox.uts.then(|| input.sandbox.hostname.clone()),
        rootfs: Rootfs {
            layers: input.image.layers.clone(),
            writable: input.host.writable.clone(),
            readonly: security.read_only_root,
        },
        mounts,
        devices: if dev_is_ours {
            devices(&security, input.node)
        } else {
            Vec::new()
        },
        masked_paths,
        readonly_paths: paths(&READONLY_PATHS),
        process: Process {
            argv,
            env: environment,
            cwd: command::working_dir(container, image)?,
            uid: identity.uid,
            gid: identity.gid,
            supplementary_gids: identity.groups,
            capabilities,
            no_new_privileges: security.no_new_privileges(input.node),
            oom_score_adj: oom_score_adj(
                container,
                &OomFacts {
                    qos: input.pod.qos(),
                    node_critical: spec.priority_class_name.as_deref()
                        == Some("system-node-critical"),
                    memory_capacity_bytes: input.node.memory_capacity_bytes,
                },
            ),
            seccomp,
        },
        stdio: Stdio {
            stdin: container.stdin == Some(true),
            terminal,
        },
        files: input.host.files.clone(),
    };
    Ok(Planned {
        description,
        fds: fds.into_sources(),
    })
}

/// `name_namespace(uid)`, as the kubelet writes a pod in its messages.
fn described(pod: &AdmittedPod) -> String {
    let name = pod.name();
    format!("{}_{}({})", name.name, name.namespace, pod.uid())
}

pub(crate) fn check_size(argv: &[String], env: &[String]) -> Result<(), PlanError> {
    let bytes = argv
        .iter()
        .chain(env)
        .map(|w| w.len() + 1 + size_of::<usize>())
        .sum();
    if bytes > MAX_ARGUMENT_BYTES {
        return Err(PlanError::TooLarge {
            bytes,
            limit: MAX_ARGUMENT_BYTES,
        });
    }
    Ok(())
}

fn namespaces(input: &PlanInput<'_>, fds: &mut Fds) -> Namespaces {
    let mut shared = |pinned: bool, kind| {
        if pinned {
            SharedNamespace::Enter(fds.add(FdSource::Namespace(kind)))
        } else {
            SharedNamespace::Host
        }
    };
    let (net, ipc, uts) = (
        shared(input.sandbox.net, NamespaceKind::Net),
        shared(input.sandbox.ipc, NamespaceKind::Ipc),
        shared(input.sandbox.uts, NamespaceKind::Uts),
    );
    let pid = if input.pod.host_pid() {
        PidNamespace::Host
    } else if input.pod.share_process_namespace() {
        PidNamespace::Pod
    } else if let Some(target) = input.pod.target_of(input.container) {
        PidNamespace::Target(fds.add(FdSource::FirstProcess(target)))
    } else {
        PidNamespace::Private
    };
    Namespaces { net, ipc, uts, pid }
}

fn devices(security: &Security<'_>, node: &NodeFacts) -> Vec<Device> {
    let mut devices: Vec<Device> = DEVICES
        .into_iter()
        .map(|(path, major, minor)| Device {
            path: path.to_owned(),
            kind: DeviceKind::Char,
            major,
            minor,
            mode: 0o666,
        })
        .collect();
    if security.privileged {
        for device in &node.host_devices {
            if !devices.iter().any(|d| d.path == device.path) {
                devices.push(device.clone());
            }
        }
    }
    devices
}

#[cfg(test)]
mod tests;
