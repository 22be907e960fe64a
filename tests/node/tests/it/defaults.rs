//! What a container gets when its pod says nothing: the safe choice, by the kernel's own word.

use node_tests::manifest::idle;
use node_tests::{Node, pod, process, sh};
use serde_json::json;
use std::os::unix::fs::MetadataExt;

/// containerd's fourteen, as a mask.
const DEFAULT_CAPABILITIES: u64 = 0x0000_0000_a804_25fb;

fn running() -> (Node, i32) {
    let node = Node::start();
    node.apply(&pod("plain").container(idle("main")));
    let plain = node.wait_ready("plain");
    let pid = node.container_pid(plain.uid(), "main").expect("a process");
    (node, pid)
}

fn mask(pid: i32, name: &str) -> u64 {
    let text = process::status(pid, name).expect("a mask");
    u64::from_str_radix(&text, 16).expect("hexadecimal")
}

#[test]
fn the_process_is_pid_1_in_namespaces_of_its_own() {
    let (node, pid) = running();
    assert_eq!(
        node.exec("plain", "main", &["cat", "/proc/1/comm"]).trim(),
        "sh"
    );
    for kind in ["pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        assert_ne!(
            process::namespace(pid, kind),
            process::namespace(1, kind),
            "{kind}"
        );
    }
    assert_eq!(
        node.exec("plain", "main", &["hostname"]).trim(),
        "plain-node"
    );
}

#[test]
fn capabilities_are_the_default_fourteen_and_none_is_inherited() {
    let (_node, pid) = running();
    let ours = mask(process_id(), "CapBnd");
    for name in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(mask(pid, name), DEFAULT_CAPABILITIES & ours, "{name}");
    }
    for name in ["CapInh", "CapAmb"] {
        assert_eq!(mask(pid, name), 0, "{name}");
    }
}

fn process_id() -> i32 {
    i32::try_from(std::process::id()).expect("a pid")
}

#[test]
fn seccomp_filters_and_refuses_what_it_should() {
    let (node, pid) = running();
    assert_eq!(process::status(pid, "Seccomp").as_deref(), Some("2"));
    let refused = node.coracle(&["exec", "plain", "--", "unshare", "-U", "true"]);
    assert!(!refused.status.success(), "a user namespace was made");
    let refused = node.coracle(&["exec", "plain", "--", "mount", "-t", "tmpfs", "x", "/tmp"]);
    assert!(!refused.status.success(), "a mount was made");
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_are_so() {
    let (node, _) = running();
    for file in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
    ] {
        let text = node.coracle(&[
            "exec",
            "plain",
            "--",
            "sh",
            "-c",
            &format!("[ ! -e {file} ] || head -c 1 {file} | wc -c"),
        ]);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(
            text.trim().is_empty() || text.trim() == "0",
            "{file} can be read"
        );
    }
    assert_eq!(
        node.exec(
            "plain",
            "main",
            &[
                "sh",
                "-c",
                "ls /sys/firmware /proc/scsi 2>/dev/null | grep -v : | wc -w"
            ]
        )
        .trim(),
        "0"
    );
    for path in [
        "/proc/sys/kernel/domainname",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
    ] {
        let written = node.coracle(&[
            "exec",
            "plain",
            "--",
            "sh",
            "-c",
            &format!("echo 0 > {path}"),
        ]);
        assert!(!written.status.success(), "{path} was written to");
    }
    let written = node.coracle(&["exec", "plain", "--", "sh", "-c", "mkdir /sys/fs/cgroup/x"]);
    assert!(!written.status.success(), "a cgroup was made");
}

#[test]
fn only_harmless_devices_are_there_and_no_other_can_be_opened() {
    let (node, _) = running();
    let devices = node.exec(
        "plain",
        "main",
        &[
            "sh",
            "-c",
            "cd /dev; find . -type c -o -type b | sort | tr '\n' ' '",
        ],
    );
    for device in [
        "./full",
        "./null",
        "./random",
        "./tty",
        "./urandom",
        "./zero",
    ] {
        assert!(devices.contains(device), "{device} is missing: {devices}");
    }
    assert!(
        !devices.contains("kmsg") && !devices.contains("mem"),
        "{devices}"
    );
    let kmsg = node.coracle(&[
        "exec",
        "plain",
        "--",
        "sh",
        "-c",
        "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg",
    ]);
    assert!(
        !kmsg.status.success(),
        "/dev/kmsg was read through a node of the container's making"
    );
    assert_eq!(
        node.exec("plain", "main", &["sh", "-c", "echo x > /dev/stdout"])
            .trim(),
        "x"
    );
}

#[test]
fn a_fork_bomb_meets_a_limit() {
    let (node, _) = running();
    let limits: Vec<u64> = process::cgroup_directories(&node.cgroup_root)
        .iter()
        .filter(|dir| dir.to_string_lossy().contains("/pod"))
        .filter_map(|dir| std::fs::read_to_string(dir.join("pids.max")).ok())
        .filter_map(|text| text.trim().parse().ok())
        .collect();
    assert!(
        limits.iter().any(|limit| *limit <= 4096),
        "no pids limit: {limits:?}"
    );
}

#[test]
fn the_kernel_frees_the_root_filesystem_with_its_last_process() {
    let (node, _) = running();
    let mounts = node
        .sandbox
        .enter(|| std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap());
    assert!(
        !mounts.contains("overlay"),
        "an overlay is mounted on the host:\n{mounts}"
    );
}

#[test]
fn a_container_sees_no_descriptor_but_its_three() {
    let node = Node::start();
    node.apply(
        &pod("fds")
            .once()
            .container(sh("main", "exec ls /proc/self/fd")),
    );
    node.wait_phase("fds", "Succeeded");
    let listed = node.logs("fds", "main");
    // 3 is the directory that ls itself has open.
    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
}

#[test]
fn a_program_may_reopen_its_standard_output_whatever_its_user() {
    let node = Node::start();
    node.apply(
        &pod("reopen")
            .once()
            .container(sh(
                "main",
                "echo again > /dev/stdout; echo err > /proc/self/fd/2",
            ))
            .with("securityContext", json!({"runAsUser": 1000})),
    );
    node.wait_phase("reopen", "Succeeded");
    let log = node.logs("reopen", "main");
    assert!(log.contains("again\n") && log.contains("err\n"), "{log}");
}

#[test]
fn directories_and_sockets_of_the_node_are_its_own() {
    let (node, _) = running();
    let mode = |path: std::path::PathBuf| {
        std::fs::metadata(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .mode()
            & 0o777
    };
    assert_eq!(mode(node.run_dir()), 0o700);
    assert_eq!(mode(node.run_dir().join("agent.sock")), 0o600);
    assert_eq!(mode(node.run_dir().join("keeper.sock")), 0o600);
    assert_eq!(
        mode(node.root()) & 0o007,
        0,
        "the root directory is open to everybody"
    );
}

#[test]
fn there_are_two_processes_per_node_however_many_pods() {
    let node = Node::start();
    for number in 0..5 {
        node.apply(&pod(&format!("p{number}")).container(idle("main")));
    }
    for number in 0..5 {
        node.wait_ready(&format!("p{number}"));
    }
    let others: Vec<_> = node
        .processes()
        .into_iter()
        .filter(|pid| {
            !process::cgroups(*pid)
                .iter()
                .any(|path| path.contains("/pod"))
        })
        .collect();
    assert_eq!(
        others.len(),
        2,
        "{:?}",
        others
            .iter()
            .map(|pid| process::command_line(*pid))
            .collect::<Vec<_>>()
    );
}
