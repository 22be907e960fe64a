//! Starting, stopping and removing containers.

use super::last_words;
use super::outcome::{DONE, Spans, blocking, chain, node_failure};
use super::parts::Parts;
use super::sandbox::pod_hostname;
use cgroup_tree::{DevicePolicy, Placement};
use container_host::{HostError, Launch};
use keeper::protocol::FailureKind;
use launch_plan::{
    BindSource, CgroupPlacement, ContainerFiles, FdIndex, FdSource, HostFacts, ImageFacts,
    MountKind, NamespaceKind, PlanInput, Planned, PodFile, Propagation, SandboxFacts, VolumeFacts,
    plan,
};
use pod_model::{
    AdmittedPod, ContainerKey, ContainerName, Failure, FailureReason, Fault, Now, Outcome,
    ProcessFacts, Signal,
};
use pod_network::{SandboxNamespaces, open_namespaces};
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

type Answer = Result<Outcome, Failure>;

pub(crate) async fn start(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    key: &ContainerKey,
    image_id: &str,
    (spans, executed_at): (&mut Spans, &mut Option<Now>),
) -> Answer {
    let begun = Instant::now();
    let (theirs, of_pod, of_key, image_id) = (
        Arc::clone(parts),
        pod.clone(),
        key.clone(),
        image_id.to_owned(),
    );
    let (launch, stop_signal, fds) = blocking(FailureReason::CreateContainerError, move || {
        prepare(&theirs, &of_pod, &of_key, &image_id)
    })
    .await?;
    spans.push(("plan".into(), begun.elapsed()));
    let process = process_facts(&launch, stop_signal);
    match parts.host.start(launch, fds).await {
        Ok(started) => {
            spans.extend(started.spans);
            *executed_at = started.executed_at;
            Ok(Outcome::Started {
                pid: started.pid,
                at: started.at,
                process,
            })
        }
        Err(error) => Err(launch_failure(&error)),
    }
}

fn launch_failure(error: &HostError) -> Failure {
    match error {
        HostError::Launch(failure) => Failure {
            reason: match failure.kind {
                FailureKind::Config => FailureReason::CreateContainerConfigError,
                FailureKind::Create => FailureReason::CreateContainerError,
                FailureKind::Start => FailureReason::RunContainerError,
            },
            message: failure.message.clone(),
            fault: if failure.kind == FailureKind::Create {
                Fault::Node
            } else {
                Fault::Workload
            },
            retry: true,
            retry_after: None,
        },
        other => node_failure(FailureReason::CreateContainerError, chain(other)),
    }
}

/// Everything before the keeper: the container's cgroup, the plan, the descriptors that the plan counts on.
fn prepare(
    parts: &Parts,
    pod: &AdmittedPod,
    key: &ContainerKey,
    image_id: &str,
) -> Result<(Launch, Signal, Vec<OwnedFd>), Failure> {
    let config_error = |message: String| Failure {
        reason: FailureReason::CreateContainerConfigError,
        message,
        fault: Fault::Workload,
        retry: true,
        retry_after: None,
    };
    let (_, container) = pod
        .container(&key.name)
        .ok_or_else(|| config_error(format!("the pod has no container {}", key.name)))?;
    let image = super::images::facts(parts, image_id)?;
    let sandbox = parts.network.sandbox(pod.uid()).ok_or_else(|| {
        node_failure(
            FailureReason::CreateContainerError,
            "the pod's network is gone".into(),
        )
    })?;
    let privileged = container
        .security_context
        .as_ref()
        .and_then(|s| s.privileged)
        == Some(true);
    let devices = if privileged {
        DevicePolicy::All
    } else {
        DevicePolicy::Default
    };
    let numbers = node_policy::container_numbers(container);
    let placement = parts
        .cgroups
        .create_container(key, pod.qos(), &numbers, devices)
        .map_err(|e| {
            node_failure(
                FailureReason::CreateContainerError,
                format!("failed to make the container's cgroup: {}", chain(&e)),
            )
        })?;
    let facts = SandboxFacts {
        net: sandbox.net.is_some(),
        ipc: !pod.host_ipc(),
        uts: true,
        hostname: pod_hostname(parts, pod)?.kernel,
        pod_ips: if pod.host_network() {
            parts.node.host_ips.clone()
        } else {
            sandbox.addresses.clone()
        },
        volumes: volumes(pod),
    };
    let input = PlanInput {
        pod,
        container: &key.name,
        attempt: key.attempt,
        image: &image,
        node: &parts.node,
        sandbox: &facts,
        host: &host_facts(parts, pod, key, placement),
    };
    let planned = plan(&input).map_err(|e| e.failure())?;
    check_propagation(parts, pod, &planned)?;
    let namespaces = open_namespaces(&sandbox)
        .map_err(|e| node_failure(FailureReason::CreateContainerError, e.chain()))?;
    let fds = open_all(parts, pod, &planned, &namespaces)?;
    let log_link = parts.paths.log_link(pod.name(), key);
    Ok((
        Launch {
            planned,
            image_id: image_id.to_owned(),
            log_link,
        },
        launch_plan::stop_signal(container, &image.config),
        fds,
    ))
}

