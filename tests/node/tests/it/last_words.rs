//! Termination messages: what a program leaves for those who ask why it ended.

use node_tests::{Node, pod, seconds, sh, wait_until};
use serde_json::json;

fn message(node: &Node, name: &str, phase: &str) -> String {
    let pod = node.wait_phase(name, phase);
    let ended = pod.container("main").ended().expect("it has ended");
    ended.message().to_owned()
}

#[test]
fn a_program_leaves_its_last_words_in_a_file() {
    let node = Node::start();
    let cases = [
        (
            "usual",
            json!({}),
            "echo why > /dev/termination-log; exit 3",
            "Failed",
            "why\n",
        ),
        (
            "success",
            json!({}),
            "printf fine > /dev/termination-log",
            "Succeeded",
            "fine",
        ),
        (
            "elsewhere",
            json!({"terminationMessagePath": "/var/run/deep/last", "securityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": true}}),
            "printf 'from %s' $(id -u) > /var/run/deep/last",
            "Succeeded",
            "from 1000",
        ),
        // a relative path is one below the root
        (
            "relative",
            json!({"terminationMessagePath": "last"}),
            "echo x > /last; exit 1",
            "Failed",
            "x\n",
        ),
        ("silent", json!({}), "echo not this; exit 1", "Failed", ""),
    ];
    for (name, fields, script, ..) in &cases {
        let mut main = sh("main", script);
        for (field, value) in fields.as_object().into_iter().flatten() {
            main[field] = value.clone();
        }
        node.apply(&pod(name).once().container(main));
    }
    for (name, _, _, phase, words) in cases {
        assert_eq!(message(&node, name, phase), words, "{name}");
    }
}

#[test]
fn only_the_last_4096_bytes_are_told() {
    let node = Node::start();
    let script = "head -c 5000 /dev/zero | tr '\\0' a > /dev/termination-log; printf end >> /dev/termination-log";
    node.apply(&pod("long").once().container(sh("main", script)));
    let words = message(&node, "long", "Succeeded");
    assert_eq!(words.len(), 4096);
    assert!(words.ends_with("aend"), "{}", &words[4000..]);
}

#[test]
fn the_end_of_the_log_stands_in_where_the_policy_says_so() {
    let node = Node::start();
    let policy = json!("FallbackToLogsOnError");
    for (name, script) in [
        ("failed", "seq 1 200; echo last words >&2; exit 3"),
        ("well", "echo a log; exit 0"),
        (
            "spoke",
            "echo a log; echo a file > /dev/termination-log; exit 3",
        ),
        (
            "lines",
            "for i in $(seq 100); do head -c 100 /dev/zero | tr '\\0' x; echo; done; exit 1",
        ),
    ] {
        let main = sh("main", script);
        node.apply(
            &pod(name)
                .once()
                .container(main)
                .with("terminationMessagePolicy", policy.clone()),
        );
    }
    let words = message(&node, "failed", "Failed");
    assert!(words.ends_with("\n200\nlast words\n"), "{words}");
    assert_eq!(words.lines().count(), 80);
    assert_eq!(message(&node, "well", "Succeeded"), "");
    assert_eq!(message(&node, "spoke", "Failed"), "a file\n");
    assert_eq!(message(&node, "lines", "Failed").len(), 2048);
}

#[test]
fn last_words_are_heard_though_no_agent_was_there() {
    let node = Node::start();
    let main = sh("main", "sleep 2; echo alone > /dev/termination-log; exit 7");
    node.apply(&pod("alone").once().container(main));
    let uid = node.wait_ready("alone").uid().to_owned();
    node.kill_agent();
    wait_until("the program to end", seconds(20), || {
        node.container_pid(&uid, "main").is_none()
    });
    node.start_agent();
    assert_eq!(message(&node, "alone", "Failed"), "alone\n");
}

#[test]
fn each_attempt_has_its_own_last_words_and_none_is_left_behind() {
    let node = Node::start();
    node.apply(&pod("again").container(sh(
        "main",
        "if [ -e /dev/shm/once ]; then exec sleep 1000; fi; touch /dev/shm/once; echo first > /dev/termination-log; exit 1",
    )));
    let pod = node.wait_pod("again", "restarted", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.restarts() == 1 && main.is_running())
    });
    let before = pod
        .container("main")
        .ended_before()
        .expect("it ended before");
    assert_eq!(before.message(), "first\n");
    let files = node.root().join("pods").join(pod.uid()).join("files");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&files)
            .expect("the pod's files")
            .flatten();
        let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with("termination-"))
            .collect()
    };
    wait_until("the first attempt's to go", seconds(20), || {
        names() == ["termination-main.1"]
    });
}
