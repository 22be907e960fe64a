//! `kill -9` of agent, keeper or both, at any moment, is nothing that a pod notices and nothing that is reported wrongly.

use node_tests::manifest::{Manifest, idle};
use node_tests::view::PodView;
use node_tests::{Node, pod, process, seconds, sh, wait_until};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

fn counter(name: &str) -> Manifest {
    pod(name).container(sh(
        "main",
        "i=0; while :; do echo number $i; i=$((i+1)); sleep 0.01; done",
    ))
}

/// Numbers that a counter's log holds, checked to be one after the other from 0.
#[track_caller]
fn count_lines(node: &Node, name: &str) -> usize {
    let log = node.logs(name, "main");
    for (expected, line) in log.lines().enumerate() {
        assert_eq!(
            line,
            format!("number {expected}"),
            "a line was lost or doubled"
        );
    }
    log.lines().count()
}

fn identity(node: &Node, view: &PodView) -> (i32, Option<u64>, String, u64) {
    let pid = node.container_pid(view.uid(), "main").expect("a process");
    let main = view.container("main");
    (
        pid,
        process::start_time(pid),
        main.id().to_owned(),
        main.restarts(),
    )
}

#[test]
fn an_agent_that_is_killed_again_and_again_changes_nothing() {
    let node = Node::start();
    node.apply(&counter("counter"));
    node.apply(&pod("still").container(idle("main")));
    let before = (
        identity(&node, &node.wait_ready("counter")),
        identity(&node, &node.wait_ready("still")),
    );
    let ready_since = node
        .pod("still")
        .map(|pod| pod.value["status"]["conditions"].clone());
    for _ in 0..5 {
        node.restart_agent();
    }
    let after = (
        identity(&node, &node.wait_ready("counter")),
        identity(&node, &node.wait_ready("still")),
    );
    assert_eq!(before, after);
    assert_eq!(
        ready_since,
        node.pod("still")
            .map(|pod| pod.value["status"]["conditions"].clone()),
        "readiness flapped"
    );
    let lines = count_lines(&node, "counter");
    wait_until("the counter to go on", seconds(10), || {
        count_lines(&node, "counter") > lines
    });
}

#[test]
fn a_keeper_that_is_killed_is_replaced_and_no_line_is_lost() {
    let node = Node::start();
    node.apply(&counter("counter"));
    let before = identity(&node, &node.wait_ready("counter"));
    for _ in 0..3 {
        let old = node.keeper_pid();
        node.kill_keeper();
        wait_until("a new keeper", seconds(10), || {
            node.keeper_pid().is_some_and(|pid| Some(pid) != old)
        });
        let lines = count_lines(&node, "counter");
        wait_until("the log to go on", seconds(10), || {
            count_lines(&node, "counter") > lines + 3
        });
    }
    assert_eq!(identity(&node, &node.wait_ready("counter")), before);
}

#[test]
fn both_may_be_killed() {
    let node = Node::start();
    node.apply(&counter("counter"));
    let before = identity(&node, &node.wait_ready("counter"));
    node.kill_agent();
    node.kill_keeper();
    node.start_agent();
    assert_eq!(identity(&node, &node.wait_ready("counter")), before);
    let lines = count_lines(&node, "counter");
    wait_until("the log to go on", seconds(10), || {
        count_lines(&node, "counter") > lines + 3
    });
}

#[test]
fn exits_while_the_agent_is_dead_are_reported_truthfully() {
    let node = Node::start();
    for code in 0..8 {
        node.apply(&pod(&format!("exit-{code}")).once().container(sh(
            "main",
            &format!("while [ ! -e /go ]; do sleep 0.05; done; exit {code}"),
        )));
    }
    let pids: Vec<_> = (0..8)
        .map(|code| {
            let view = node.wait_ready(&format!("exit-{code}"));
            node.container_pid(view.uid(), "main").expect("a process")
        })
        .collect();
    for code in 0..8 {
        // the end of the program may take this one with it
        node.coracle(&["exec", &format!("exit-{code}"), "--", "touch", "/go"]);
    }
    node.kill_agent();
    wait_until("all to have ended", seconds(20), || {
        pids.iter().all(|pid| !process::lives(*pid))
    });
    node.start_agent();
    for code in 0..8_i64 {
        let name = format!("exit-{code}");
        let view = node.wait_pod(&name, "ended", |pod| {
            matches!(pod.phase(), "Succeeded" | "Failed")
        });
        let end = view.container("main").ended().expect("ended");
        assert_eq!(end.exit_code(), code, "{name}");
        assert_eq!(end.reason(), if code == 0 { "Completed" } else { "Error" });
    }
}

