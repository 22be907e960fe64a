use crate::Node;
use crate::fake::{container_id, running, status};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

#[test]
fn pods_are_listed_as_by_kubectl() {
    let node = Node::new();
    let table = node.run("get pods");
    let lines: Vec<_> = table.out.lines().collect();
    assert_eq!(lines[0], "NAME           READY   STATUS    RESTARTS   AGE");
    assert!(
        lines[1].starts_with("hello-node-1   1/1     Running   0          "),
        "{table:?}"
    );
    assert_eq!((lines.len(), table.code), (2, Some(0)));
    let wide = node.run("get pods -A -o wide").out;
    assert!(
        wide.starts_with("NAMESPACE   NAME           READY   STATUS    RESTARTS   AGE"),
        "{wide}"
    );
    assert!(
        wide.contains("10.88.0.2   node-1   <none>           <none>\n"),
        "{wide}"
    );
    assert_eq!(node.run("get pod hello -o name").out, "pod/hello-node-1\n");
    let list: Value = serde_json::from_str(&node.run("get pods -o json").out).unwrap();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("List"), &json!("Pod"))
    );
    let one = node.run("get pod hello -o yaml").out;
    assert!(one.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    kubernetes.io/config.source: file\n"), "{one}");
    assert!(
        one.contains("\n  containers:\n  - image: demo:1\n    name: main\n"),
        "{one}"
    );
    let missing = node.run("get pod nobody");
    assert_eq!(
        missing.err,
        "Error from server (NotFound): pods \"nobody\" not found\n"
    );
    assert_eq!((missing.out.as_str(), missing.code), ("", Some(1)));
    let none = node.run("get pods -n empty");
    assert_eq!(none.err, "No resources found in empty namespace.\n");
    assert_eq!(none.code, Some(0));
}

