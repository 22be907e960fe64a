//! The command line.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// Which node is meant.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Run directory of the node, which chooses it when there are several on this machine
    #[arg(
        long,
        global = true,
        env = "CORACLE_RUN_DIR",
        default_value = "/run/coracle",
        value_name = "DIR"
    )]
    pub run_dir: PathBuf,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List pods or events
    Get(Get),
    /// Show everything about a pod
    Describe(Describe),
    /// Print what a pod's containers wrote
    Logs(Logs),
    /// Run a command in a container
    Exec(Exec),
    /// Put a container with tools into a pod that runs
    Debug(Debug),
    /// Show what pods use of CPU and memory
    Top(Top),
    /// List images
    Images(Images),
    /// Pull an image
    Pull(Pull),
    /// Import images from a docker-archive or oci-archive file
    Load(Load),
    /// Remove images
    Rmi(Rmi),
    /// Show what happened to a pod, and when
    Explain(Explain),
    /// Stop every pod and the node itself
    Down,
    /// Print the versions of this program and of the agent
    Version,
    /// Print a script that completes commands in a shell
    Completion(Completion),
}

/// A namespace, or all.
#[derive(Debug, Clone, Args)]
pub struct Namespace {
    /// Namespace of the pods
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub namespace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resource {
    #[value(alias = "pod", alias = "po")]
    Pods,
    #[value(alias = "event", alias = "ev")]
    Events,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Yaml,
    Wide,
    Name,
}

/// What programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    Json,
    Yaml,
}

#[derive(Debug, Clone, Args)]
pub struct Get {
    /// `pods` or `events`
    pub resource: Resource,
    /// Only these, by name
    pub names: Vec<String>,
    #[command(flatten)]
    pub namespace: Namespace,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Another form than a table
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Go on with what changes
    #[arg(short, long)]
    pub watch: bool,
    /// Print no headings
    #[arg(long)]
    pub no_headers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PodsOnly {
    #[value(alias = "pod", alias = "po")]
    Pods,
}

#[derive(Debug, Clone, Args)]
pub struct Describe {
    /// `pod`
    pub resource: PodsOnly,
    /// These pods; all of the namespace if none is named
    pub names: Vec<String>,
    #[command(flatten)]
    pub namespace: Namespace,
}

#[derive(Debug, Clone, Args)]
pub struct Logs {
    /// The pod
    pub pod: String,
    /// The container; the first one if it is left out
    #[arg(conflicts_with_all = ["container", "all_containers"], value_name = "CONTAINER")]
    pub container_name: Option<String>,
    #[command(flatten)]
    pub namespace: Namespace,
    /// The container
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Those of every container of the pod
    #[arg(long, conflicts_with = "container")]
    pub all_containers: bool,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Those of the container's last life
    #[arg(short, long)]
    pub previous: bool,
    /// Put the time before each line
    #[arg(long)]
    pub timestamps: bool,
    /// Put pod and container before each line
    #[arg(long)]
    pub prefix: bool,
    /// Only the last so many lines; -1 is all
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "LINES")]
    pub tail: i64,
    /// Only those newer than this: 5s, 2m, 3h
    #[arg(long, value_name = "DURATION", value_parser = crate::age::parse_duration)]
    pub since: Option<std::time::Duration>,
    /// Only those after this time (RFC 3339)
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    pub since_time: Option<jiff::Timestamp>,
    /// End after so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit_bytes: Option<u64>,
}

#[derive(Debug, Clone, Args)]
pub struct Exec {
    /// The pod
    pub pod: String,
    #[command(flatten)]
    pub namespace: Namespace,
    /// The container; the first one if it is left out
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Pass stdin to the command
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// The container is ephemeral: it is started once, shares network and volumes of the pod as it may, and goes with the pod. This node cannot
/// attach to it: give it something to do, as in `coracle debug web --image busybox --target app -c tools -- sleep 1d`, and run a shell in
/// it with `coracle exec -it web -c tools -- sh`.
#[derive(Debug, Clone, Args)]
pub struct Debug {
    /// The pod
    pub pod: String,
    #[command(flatten)]
    pub namespace: Namespace,
    /// Image of the container
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// Container of the pod whose processes it is to see
    #[arg(long, value_name = "CONTAINER")]
    pub target: Option<String>,
    /// Name of the container; made up if it is left out
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Variable of its environment, as NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// `Always`, `IfNotPresent` or `Never`; by the image's tag if it is left out
    #[arg(long, value_name = "POLICY")]
    pub image_pull_policy: Option<String>,
    /// Not on this node: run `coracle exec -i` in it
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Not on this node: run `coracle exec -it` in it
    #[arg(short, long)]
    pub tty: bool,
    /// The command and its arguments; the image's own if it is left out
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Top {
    /// `pods`
    #[arg(default_value = "pods")]
    pub resource: PodsOnly,
    #[command(flatten)]
    pub namespace: Namespace,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Show each container
    #[arg(long)]
    pub containers: bool,
    /// Print no headings
    #[arg(long)]
    pub no_headers: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Images {
    /// Another form than a table
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Pull {
    /// As `docker.io/library/nginx:1.29`
    pub image: String,
}

#[derive(Debug, Clone, Args)]
pub struct Load {
    /// The archive; `-` is stdin
    pub archive: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct Rmi {
    /// Names or ids
    #[arg(required = true)]
    pub images: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Explain {
    /// The pod
    pub pod: String,
    #[command(flatten)]
    pub namespace: Namespace,
    /// Another form than a table
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Machine>,
}

#[derive(Debug, Clone, Args)]
pub struct Completion {
    pub shell: Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        target: Target,
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn commands_are_said_as_to_kubectl() {
        for line in [
            "get pods",
            "get po -A -o wide",
            "get pod hello -n kube-system -o=json",
            "get events -w",
            "describe pod hello",
            "logs -f hello -c main --tail=5 --since 1h30m",
            "logs hello main --previous --timestamps --prefix",
            "logs hello --all-containers --tail -1 --since-time=2026-11-21T10:00:00Z",
            "exec -it hello -c main -- sh -c true",
            "exec hello -- ls -l",
            "debug hello --image busybox",
            "debug hello --image=busybox --target app -c tools --env A=b --env C=d -it -- sh -c true",
            "top pods --containers",
            "top",
            "images",
            "--run-dir /x rmi a b",
            "explain hello --run-dir /x",
            "explain hello -o json",
            "down",
            "completion bash",
        ] {
            let words = ["coracle"].into_iter().chain(line.split(' '));
            let parsed = Line::try_parse_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for line in [
            "get nodes",
            "exec hello ls",
            "debug hello",
            "logs",
            "logs p c -c d",
            "logs p --since soon",
        ] {
            let words = ["coracle"].into_iter().chain(line.split(' '));
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
    }
}