#[test]
fn an_exit_while_the_keeper_is_dead_is_reported_truthfully_or_as_unknown() {
    let node = Node::start();
    node.apply(&pod("last").once().container(sh(
        "main",
        "trap 'exit 23' TERM; while :; do sleep 0.05; done",
    )));
    let view = node.wait_ready("last");
    let pid = node.container_pid(view.uid(), "main").expect("a process");
    let keeper = node.keeper_pid().expect("a keeper");
    // Both signals before anybody can look: the keeper is stopped first, so that it cannot reap.
    process::send(keeper, nix::sys::signal::Signal::SIGSTOP);
    process::send(pid, nix::sys::signal::Signal::SIGTERM);
    wait_until("the container to end", seconds(10), || !process::lives(pid));
    process::kill_hard(keeper);
    let view = node.wait_pod("last", "ended", |pod| {
        matches!(pod.phase(), "Succeeded" | "Failed")
    });
    let end = view.container("main").ended().expect("ended");
    if process::kernel_remembers_exits() {
        assert_eq!((end.exit_code(), end.reason()), (23, "Error"));
    } else {
        assert_eq!(
            (end.exit_code(), end.reason()),
            (137, "ContainerStatusUnknown")
        );
    }
}

#[test]
fn an_exit_while_both_are_dead_is_never_made_up() {
    let node = Node::start();
    node.apply(&pod("lost").once().container(sh(
        "main",
        "trap 'exit 23' TERM; while :; do sleep 0.05; done",
    )));
    let view = node.wait_ready("lost");
    let pid = node.container_pid(view.uid(), "main").expect("a process");
    node.kill_agent();
    node.kill_keeper();
    process::send(pid, nix::sys::signal::Signal::SIGTERM);
    wait_until("the container to end", seconds(10), || !process::lives(pid));
    node.start_agent();
    let view = node.wait_pod("lost", "ended", |pod| pod.phase() == "Failed");
    let end = view.container("main").ended().expect("ended");
    // unknown, unless whoever inherited the process was slow to collect it: then the kernel still told
    assert!(
        [(137, "ContainerStatusUnknown"), (23, "Error")].contains(&(end.exit_code(), end.reason())),
        "{} {}",
        end.exit_code(),
        end.reason()
    );
}

#[test]
fn restart_counts_and_back_off_are_kept() {
    let node = Node::start();
    node.apply(&pod("loop").container(sh("main", "exit 3")));
    let before = node.wait_pod("loop", "backing off", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.waiting() == "CrashLoopBackOff")
    });
    assert_eq!(before.container("main").restarts(), 1);
    node.restart_agent();
    let after = node.wait_pod("loop", "there", |pod| pod.try_container("main").is_some());
    assert_eq!(
        after.container("main").restarts(),
        1,
        "a restart was forgotten or the back-off did not hold"
    );
    assert_eq!(after.container("main").waiting(), "CrashLoopBackOff");
    let later = node.wait_pod("loop", "restarted once more", |pod| {
        pod.container("main").restarts() == 2
    });
    assert_eq!(
        later
            .container("main")
            .ended_before()
            .map(|end| end.exit_code()),
        Some(3)
    );
}

#[test]
fn a_pod_that_ended_stays_ended() {
    let node = Node::start();
    node.apply(&pod("done").once().container(sh("main", "exit 5")));
    let before = node.wait_phase("done", "Failed");
    node.restart_agent();
    let after = node.wait_phase("done", "Failed");
    assert_eq!(
        after.container("main").value["state"],
        before.container("main").value["state"]
    );
    assert_eq!(node.logs("done", "main"), "");
}

#[test]
fn kills_at_random_moments_of_a_start_leave_one_of_everything() {
    let node = Node::start();
    // Moments from the first inotify event to long after the start.
    for (number, delay) in [0, 2, 4, 6, 8, 11, 15, 20, 30, 60].into_iter().enumerate() {
        let name = format!("pod-{number}");
        node.apply(&pod(&name).container(idle("main")));
        std::thread::sleep(Duration::from_millis(delay));
        if number % 3 == 2 && node.keeper_pid().is_some() {
            node.kill_keeper();
        }
        node.restart_agent();
        let view = node.wait_ready(&name);
        // a shell that forks is two for a moment, a process that is about to execute the shell is none
        wait_until(&format!("one process of {name}"), seconds(10), || {
            shells(&node, view.uid()) == 1
        });
    }
    for pod in node.pods() {
        assert_eq!(pod.container("main").restarts(), 0, "{}", pod.uid());
    }
    for number in 0..10 {
        node.remove_manifest(&format!("pod-{number}"));
    }
    wait_until("no pod", seconds(30), || node.pods().is_empty());
    node.say(&["down"]);
    node_tests::leaks::assert_nothing_left(&node);
}