#[test]
fn a_watch_prints_a_row_for_each_change() {
    let node = Node::new();
    let mut child = node
        .command("get pods -w")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().starts_with("NAME"));
    assert!(next().contains("Running   0 "));
    node.fake.set_status(running(2));
    assert!(next().contains("Running   2 "));
    node.fake.pods.lock().unwrap().clear();
    node.fake.changes.send_modify(|n| *n += 1);
    assert!(next().contains("Running   2 "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn events_and_the_past_of_a_pod_are_told() {
    let node = Node::new();
    let events = node.run("get events").out;
    let mut lines = events.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("LAST SEEN   TYPE     REASON    OBJECT             MESSAGE"),
        "{events}"
    );
    assert!(
        lines
            .next()
            .unwrap()
            .ends_with("Normal   Started   pod/hello-node-1   Started container main"),
        "{events}"
    );
    let described = node.run("describe pod hello").out;
    for part in [
        "Name:         hello-node-1\n",
        "\n    State:          Running\n      Started:      Sat, 21 Nov 2026 10:00:00 +0000\n",
        "\n  Type    Reason   Age",
        "kubelet  Started container main\n",
    ] {
        assert!(described.contains(part), "{part:?} in\n{described}");
    }
    let explained = node.run("explain hello").out;
    assert!(
        explained.contains("10:00:00.000   +0us         2.00ms   main        started   pid 7\n"),
        "{explained}"
    );
    assert_eq!(node.run("explain x").code, Some(1));
}

#[test]
fn logs_are_printed_and_refusals_too() {
    let node = Node::new();
    let line = |text: &str| format!("2026-11-21T10:00:00.000000000Z stdout F {text}\n");
    fs::write(node.fake.log(0), line("one") + &line("two")).unwrap();
    assert_eq!(node.run("logs hello").out, "one\ntwo\n");
    assert_eq!(
        node.run("logs hello --tail 1 --prefix").out,
        "[pod/hello-node-1/main] two\n"
    );
    assert_eq!(
        node.run("logs hello --all-containers --tail=1 --timestamps")
            .out,
        "2026-11-21T10:00:00.000000000Z two\n"
    );
    assert_eq!(
        node.run("logs hello -c main --since-time=2026-11-21T10:00:01Z")
            .out,
        ""
    );
    let previous = node.run("logs hello --previous");
    assert_eq!(
        previous.err,
        "Error from server (BadRequest): previous terminated container \"main\" in pod \"hello-node-1\" not found\n"
    );
    assert_eq!(previous.code, Some(1));
    assert_eq!(
        node.run("logs hello -c x").err,
        "error: container x not found in pod hello-node-1\n"
    );
}

#[test]
fn following_ends_with_the_container() {
    let node = Node::new();
    fs::write(node.fake.log(0), "").unwrap();
    let mut child = node
        .command("logs -f hello")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut log = fs::File::options()
        .append(true)
        .open(node.fake.log(0))
        .unwrap();
    log.write_all(b"2026-11-21T10:00:00.000000000Z stdout F first\n")
        .unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    let ended = json!({ "terminated": { "exitCode": 0, "containerID": container_id(0) } });
    node.fake.set_status(status(0, ended, json!({})));
    assert!(lines.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn images_are_listed_pulled_loaded_and_removed() {
    let node = Node::new();
    assert_eq!(
        node.run("images").out,
        "IMAGE   TAG   IMAGE ID       SIZE\ndemo    1     abababababab   1.00MB\n"
    );
    let pulled = node.run("pull demo:1");
    assert_eq!((pulled.out.as_str(), pulled.code), ("demo:1\n", Some(0)));
    assert_eq!(pulled.err, "demo:1: resolving\nimage 02: 1 layers, 5B\n");
    let missing = node.run("pull other:1");
    assert!(
        missing
            .err
            .ends_with("error: image other:1 is not in the registry\n"),
        "{missing:?}"
    );
    assert_eq!(missing.code, Some(1));
    let archive = node.fake.directory.path().join("archive.tar");
    fs::write(&archive, "a:1\nb:2\n").unwrap();
    let loaded = node.run(&format!("load {}", archive.display()));
    assert_eq!(loaded.out, "Loaded image: a:1\nLoaded image: b:2\n");
    let mut from_stdin = node.command("load -");
    let from_stdin = from_stdin
        .stdin(fs::File::open(&archive).unwrap())
        .output()
        .unwrap();
    assert_eq!(from_stdin.stdout, loaded.out.as_bytes());
    let absent = node.run("load nowhere.tar");
    assert!(
        absent
            .err
            .starts_with("error: cannot read archive nowhere.tar: "),
        "{absent:?}"
    );
    let removed = node.run("rmi x:1 demo:1 y:1");
    assert_eq!(removed.out, "Deleted: x:1\nDeleted: y:1\n");
    assert_eq!(
        removed.err,
        "Error from server (Conflict): image demo:1 is in use by pod default/hello-node-1\n"
    );
    assert_eq!(removed.code, Some(1));
}

#[test]
fn use_is_shown_and_the_node_goes_down() {
    let node = Node::new();
    assert_eq!(
        node.run("top").out,
        "NAME           CPU(cores)   MEMORY(bytes)\nhello-node-1   0m           8Mi\n"
    );
    assert_eq!(
        node.run("down").out,
        "pod default/hello-node-1 stopped\nnode is down\n"
    );
    let version = node.run("version").out;
    assert!(
        version.contains("agent   0.1.0 (0123abc), kubelet v1.36.0-coracle.0.1.0, node node-1"),
        "{version}"
    );
    assert!(
        node.run("completion bash")
            .out
            .contains("complete -F _coracle")
    );
}

#[test]
fn without_an_agent_it_is_said_what_to_do() {
    let node = Node::new();
    let said = node.run("get pods --run-dir /nowhere");
    assert_eq!(
        said.err,
        "error: no agent answers on /nowhere/agent.sock: there is no such socket\nstart one with \"coracle run\", or choose another node with --run-dir\n"
    );
    assert_eq!(said.code, Some(1));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let node = Node::new();
    let line = format!(
        "2026-11-21T10:00:00.000000000Z stdout F {}\n",
        "x".repeat(1000)
    );
    fs::write(node.fake.log(0), line.repeat(5000)).unwrap();
    let mut child = node
        .command("logs hello")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stderr, b"");
}
