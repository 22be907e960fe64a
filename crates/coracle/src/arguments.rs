//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use node_client::Target;
use node_config::{Files, Settings};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use telemetry::logging::LogFormat;

/// A Kubernetes node agent in one small binary.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program is asked to be.

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the node: the pods of a directory of manifests
    Run(Box<RunArguments>),
    /// What the agent starts to hold the containers
    #[command(hide = true)]
    Keeper(KeeperArguments),
    #[command(flatten)]
    Ask(node_client::Command),
}

#[derive(Debug, Args)]
pub(crate) struct KeeperArguments {
    /// A cgroup directory to go to; one for each hierarchy
    #[arg(long = "cgroup")]
    pub(crate) cgroups: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Everything that has a default is optional; a flag wins over the files.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Configuration for people [a missing /etc/coracle/coracle.yaml is fine, another is not]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A KubeletConfiguration (kubelet.config.k8s.io/v1beta1)
    #[arg(long, value_name = "FILE")]
    kubelet_config: Option<PathBuf>,
    /// Parts of a KubeletConfiguration: *.conf, the later names win
    #[arg(long, value_name = "DIR")]
    kubelet_config_dir: Option<PathBuf>,
    /// The manifests of the pods [default: /etc/coracle/manifests]
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Durable state: images, records, volumes [default: /var/lib/coracle]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The node's name [default: the host's, in lower case]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// The cgroup that kubepods stands in [default: /]
    #[arg(long, value_name = "CGROUP")]
    cgroup_root: Option<String>,
    /// Where pods get their addresses from [default: 10.88.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pod_cidr: Option<String>,
    /// Where the kubelet's HTTP API listens; loopback only [default: 127.0.0.1:10250]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// The containers' logs [default: /var/log/pods]
    #[arg(long, value_name = "DIR")]
    pod_logs_dir: Option<PathBuf>,
    /// error, warn, info, debug, trace, or a list as info,image_store=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: Format,
}

const CORACLE_FILE: &str = "/etc/coracle/coracle.yaml";

impl RunArguments {
    /// Which files to read, what the flags say, how to log.
    pub(crate) fn split(self, run_dir: Option<PathBuf>) -> (Files, Settings, LogFormat) {
        let by_default = || Some(PathBuf::from(CORACLE_FILE)).filter(|path| path.exists());
        let files = Files {
            coracle: self.config.or_else(by_default),
            kubelet: self.kubelet_config,
            kubelet_drop_ins: self.kubelet_config_dir,
        };
        let flags = Settings {
            manifests: self.manifests,
            root: self.root,
            run_dir,
            node_name: self.node_name,
            cgroup_root: self.cgroup_root,
            pod_cidr: self.pod_cidr,
            listen_address: self.listen.map(|address| address.ip()),
            listen_port: self.listen.map(|address| address.port()),
            pod_logs_dir: self.pod_logs_dir,
            log_level: self.log_level,
            ..Settings::default()
        };
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        (files, flags, format)
    }
}

/// A line for the person on stderr.
pub(crate) fn say(line: &str) {
    // nobody to tell, if stderr is gone
    let _ = writeln!(std::io::stderr(), "{line}");
}
