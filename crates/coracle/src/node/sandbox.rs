//! Making and undoing the parts of a pod's sandbox.

use super::outcome::{DONE, Spans, blocking, chain, node_failure};
use super::parts::Parts;
use container_host::HostPaths;
use pod_model::{AdmittedPod, Failure, FailureReason, Fault, Outcome, PodUid, Reason};
use pod_network::hostname::{Hostname, hostname};
use pod_network::hosts::hosts_file;
use pod_network::resolv_conf::{read_host, resolv_conf};
use pod_network::{HostPort, NetworkError, Protocol, Sysctl, Want};
use pod_volumes::VolumeError;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

type Answer = Result<Outcome, Failure>;

pub(crate) async fn prepare_cgroup(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    spans: &mut Spans,
) -> Answer {
    let (theirs, pod) = (Arc::clone(parts), pod.clone());
    let begun = Instant::now();
    blocking(FailureReason::FailedCreatePodSandBox, move || {
        let numbers = node_policy::pod_numbers(pod.spec(), pod.qos(), theirs.pod_pids_limit);
        theirs
            .cgroups
            .create_pod(pod.uid(), pod.qos(), &numbers)
            .map_err(|e| {
                node_failure(
                    FailureReason::FailedCreatePodSandBox,
                    format!("failed to make the pod's cgroup: {}", chain(&e)),
                )
            })
    })
    .await?;
    spans.push(("sandbox: cgroup".into(), begun.elapsed()));
    Ok(Outcome::Prepared {
        addresses: Vec::new(),
    })
}

pub(crate) async fn prepare_network(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    spans: &mut Spans,
) -> Answer {
    let name = pod_hostname(parts, pod)?;
    let sandbox = parts
        .network
        .acquire(pod.uid(), want(pod))
        .await
        .map_err(|e| network_failure("set up the pod's network", &e))?;
    spans.extend(
        sandbox
            .spans
            .iter()
            .map(|(name, took)| (format!("sandbox: network: {name}"), *took)),
    );
    let addresses = if pod.host_network() {
        parts.node.host_ips.clone()
    } else {
        sandbox.addresses.clone()
    };
    let begun = Instant::now();
    let (theirs, pod) = (Arc::clone(parts), pod.clone());
    let told = addresses.clone();
    blocking(FailureReason::FailedCreatePodSandBox, move || {
        sandbox
            .set_sysctls(&sysctls(&pod))
            .map_err(|e| network_failure("set the pod's sysctls", &e))?;
        write_files(&theirs, &pod, &name, &told).map_err(|(path, error)| {
            node_failure(
                FailureReason::FailedCreatePodSandBox,
                format!("failed to write {path}: {error}"),
            )
        })
    })
    .await?;
    spans.push(("sandbox: files".into(), begun.elapsed()));
    Ok(Outcome::Prepared {
        addresses: addresses.iter().map(ToString::to_string).collect(),
    })
}

fn network_failure(what: &str, error: &NetworkError) -> Failure {
    Failure {
        reason: FailureReason::FailedCreatePodSandBox,
        message: format!("failed to {what}: {}", error.chain()),
        fault: error.fault(),
        retry: error.retry(),
        retry_after: None,
    }
}

/// Those that admission let through: each is held by a namespace of the sandbox.
fn sysctls(pod: &AdmittedPod) -> Vec<Sysctl> {
    let context = pod.spec().security_context.as_ref();
    let given = context.and_then(|context| context.sysctls.as_ref());
    let sysctl = |given: &k8s_openapi::api::core::v1::Sysctl| Sysctl {
        path: path_of(&given.name),
        value: given.value.clone(),
    };
    given.into_iter().flatten().map(sysctl).collect()
}

/// `net.ipv4.conf.eth0/1.forwarding` is the file `net/ipv4/conf/eth0.1/forwarding`.
fn path_of(sysctl: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    node_policy::admission::dotted(sysctl)
        .chars()
        .map(swap)
        .collect()
}

pub(crate) fn pod_hostname(parts: &Parts, pod: &AdmittedPod) -> Result<Hostname, Failure> {
    hostname(
        pod,
        &parts.node.hostname,
        parts.dns.cluster_domain.as_deref(),
    )
    .map_err(|e| Failure {
        reason: FailureReason::FailedCreatePodSandBox,
        message: e.to_string(),
        fault: Fault::Workload,
        retry: true,
        retry_after: None,
    })
}

fn want(pod: &AdmittedPod) -> Want {
    let ports = pod
        .containers()
        .flat_map(|(_, _, container)| container.ports.iter().flatten());
    let host_ports = ports.filter_map(|port| {
        let number = |n: i32| u16::try_from(n).ok().filter(|n| *n > 0);
        let host_ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
        let protocol = Protocol::from_api(port.protocol.as_deref())?;
        Some(HostPort::new(
            protocol,
            host_ip,
            number(port.host_port?)?,
            number(port.container_port)?,
        ))
    });
    // on the host's network no rule is made for them, but two pods still cannot have the same one
    Want {
        host_network: pod.host_network(),
        host_ports: host_ports.collect(),
    }
}

