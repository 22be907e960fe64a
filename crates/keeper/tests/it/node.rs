//! One keeper with everything around it, in a temporary directory.

use keeper::client::{Answer, Connection};
use keeper::exit_slot;
use keeper::protocol::{Event, Failure, Launched, Reply, Request};
use launch_plan::description::{
    Capabilities, CgroupPlacement, ContainerFiles, Device, DeviceKind, FdIndex, LaunchDescription,
    Mount, MountKind, Namespaces, PidNamespace, Process, Rootfs, SharedNamespace, Stdio,
};
use pod_model::{Attempt, ContainerKey, ContainerName, ExitCause, ExitRecord, PodUid};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// containerd's fourteen.
pub(crate) const DEFAULT_CAPS: u64 = 0xa80425fb;
const APPLETS: &[&str] = &[
    "sh", "true", "false", "sleep", "cat", "echo", "ls", "id", "stat", "mount", "umount", "mkdir",
    "touch", "hostname", "kill", "env", "pwd", "readlink", "grep", "tty", "stty", "ps", "ln",
    "mknod", "seq", "dd", "chmod", "head", "tr", "rm", "mv", "wc", "test", "yes",
];

/// Whether this test may do what it must: as root. In CI it fails rather than be skipped.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "these tests need root"
    );
    root
}

pub(crate) struct Node {
    pub(crate) directory: tempfile::TempDir,
    keeper: Option<Child>,
    cgroups: Vec<PathBuf>,
    is_v2: bool,
    pub(crate) namespaces: [File; 3],
    pub(crate) binary: PathBuf,
}

static NODES: AtomicU32 = AtomicU32::new(0);

impl Node {
    /// A keeper that listens, and a layer with a static busybox.
    pub(crate) fn new() -> Self {
        let mut node = Self::without_keeper();
        node.start_keeper();
        node
    }

