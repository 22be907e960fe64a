//! Limits on disk space, which nothing enforces while they are broken: whoever breaks one is evicted.
//!
//! The kubelet's `localStorageEviction` (`pkg/kubelet/eviction/eviction_manager.go`): first the volumes in the pod's order, then the
//! pod, then its containers; one verdict per pod. Unlike the kubelet, which spares every static pod, this node evicts those too: on a
//! node without an API server there is nobody else to whom the limit could mean something.

use crate::requests::is_sidecar;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use pod_model::{Quantity, QuantityFormat};
use std::collections::BTreeMap;

const RESOURCE: &str = "ephemeral-storage";

/// What has to be measured to judge a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskLimits {
    /// An emptyDir has a size limit.
    pub volumes: bool,
    /// A container has a limit, and so has the pod.
    pub containers: bool,
}

impl DiskLimits {
    pub fn of(spec: &PodSpec) -> Self {
        Self {
            volumes: volume_limits(spec).next().is_some(),
            containers: pod_limit(spec).is_some(),
        }
    }
    pub fn any(self) -> bool {
        self.volumes || self.containers
    }
}

/// What a pod holds on the node's disk, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// By name; only those that lie on disk.
    pub empty_dirs: BTreeMap<String, u64>,
    pub containers: BTreeMap<String, ContainerDisk>,
}

/// What one container holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContainerDisk {
    /// What it wrote into its root file system.
    pub writable: u64,
    /// Of every attempt that has logs.
    pub logs: u64,
}

impl ContainerDisk {
    fn total(self) -> u64 {
        self.writable.saturating_add(self.logs)
    }
}

/// A pod that holds more than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskExcess {
    /// The `eviction_signal` of `kubelet_evictions`.
    pub signal: &'static str,
    /// For the status and the event, in the kubelet's words.
    pub message: String,
}

/// Whether the pod holds more than it may, and which limit it breaks first.
pub fn disk_excess(spec: &PodSpec, used: &DiskUse) -> Option<DiskExcess> {
    volume_excess(spec, used)
        .or_else(|| pod_excess(spec, used))
        .or_else(|| container_excess(spec, used))
}

fn volume_excess(spec: &PodSpec, used: &DiskUse) -> Option<DiskExcess> {
    let (name, limit) = volume_limits(spec).find(|(name, limit)| {
        used.empty_dirs
            .get(*name)
            .is_some_and(|bytes| is_more(*bytes, limit))
    })?;
    Some(DiskExcess {
        signal: "emptydirfs.limit",
        message: format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{limit}\". "),
    })
}

fn pod_excess(spec: &PodSpec, used: &DiskUse) -> Option<DiskExcess> {
    let limit = pod_limit(spec)?;
    let containers = used.containers.values().map(|c| c.total());
    let total = used
        .empty_dirs
        .values()
        .copied()
        .chain(containers)
        .fold(0u64, u64::saturating_add);
    is_more(total, &limit).then(|| DiskExcess {
        signal: "ephemeralpodfs.limit",
        message: format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        ),
    })
}

fn container_excess(spec: &PodSpec, used: &DiskUse) -> Option<DiskExcess> {
    spec.containers.iter().find_map(|container| {
        let limit = container_limit(container).filter(|limit| limit.amount.milli() > 0)?;
        let held = used.containers.get(&container.name)?.total();
        is_more(held, &limit).then(|| DiskExcess {
            signal: "ephemeralcontainerfs.limit",
            message: format!(
                "Container {} exceeded its local ephemeral storage limit \"{limit}\". ",
                container.name
            ),
        })
    })
}

/// An amount that can be written as the API server writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    amount: Quantity,
    format: QuantityFormat,
}

impl Limit {
    fn parse(text: &str) -> Option<Self> {
        Some(Self {
            amount: Quantity::parse(text).ok()?,
            format: QuantityFormat::of(text),
        })
    }
    fn plus(self, other: Self) -> Self {
        let milli = self.amount.milli().saturating_add(other.amount.milli());
        Self {
            amount: Quantity::from_milli(milli),
            // nothing has no format of its own
            format: if self.amount.milli() == 0 {
                other.format
            } else {
                self.format
            },
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.amount.canonical(self.format))
    }
}

fn is_more(bytes: u64, limit: &Limit) -> bool {
    i128::from(bytes).saturating_mul(1000) > limit.amount.milli()
}

/// Of the emptyDirs on disk: one in memory cannot grow beyond its limit. A limit of zero is none.
fn volume_limits(spec: &PodSpec) -> impl Iterator<Item = (&str, Limit)> {
    spec.volumes.iter().flatten().filter_map(|volume| {
        let empty_dir = volume.empty_dir.as_ref()?;
        let on_disk = empty_dir.medium.as_deref().unwrap_or_default().is_empty();
        let limit = Limit::parse(&empty_dir.size_limit.as_ref()?.0)?;
        (on_disk && limit.amount.milli() > 0).then_some((volume.name.as_str(), limit))
    })
}