/// hosts, hostname and resolv.conf. Written anew after a sandbox was made anew, in place: containers have the inodes bound.
fn write_files(
    parts: &Parts,
    pod: &AdmittedPod,
    name: &Hostname,
    addresses: &[IpAddr],
) -> Result<(), (String, io::Error)> {
    let dir = parts
        .paths
        .root
        .join("pods")
        .join(pod.uid().as_str())
        .join("files");
    let told = |path: &Path| {
        let path = path.display().to_string();
        move |error| (path, error)
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&dir)
        .map_err(told(&dir))?;
    let host_file = if pod.host_network() {
        fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        String::new()
    };
    let host_resolv = read_host(&parts.dns).unwrap_or_default();
    let resolv = resolv_conf(pod, &parts.dns, &host_resolv);
    for event in &resolv.events {
        note(parts, pod, event);
    }
    for (file, content) in [
        ("hosts", hosts_file(pod, name, addresses, &host_file)),
        ("hostname", format!("{}\n", name.kernel)),
        ("resolv.conf", resolv.content),
    ] {
        let path = dir.join(file);
        fs::write(&path, content).map_err(told(&path))?;
    }
    Ok(())
}

fn note(parts: &Parts, pod: &AdmittedPod, reason: &Reason) {
    parts
        .board
        .note_event(pod.uid(), pod.name(), None, reason, (parts.now)());
}

pub(crate) async fn prepare_volumes(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    spans: &mut Spans,
) -> Answer {
    let nothing_to_tell = Outcome::Prepared {
        addresses: Vec::new(),
    };
    if pod.spec().volumes.as_ref().is_none_or(Vec::is_empty) {
        return Ok(nothing_to_tell);
    }
    let (theirs, pod) = (Arc::clone(parts), pod.clone());
    let begun = Instant::now();
    blocking(FailureReason::FailedMount, move || {
        theirs.volumes.prepare(&pod).map_err(|e| volume_failure(&e))
    })
    .await?;
    spans.push(("sandbox: volumes".into(), begun.elapsed()));
    Ok(nothing_to_tell)
}

pub(crate) fn volume_failure(error: &VolumeError) -> Failure {
    Failure {
        reason: FailureReason::FailedMount,
        message: error.chain(),
        fault: error.fault(),
        retry: error.retry(),
        retry_after: None,
    }
}

pub(crate) async fn undo_cgroup(parts: &Arc<Parts>, uid: &PodUid) -> Answer {
    let (theirs, uid) = (Arc::clone(parts), uid.clone());
    blocking(FailureReason::FailedKillPod, move || {
        theirs.cgroups.remove_pod(&uid).map_err(|e| {
            node_failure(
                FailureReason::FailedKillPod,
                format!("failed to remove the pod's cgroup: {}", chain(&e)),
            )
        })
    })
    .await?;
    DONE
}

pub(crate) async fn undo_network(parts: &Arc<Parts>, uid: &PodUid) -> Answer {
    parts
        .host
        .end_pod(uid)
        .await
        .map_err(|e| node_failure(FailureReason::FailedKillPod, chain(&e)))?;
    parts.network.release(uid).await.map_err(|e| {
        node_failure(
            FailureReason::FailedKillPod,
            format!("failed to release the pod's network: {}", e.chain()),
        )
    })?;
    DONE
}

pub(crate) async fn undo_volumes(parts: &Arc<Parts>, uid: &PodUid) -> Answer {
    let (theirs, uid) = (Arc::clone(parts), uid.clone());
    blocking(FailureReason::FailedKillPod, move || {
        theirs.volumes.tear_down(&uid).map_err(|e| {
            node_failure(
                FailureReason::FailedKillPod,
                format!("failed to remove the pod's volumes: {}", e.chain()),
            )
        })
    })
    .await?;
    DONE
}

/// Takes away what is left on disk of a pod that is gone: its files and its logs.
pub(crate) async fn forget(parts: &Arc<Parts>, uid: &PodUid, pod: Option<&AdmittedPod>) -> Answer {
    let (theirs, uid, pod) = (Arc::clone(parts), uid.clone(), pod.cloned());
    blocking(FailureReason::FailedKillPod, move || {
        remove_files(&theirs.paths, &uid, pod.as_ref()).map_err(|e| {
            node_failure(
                FailureReason::FailedKillPod,
                format!("failed to remove the files of pod {uid}: {e}"),
            )
        })
    })
    .await?;
    DONE
}

fn remove_files(paths: &HostPaths, uid: &PodUid, pod: Option<&AdmittedPod>) -> io::Result<()> {
    let dir = paths.root.join("pods").join(uid.as_str());
    gone(fs::remove_dir_all(dir.join("files")))?;
    let logs = match pod {
        Some(pod) => vec![paths.logs_of_pod(pod.name(), uid)],
        // one that only the kernel knew has no name; the uid ends the name of its directory
        None => {
            let of_uid = |path: &PathBuf| {
                path.to_string_lossy()
                    .rsplit_once('_')
                    .is_some_and(|(_, end)| end == uid.as_str())
            };
            entries(&paths.pod_logs)?
                .into_iter()
                .map(|e| e.path())
                .filter(of_uid)
                .collect()
        }
    };
    for link in entries(&paths.log_links())? {
        if fs::read_link(link.path())
            .is_ok_and(|target| logs.iter().any(|dir| target.starts_with(dir)))
        {
            gone(fs::remove_file(link.path()))?;
        }
    }
    for dir in logs {
        gone(fs::remove_dir_all(dir))?;
    }
    let _ = fs::remove_dir(paths.pod_layers(uid));
    let _ = fs::remove_dir(dir);
    Ok(())
}

fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
