//! A corner of the machine: a network namespace (loopback only) and a mount namespace (private copies of the host's mounts).
//! Whatever a node mounts, links or routes is made in here and dies with it, so tests neither meet nor leave anything.

use anyhow::{Context, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Namespaces>,
}

struct Namespaces {
    net: File,
    mnt: File,
}

/// Runs `work` on a thread of its own: what it does to its namespaces ends with it. A panic in there goes on out here.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Sandbox {
    pub fn new() -> Self {
        match Self::make() {
            Ok(sandbox) => sandbox,
            Err(error) => panic!("no sandbox could be made (the tests need root): {error:#}"),
        }
    }

    fn make() -> anyhow::Result<Self> {
        let (net, mnt) = aside(|| -> anyhow::Result<(File, File)> {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("unshare")?;
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                None::<&str>,
            )
            .context("make mounts private")?;
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .context("ip")?;
            ensure!(up.success(), "could not set lo up");
            Ok((
                File::open("/proc/thread-self/ns/net")?,
                File::open("/proc/thread-self/ns/mnt")?,
            ))
        })?;
        Ok(Self {
            inner: Arc::new(Namespaces { net, mnt }),
        })
    }

    /// Runs `work` inside. Processes it starts stay inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        aside(|| {
            setns(&self.inner.net, CloneFlags::CLONE_NEWNET).expect("enter the network namespace");
            unshare(CloneFlags::CLONE_FS).expect("unshare the working directory");
            setns(&self.inner.mnt, CloneFlags::CLONE_NEWNS).expect("enter the mount namespace");
            work()
        })
    }

    /// Runs a program inside and returns what it said; panics if it cannot be started.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.enter(|| {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap_or_else(|error| panic!("could not start {program}: {error}"))
        })
    }

    /// Standard output of a program that must succeed.
    #[track_caller]
    pub fn say(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A path by which another process of ours can name the network namespace.
    pub fn net_path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.inner.net.as_raw_fd()
        ))
    }

    /// The identity of the mount namespace, as `readlink /proc/PID/ns/mnt` shows it.
    pub fn mnt_identity(&self) -> String {
        let link = format!("/proc/self/fd/{}", self.inner.mnt.as_raw_fd());
        std::fs::read_link(link)
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Another machine, wired to this one: this end has 192.0.2.1/24 and a default route by way of 192.0.2.2, the other end.
    pub fn with_outside(&self) -> Sandbox {
        let outside = Sandbox::new();
        let there = outside.net_path();
        let there = there.to_string_lossy();
        self.say(
            "ip",
            &[
                "link", "add", "uplink", "type", "veth", "peer", "name", "world", "netns", &there,
            ],
        );
        self.say("ip", &["addr", "add", "192.0.2.1/24", "dev", "uplink"]);
        self.say("ip", &["link", "set", "uplink", "up"]);
        outside.say("ip", &["addr", "add", "192.0.2.2/24", "dev", "world"]);
        outside.say("ip", &["link", "set", "world", "up"]);
        self.say("ip", &["route", "add", "default", "via", "192.0.2.2"]);
        outside
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}
