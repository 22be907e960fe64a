//! A machine of one's own: a thread in a new network and mount namespace, with a runtime whose threads are born there.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use pod_model::PodUid;
use pod_network::{NetworkConfig, PodNetwork, Sandbox};
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs `test` on the machine. A panic in it is the test's.
pub(crate) fn on_a_machine<F: Future<Output = ()>>(test: impl FnOnce(Lab) -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "this test needs root"
        );
        said_skipped();
        return;
    }
    let result = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_PRIVATE | MsFlags::MS_REC,
            None::<&str>,
        )
        .unwrap();
        let run = tempfile::tempdir().unwrap();
        mount(
            Some("tmpfs"),
            run.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        let lab = Lab {
            run_dir: run.path().to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(test(lab))));
        drop(runtime);
        nix::mount::umount2(run.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) struct Lab {
    pub(crate) run_dir: PathBuf,
}

impl Lab {
    pub(crate) fn config(&self) -> NetworkConfig {
        NetworkConfig {
            run_dir: self.run_dir.clone(),
            pod_cidr: "10.77.0.0/16".parse().unwrap(),
            pool_size: 4,
            node_hash: 0xbeef,
        }
    }
    pub(crate) fn start(&self) -> PodNetwork {
        PodNetwork::start(self.config()).unwrap()
    }
    /// Names of our links in this machine's network namespace.
    pub(crate) fn links(&self) -> Vec<String> {
        names_in("/proc/thread-self/net/dev")
    }
    /// Pins that are mounted.
    pub(crate) fn pins(&self) -> usize {
        let ns = format!("{}/ns/", self.run_dir.display());
        std::fs::read_to_string("/proc/thread-self/mountinfo")
            .unwrap()
            .lines()
            .filter(|line| line.contains(&ns))
            .count()
    }
    pub(crate) fn files(&self, below: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.run_dir.join(below))
            .map(|entries| {
                entries
                    .flatten()
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }
}

fn names_in(path: &str) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .filter(|name| name.starts_with("cor"))
        .collect()
}

pub(crate) fn uid(text: &str) -> PodUid {
    PodUid::new(text).unwrap()
}

/// Waits for `what` to become true.
pub(crate) fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs `work` inside the network namespace that is pinned there.
pub(crate) fn inside<T: Send + 'static>(
    net: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    spawn_inside(net, work).join().unwrap()
}

pub(crate) fn spawn_inside<T: Send + 'static>(
    net: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let net = File::open(net).unwrap();
    std::thread::spawn(move || {
        setns(&net, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

pub(crate) fn net(sandbox: &Sandbox) -> PathBuf {
    sandbox
        .net
        .clone()
        .expect("the pod has a network of its own")
}

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn said_skipped() {
    eprintln!("skipped: needs root");
}

/// Runs a command of the machine this thread is on. For tests only: the node itself executes nothing.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = std::process::Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|e| panic!("{command}: {e}"));
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Another machine on the same wire: it is 198.51.100.2, ours is 198.51.100.1; it knows no way to the pods.
pub(crate) struct Outside {
    net: File,
}

impl Outside {
    pub(crate) fn new() -> Self {
        let ours = nix::unistd::gettid();
        let net = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run(&format!(
                "ip link add eth0 type veth peer name up0 netns {ours}"
            ));
            run("ip address add 198.51.100.2/24 dev eth0");
            run("ip link set eth0 up");
            run("ip link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        })
        .join()
        .unwrap();
        run("ip address add 198.51.100.1/24 dev up0");
        run("ip link set up0 up");
        Self { net }
    }
    pub(crate) fn net(&self) -> PathBuf {
        format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.net)
        )
        .into()
    }
}
