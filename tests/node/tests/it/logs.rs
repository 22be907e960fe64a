//! What containers print: in the CRI format where everybody looks for it, and by `coracle logs`.

use node_tests::manifest::idle;
use node_tests::{Node, pod, seconds, sh, wait_until};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Stdio;

fn log_dir(node: &Node, name: &str, container: &str) -> PathBuf {
    let uid = node.pod(name).expect("the pod").uid().to_owned();
    node.logs_dir()
        .join(format!("default_{name}-{}_{uid}", node.name))
        .join(container)
}

#[test]
fn lines_are_written_in_the_cri_format_with_their_stream() {
    let node = Node::start();
    node.apply(
        &pod("talk")
            .once()
            .container(sh("main", "echo out; echo err >&2; printf unfinished")),
    );
    node.wait_phase("talk", "Succeeded");
    let text = fs::read_to_string(log_dir(&node, "talk", "main").join("0.log")).unwrap();
    let mut said: Vec<(String, String, String)> = Vec::new();
    for line in text.lines() {
        let parts: Vec<_> = line.splitn(4, ' ').collect();
        let [time, stream, tag, content] = parts.as_slice() else {
            panic!("not the CRI format: {line}")
        };
        assert!(
            time.len() >= 20 && time.contains('T') && (time.ends_with('Z') || time.contains('+')),
            "{line}"
        );
        said.push((
            (*stream).to_owned(),
            (*tag).to_owned(),
            (*content).to_owned(),
        ));
    }
    said.sort();
    let expected = [
        ("stderr", "F", "err"),
        ("stdout", "F", "out"),
        ("stdout", "P", "unfinished"),
    ];
    // Whether what a program left unfinished is marked partial or full is the writer's choice at the end of the stream.
    for (got, want) in said.iter().zip(expected) {
        assert_eq!((got.0.as_str(), got.2.as_str()), (want.0, want.2), "{text}");
    }
    assert_eq!(said.len(), 3, "{text}");
}

#[test]
fn each_attempt_has_its_file_and_a_link_for_collectors() {
    let node = Node::start();
    node.apply(&pod("again").container(sh("main", "echo attempt; sleep 0.2; exit 1")));
    let again = node.wait_pod("again", "restarted", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.restarts() >= 1)
    });
    let dir = log_dir(&node, "again", "main");
    wait_until("the second file", seconds(10), || {
        dir.join("0.log").exists() && dir.join("1.log").exists()
    });
    let links = node.dir("log/containers");
    let id = again.container("main").id().to_owned();
    wait_until("the link", seconds(10), || {
        let link = links.join(format!("again-node_default_main-{id}.log"));
        fs::canonicalize(link).is_ok_and(|file| file.starts_with(fs::canonicalize(&dir).unwrap()))
    });
}

#[test]
fn the_command_shows_tail_previous_timestamps_and_since() {
    let node = Node::start();
    node.apply(&pod("counter").container(sh(
        "main",
        "for i in 1 2 3 4 5; do echo line $i; done; [ -e /once ] || exit 1; sleep 3600",
    )));
    node.wait_pod("counter", "restarted", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.restarts() >= 1)
    });
    assert_eq!(
        node.say(&["logs", "counter", "--previous"]).lines().count(),
        5
    );
    assert_eq!(
        node.say(&["logs", "counter", "--previous", "--tail", "2"]),
        "line 4\nline 5\n"
    );
    let stamped = node.say(&[
        "logs",
        "counter",
        "--previous",
        "--tail",
        "1",
        "--timestamps",
    ]);
    assert!(
        stamped.ends_with(" line 5\n") && stamped.starts_with("20"),
        "{stamped}"
    );
    assert_eq!(
        node.say(&["logs", "counter", "--previous", "--since", "1h"])
            .lines()
            .count(),
        5
    );
    let said = node.refuses(&["logs", "counter", "-c", "nobody"]);
    assert!(said.contains("nobody"), "{said}");
    let said = node.refuses(&["logs", "ghost"]);
    assert!(said.contains("ghost"), "{said}");
}

