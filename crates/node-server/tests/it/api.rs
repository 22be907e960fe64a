use crate::ask::{get, post_json, send, tcp, unix};
use crate::fake::{Fake, UID, serve, status};
use node_server::{ListenError, Server, ServerConfig};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

#[tokio::test]
async fn the_kubelets_read_only_routes_answer() {
    let node = Fake::new();
    let serving = serve(&node).await;
    for path in ["/healthz", "/healthz/ping", "/healthz/syncloop"] {
        let answer = get(&serving, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{path}");
    }
    for path in ["/pods", "/pods/"] {
        let pods = get(&serving, path).await.json();
        assert_eq!(pods["kind"], "PodList");
        assert_eq!(pods["apiVersion"], "v1");
        let pod = &pods["items"][0];
        assert_eq!(pod["metadata"]["uid"], UID);
        assert_eq!(pod["metadata"]["creationTimestamp"], "2026-11-21T10:00:00Z");
        assert_eq!(pod["spec"]["nodeName"], "node-1");
        assert_eq!(pod["status"]["phase"], "Running");
    }
    let running = get(&serving, "/runningpods/").await.json();
    assert_eq!(running["items"][0]["spec"]["containers"][0]["name"], "main");
    assert_eq!(
        running["items"][0]["metadata"],
        json!({ "name": "hello-node-1", "namespace": "default", "uid": UID })
    );
    node.set_status(status(
        0,
        json!({ "waiting": { "reason": "ContainerCreating" } }),
        json!({}),
    ));
    assert_eq!(
        get(&serving, "/runningpods/").await.json()["items"],
        json!([])
    );
    let config = get(&serving, "/configz").await.json();
    assert_eq!(config["kubeletconfig"]["kind"], "KubeletConfiguration");
    let summary = get(&serving, "/stats/summary").await.json();
    assert_eq!(summary["node"]["nodeName"], "node-1");
    assert_eq!(summary["node"]["memory"]["availableBytes"], 6_u64 << 30);
    assert_eq!(
        summary["pods"][0]["containers"][0]["cpu"]["usageCoreNanoSeconds"],
        1_500_000_000
    );
}

#[tokio::test]
async fn tcp_has_no_route_that_changes_anything() {
    let node = Fake::new();
    let serving = serve(&node).await;
    for (method, path, status) in [
        ("POST", "/exec/default/hello-node-1/main?command=id", 405),
        ("GET", "/exec/default/hello-node-1/main?command=id", 405),
        ("POST", "/run/default/hello-node-1/main?cmd=id", 405),
        ("POST", "/attach/default/hello-node-1/main", 405),
        ("POST", "/portForward/default/hello-node-1", 405),
        ("POST", "/coracle/v1/down", 404),
        (
            "POST",
            "/coracle/v1/exec/default/hello-node-1/main?command=id",
            404,
        ),
        ("POST", "/coracle/v1/images/pull?name=x", 404),
        ("DELETE", "/coracle/v1/images?name=x", 404),
        ("POST", "/pods", 405),
        ("DELETE", "/pods", 405),
        ("PUT", "/configz", 405),
        ("GET", "/", 404),
        ("GET", "//pods", 404),
        ("GET", "/pods/../configz", 404),
        ("GET", "/%70ods", 404),
        ("GET", "/Pods", 404),
        ("GET", "/debug/pprof/", 404),
        ("GET", "/containerLogs/default/../../etc", 404),
        (
            "GET",
            "/containerLogs/default/hello-node-1/..%2F..%2Fshadow",
            404,
        ),
    ] {
        let answer = tcp(&serving, method, path).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    assert!(node.asked.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_page_whose_name_resolves_to_loopback_reads_nothing() {
    let serving = serve(&Fake::new()).await;
    let ask = async |head: &str| {
        let stream = TcpStream::connect(serving.address).await.unwrap();
        send(stream, head).await
    };
    for (head, status) in [
        (
            "GET /pods HTTP/1.0\r\nHost: evil.example:10250\r\n\r\n",
            403,
        ),
        ("GET /pods HTTP/1.0\r\n\r\n", 400),
        (
            "GET http://evil.example/pods HTTP/1.0\r\nHost: localhost\r\n\r\n",
            403,
        ),
        ("GET /pods HTTP/1.0\r\nHost: node-1:10250\r\n\r\n", 200),
        ("GET /pods HTTP/1.0\r\nHost: [::1]:10250\r\n\r\n", 200),
    ] {
        let answer = ask(head).await;
        assert_eq!(answer.status, status, "{head}");
        assert_eq!(answer.body.contains("hello"), status == 200);
    }
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let directory = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:10250"] {
        let config = ServerConfig {
            listen: Some(address.parse().unwrap()),
            socket: directory.path().join("agent.sock"),
        };
        let error = Server::bind(&config).await.unwrap_err();
        assert!(matches!(error, ListenError::NotLoopback { .. }));
        assert!(error.to_string().contains(address), "{error}");
    }
}

#[tokio::test]
async fn the_socket_is_its_owners_and_ends_with_the_server() {
    let node = Fake::new();
    let socket = node.directory.path().join("agent.sock");
    // A dead agent's.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut serving = serve(&node).await;
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let version = unix(&serving, "GET", "/coracle/v1/version").await.json();
    assert_eq!(version["nodeName"], "node-1");
    assert_eq!(version["pid"], std::process::id());
    serving.ending.cancel();
    (&mut serving.task).await.unwrap();
    assert!(!socket.exists());
    // Something else in its place is not taken away.
    std::fs::write(&socket, "mine").unwrap();
    let config = ServerConfig {
        listen: None,
        socket: socket.clone(),
    };
    assert!(matches!(
        Server::bind(&config).await,
        Err(ListenError::Socket { .. })
    ));
    assert_eq!(std::fs::read(&socket).unwrap(), b"mine");
}

#[tokio::test]
async fn events_steps_and_stats_are_told_on_the_socket() {
    let serving = serve(&Fake::new()).await;
    let events = unix(&serving, "GET", "/coracle/v1/events").await.json();
    assert_eq!(events["kind"], "EventList");
    let event = &events["items"][0];
    assert_eq!(
        event["involvedObject"]["fieldPath"],
        "spec.containers{main}"
    );
    assert_eq!(event["lastTimestamp"], "2026-11-21T10:00:05Z");
    assert_eq!(event["count"], 2);
    let explained = unix(&serving, "GET", "/coracle/v1/explain/default/hello-node-1")
        .await
        .json();
    assert_eq!(explained["steps"][0]["what"], "started");
    assert_eq!(explained["phase"], "Running");
    let missing = unix(&serving, "GET", "/coracle/v1/explain/default/x").await;
    assert_eq!(
        (missing.status, missing.body.as_str()),
        (404, "pods \"x\" not found\n")
    );
    let stats = unix(&serving, "GET", "/coracle/v1/stats").await.json();
    assert_eq!(stats["pods"][0]["containers"][0]["cpuNs"], 1_500_000_000);
}

#[tokio::test]
async fn an_ephemeral_container_is_put_into_a_pod() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let path = "/coracle/v1/ephemeralcontainers/default/hello-node-1";
    let taken = post_json(&serving, path, r#"{"name": "tools", "image": "busybox"}"#).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let invalid = post_json(&serving, path, r#"{"image": "busybox"}"#).await;
    assert_eq!(invalid.status, 422);
    assert!(invalid.body.starts_with("Pod \"hello-node-1\" is invalid"));
    assert_eq!(post_json(&serving, path, "no json").await.status, 400);
    let other = "/coracle/v1/ephemeralcontainers/default/none";
    assert_eq!(post_json(&serving, other, "{}").await.status, 404);
    assert_eq!(
        tcp(&serving, "POST", path).await.status,
        404,
        "only for this machine"
    );
}

#[tokio::test]
async fn long_deeds_tell_how_they_go_and_how_they_ended() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let lines = async |method: &str, path: &str| -> Vec<String> {
        let answer = unix(&serving, method, path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let events = answer.body.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["event"].as_str().unwrap().to_owned()
        });
        events.collect()
    };
    assert_eq!(
        lines("POST", "/coracle/v1/images/pull?name=demo:1").await,
        ["resolved", "pulled"]
    );
    assert_eq!(
        lines("POST", "/coracle/v1/images/pull?name=other").await,
        ["resolved", "failed"]
    );
    assert_eq!(lines("POST", "/coracle/v1/down").await, ["stopped", "done"]);
    let archive = node.directory.path().join("archive");
    std::fs::write(&archive, "a:1\nb:2\n").unwrap();
    let load = format!("/coracle/v1/images/load?path={}", archive.display());
    assert_eq!(lines("POST", &load).await, ["loaded"]);
    let relative = unix(&serving, "POST", "/coracle/v1/images/load?path=archive").await;
    assert_eq!(relative.status, 400);
    let removed = unix(&serving, "DELETE", "/coracle/v1/images?name=x:1")
        .await
        .json();
    assert_eq!(removed["removed"], json!(["x:1"]));
    let in_use = unix(&serving, "DELETE", "/coracle/v1/images?name=demo:1").await;
    assert_eq!(in_use.status, 409);
    assert!(in_use.body.contains("in use by pod default/hello-node-1"));
}

#[tokio::test]
async fn a_watch_sends_the_list_again_when_it_changed() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let mut stream = UnixStream::connect(&serving.socket).await.unwrap();
    stream
        .write_all(b"GET /coracle/v1/pods?watch=true HTTP/1.0\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    let mut until = async |wanted: &str| {
        let read = async {
            let mut buffer = [0; 4096];
            while !seen.contains(wanted) {
                let n = stream.read(&mut buffer).await.unwrap();
                assert!(n > 0, "{seen}");
                seen.push_str(str::from_utf8(&buffer[..n]).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .unwrap();
    };
    until("\"restartCount\":0").await;
    node.set_status(crate::fake::running(1));
    until("\"restartCount\":1").await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let serving = serve(&Fake::new()).await;
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let mut sent = 0_usize;
    let line = format!("X-{}: y\r\n", "z".repeat(1000));
    let _ = stream
        .write_all(b"GET /pods HTTP/1.1\r\nHost: localhost\r\n")
        .await;
    // Refused at the latest when a few buffers are full; without a limit this would go on.
    while sent < 64 << 20 && stream.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
    }
    assert!(sent < 16 << 20, "{sent} bytes of a head were taken");
    assert_eq!(get(&serving, "/healthz").await.status, 200);
}