fn container_limit(container: &Container) -> Option<Limit> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    Limit::parse(&limits.get(RESOURCE)?.0)
}

/// As [`crate::requests::pod_amounts`]. One without a limit adds nothing: as the kubelet's `PodLimits`.
fn pod_limit(spec: &PodSpec) -> Option<Limit> {
    let plus = |a: Option<Limit>, b: Option<Limit>| match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(b)),
        (one, other) => one.or(other),
    };
    let greater = |a: Option<Limit>, b: Option<Limit>| match (a, b) {
        (Some(a), Some(b)) => Some(if a.amount >= b.amount { a } else { b }),
        (one, other) => one.or(other),
    };
    let (mut sidecars, mut starting) = (None, None);
    for init in spec.init_containers.iter().flatten() {
        let together = plus(sidecars, container_limit(init));
        starting = greater(starting, together);
        if is_sidecar(init) {
            sidecars = together;
        }
    }
    let main = spec.containers.iter().map(container_limit);
    greater(starting, main.fold(sidecars, plus))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{container, pod};
    use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
    use k8s_openapi::apimachinery::pkg::api::resource;

    const MIB: u64 = 1 << 20;

    fn volume(name: &str, medium: &str, limit: Option<&str>) -> Volume {
        Volume {
            name: name.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some(medium.to_owned()),
                size_limit: limit.map(|text| resource::Quantity(text.to_owned())),
            }),
            ..Volume::default()
        }
    }

    fn used(empty_dirs: &[(&str, u64)], containers: &[(&str, u64, u64)]) -> DiskUse {
        DiskUse {
            empty_dirs: empty_dirs
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), *bytes))
                .collect(),
            containers: containers
                .iter()
                .map(|(name, writable, logs)| {
                    let (writable, logs) = (*writable, *logs);
                    ((*name).to_owned(), ContainerDisk { writable, logs })
                })
                .collect(),
        }
    }

    fn verdict(spec: &PodSpec, used: &DiskUse) -> Option<(&'static str, String)> {
        disk_excess(spec, used).map(|excess| (excess.signal, excess.message))
    }

    #[test]
    fn a_volume_over_its_limit_is_told_with_the_limit() {
        let mut spec = pod(&[], &[container("a", &[], &[])]);
        spec.volumes = Some(vec![
            volume("free", "", None),
            volume("zero", "", Some("0")),
            volume("memory", "Memory", Some("1Mi")),
            volume("data", "", Some("10240Ki")),
        ]);
        let wanted = DiskLimits {
            volumes: true,
            containers: false,
        };
        assert_eq!(DiskLimits::of(&spec), wanted);
        let all = |data| {
            let others = [("free", 99 * MIB), ("zero", 99 * MIB), ("memory", 99 * MIB)];
            used(&[others.as_slice(), &[("data", data)]].concat(), &[])
        };
        assert_eq!(verdict(&spec, &all(10 * MIB)), None, "as much as it may");
        let message = "Usage of EmptyDir volume \"data\" exceeds the limit \"10Mi\". ".to_owned();
        assert_eq!(
            verdict(&spec, &all(10 * MIB + 1)),
            Some(("emptydirfs.limit", message))
        );
    }

    #[test]
    fn a_pod_over_the_sum_of_its_limits_is_told_before_its_container() {
        let spec = pod(
            &[container("i", &[], &[(RESOURCE, "5Mi")])],
            &[
                container("a", &[], &[(RESOURCE, "3Mi")]),
                container("b", &[], &[(RESOURCE, "4Mi")]),
            ],
        );
        let held = used(&[("v", 2 * MIB)], &[("a", 3 * MIB, 1), ("b", 0, 2 * MIB)]);
        let message =
            "Pod ephemeral local storage usage exceeds the total limit of containers 7Mi. ";
        assert_eq!(
            verdict(&spec, &held),
            Some(("ephemeralpodfs.limit", message.to_owned()))
        );
        let held = used(&[], &[("a", 3 * MIB, 1), ("b", 0, 2 * MIB)]);
        let message = "Container a exceeded its local ephemeral storage limit \"3Mi\". ";
        assert_eq!(
            verdict(&spec, &held),
            Some(("ephemeralcontainerfs.limit", message.to_owned()))
        );
        assert_eq!(
            verdict(&spec, &used(&[], &[("a", 3 * MIB, 0)])),
            None,
            "as much as it may"
        );
    }

    #[test]
    fn a_pod_without_limits_may_have_it_all() {
        let mut spec = pod(&[], &[container("a", &[(RESOURCE, "1Mi")], &[])]);
        spec.volumes = Some(vec![volume("v", "", None)]);
        assert!(!DiskLimits::of(&spec).any());
        let held = used(&[("v", u64::MAX)], &[("a", u64::MAX, u64::MAX)]);
        assert_eq!(verdict(&spec, &held), None);
    }
}