fn shells(node: &Node, uid: &str) -> usize {
    let main = format!("pod{uid}/main.");
    let processes = node.processes().into_iter();
    processes
        .filter(|pid| {
            process::cgroups(*pid)
                .iter()
                .any(|path| path.contains(&main))
        })
        .filter(|pid| {
            let command = process::command_line(*pid);
            command.first().is_some_and(|word| word.ends_with("sh"))
        })
        .count()
}

#[test]
fn kills_at_random_moments_of_a_stop_finish_the_stop() {
    let node = Node::start();
    for (number, delay) in [0, 3, 6, 10, 20, 50].into_iter().enumerate() {
        let name = format!("pod-{number}");
        node.apply(&pod(&name).container(idle("main")));
        node.wait_ready(&name);
        node.remove_manifest(&name);
        std::thread::sleep(Duration::from_millis(delay));
        node.restart_agent();
        node.wait_gone(&name);
    }
    node.say(&["down"]);
    node_tests::leaks::assert_nothing_left(&node);
}

#[test]
fn manifests_that_change_while_the_agent_is_dead_are_followed() {
    let node = Node::start();
    let web = pod("web").container(idle("main"));
    node.apply(&web);
    node.apply(&pod("gone").container(idle("main")));
    let before = node.wait_ready("web");
    node.wait_ready("gone");
    node.kill_agent();
    node.apply(&web.with("env", json!([{"name": "COLOUR", "value": "blue"}])));
    node.remove_manifest("gone");
    node.apply(&pod("new").container(idle("main")));
    node.start_agent();
    node.wait_gone("gone");
    node.wait_ready("new");
    node.wait_pod("web", "replaced", |pod| {
        pod.is_ready() && pod.uid() != before.uid()
    });
}

/// Puts another build where the node's binary lies, as a package manager does: a new file under the old name.
fn install(program: &Path, addition: &str) -> u64 {
    let mut bytes = std::fs::read(node_tests::node::binary()).unwrap();
    // what lies behind the last section is nobody's: another build to whoever looks at the file
    bytes.extend(addition.as_bytes());
    let aside = program.with_extension("new");
    std::fs::write(&aside, bytes).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&aside, program).unwrap();
    std::fs::metadata(program).unwrap().ino()
}

#[test]
fn a_binary_replaced_in_between_changes_nothing() {
    let node = Node::builder().prepare();
    let program = node.dir("coracle");
    let first = install(&program, "");
    node.replace_binary(&program);
    node.start_agent();
    node.load(node_tests::manifest::BUSYBOX, &node_tests::Image::busybox());
    node.apply(&counter("counter"));
    node.apply(&counter("on-terminal").with("tty", json!(true)));
    let script = "while [ ! -e /go ]; do sleep 0.05; done; exit 23";
    node.apply(&pod("last").once().container(sh("main", script)));
    let names = ["counter", "on-terminal", "last"];
    let identities = || names.map(|name| identity(&node, &node.wait_ready(name)));
    let before = identities();
    let keeper = node.keeper_pid().expect("a keeper");
    let executes = |pid: i32| {
        let file = std::fs::metadata(format!("/proc/{pid}/exe"));
        file.map(|file| file.ino()).unwrap_or_default()
    };
    assert_eq!(executes(keeper), first);

    for addition in ["second", "third"] {
        node.kill_agent();
        let installed = install(&program, addition);
        node.start_agent();
        wait_until("the keeper to be of this build", seconds(20), || {
            executes(keeper) == installed
        });
        // the same process: its children are still its children
        assert_eq!(node.keeper_pid(), Some(keeper));
        assert_eq!(identities(), before);
        for name in ["counter", "on-terminal"] {
            let lines = count_lines(&node, name);
            wait_until("the log to go on", seconds(10), || {
                count_lines(&node, name) > lines + 3
            });
        }
    }
    node.coracle(&["exec", "last", "--", "touch", "/go"]);
    let view = node.wait_phase("last", "Failed");
    let end = view.container("main").ended().expect("ended");
    assert_eq!((end.exit_code(), end.reason()), (23, "Error"));
}

#[test]
fn a_container_writes_on_while_nobody_reads() {
    let node = Node::start();
    node.apply(&counter("counter"));
    let view = node.wait_ready("counter");
    let pid = node.container_pid(view.uid(), "main").expect("a process");
    node.kill_agent();
    node.kill_keeper();
    let written = || process::bytes_written(pid);
    let before = written();
    wait_until("it to write without a reader", seconds(10), || {
        written() > before + 200
    });
    node.start_agent();
    let lines = count_lines(&node, "counter");
    wait_until("the log to go on", seconds(10), || {
        count_lines(&node, "counter") > lines + 3
    });
}