fn process_facts(launch: &Launch, stop_signal: Signal) -> ProcessFacts {
    let process = &launch.planned.description.process;
    ProcessFacts {
        uid: process.uid,
        gid: process.gid,
        supplementary_gids: process.supplementary_gids.clone(),
        stop_signal: launch_plan::signal_name(stop_signal),
    }
}

fn volumes(pod: &AdmittedPod) -> std::collections::BTreeMap<String, VolumeFacts> {
    pod.spec()
        .volumes
        .iter()
        .flatten()
        .map(|volume| (volume.name.clone(), VolumeFacts { read_only: false }))
        .collect()
}

fn host_facts(
    parts: &Parts,
    pod: &AdmittedPod,
    key: &ContainerKey,
    placement: Placement,
) -> HostFacts {
    HostFacts {
        cgroup: cgroup_placement(placement),
        writable: parts.paths.writable_of(key),
        files: ContainerFiles {
            run: parts.paths.run_of(key),
            exit: parts.paths.exit_of(key),
            log: parts.paths.log_of(pod.name(), key),
            log_max_bytes: parts.log_max_bytes,
            log_max_files: parts.log_max_files,
        },
    }
}

pub(crate) fn cgroup_placement(placement: Placement) -> CgroupPlacement {
    match placement {
        Placement::V2 { directory } => CgroupPlacement::V2 { directory },
        Placement::V1 { directories } => CgroupPlacement::V1 { directories },
    }
}

/// A volume through which mounts are to pass lies on a mount where they can, or the container is refused.
fn check_propagation(parts: &Parts, pod: &AdmittedPod, planned: &Planned) -> Result<(), Failure> {
    for mount in &planned.description.mounts {
        let MountKind::Bind {
            source: FdIndex(at),
            propagation,
            ..
        } = &mount.what
        else {
            continue;
        };
        let wanted = match propagation {
            Propagation::Private => continue,
            Propagation::HostToContainer => pod_volumes::Propagation::Receives,
            Propagation::Bidirectional => pod_volumes::Propagation::Shares,
        };
        let source = usize::try_from(*at).ok().and_then(|at| planned.fds.get(at));
        let Some(FdSource::Bind(BindSource::Volume { name, sub_path, .. })) = source else {
            continue;
        };
        parts
            .volumes
            .check_propagation(pod, name, sub_path.as_deref(), wanted)
            .map_err(|e| Failure {
                reason: FailureReason::CreateContainerError,
                ..super::sandbox::volume_failure(&e)
            })?;
    }
    Ok(())
}

fn open_all(
    parts: &Parts,
    pod: &AdmittedPod,
    planned: &Planned,
    namespaces: &SandboxNamespaces,
) -> Result<Vec<OwnedFd>, Failure> {
    planned
        .fds
        .iter()
        .map(|source| {
            open_one(
                parts,
                pod,
                &planned.description.container,
                source,
                Some(namespaces),
            )
        })
        .collect()
}

/// Opens what one descriptor of a plan is made from.
pub(crate) fn open_one(
    parts: &Parts,
    pod: &AdmittedPod,
    container: &ContainerKey,
    source: &FdSource,
    namespaces: Option<&SandboxNamespaces>,
) -> Result<OwnedFd, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        node_failure(
            FailureReason::CreateContainerError,
            format!("failed to open {what}: {error}"),
        )
    };
    match source {
        FdSource::Namespace(kind) => {
            let fd = namespaces.and_then(|ns| match kind {
                NamespaceKind::Net => ns.net.as_ref(),
                NamespaceKind::Ipc => Some(&ns.ipc),
                NamespaceKind::Uts => Some(&ns.uts),
            });
            let fd = fd.ok_or_else(|| failed("a namespace", &"the sandbox has none"))?;
            fd.try_clone().map_err(|e| failed("a namespace", &e))
        }
        FdSource::FirstProcess(name) => first_process(parts, pod, name),
        FdSource::Seccomp {
            source,
            capabilities,
        } => parts.programs.open(source, *capabilities),
        FdSource::Bind(source) => open_bind(parts, pod, container, source),
    }
}

