//! One node: the real binary with everything of its own.

mod ask;
mod clean;
mod processes;

use crate::image::Image;
use crate::manifest::{BUSYBOX, Manifest};
use crate::sandbox::Sandbox;
use crate::wait::{seconds, wait_for};
use crate::{archive, process};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tempfile::TempDir;

/// The binary under test: what `CORACLE_BIN` names, or what cargo builds now.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("CORACLE_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "coracle",
            "--bin",
            "coracle",
        ])
        .current_dir(&workspace)
        .status()
        .expect("run cargo");
    assert!(status.success(), "coracle does not build");
    // This program lies in target/debug/deps.
    let own = std::env::current_exe().expect("the path of this program");
    let profile = own
        .ancestors()
        .find(|dir| dir.ends_with("deps"))
        .and_then(Path::parent)
        .expect("target/debug");
    profile.join("coracle")
}

/// A test that panicked while it held the lock leaves a value that is still good for cleaning up.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct NodeBuilder {
    sandbox: Sandbox,
    name: String,
    pod_cidr: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    binary: PathBuf,
    config: String,
    kubelet_config: Option<String>,
    with_busybox: bool,
}

/// Kernel names and ports of nodes that share a machine must differ.
static COUNT: AtomicU16 = AtomicU16::new(0);

pub struct Node {
    pub name: String,
    pub sandbox: Sandbox,
    pub pod_cidr: String,
    pub cgroup_root: String,
    /// `host:port` of the HTTP server, inside the sandbox.
    pub address: String,
    /// The binary that the next start uses.
    binary: Mutex<PathBuf>,
    dir: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    agent: Mutex<Option<Child>>,
}

impl Node {
    /// In a sandbox of its own.
    pub fn builder() -> NodeBuilder {
        Self::builder_in(&Sandbox::new())
    }

    pub fn builder_in(sandbox: &Sandbox) -> NodeBuilder {
        NodeBuilder {
            sandbox: sandbox.clone(),
            name: "node".to_owned(),
            pod_cidr: "10.88.0.0/16".to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            binary: binary().to_owned(),
            config: String::new(),
            kubelet_config: None,
            with_busybox: true,
        }
    }

    /// A running node that has [`BUSYBOX`].
    pub fn start() -> Node {
        Self::builder().start()
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn root(&self) -> PathBuf {
        self.dir("root")
    }
    pub fn run_dir(&self) -> PathBuf {
        self.dir("run")
    }
    pub fn manifests(&self) -> PathBuf {
        self.dir("manifests")
    }
    pub fn logs_dir(&self) -> PathBuf {
        self.dir("log/pods")
    }

    /// Starts the agent and waits until it answers.
    pub fn start_agent(&self) {
        self.spawn_agent();
        self.wait_agent();
    }

    /// Starts the agent and does not wait.
    pub fn spawn_agent(&self) {
        assert!(self.agent().is_none(), "the agent runs already");
        let log = self.agent_log_file();
        let mut command = self.command();
        command
            .arg("run")
            .arg("--manifests")
            .arg(self.manifests())
            .arg("--root")
            .arg(self.root())
            .arg("--run-dir")
            .arg(self.run_dir())
            .arg("--config")
            .arg(self.dir("coracle.yaml"))
            .args(["--node-name", &self.name])
            .args(["--cgroup-root", &self.cgroup_root])
            .args(["--pod-cidr", &self.pod_cidr])
            .args(["--listen", &self.address])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("duplicate a descriptor"))
            .stderr(log);
        let child = self
            .sandbox
            .enter(|| command.spawn())
            .expect("start coracle");
        *self.agent() = Some(child);
    }

    pub fn wait_agent(&self) {
        wait_for("the agent to answer", seconds(20), || {
            if let Some(status) = self.agent_ended() {
                panic!(
                    "the agent ended with {status} while starting:\n{}",
                    self.agent_log()
                );
            }
            // an answer: a connection alone may be to a child, half made, of an agent that was killed
            self.fetch(&self.address, "/healthz").ok()
        });
    }

