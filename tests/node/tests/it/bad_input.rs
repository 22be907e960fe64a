//! Configuration, state and disks that are wrong: said by name, and nothing lost.

use node_tests::manifest::idle;
use node_tests::{Node, pod, process, seconds, sh, wait_until};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

#[track_caller]
fn refuses_to_start(node: &Node) -> String {
    node.spawn_agent();
    let mut status = None;
    wait_until("the agent to refuse", seconds(20), || {
        status = node.agent_ended();
        status.is_some()
    });
    assert!(!status.is_some_and(|status| status.success()));
    node.agent_log()
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let node = Node::builder().config("maxPodz: 3\n").prepare();
    let said = refuses_to_start(&node);
    assert!(
        said.contains("maxPodz") && said.contains("maxPods") && said.contains("coracle.yaml"),
        "{said}"
    );
}

#[test]
fn a_key_of_the_wrong_type_is_refused_with_its_line() {
    let node = Node::builder().config("maxPods: many\n").prepare();
    let said = refuses_to_start(&node);
    assert!(said.contains("maxPods") && said.contains(":2"), "{said}");
}

#[test]
fn what_a_kubelet_knows_and_this_node_does_not_is_refused_by_name() {
    let node = Node::builder()
        .kubelet_config("cpuManagerPolicy: static\n")
        .prepare();
    let said = refuses_to_start(&node);
    assert!(said.contains("cpuManagerPolicy"), "{said}");
}

#[test]
fn a_flag_that_is_no_address_range_is_refused() {
    let node = Node::builder().pod_cidr("10.88.0.0/99").prepare();
    let said = refuses_to_start(&node);
    assert!(said.contains("10.88.0.0/99"), "{said}");
}

#[test]
fn a_second_agent_on_the_same_run_directory_is_refused() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    let before = node.wait_ready("web");
    let mut command = node.command();
    command
        .arg("run")
        .arg("--run-dir")
        .arg(node.run_dir())
        .arg("--root")
        .arg(node.root())
        .arg("--manifests")
        .arg(node.manifests())
        .args([
            "--cgroup-root",
            &node.cgroup_root,
            "--listen",
            "127.0.0.1:10999",
        ]);
    let output = node.sandbox.enter(|| command.output()).unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&*node.run_dir().to_string_lossy()), "{said}");
    assert_eq!(
        node.wait_ready("web").container("main").id(),
        before.container("main").id()
    );
}

/// Every file in which the pod's record lies: at once in the run directory, soon after in the root directory.
fn records(node: &Node, name: &str) -> Vec<PathBuf> {
    let uid = node.pod(name).expect("the pod").uid().to_owned();
    let durable = node.root().join("pods").join(&uid).join("record");
    wait_until("the record to be durable", seconds(10), || durable.exists());
    vec![
        node.run_dir().join("pods").join(format!("{uid}.record")),
        durable,
    ]
}

#[test]
fn a_corrupt_record_is_quarantined_said_once_and_rebuilt() {
    for damage in ["flipped", "short", "empty"] {
        let node = Node::start();
        node.apply(&pod("hurt").container(idle("main")));
        node.apply(&pod("well").container(idle("main")));
        let well = node.wait_ready("well");
        node.wait_ready("hurt");
        let files = records(&node, "hurt");
        node.kill_agent();
        for file in files {
            let mut bytes = fs::read(&file).unwrap();
            match damage {
                "flipped" => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x40;
                }
                "short" => bytes.truncate(bytes.len() / 2),
                _ => bytes.clear(),
            }
            fs::write(&file, bytes).unwrap();
        }
        node.start_agent();
        node.wait_ready("hurt");
        assert_eq!(
            node.wait_ready("well").container("main").id(),
            well.container("main").id(),
            "{damage}"
        );
        let log = node.agent_log();
        let said = log
            .lines()
            .filter(|line| line.contains("is corrupt") && line.contains(".record"))
            .count();
        assert_eq!(said, 1, "{damage}: {log}");
        let uid = node.pod("hurt").expect("the pod").uid().to_owned();
        let running = node
            .processes()
            .into_iter()
            .filter(|pid| {
                process::cgroups(*pid)
                    .iter()
                    .any(|path| path.contains(&format!("pod{uid}/main.")))
            })
            .filter(|pid| {
                process::command_line(*pid)
                    .first()
                    .is_some_and(|word| word.ends_with("sh"))
            })
            .count();
        assert_eq!(running, 1, "{damage}: it runs {running} times");
    }
}

#[test]
fn every_state_file_may_be_garbage() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    node.wait_ready("web");
    node.kill_agent();
    let mut spoilt = 0;
    for dir in [
        node.root().join("pods"),
        node.run_dir().join("pods"),
        node.run_dir().join("net"),
    ] {
        for path in node_tests::leaks::files(&dir) {
            let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
            let name = path.rsplit('/').next().unwrap_or_default();
            if is_file && !path.contains("/upper/") && !path.contains("/files/") && name != "exit" {
                fs::write(&path, b"garbage").unwrap();
                spoilt += 1;
            }
        }
    }
    assert!(spoilt > 0);
    node.start_agent();
    node.wait_ready("web");
    node.apply(&pod("other").container(idle("main")));
    node.wait_ready("other");
}