/// A kubelet's words and reason for a target that does not run: it is tried again, as with any other configuration that cannot be had.
fn first_process(
    parts: &Parts,
    pod: &AdmittedPod,
    name: &ContainerName,
) -> Result<OwnedFd, Failure> {
    let missing = || Failure {
        reason: FailureReason::CreateContainerConfigError,
        message: format!("unable to find target container {name}"),
        fault: Fault::Workload,
        retry: true,
        retry_after: None,
    };
    let attempt = parts.host.running_attempt(pod.uid(), name);
    let key = ContainerKey::new(
        pod.uid().clone(),
        name.clone(),
        attempt.ok_or_else(missing)?,
    );
    let pidfd = parts.host.first_process(&key).ok_or_else(missing)?;
    pidfd.try_clone().map_err(|e| {
        let message = format!("failed to open the processes of container {name}: {e}");
        node_failure(FailureReason::CreateContainerError, message)
    })
}

fn open_bind(
    parts: &Parts,
    pod: &AdmittedPod,
    container: &ContainerKey,
    source: &BindSource,
) -> Result<OwnedFd, Failure> {
    let files = parts
        .paths
        .root
        .join("pods")
        .join(pod.uid().as_str())
        .join("files");
    match source {
        BindSource::Volume { name, sub_path, .. } => parts
            .volumes
            .mount_source(pod, name, sub_path.as_deref())
            .map_err(|e| super::sandbox::volume_failure(&e)),
        BindSource::PodFile(file) => open_path(&files.join(match file {
            PodFile::Hosts => "hosts",
            PodFile::Hostname => "hostname",
            PodFile::ResolvConf => "resolv.conf",
        })),
        BindSource::PodShm => super::shm::open(&parts.paths.root, pod.uid()).map_err(|e| {
            node_failure(
                FailureReason::CreateContainerError,
                format!("failed to make the pod's /dev/shm: {e}"),
            )
        }),
        BindSource::HostShm => open_path(Path::new("/dev/shm")),
        BindSource::TerminationLog => last_words::make(parts, container).map_err(|e| {
            node_failure(
                FailureReason::CreateContainerError,
                format!("failed to make the file for the termination message: {e}"),
            )
        }),
    }
}

fn open_path(path: &Path) -> Result<OwnedFd, Failure> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|e| {
        node_failure(
            FailureReason::CreateContainerError,
            format!("failed to open {}: {e}", path.display()),
        )
    })
}

pub(crate) async fn stop(
    parts: &Arc<Parts>,
    pod: Option<&AdmittedPod>,
    key: &ContainerKey,
) -> Answer {
    let signal = pod
        .and_then(|pod| pod.container(&key.name))
        .map_or(Signal::TERM, |(_, container)| {
            launch_plan::stop_signal(container, &stop_facts(parts, key).config)
        });
    parts
        .host
        .signal(key, signal)
        .map_err(|e| node_failure(FailureReason::FailedKillPod, chain(&e)))?;
    DONE
}

/// The image of a running container, for its stop signal; without one, nothing is asked for.
fn stop_facts(parts: &Parts, key: &ContainerKey) -> ImageFacts {
    let image_id = parts
        .host
        .launch_of(key)
        .ok()
        .map(|launch| launch.image_id.clone());
    image_id
        .and_then(|id| super::images::facts(parts, &id).ok())
        .unwrap_or_default()
}

pub(crate) async fn kill(parts: &Arc<Parts>, key: &ContainerKey) -> Answer {
    parts
        .host
        .kill(key)
        .await
        .map_err(|e| node_failure(FailureReason::FailedKillPod, chain(&e)))?;
    DONE
}

pub(crate) async fn remove(parts: &Arc<Parts>, key: &ContainerKey) -> Answer {
    parts
        .host
        .remove(key)
        .await
        .map_err(|e| node_failure(FailureReason::FailedKillPod, chain(&e)))?;
    last_words::remove(parts, key);
    parts.volumes.empty_trash();
    DONE
}