    pub(crate) fn without_keeper() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("keeper-test-")
            .tempdir()
            .expect("a temporary directory");
        let path = directory.path();
        for name in ["run", "run/containers", "root", "logs", "layers"] {
            fs::create_dir(path.join(name)).expect("a directory");
        }
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let name = format!("keeper-test-{}-{number}", std::process::id());
        let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let cgroups = if is_v2 {
            vec![Path::new("/sys/fs/cgroup").join(&name)]
        } else {
            ["memory", "pids", "devices", "freezer", "cpu"]
                .map(|h| Path::new("/sys/fs/cgroup").join(h).join(&name))
                .to_vec()
        };
        for cgroup in &cgroups {
            fs::create_dir(cgroup).expect("a cgroup");
        }
        // on another machine than the one that built it, it lies elsewhere
        let binary = std::env::var_os("CORACLE_KEEPER_ALONE").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_keeper-alone")),
            PathBuf::from,
        );
        let node = Self {
            directory,
            keeper: None,
            cgroups,
            is_v2,
            namespaces: sandbox(),
            binary,
        };
        node.make_layer("base");
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/keeper.sock")
    }

    /// A layer with busybox and the directories that images have.
    pub(crate) fn make_layer(&self, name: &str) -> PathBuf {
        let layer = self.path("layers").join(name);
        for directory in ["", "bin", "etc", "tmp", "proc", "sys", "dev", "root", "var"] {
            fs::create_dir_all(layer.join(directory)).expect("a directory of the layer");
        }
        fs::copy("/bin/busybox", layer.join("bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet)).expect("a link");
        }
        fs::write(layer.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("passwd");
        layer
    }

    pub(crate) fn start_keeper(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("keeper.err"))
            .expect("a log");
        let child = Command::new(&self.binary)
            .arg(self.path("run"))
            .env_clear()
            .stderr(log)
            .spawn()
            .expect("a keeper");
        self.keeper = Some(child);
        eventually("the keeper listens", || {
            Connection::open(&self.socket(), PATIENCE).ok()
        });
    }

    pub(crate) fn keeper_pid(&self) -> u32 {
        self.keeper.as_ref().map_or(0, Child::id)
    }

    /// SIGKILL, and collected.
    pub(crate) fn kill_keeper(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            keeper.kill().expect("it is killed");
            keeper.wait().expect("it is collected");
        }
    }

    pub(crate) fn keeper_says(&self) -> String {
        fs::read_to_string(self.path("keeper.err")).unwrap_or_default()
    }

    /// Waits for the keeper to end by itself.
    pub(crate) fn keeper_ends(&mut self) -> bool {
        self.keeper
            .take()
            .is_some_and(|mut k| k.wait().is_ok_and(|s| s.success()))
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.socket(), PATIENCE).expect("the keeper answers")
    }

    pub(crate) fn key(name: &str) -> ContainerKey {
        let pod = PodUid::new("pod-1").expect("a uid");
        ContainerKey::new(
            pod,
            ContainerName::new(name).expect("a name"),
            Attempt::FIRST,
        )
    }

    fn placement(&self, name: &str) -> CgroupPlacement {
        let directories: Vec<PathBuf> = self.cgroups.iter().map(|c| c.join(name)).collect();
        for directory in &directories {
            fs::create_dir_all(directory).expect("a cgroup");
        }
        if self.is_v2 {
            CgroupPlacement::V2 {
                directory: directories[0].clone(),
            }
        } else {
            CgroupPlacement::V1 { directories }
        }
    }
    pub(crate) fn sub_placement(&self, container: &str, name: &str) -> CgroupPlacement {
        self.placement(&format!("{container}/{name}"))
    }

    /// What launch-plan makes of an ordinary container, with its directories made.
    pub(crate) fn plain(&self, name: &str, argv: &[&str]) -> LaunchDescription {
        let run = self.path("run/containers/pod-1").join(format!("{name}.0"));
        let root = self.path("root").join(name);
        for directory in [&run, &root.join("upper"), &root.join("work")] {
            fs::create_dir_all(directory).expect("a directory");
        }
        exit_slot::prepare(&root.join("exit")).expect("an exit slot");
        let own = |target: &str, what| Mount {
            target: target.into(),
            what,
        };
        let device = |path: &str, major, minor| Device {
            path: path.into(),
            kind: DeviceKind::Char,
            major,
            minor,
            mode: 0o666,
        };
        LaunchDescription {
            container: Self::key(name),
            namespaces: Namespaces {
                net: SharedNamespace::Enter(FdIndex(0)),
                ipc: SharedNamespace::Enter(FdIndex(1)),
                uts: SharedNamespace::Enter(FdIndex(2)),
                pid: PidNamespace::Private,
            },
            cgroup: self.placement(name),
            hostname: Some("inside".into()),
            rootfs: Rootfs {
                layers: vec![self.path("layers/base")],
                writable: root.clone(),
                readonly: false,
            },
            mounts: vec![
                own("/proc", MountKind::Proc),
                own(
                    "/dev",
                    MountKind::Tmpfs {
                        size_bytes: Some(64 << 20),
                        mode: 0o755,
                        noexec: false,
                    },
                ),
                own("/dev/pts", MountKind::Devpts),
                own("/dev/mqueue", MountKind::Mqueue),
                own("/sys", MountKind::Sysfs { readonly: true }),
                own("/sys/fs/cgroup", MountKind::Cgroup { readonly: true }),
            ],
            devices: vec![
                device("/dev/null", 1, 3),
                device("/dev/zero", 1, 5),
                device("/dev/full", 1, 7),
                device("/dev/random", 1, 8),
                device("/dev/urandom", 1, 9),
                device("/dev/tty", 5, 0),
            ],
            masked_paths: [
                "/proc/acpi",
                "/proc/kcore",
                "/proc/keys",
                "/proc/timer_list",
                "/proc/nothing",
                "/sys/firmware",
            ]
            .map(Into::into)
            .to_vec(),
            readonly_paths: [
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ]
            .map(Into::into)
            .to_vec(),
            process: Process {
                argv: argv.iter().map(|a| (*a).to_owned()).collect(),
                env: vec!["PATH=/bin".into(), "HOME=/root".into()],
                cwd: "/".into(),
                uid: 0,
                gid: 0,
                supplementary_gids: vec![],
                capabilities: Capabilities {
                    bounding: DEFAULT_CAPS,
                    effective: DEFAULT_CAPS,
                    permitted: DEFAULT_CAPS,
                },
                no_new_privileges: false,
                oom_score_adj: 500,
                seccomp: None,
            },
            stdio: Stdio {
                stdin: false,
                terminal: false,
            },
            files: ContainerFiles {
                exit: root.join("exit"),
                log: self.path("logs").join(format!("{name}.log")),
                run,
                log_max_bytes: 10 << 20,
                log_max_files: 5,
            },
        }
    }

    /// Net, ipc and uts of the sandbox, which come first, and then `more`.
    pub(crate) fn fds(&self, more: Vec<OwnedFd>) -> Vec<OwnedFd> {
        let own = self
            .namespaces
            .iter()
            .map(|f| OwnedFd::from(f.try_clone().expect("a copy")));
        own.chain(more).collect()
    }

    pub(crate) fn launch(
        &self,
        connection: &mut Connection,
        description: LaunchDescription,
    ) -> (Launched, Vec<OwnedFd>) {
        self.launch_with(connection, description, vec![])
    }

    pub(crate) fn launch_with(
        &self,
        connection: &mut Connection,
        description: LaunchDescription,
        more: Vec<OwnedFd>,
    ) -> (Launched, Vec<OwnedFd>) {
        let answer = connection
            .call(Request::Launch(Box::new(description)), self.fds(more))
            .expect("an answer");
        match answer {
            Answer {
                reply: Reply::Launched(launched),
                descriptors,
            } => (launched, descriptors),
            other => panic!("{other:?}\n{}", self.keeper_says()),
        }
    }

    pub(crate) fn launch_fails(
        &self,
        connection: &mut Connection,
        description: LaunchDescription,
        more: Vec<OwnedFd>,
    ) -> Failure {
        let answer = connection
            .call(Request::Launch(Box::new(description)), self.fds(more))
            .expect("an answer");
        match answer.reply {
            Reply::Failed(failure) => failure,
            other => panic!("it should have failed: {other:?}"),
        }
    }

    /// Launches, waits for the end, and returns the exit with everything printed.
    pub(crate) fn run(
        &self,
        description: LaunchDescription,
        more: Vec<OwnedFd>,
    ) -> (ExitRecord, String) {
        let mut connection = self.connect();
        let (key, log) = (description.container.clone(), description.files.log.clone());
        self.launch_with(&mut connection, description, more);
        let exit = exit_of(&mut connection, &key);
        let drained = connection
            .call(
                Request::Drain {
                    container: key.clone(),
                },
                vec![],
            )
            .expect("an answer");
        assert_eq!(drained.reply, Reply::Done);
        let forgotten = connection
            .call(Request::Forget { container: key }, vec![])
            .expect("an answer");
        assert_eq!(forgotten.reply, Reply::Done);
        (exit, text_of(&log))
    }

    /// Runs a shell script in an ordinary container, changed by `change`.
    pub(crate) fn sh(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut LaunchDescription),
    ) -> (ExitRecord, String) {
        let mut description = self.plain(name, &["/bin/sh", "-c", script]);
        change(&mut description);
        self.run(description, vec![])
    }

    fn kill_all(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut alive = 0;
            for directory in self.cgroups.iter().flat_map(|c| tree(c)) {
                let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
                for pid in procs.lines().filter_map(|l| l.parse::<u32>().ok()) {
                    alive += 1;
                    if let Ok(pidfd) = linux_sys::pidfd::pidfd_open(pid) {
                        let _ = linux_sys::pidfd::pidfd_kill(std::os::fd::AsFd::as_fd(&pidfd));
                    }
                }
            }
            if alive == 0 || Instant::now() > deadline {
                return;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.keeper_says();
            if !said.is_empty() {
                let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
            }
        }
        self.kill_all();
        for init in glob_pod_inits(&self.path("run/containers")) {
            if let Ok(pidfd) = linux_sys::pidfd::pidfd_open(init) {
                let _ = linux_sys::pidfd::pidfd_kill(std::os::fd::AsFd::as_fd(&pidfd));
            }
        }
        self.kill_keeper();
        for cgroup in &self.cgroups {
            for directory in tree(cgroup) {
                let _ = fs::remove_dir(directory);
            }
        }
    }
}