    fn agent_log_file(&self) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir("agent.log"))
            .expect("open the agent's log")
    }

    /// All that the agents of this node have written.
    pub fn agent_log(&self) -> String {
        fs::read(self.dir("agent.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The binary with this node's environment, not yet told what to do.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&*guard(&self.binary));
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command.env("CORACLE_TEST_NODE", self.dir.path());
        command.env_remove("CORACLE_RUN_DIR");
        command
    }

    /// Puts a manifest in place the way an editor does: written aside, then renamed.
    pub fn apply(&self, manifest: &Manifest) {
        self.write_manifest(&format!("{}.yaml", manifest.name()), &manifest.text());
    }

    pub fn write_manifest(&self, file: &str, text: &str) {
        let aside = self.manifests().join(format!(".{file}.swp"));
        fs::write(&aside, text).expect("write a manifest");
        fs::rename(&aside, self.manifests().join(file)).expect("put a manifest in place");
    }

    pub fn remove_manifest(&self, name: &str) {
        fs::remove_file(self.manifests().join(format!("{name}.yaml"))).expect("remove a manifest");
    }

    /// Loads an image under a reference, from an OCI archive.
    pub fn load(&self, reference: &str, image: &Image) {
        let file = self.dir("load.tar");
        archive::oci(&file, &[(reference, image)]);
        self.say(&["load", &file.to_string_lossy()]);
        let _ = fs::remove_file(file);
    }

    /// From the next start of the agent on.
    pub fn replace_binary(&self, file: &Path) {
        file.clone_into(&mut guard(&self.binary));
    }

    fn agent(&self) -> MutexGuard<'_, Option<Child>> {
        guard(&self.agent)
    }

    pub(crate) fn temp(&self) -> &Path {
        self.dir.path()
    }
}

impl NodeBuilder {
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }
    pub fn pod_cidr(mut self, cidr: &str) -> Self {
        cidr.clone_into(&mut self.pod_cidr);
        self
    }
    /// More options of `coracle run`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&text| text.to_owned()));
        self
    }
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
    pub fn binary(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.binary);
        self
    }
    pub fn without_images(mut self) -> Self {
        self.with_busybox = false;
        self
    }

    /// Makes the directories and starts nothing.
    pub fn prepare(self) -> Node {
        let dir = tempfile::Builder::new()
            .prefix("coracle-test-")
            .tempdir()
            .expect("make a directory");
        for name in ["root", "run", "manifests", "log/pods"] {
            fs::create_dir_all(dir.path().join(name)).expect("make a directory");
        }
        let logs = dir.path().join("log/pods");
        let config = format!("podLogsDir: {}\n{}", logs.display(), self.config);
        fs::write(dir.path().join("coracle.yaml"), config).expect("write coracle.yaml");
        let mut arguments = self.arguments;
        if let Some(lines) = self.kubelet_config {
            let file = dir.path().join("kubelet.yaml");
            let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
            fs::write(&file, format!("{head}{lines}")).expect("write a KubeletConfiguration");
            arguments.extend([
                "--kubelet-config".to_owned(),
                file.to_string_lossy().into_owned(),
            ]);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Node {
            cgroup_root: format!("/coracle-test-{}-{number}", std::process::id()),
            address: format!("127.0.0.1:{}", 10250 + number % 1000),
            name: self.name,
            sandbox: self.sandbox,
            pod_cidr: self.pod_cidr,
            binary: Mutex::new(self.binary),
            dir,
            arguments,
            environment: self.environment,
            agent: Mutex::new(None),
        }
    }

    /// Lines of `coracle.yaml`.
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }
    /// Lines of a `KubeletConfiguration`.
    pub fn kubelet_config(mut self, lines: &str) -> Self {
        self.kubelet_config.get_or_insert_default().push_str(lines);
        self
    }

    /// A running node.
    pub fn start(self) -> Node {
        let with_busybox = self.with_busybox;
        let node = self.prepare();
        node.start_agent();
        if with_busybox {
            node.load(BUSYBOX, &Image::busybox());
        }
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        self.clean();
    }
}

impl Node {
    /// What a person would look at first.
    fn show(&self) {
        let log = self.agent_log();
        let tail: Vec<_> = log.lines().rev().take(60).collect();
        eprintln!("---- {}: end of the agent's log", self.temp().display());
        for line in tail.into_iter().rev() {
            eprintln!("{line}");
        }
        if let Some(pid) = self.agent_pid().filter(|pid| process::lives(*pid)) {
            eprintln!("---- the agent runs (process {pid}); pods:");
            let output = self.coracle(&["get", "pods", "-o", "yaml"]);
            eprintln!("{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
