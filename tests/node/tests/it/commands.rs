//! The commands for people.

use node_tests::manifest::idle;
use node_tests::{Node, pod, seconds, sh, wait_until};
use std::io::{Read, Write};
use std::process::Stdio;

fn with_web() -> Node {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    node.wait_ready("web");
    node
}

#[test]
fn pods_are_listed_as_kubectl_does() {
    let node = with_web();
    let table = node.say(&["get", "pods"]);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(&lines[1][..4], ["web-node", "1/1", "Running", "0"]);
    let wide = node.say(&["get", "pods", "-o", "wide"]);
    let head: Vec<_> = wide
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(&head[5..7], ["IP", "NODE"]);
    assert!(wide.contains("10.88."), "{wide}");
    assert_eq!(node.say(&["get", "pods", "-o", "name"]), "pod/web-node\n");
    assert!(node.say(&["get", "pods", "-o", "yaml"]).contains("kind: "));
    assert_eq!(
        node.json(&["get", "pods", "web", "-o", "json"])["metadata"]["name"],
        "web-node"
    );
}

#[test]
fn a_back_off_shows_in_the_table() {
    let node = Node::start();
    node.apply(&pod("loop").container(sh("main", "exit 1")));
    wait_until("the table to say so", seconds(20), || {
        node.say(&["get", "pods"]).contains("CrashLoopBackOff")
    });
}

#[test]
fn describe_and_events_tell_the_story() {
    let node = with_web();
    let told = node.say(&["describe", "pod", "web"]);
    for word in [
        "Name:",
        "web-node",
        "Namespace:",
        "Status:",
        "Running",
        "Containers:",
        "main:",
        "Image:",
        "Conditions:",
        "Events:",
    ] {
        assert!(told.contains(word), "{word} is missing:\n{told}");
    }
    let events = node.say(&["get", "events"]);
    for reason in ["Created", "Started"] {
        assert!(events.contains(reason), "{reason} is missing:\n{events}");
    }
}

#[test]
fn explain_gives_a_timeline() {
    let node = with_web();
    let told = node.say(&["explain", "web"]).to_lowercase();
    for step in ["seen", "network", "cgroup", "started"] {
        assert!(told.contains(step), "{step} is missing:\n{told}");
    }
}

#[test]
fn explain_has_each_step_where_it_was() {
    let node = with_web();
    let told = node.json(&["explain", "web", "-o", "json"]);
    let steps = told["steps"].as_array().expect("steps");
    let find = |what: &str| {
        let step = steps.iter().find(|step| step["what"] == what);
        step.unwrap_or_else(|| panic!("no step {what}: {told:#}"))
    };
    let end = |what: &str| -> jiff::Timestamp {
        let at = find(what)["at"].as_str().expect("a moment");
        at.parse().expect("a moment")
    };
    let begin = |what: &str| {
        let nanos = find(what)["took"]["nanos"].as_i64().expect("a duration");
        end(what) - jiff::SignedDuration::from_nanos(nanos)
    };
    // the container is planned when its sandbox stands, its process is cloned after that, and its program executed last
    assert!(begin("plan") >= end("sandbox: files"), "{told:#}");
    assert!(begin("clone") >= end("plan"), "{told:#}");
    assert!(end("exec") >= end("mounts"), "{told:#}");
    assert!(end("exec") <= end("Started"), "{told:#}");
}

#[test]
fn top_shows_what_pods_use() {
    let node = with_web();
    wait_until("the figures", seconds(30), || {
        let output = node.coracle(&["top"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("CPU") && text.contains("MEMORY") && text.contains("web-node")
    });
}

#[test]
fn exec_passes_output_input_and_exit_code() {
    let node = with_web();
    let output = node.coracle(&[
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 42",
    ]);
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("err"));
    let mut command = node.ask(&["exec", "-i", "web", "--", "sh", "-c", "cat; echo end"]);
    let mut child = node
        .sandbox
        .enter(|| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through\nend\n");
}

#[test]
fn exec_carries_a_great_deal_both_ways() {
    let node = with_web();
    let mut command = node.ask(&["exec", "-i", "web", "--", "cat"]);
    let mut child = node
        .sandbox
        .enter(|| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())
        .unwrap();
    let sent: Vec<u8> = (0..4_000_000_u32)
        .map(|number| number.to_le_bytes()[number as usize % 3])
        .collect();
    let mut input = child.stdin.take().unwrap();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || input.write_all(&copy));
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        got == sent,
        "{} bytes came back of {}",
        got.len(),
        sent.len()
    );
}

#[test]
fn exec_of_what_is_not_there_says_so() {
    let node = with_web();
    let said = node.refuses(&["exec", "web", "--", "/no/such/program"]);
    assert!(said.contains("/no/such/program"), "{said}");
    assert!(
        node.refuses(&["exec", "ghost", "--", "true"])
            .contains("ghost")
    );
}

#[test]
fn exec_with_a_terminal_has_one_of_the_right_size() {
    let node = with_web();
    // `script` gives the command a terminal to stand on, as a person's would be.
    let (controller, user) = open_terminal(33, 77);
    let mut command = node.ask(&[
        "exec",
        "-it",
        "web",
        "--",
        "sh",
        "-c",
        "tty; stty size; exit 7",
    ]);
    let stdin = Stdio::from(user.try_clone().unwrap());
    let stdout = Stdio::from(user.try_clone().unwrap());
    let mut child = node
        .sandbox
        .enter(|| {
            command
                .stdin(stdin)
                .stdout(stdout)
                .stderr(Stdio::from(user))
                .spawn()
        })
        .unwrap();
    drop(command);
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        // Reading the controlling end fails (EIO) when the last user of the terminal is gone.
        let _ = std::fs::File::from(controller).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let text = reader.join().unwrap();
    assert!(
        text.contains("/dev/pts/") && text.contains("33 77"),
        "{text:?}"
    );
}

fn open_terminal(rows: u16, columns: u16) -> (std::os::fd::OwnedFd, std::os::fd::OwnedFd) {
    let size = nix::pty::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pair = nix::pty::openpty(Some(&size), None).unwrap();
    (pair.master, pair.slave)
}

#[test]
fn exec_leaves_no_process_when_its_client_goes() {
    let node = with_web();
    let mut command = node.ask(&["exec", "web", "--", "sleep", "3456"]);
    let mut child = node.sandbox.enter(|| command.spawn()).unwrap();
    let sleeping = || {
        node.processes()
            .into_iter()
            .any(|pid| node_tests::process::command_line(pid) == ["sleep", "3456"])
    };
    wait_until("the command to run", seconds(10), sleeping);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the command to be gone", seconds(10), || !sleeping());
}

#[test]
fn down_stops_every_pod_and_the_keeper_and_leaves_nothing() {
    let node = with_web();
    node.apply(&pod("other").container(idle("main")));
    node.wait_ready("other");
    node.say(&["down"]);
    wait_until("the agent to end", seconds(20), || {
        node.agent_ended().is_some()
    });
    node_tests::leaks::assert_nothing_left(&node);
}

#[test]
fn completion_is_generated_for_shells() {
    let node = Node::builder().prepare();
    for shell in ["bash", "zsh", "fish"] {
        let mut command = node.command();
        let output = command.args(["completion", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("coracle"));
    }
}

#[test]
fn a_command_without_a_node_says_what_is_missing() {
    let node = Node::builder().prepare();
    let said = node.refuses(&["get", "pods"]);
    assert!(
        said.contains("agent.sock") || said.contains(&*node.run_dir().to_string_lossy()),
        "{said}"
    );
}