fn glob_pod_inits(containers: &Path) -> Vec<u32> {
    let pods = fs::read_dir(containers).into_iter().flatten().flatten();
    pods.filter_map(|pod| {
        let text = fs::read_to_string(pod.path().join("pod-init")).ok()?;
        text.split(' ').next()?.parse().ok()
    })
    .collect()
}

/// A directory and all below it, the deepest first.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .flat_map(|e| tree(&e.path()))
        .collect();
    all.push(directory.to_owned());
    all
}

/// New net, ipc and uts namespaces, kept by descriptors.
fn sandbox() -> [File; 3] {
    let made = std::thread::spawn(|| {
        use nix::sched::CloneFlags;
        let all = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
        nix::sched::unshare(all).expect("namespaces");
        ["net", "ipc", "uts"]
            .map(|kind| File::open(format!("/proc/thread-self/ns/{kind}")).expect("a namespace"))
    });
    made.join().expect("namespaces")
}

/// Waits for the exit of one container; others may end before it.
pub(crate) fn exit_of(connection: &mut Connection, key: &ContainerKey) -> ExitRecord {
    loop {
        if let Event::Exited { container, exit } = connection.event().expect("an exit")
            && container == *key
        {
            return exit;
        }
    }
}

/// The text of a log without times: `F` lines as they were written, both streams.
pub(crate) fn text_of(log: &Path) -> String {
    let mut text = String::new();
    for line in fs::read_to_string(log).unwrap_or_default().lines() {
        let mut words = line.splitn(4, ' ');
        let (_, _, tag, rest) = (words.next(), words.next(), words.next(), words.next());
        text.push_str(rest.unwrap_or_default());
        if tag == Some("F") {
            text.push('\n');
        }
    }
    text
}

/// How a process is reported whose parent, a former keeper, did not live to see the end: as it was, where the kernel can tell.
pub(crate) fn assert_end_of_orphan(exit: &ExitRecord, code: i32, signal: Option<i32>) {
    // `PIDFD_GET_INFO` tells it of a process that somebody else reaped
    let told = if linux_sys::pidfd::kernel_tells_exits() {
        (code, signal, ExitCause::Exited)
    } else {
        (137, None, ExitCause::Unknown)
    };
    assert_eq!((exit.code, exit.signal, exit.cause), told);
}

/// Polls until there is something, or three minutes have passed.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
