use crate::ask::{get, send};
use crate::fake::{Fake, container_id, running, serve, status};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LOGS: &str = "/containerLogs/default/hello-node-1/main";

fn line(second: u32, stream: &str, text: &str) -> String {
    format!("2026-11-21T10:00:{second:02}.000000000Z {stream} F {text}\n")
}

#[tokio::test]
async fn a_log_is_shown_as_asked() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let lines = [
        line(1, "stdout", "one"),
        line(2, "stderr", "two"),
        line(3, "stdout", "three"),
    ];
    fs::write(node.log(0), lines.concat()).unwrap();
    for (query, want) in [
        ("", "one\ntwo\nthree\n"),
        ("?tailLines=1", "three\n"),
        ("?tail=2", "two\nthree\n"),
        ("?limitBytes=5", "one\nt"),
        ("?stream=Stderr", "two\n"),
        ("?sinceTime=2026-11-21T10:00:02Z", "two\nthree\n"),
        (
            "?tailLines=1&timestamps=true",
            "2026-11-21T10:00:03.000000000Z three\n",
        ),
    ] {
        let answer = get(&serving, &format!("{LOGS}{query}")).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, want),
            "{query}"
        );
        assert!(answer.headers.contains("content-type: text/plain"));
    }
}

#[tokio::test]
async fn what_cannot_be_shown_is_said_in_the_kubelets_words() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let waiting = |reason: &str| status(0, json!({ "waiting": { "reason": reason } }), json!({}));
    for (path, status, text) in [
        ("/containerLogs/default/x/main", 404, "pod does not exist\n"),
        (
            "/containerLogs/x/hello-node-1/main",
            404,
            "pod does not exist\n",
        ),
        (
            "/containerLogs/default/hello-node-1/x",
            404,
            "container not found in pod\n",
        ),
    ] {
        let answer = get(&serving, path).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, text),
            "{path}"
        );
    }
    let invalid = get(&serving, &format!("{LOGS}?tailLines=-1")).await;
    assert_eq!(invalid.status, 422);
    assert_eq!(invalid.json()["message"], "Invalid request.");
    for (now, query, text) in [
        (
            running(0),
            "?previous=true",
            "previous terminated container \"main\" in pod \"hello-node-1\" not found\n",
        ),
        (
            waiting("ContainerCreating"),
            "",
            "container \"main\" in pod \"hello-node-1\" is waiting to start: ContainerCreating\n",
        ),
        (
            waiting("ErrImagePull"),
            "",
            "container \"main\" in pod \"hello-node-1\" is waiting to start: image can't be pulled\n",
        ),
        (
            waiting("ImagePullBackOff"),
            "",
            "container \"main\" in pod \"hello-node-1\" is waiting to start: trying and failing to pull image\n",
        ),
        (
            json!({ "phase": "Pending" }),
            "",
            "container \"main\" in pod \"hello-node-1\" is not available\n",
        ),
    ] {
        node.set_status(now);
        let answer = get(&serving, &format!("{LOGS}{query}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, text));
    }
}

#[tokio::test]
async fn each_life_of_a_container_has_its_own_log() {
    let node = Fake::new();
    let serving = serve(&node).await;
    for attempt in 0..3 {
        fs::write(
            node.log(attempt),
            line(attempt, "stdout", &format!("life {attempt}")),
        )
        .unwrap();
    }
    let ended =
        |attempt| json!({ "terminated": { "exitCode": 1, "containerID": container_id(attempt) } });
    let crashed = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    for (now, current, previous) in [
        (
            status(2, json!({ "running": {} }), ended(1)),
            "life 2\n",
            "life 1\n",
        ),
        (status(2, ended(2), ended(1)), "life 2\n", "life 1\n"),
        // It waits for its next start: both are the life that ended last.
        (status(2, crashed, ended(2)), "life 2\n", "life 2\n"),
    ] {
        node.set_status(now);
        assert_eq!(get(&serving, LOGS).await.body, current);
        let before = get(&serving, &format!("{LOGS}?previous=true")).await;
        assert_eq!((before.status, before.body.as_str()), (200, previous));
    }
}

#[tokio::test]
async fn a_log_that_is_a_link_is_not_shown() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let secret = node.directory.path().join("secret");
    fs::write(&secret, line(1, "stdout", "secret")).unwrap();
    std::os::unix::fs::symlink(&secret, node.log(0)).unwrap();
    let answer = get(&serving, LOGS).await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.body.contains("is refused: it is a symbolic link"),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("10:00"));
}

/// Appends as the keeper does.
fn append(node: &Fake, text: &str) {
    let mut log = fs::File::options()
        .append(true)
        .create(true)
        .open(node.log(0))
        .unwrap();
    log.write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn following_goes_on_until_the_container_is_over() {
    let node = Fake::new();
    let serving = serve(&node).await;
    // The log is not there yet.
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let request = format!("GET {LOGS}?follow=true HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let mut until = async |wanted: &str| {
        let read = async {
            let mut buffer = [0; 4096];
            while !seen.ends_with(wanted) {
                let n = stream.read(&mut buffer).await.unwrap();
                assert!(n > 0, "ended before {wanted:?}: {seen}");
                seen.push_str(str::from_utf8(&buffer[..n]).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .unwrap();
    };
    append(&node, &line(1, "stdout", "one"));
    until("one\n").await;
    append(&node, &line(2, "stdout", "two"));
    until("one\ntwo\n").await;
    fs::rename(
        node.log(0),
        node.log(0).with_extension("log.20261121-100002"),
    )
    .unwrap();
    append(&node, &line(3, "stdout", "three"));
    until("two\nthree\n").await;
    append(&node, &line(4, "stdout", "last words"));
    node.set_status(status(
        0,
        json!({ "terminated": { "exitCode": 0, "containerID": container_id(0) } }),
        json!({}),
    ));
    until("three\nlast words\n").await;
    let mut rest = String::new();
    let end = stream.read_to_string(&mut rest);
    tokio::time::timeout(Duration::from_secs(30), end)
        .await
        .expect("following ends")
        .unwrap();
    assert_eq!(rest, "");
}

#[tokio::test]
async fn a_follower_that_leaves_is_let_go() {
    let node = Fake::new();
    let serving = serve(&node).await;
    append(&node, &line(1, "stdout", "one"));
    // Served once, the routes are made and hold what they hold.
    assert_eq!(get(&serving, "/healthz").await.status, 200);
    let before = Arc::strong_count(&node);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(serving.address).await.unwrap();
        let request = format!("GET {LOGS}?follow=true HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
    }
    // Each task under way holds the node.
    let gone = async {
        while Arc::strong_count(&node) > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .expect("no task is left");
    let answer = TcpStream::connect(serving.address).await.unwrap();
    let answer = send(answer, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 200);
}