/// A node whose root lies on a small filesystem of its own.
fn on_a_small_disk() -> Node {
    let node = Node::builder().prepare();
    let root = node.root().to_string_lossy().into_owned();
    node.sandbox
        .say("mount", &["-t", "tmpfs", "-o", "size=24m", "tmpfs", &root]);
    node.start_agent();
    node.load(node_tests::manifest::BUSYBOX, &node_tests::Image::busybox());
    node
}

fn fill(node: &Node) -> PathBuf {
    let file = node.root().join("ballast");
    node.sandbox.run(
        "dd",
        &["if=/dev/zero", &format!("of={}", file.display()), "bs=64k"],
    );
    node.sandbox.run(
        "dd",
        &[
            "if=/dev/zero",
            &format!("of={}.2", file.display()),
            "bs=512",
        ],
    );
    file
}

#[test]
fn on_a_full_disk_pods_go_on_and_exit_codes_are_kept() {
    let node = on_a_small_disk();
    node.apply(&pod("steady").container(idle("main")));
    node.apply(&pod("ending").once().container(sh(
        "main",
        "while [ ! -e /dev/shm/go ]; do sleep 0.05; done; exit 17",
    )));
    let steady = node.wait_ready("steady");
    node.wait_ready("ending");
    let ballast = fill(&node);
    node.exec("ending", "main", &["touch", "/dev/shm/go"]);
    let ending = node.wait_pod("ending", "ended", |pod| pod.phase() == "Failed");
    assert_eq!(
        ending.container("main").ended().map(|end| end.exit_code()),
        Some(17)
    );
    node.restart_agent();
    let ending = node.wait_pod("ending", "ended still", |pod| pod.phase() == "Failed");
    assert_eq!(
        ending.container("main").ended().map(|end| end.exit_code()),
        Some(17)
    );
    assert_eq!(
        node.wait_ready("steady").container("main").id(),
        steady.container("main").id()
    );
    node.sandbox.enter(|| {
        for file in [
            ballast.clone(),
            PathBuf::from(format!("{}.2", ballast.display())),
        ] {
            fs::remove_file(file).unwrap();
        }
    });
    node.apply(&pod("later").container(idle("main")));
    node.wait_ready("later");
}

#[test]
fn on_a_full_disk_no_half_of_an_image_is_believed() {
    let node = on_a_small_disk();
    let big = node_tests::Image::busybox()
        .layer(node_tests::Layer::new().file("big", vec![7_u8; 40 << 20]));
    let file = node.dir("big.tar");
    node_tests::archive::oci(&file, &[("localhost/big:1", &big)]);
    let said = node.refuses(&["load", &file.to_string_lossy()]);
    assert!(said.to_lowercase().contains("space"), "{said}");
    assert!(!node.say(&["images"]).contains("big"));
    node.apply(&pod("fits").once().container(sh("main", "echo ok")));
    node.wait_phase("fits", "Succeeded");
}

#[test]
fn a_field_of_the_wrong_type_names_file_line_and_path() {
    let node = Node::start();
    node.write_manifest(
        "typo.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: typo\nspec:\n  containers:\n    - name: main\n      image: x\n      command: echo\n",
    );
    wait_until("the refusal", seconds(20), || {
        node.agent_log().contains("spec.containers[0].command")
    });
    let log = node.agent_log();
    let line = log
        .lines()
        .find(|line| line.contains("spec.containers[0].command"))
        .unwrap();
    assert!(line.contains("typo.yaml") && line.contains('9'), "{line}");
}

#[test]
fn manifests_that_are_too_large_or_too_deep_are_refused() {
    let node = Node::start();
    node.write_manifest("deep.yaml", &"[".repeat(100_000));
    node.write_manifest("bomb.yaml", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n");
    node.write_manifest("large.yaml", &format!("# {}\n", "x".repeat(20 << 20)));
    node.apply(&pod("fine").container(idle("main")));
    node.wait_ready("fine");
    for name in ["deep.yaml", "bomb.yaml", "large.yaml"] {
        wait_until(&format!("{name} to be named"), seconds(20), || {
            node.agent_log().contains(name)
        });
    }
    let pid = node.agent_pid().expect("the agent");
    let peak = process::status(pid, "VmHWM").unwrap_or_default();
    let kilobytes: u64 = peak
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    assert!(kilobytes < 200_000, "peak memory {peak}");
}

#[test]
fn an_invalid_pod_is_refused_with_every_mistake() {
    let node = Node::start();
    node.apply(
        &pod("Bad_Name")
            .container(idle("main"))
            .container(idle("main"))
            .with(
                "volumeMounts",
                json!([{"name": "nowhere", "mountPath": "/x"}]),
            ),
    );
    wait_until("all three to be named", seconds(20), || {
        let log = node.agent_log();
        [
            "metadata.name",
            "spec.containers[1].name",
            "spec.containers[1].volumeMounts[0].name",
        ]
        .iter()
        .all(|path| log.contains(path))
    });
}
