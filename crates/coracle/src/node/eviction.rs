//! Disk space: measured now and then for the pods that have a limit on it, and whoever holds more than he may is evicted.
//!
//! ```text
//!  board ──► pods with a limit ──► measure, on a thread that may block ──► node-policy: too much? ──► Input::Evicted
//! ```
//!
//! There is no quota in the kernel for a directory on every file system, so a limit is kept as a kubelet keeps it: by looking. What a
//! pod writes between two looks is lent to it.

use super::parts::Parts;
use node_policy::{ContainerDisk, DiskExcess, DiskLimits, DiskUse, disk_excess};
use pod_lifecycle::Input;
use pod_model::PodUid;
use pod_worker::{Inputs, PodView};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use telemetry::NodeMetrics;

/// As a kubelet's eviction manager.
const EVERY: Duration = Duration::from_secs(10);
/// Looking takes no more than one part in so many of the time, however many files a tenant makes.
const MOST: u32 = 20;

/// Runs as long as the agent.
pub(crate) async fn run(parts: Arc<Parts>, inputs: Inputs, metrics: Arc<NodeMetrics>) {
    let mut evicted = BTreeSet::new();
    let mut wait = EVERY;
    loop {
        tokio::time::sleep(wait).await;
        let pods = parts.board.pods();
        evicted.retain(|uid| pods.iter().any(|view| view.pod.uid() == uid));
        let limited: Vec<PodView> = pods
            .into_iter()
            .filter(|view| is_limited(view) && !evicted.contains(view.pod.uid()))
            .collect();
        if limited.is_empty() {
            wait = EVERY;
            continue;
        }
        let (theirs, begun) = (Arc::clone(&parts), Instant::now());
        let judged = tokio::task::spawn_blocking(move || judge(&theirs, limited));
        let Ok(judged) = judged.await else {
            tracing::error!("measuring disk space broke off");
            continue;
        };
        wait = EVERY.max(begun.elapsed() * MOST);
        for (uid, excess) in judged {
            tracing::warn!(pod.uid = %uid, signal = excess.signal, "evicting: {}", excess.message);
            metrics.observe_eviction(excess.signal);
            evicted.insert(uid.clone());
            let message = excess.message;
            if inputs.observe(Input::Evicted { uid, message }).is_err() {
                return;
            }
        }
    }
}

fn is_limited(view: &PodView) -> bool {
    let is_over = matches!(view.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    !is_over && view.deleting.is_none() && DiskLimits::of(view.pod.spec()).any()
}

fn judge(parts: &Parts, pods: Vec<PodView>) -> Vec<(PodUid, DiskExcess)> {
    pods.into_iter()
        .filter_map(|view| {
            let used = measure(parts, &view);
            Some((view.pod.uid().clone(), disk_excess(view.pod.spec(), &used)?))
        })
        .collect()
}

/// What cannot be measured counts for nothing: nobody is evicted for our troubles.
fn measure(parts: &Parts, view: &PodView) -> DiskUse {
    let uid = view.pod.uid();
    let mut used = DiskUse::default();
    match parts.volumes.usage(uid) {
        Ok(volumes) => used.empty_dirs.extend(
            volumes
                .into_iter()
                .filter(|volume| !volume.in_memory)
                .map(|volume| (volume.volume, volume.bytes)),
        ),
        Err(error) => {
            tracing::warn!(pod.uid = %uid, error = &error as &dyn std::error::Error, "volumes are not measured")
        }
    }
    if !DiskLimits::of(view.pod.spec()).containers {
        return used;
    }
    let logs = parts.paths.logs_of_pod(view.pod.name(), uid);
    for (_, name, _) in view.pod.containers() {
        let disk = ContainerDisk {
            writable: 0,
            logs: bytes(&logs.join(name.as_str())),
        };
        used.containers.insert(name.to_string(), disk);
    }
    for (key, ..) in parts.host.running() {
        if key.pod == *uid
            && let Some(disk) = used.containers.get_mut(key.name.as_str())
        {
            disk.writable = bytes(&parts.paths.writable_of(&key).join("upper"));
        }
    }
    used
}

fn bytes(tree: &Path) -> u64 {
    match pod_volumes::tree_bytes(tree) {
        Ok(bytes) => bytes,
        // not made yet, or gone meanwhile
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => {
            tracing::warn!(tree = %tree.display(), %error, "not measured");
            0
        }
    }
}
