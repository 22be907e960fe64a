//! The peers, with the same image on the same machine in the same run: crun and podman from Debian's packages.
//!
//! Both refuse a hybrid cgroup tree (v1 with a v2 tree beside it), and podman wants limits that need CAP_SYS_RESOURCE. So they run in a mount
//! namespace where the v2 tree is not mounted, and with limits that the machine has. Neither is slower for it.

use crate::row::Row;
use anyhow::{Context, ensure};
use node_tests::{Image, Sandbox, archive};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RUNS: usize = 30;

struct Peer {
    sandbox: Sandbox,
    dir: TempDir,
}

impl Peer {
    fn new() -> anyhow::Result<Self> {
        let sandbox = Sandbox::new();
        if Path::new("/sys/fs/cgroup/unified").is_dir() {
            sandbox.say("umount", &["/sys/fs/cgroup/unified"]);
        }
        let dir = tempfile::Builder::new()
            .prefix("coracle-peer-")
            .tempdir_in("/var/tmp")?;
        Ok(Self { sandbox, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, program: &str, words: &[&str]) -> anyhow::Result<String> {
        let output = self.sandbox.run(program, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "{program} {}: {}",
            words.join(" "),
            said.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Wall time of each of [`RUNS`] calls, well apart; `after` is not counted.
    fn time(
        &self,
        call: impl Fn() -> anyhow::Result<()>,
        after: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<f64>> {
        let mut samples = Vec::new();
        for number in 0..=RUNS {
            let begin = Instant::now();
            call()?;
            let took = begin.elapsed().as_secs_f64() * 1000.0;
            // The first warms the caches.
            if number > 0 {
                samples.push(took);
            }
            after()?;
            std::thread::sleep(Duration::from_millis(150));
        }
        Ok(samples)
    }
}

fn nothing() -> anyhow::Result<()> {
    Ok(())
}

pub(crate) fn crun() -> anyhow::Result<Vec<Row>> {
    let peer = Peer::new()?;
    let rootfs = peer.path("bundle/rootfs");
    fs::create_dir_all(rootfs.join("bin"))?;
    fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", rootfs.join("bin/true"))?;
    let bundle = peer.path("bundle").to_string_lossy().into_owned();
    peer.run("crun", &["spec", "--bundle", &bundle])
        .or_else(|_| peer.run("sh", &["-c", &format!("cd {bundle} && crun spec")]))?;
    let file = peer.path("bundle/config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    config["process"]["oomScoreAdj"] = json!(0);
    if let Some(process) = config["process"].as_object_mut() {
        process.remove("rlimits");
    }
    fs::write(&file, config.to_string())?;
    let state = peer.path("state").to_string_lossy().into_owned();
    let samples = peer.time(
        || {
            peer.run(
                "crun",
                &[
                    "--root",
                    &state,
                    "run",
                    "--bundle",
                    &bundle,
                    "coracle-bench",
                ],
            )
            .map(drop)
        },
        nothing,
    )?;
    Ok(vec![Row::new(
        "crun_run",
        samples,
        "wall time of `crun run` of /bin/true, removal included; no seccomp, network namespace with nothing in it",
    )])
}

struct Podman {
    peer: Peer,
    environment: String,
}

impl Podman {
    fn new() -> anyhow::Result<Self> {
        let peer = Peer::new()?;
        let config = peer.path("containers.conf");
        fs::write(
            &config,
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
             [engine]\nruntime = \"crun\"\nevents_logger = \"file\"\ncgroup_manager = \"cgroupfs\"\n",
        )?;
        let image = peer.path("busybox.tar");
        archive::oci(&image, &[("localhost/busybox:1", &Image::busybox())]);
        let podman = Self {
            environment: format!("CONTAINERS_CONF={}", config.display()),
            peer,
        };
        podman.run(&["load", "-i", &image.to_string_lossy()])?;
        Ok(podman)
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let (root, state) = (self.peer.path("root"), self.peer.path("state"));
        let (root, state) = (root.to_string_lossy(), state.to_string_lossy());
        let mut all = vec![
            self.environment.as_str(),
            "podman",
            "--root",
            &root,
            "--runroot",
            &state,
        ];
        all.extend(words);
        self.peer.run("env", &all)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Its pods first: a monitor process outlives its podman.
        let _ = self.run(&["pod", "rm", "--all", "--force", "--time", "0"]);
        let _ = self.run(&["rm", "--all", "--force", "--time", "0"]);
    }
}

pub(crate) fn podman_run() -> anyhow::Result<Vec<Row>> {
    let podman = Podman::new()?;
    let samples = podman.peer.time(
        || {
            podman
                .run(&[
                    "run",
                    "--rm",
                    "--network",
                    "none",
                    "localhost/busybox:1",
                    "/bin/true",
                ])
                .map(drop)
        },
        nothing,
    )?;
    Ok(vec![Row::new(
        "podman_run",
        samples,
        "wall time of `podman run --rm --network none` of /bin/true, runtime crun",
    )])
}

pub(crate) fn podman_kube_play() -> anyhow::Result<Vec<Row>> {
    let podman = Podman::new()?;
    let file = podman.peer.path("pod.yaml");
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bench"},
        "spec": {"containers": [{"name": "main", "image": "localhost/busybox:1", "command": ["/bin/sleep", "1000000"]}]},
    });
    fs::write(&file, manifest.to_string()).context("write a manifest")?;
    let file = file.to_string_lossy().into_owned();
    let samples = podman.peer.time(
        || {
            podman
                .run(&["kube", "play", "--network", "none", &file])
                .map(drop)
        },
        || {
            podman
                .run(&["pod", "rm", "--force", "--time", "0", "bench"])
                .map(drop)
        },
    )?;
    Ok(vec![Row::new(
        "podman_kube_play",
        samples,
        "wall time of `podman kube play --network none` of one container until it returns, runtime crun",
    )])
}
