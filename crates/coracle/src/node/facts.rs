//! What this machine is: read once, at the start.

use anyhow::{Context, Result};
use launch_plan::{Device, DeviceKind, NodeFacts, SecurityDefaults};
use node_config::NodeConfig;
use node_policy::admission::{AdmittingNode, Allocatable, SysctlAllowList, SysctlError};
use pod_network::Cidr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Directories of `/dev` whose nodes are never a container's; `console` is made for each. As containerd's `HostDevices`.
const NOT_SHARED: [&str; 7] = [
    "pts",
    "shm",
    "fd",
    "mqueue",
    ".lxc",
    ".lxd-mounts",
    "console",
];
/// Deep enough for `/dev/bus/usb/001/001`.
const DEPTH: u32 = 4;

/// The host's name, in lower case as the API wants it.
pub(crate) fn host_name() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| "localhost".to_owned(),
        |name| name.nodename().to_string_lossy().to_lowercase(),
    )
}

pub(crate) fn read(config: &NodeConfig, node_name: &str) -> Result<NodeFacts> {
    let memory = memory_bytes().context("cannot read the size of the memory")?;
    let cpus =
        std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1));
    let disk = rustix::fs::statvfs(&config.root)
        .with_context(|| format!("cannot examine {}", config.root.display()))?;
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .context("cannot read the last capability")?;
    let mut host_devices = Vec::new();
    devices(Path::new("/dev"), DEPTH, &mut host_devices);
    Ok(NodeFacts {
        hostname: host_name(),
        node_name: node_name.to_owned(),
        host_ips: vec![host_ip(config.pod_cidr.parse().context("pod CIDR")?)],
        allocatable_cpu_millis: cpus * 1000,
        allocatable_memory_bytes: memory,
        allocatable_ephemeral_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        memory_capacity_bytes: memory,
        last_capability: last
            .trim()
            .parse()
            .context("the last capability is no number")?,
        throttle_cpus: throttle_cpus(),
        host_devices,
        security: SecurityDefaults {
            seccomp_runtime_default: config.seccomp_default,
            hardened: false,
        },
    })
}

/// What new pods are judged by. Nothing is reserved, so all of the machine can be allocated.
pub(crate) fn admitting(
    config: &NodeConfig,
    node: &NodeFacts,
) -> Result<AdmittingNode, SysctlError> {
    let amount = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let cores = node.allocatable_cpu_millis / 1000;
    let pods = most_pods(config.max_pods, config.pods_per_core, cores);
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Ok(AdmittingNode {
        name: node.node_name.clone(),
        labels: AdmittingNode::own_labels(&node.node_name, arch),
        allocatable: Allocatable {
            pods: amount(pods),
            cpu_millis: amount(node.allocatable_cpu_millis),
            memory_bytes: amount(node.allocatable_memory_bytes),
            ephemeral_bytes: amount(node.allocatable_ephemeral_bytes),
        },
        sysctls: SysctlAllowList::with(&config.allowed_unsafe_sysctls)?,
    })
}

/// `podsPerCore` only ever makes fewer than `maxPods`.
fn most_pods(max_pods: u32, per_core: u32, cores: u64) -> u64 {
    let max_pods = u64::from(max_pods);
    match u64::from(per_core) {
        0 => max_pods,
        per_core => max_pods.min(cores * per_core),
    }
}

fn memory_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .context("no MemTotal")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

fn host_ip(pods: Cidr) -> IpAddr {
    let addresses: Vec<(String, Ipv4Addr)> = nix::ifaddrs::getifaddrs()
        .into_iter()
        .flatten()
        .filter_map(|interface| {
            Some((
                interface.interface_name,
                interface.address?.as_sockaddr_in()?.ip(),
            ))
        })
        .collect();
    IpAddr::V4(choose_host_ip(
        &addresses,
        default_interface().as_deref(),
        pods,
    ))
}

/// The address of the interface that the default route leaves by; else any that is not loopback's; else loopback's. Never the address that
/// this node itself gave its end of the pod network, or it would have another one from its second start on.
fn choose_host_ip(addresses: &[(String, Ipv4Addr)], way_out: Option<&str>, pods: Cidr) -> Ipv4Addr {
    let mut outer = addresses
        .iter()
        .filter(|(_, ip)| !ip.is_loopback() && !ip.is_link_local() && !pods.contains(*ip));
    let first = outer.clone().next();
    let chosen = outer
        .find(|(name, _)| Some(name.as_str()) == way_out)
        .or(first);
    chosen.map_or(Ipv4Addr::LOCALHOST, |(_, ip)| *ip)
}

fn default_interface() -> Option<String> {
    let routes = fs::read_to_string("/proc/net/route").ok()?;
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then(|| name.to_owned())
    })
}

fn throttle_cpus() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu") else {
        return Vec::new();
    };
    let numbers = entries
        .flatten()
        .filter(|entry| entry.path().join("thermal_throttle").exists());
    let mut cpus: Vec<u32> = numbers
        .filter_map(|e| e.file_name().to_str()?.strip_prefix("cpu")?.parse().ok())
        .collect();
    cpus.sort_unstable();
    cpus
}

/// Goes on where something cannot be read: a privileged container lacks that node then.
fn devices(directory: &Path, depth: u32, found: &mut Vec<Device>) {
    let entries: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
    for entry in entries.unwrap_or_default() {
        let (name, path) = (entry.file_name(), entry.path());
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if name.to_str().is_none_or(|name| NOT_SHARED.contains(&name)) {
            continue;
        }
        let kind = metadata.file_type();
        if kind.is_dir() && depth > 0 {
            devices(&path, depth - 1, found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(Device {
                path: path.to_string_lossy().into_owned(),
                kind: if kind.is_block_device() {
                    DeviceKind::Block
                } else {
                    DeviceKind::Char
                },
                major: rustix::fs::major(metadata.rdev()),
                minor: rustix::fs::minor(metadata.rdev()),
                mode: metadata.mode() & 0o7777,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_per_core_can_only_make_fewer() {
        assert_eq!(most_pods(110, 0, 2), 110);
        assert_eq!(most_pods(110, 10, 2), 20);
        assert_eq!(most_pods(5, 10, 2), 5);
    }

    #[test]
    fn the_node_has_the_address_of_its_way_out_and_never_its_pods() {
        let pods: Cidr = "10.88.0.0/16".parse().expect("a CIDR");
        let of = |names: &[(&str, [u8; 4])], way_out| {
            let list: Vec<_> = names
                .iter()
                .map(|(name, ip)| ((*name).to_owned(), Ipv4Addr::from(*ip)))
                .collect();
            choose_host_ip(&list, way_out, pods).octets()
        };
        let lo = ("lo", [127, 0, 0, 1]);
        let own = ("cor113d", [10, 88, 0, 1]);
        let (first, second) = (("eth0", [192, 0, 2, 7]), ("eth1", [198, 51, 100, 7]));
        assert_eq!(of(&[lo, own, first, second], Some("eth1")), second.1);
        assert_eq!(of(&[lo, own, first, second], None), first.1);
        assert_eq!(of(&[lo, own, first], Some("gone")), first.1);
        assert_eq!(of(&[lo, own], None), lo.1);
    }
}