#[test]
fn a_pod_of_several_containers_wants_to_know_which() {
    let node = Node::start();
    node.apply(&pod("pair").container(idle("a")).container(idle("b")));
    node.wait_ready("pair");
    let output = node.coracle(&["logs", "pair"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains('a') && said.contains('b'), "{said}");
}

#[test]
fn following_goes_on_across_rotation_without_losing_a_line() {
    let node = Node::builder()
        .config("containerLogMaxSize: 64Ki\ncontainerLogMaxFiles: 5\n")
        .start();
    let script = "sleep 1; i=0; while [ $i -lt 4000 ]; do echo number $i; i=$((i+1)); done; echo the-end; sleep 3600";
    node.apply(&pod("flood").container(sh("main", script)));
    node.wait_ready("flood");
    let mut command = node.ask(&["logs", "-f", "flood"]);
    let mut follower = node
        .sandbox
        .enter(|| command.stdout(Stdio::piped()).spawn())
        .unwrap();
    let mut next = 0;
    for line in BufReader::new(follower.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "the-end" {
            break;
        }
        assert_eq!(line, format!("number {next}"));
        next += 1;
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(next, 4000);
}

#[test]
fn a_log_is_rotated_exactly_at_its_limit() {
    let node = Node::builder()
        .config("containerLogMaxSize: 64Ki\ncontainerLogMaxFiles: 3\n")
        .start();
    node.apply(&pod("flood").container(sh("main", "yes 0123456789012345678901234567890123456789")));
    node.wait_ready("flood");
    let dir = log_dir(&node, "flood", "main");
    let mut seen_rotated = false;
    wait_until("rotation, checked on the way", seconds(30), || {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            assert!(
                metadata.len() <= 64 << 10,
                "{:?} has {} bytes",
                entry.file_name(),
                metadata.len()
            );
        }
        let files = fs::read_dir(&dir).into_iter().flatten().count();
        assert!(files <= 5, "{files} files");
        seen_rotated |= files > 1;
        seen_rotated && files >= 3
    });
}

#[test]
fn as_many_log_files_are_kept_as_the_configuration_says() {
    let node = Node::builder()
        .config("containerLogMaxSize: 16Ki\ncontainerLogMaxFiles: 9\n")
        .start();
    let script = "yes 0123456789012345678901234567890123456789 | head -n 8000";
    node.apply(&pod("flood").once().container(sh("main", script)));
    node.wait_phase("flood", "Succeeded");
    let dir = log_dir(&node, "flood", "main");
    // one that is being compressed is there under two names
    let files: std::collections::BTreeSet<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| {
            let name = name.trim_end_matches(".tmp").trim_end_matches(".gz");
            name.to_owned()
        })
        .collect();
    assert_eq!(files.len(), 9, "{files:?}");
}

#[test]
fn following_ends_with_the_container() {
    let node = Node::start();
    node.apply(
        &pod("brief")
            .once()
            .container(sh("main", "echo one; sleep 1; echo two")),
    );
    node.wait_log("brief", "main", "one");
    let mut command = node.ask(&["logs", "-f", "brief"]);
    let mut follower = node
        .sandbox
        .enter(|| command.stdout(Stdio::piped()).spawn())
        .unwrap();
    let mut text = String::new();
    follower
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(follower.wait().unwrap().success());
    assert_eq!(text, "one\ntwo\n");
}

#[test]
fn a_pods_logs_are_gone_with_it() {
    let node = Node::start();
    node.apply(&pod("brief").container(idle("main")));
    node.wait_ready("brief");
    let dir = log_dir(&node, "brief", "main");
    assert!(dir.exists());
    node.remove_manifest("brief");
    node.wait_gone("brief");
    wait_until("its logs to be gone", seconds(15), || {
        !dir.exists()
            && fs::read_dir(node.dir("log/containers"))
                .is_ok_and(|mut links| links.next().is_none())
    });
}

#[test]
fn a_line_without_an_end_costs_no_memory_and_loses_nothing() {
    let node = Node::start();
    node.apply(&pod("long").once().container(sh(
        "main",
        "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done",
    )));
    node.wait_phase("long", "Succeeded");
    let text = node.logs("long", "main");
    assert_eq!(text.len(), 1_000_001 + 5);
    assert!(text.ends_with("x\ndone\n"));
}
