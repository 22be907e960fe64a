//! What the API calls a volume → what this crate makes. Pure.

use crate::error::VolumeError;
use k8s_openapi::api::core::v1::{Container, Volume};
use pod_model::{AdmittedPod, ContainerRole, Quantity};
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Disk,
    Memory { size_bytes: u64 },
    HostPath { path: PathBuf, check: Check },
}

/// The types of `hostPath`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// None; a directory is made if nothing is there, as container runtimes do.
    Unset,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

/// `node_memory` in bytes bounds an emptyDir in memory that says no size.
pub(crate) fn kind(
    pod: &AdmittedPod,
    volume: &Volume,
    node_memory: u64,
) -> Result<Kind, VolumeError> {
    let unsupported = |what: String| VolumeError::Unsupported {
        volume: volume.name.clone(),
        what,
    };
    if let Some(host_path) = &volume.host_path {
        let check = match host_path.type_.as_deref().unwrap_or_default() {
            "" => Check::Unset,
            "DirectoryOrCreate" => Check::DirectoryOrCreate,
            "Directory" => Check::Directory,
            "FileOrCreate" => Check::FileOrCreate,
            "File" => Check::File,
            "Socket" => Check::Socket,
            "CharDevice" => Check::CharDevice,
            "BlockDevice" => Check::BlockDevice,
            other => return Err(unsupported(format!("hostPath type {other:?}"))),
        };
        return Ok(Kind::HostPath {
            path: PathBuf::from(&host_path.path),
            check,
        });
    }
    let Some(empty_dir) = &volume.empty_dir else {
        return Err(unsupported(format!(
            "a volume of the type {}",
            type_name(volume)
        )));
    };
    match empty_dir.medium.as_deref().unwrap_or_default() {
        "" => Ok(Kind::Disk),
        "Memory" => {
            let limit = bytes(empty_dir.size_limit.as_ref().map(|q| q.0.as_str()));
            Ok(Kind::Memory {
                size_bytes: memory_size(limit, pod_memory_limit(pod), node_memory),
            })
        }
        other => Err(unsupported(format!("emptyDir medium {other:?}"))),
    }
}

/// The smallest of what the volume says, what the pod may use at all, and what the node has; the kubelet's rule.
fn memory_size(volume: Option<u64>, pod: Option<u64>, node: u64) -> u64 {
    let limit = pod.filter(|p| *p > 0).map_or(node, |p| p.min(node));
    volume.filter(|v| *v > 0).map_or(limit, |v| v.min(limit))
}

/// Of the pod's cgroup: only if every container has a limit.
fn pod_memory_limit(pod: &AdmittedPod) -> Option<u64> {
    let of = |container: &Container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        bytes(limits.get("memory").map(|q| q.0.as_str()))
    };
    if let Some(limits) = pod
        .spec()
        .resources
        .as_ref()
        .and_then(|r| r.limits.as_ref())
        && let Some(limit) = bytes(limits.get("memory").map(|q| q.0.as_str()))
    {
        return Some(limit);
    }
    // what goes on beside what follows it, and the most that there is at once while the pod starts
    let (mut sum, mut most) = (0u64, 0);
    let all = pod.containers();
    // an ephemeral container has no limit, and is no part of what the pod asks for
    for (role, _, container) in all.filter(|(role, _, _)| *role != ContainerRole::Ephemeral) {
        let together = sum.saturating_add(of(container)?);
        most = together.max(most);
        match role {
            ContainerRole::Main | ContainerRole::Sidecar => sum = together,
            ContainerRole::Init | ContainerRole::Ephemeral => {}
        }
    }
    Some(most)
}

fn bytes(quantity: Option<&str>) -> Option<u64> {
    let milli = Quantity::parse(quantity?).ok()?.milli();
    u64::try_from(milli / 1000).ok()
}

/// The key of the volume's source in a manifest.
fn type_name(volume: &Volume) -> &'static str {
    let sources = [
        (
            "awsElasticBlockStore",
            volume.aws_elastic_block_store.is_some(),
        ),
        ("azureDisk", volume.azure_disk.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("csi", volume.csi.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("image", volume.image.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("nfs", volume.nfs.is_some()),
        (
            "persistentVolumeClaim",
            volume.persistent_volume_claim.is_some(),
        ),
        (
            "photonPersistentDisk",
            volume.photon_persistent_disk.is_some(),
        ),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("projected", volume.projected.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("secret", volume.secret.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
    ];
    sources
        .iter()
        .find(|(_, is_it)| *is_it)
        .map_or("(none)", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pod_model::QosClass;

    fn pod(spec: serde_json::Value) -> AdmittedPod {
        let pod = serde_json::json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": spec});
        AdmittedPod::from_validated(serde_json::from_value(pod).unwrap(), QosClass::BestEffort)
            .unwrap()
    }

    fn memory(size_limit: &str, limits: &[&str], init: &[&str]) -> Kind {
        let containers = |limits: &[&str]| -> Vec<serde_json::Value> {
            limits
                .iter()
                .enumerate()
                .map(|(n, limit)| serde_json::json!({"name": format!("c{n}"), "resources": {"limits": {"memory": limit}}}))
                .collect()
        };
        let spec = serde_json::json!({
            "containers": containers(limits), "initContainers": containers(init),
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": size_limit}}]
        });
        let pod = pod(spec);
        kind(&pod, &pod.spec().volumes.as_ref().unwrap()[0], 1 << 30).unwrap()
    }

    #[test]
    fn an_empty_dir_in_memory_is_as_large_as_the_smallest_limit() {
        let size = |size_bytes| Kind::Memory { size_bytes };
        assert_eq!(memory("64Mi", &["128Mi"], &[]), size(64 << 20));
        assert_eq!(memory("256Mi", &["64Mi", "64Mi"], &[]), size(128 << 20));
        assert_eq!(memory("256Mi", &["64Mi"], &["192Mi"]), size(192 << 20));
        assert_eq!(memory("0", &["128Mi"], &[]), size(128 << 20));
        assert_eq!(
            memory("4Gi", &["8Gi"], &[]),
            size(1 << 30),
            "never more than the node has"
        );
    }

    #[test]
    fn a_volume_of_another_type_is_refused_by_name() {
        for (source, said) in [
            (
                serde_json::json!({"configMap": {"name": "x"}}),
                "a volume of the type configMap",
            ),
            (
                serde_json::json!({"nfs": {"server": "x", "path": "/"}}),
                "a volume of the type nfs",
            ),
            (
                serde_json::json!({"emptyDir": {"medium": "HugePages"}}),
                "emptyDir medium \"HugePages\"",
            ),
            (
                serde_json::json!({"hostPath": {"path": "/", "type": "Dir"}}),
                "hostPath type \"Dir\"",
            ),
        ] {
            let mut volume = source;
            volume["name"] = "v".into();
            let pod = pod(serde_json::json!({"containers": [], "volumes": [volume]}));
            let error = kind(&pod, &pod.spec().volumes.as_ref().unwrap()[0], 1).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("volume \"v\": {said} is not supported by this node")
            );
        }
    }
}
