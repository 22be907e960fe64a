//! Every setting of a node, once: its type, its default, and the two structures that carry it.

use crate::units::ByteSize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// What one source (a file, the command line) says; `None` where it says nothing.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Settings {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        /// The configuration of a node with every default filled in.
        #[derive(Debug, Clone, PartialEq)]
        pub struct NodeConfig {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Settings {
            /// These settings, and where they say nothing, those of the weaker source.
            #[must_use]
            pub fn or(self, weaker: Settings) -> Settings {
                Settings { $($name: self.$name.or(weaker.$name),)* }
            }

            /// These settings, and where they say nothing, the defaults.
            #[must_use]
            pub fn or_defaults(self) -> NodeConfig {
                NodeConfig { $($name: self.$name.unwrap_or_else(|| $default),)* }
            }
        }

        impl From<NodeConfig> for Settings {
            fn from(config: NodeConfig) -> Settings {
                Settings { $($name: Some(config.$name),)* }
            }
        }
    };
}

settings! {
    /// The directory of the manifests.
    manifests: PathBuf = "/etc/coracle/manifests".into();
    /// Durable state.
    root: PathBuf = "/var/lib/coracle".into();
    /// State of one boot; also chooses the node for the other commands.
    run_dir: PathBuf = "/run/coracle".into();
    /// The node's name; empty: the host's, in lower case.
    node_name: String = String::new();
    /// The cgroup under which `kubepods` stands, from the root of the hierarchy.
    cgroup_root: String = "/".to_owned();
    /// Where pods get their addresses from.
    pod_cidr: String = "10.88.0.0/16".to_owned();
    listen_address: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    listen_port: u16 = 10250;
    pod_logs_dir: PathBuf = "/var/log/pods".into();
    /// `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,image_store=debug`.
    log_level: String = "info".to_owned();
    /// Nameservers of pods with the DNS policy ClusterFirst; none: they get the node's.
    cluster_dns: Vec<IpAddr> = Vec::new();
    cluster_domain: Option<String> = None;
    /// The node's own resolver file; empty: pods with the DNS policy Default get an empty one.
    resolv_conf: PathBuf = "/etc/resolv.conf".into();
    /// A container's log is rotated when it has reached this size.
    container_log_max_size: ByteSize = ByteSize(10 << 20);
    /// Files of one container's log, the current one among them; at least 2.
    container_log_max_files: u32 = 5;
    /// No crashing container waits longer than this: 1 s to 300 s.
    max_container_restart_period: Duration = Duration::from_secs(300);
    /// Images pulled at the same time; at least 1.
    max_parallel_image_pulls: u32 = 5;
    /// Processes and threads of one pod; `None`: no limit.
    pod_pids_limit: Option<u32> = Some(4096);
    /// Pods of this node.
    max_pods: u32 = 110;
    /// Pods of this node per core, if that are fewer; 0: as many as `max_pods`.
    pods_per_core: u32 = 0;
    /// Settings of the kernel that pods may have beside the safe ones, or patterns of such.
    allowed_unsafe_sysctls: Vec<String> = Vec::new();
    /// How often all manifests are read again, behind inotify.
    file_check_frequency: Duration = Duration::from_secs(20);
    /// Containers that say nothing of seccomp get RuntimeDefault.
    seccomp_default: bool = true;
    /// Asked before the registry itself, in order, by the registry's name.
    registry_mirrors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    /// `host[:port]` of registries that are spoken to by plain HTTP.
    insecure_registries: BTreeSet<String> = BTreeSet::new();
    /// Docker's `config.json` with the credentials of registries; `None`: the places that a kubelet looks at.
    docker_config: Option<PathBuf> = None;
    /// A directory with certificate authorities of registries, beside the system's.
    registry_ca_directory: Option<PathBuf> = None;
    /// Bounds on one image; `None`: the image store's own.
    image_max_layers: Option<u32> = None;
    image_max_layer_size: Option<ByteSize> = None;
    image_max_unpacked_size: Option<ByteSize> = None;
    image_max_entries: Option<u64> = None;
}

impl NodeConfig {
    /// Where the HTTP server listens.
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.listen_address, self.listen_port)
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Settings::default().or_defaults()
    }
}
