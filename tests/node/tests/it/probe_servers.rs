//! Probes that ask servers: what is sent to them, and which answers are good ones.

use node_tests::manifest::idle;
use node_tests::{Node, answering, pod, seconds, sh, wait_for, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server on the node's own loopback, asked each second in a container's name.
fn get(port: u16, more: &Value) -> Value {
    let mut get = json!({"host": "127.0.0.1", "port": port});
    if let (Some(get), Some(more)) = (get.as_object_mut(), more.as_object()) {
        get.extend(more.clone());
    }
    json!({"httpGet": get, "periodSeconds": 1, "failureThreshold": 1})
}

fn wait_event(node: &Node, text: &str) {
    wait_for(&format!("an event: {text}"), seconds(30), || {
        node.say(&["get", "events"]).contains(text).then_some(())
    });
}

#[test]
fn a_server_is_told_the_headers_of_the_manifest() {
    let node = Node::start();
    let port = answering::http(&node.sandbox, |head| {
        let told = ["GET /deep?a=b HTTP/1.1", "Host: example.org", "X-Token: 7"];
        let all = told
            .iter()
            .all(|line| head.lines().any(|known| known == *line));
        let agent = head.contains("User-Agent: kube-probe/");
        answering::status(
            if all && agent {
                "204 No Content"
            } else {
                "400 Bad Request"
            },
            "",
        )
    });
    let headers =
        json!([{"name": "Host", "value": "example.org"}, {"name": "X-Token", "value": "7"}]);
    node.apply(&pod("told").container(idle("main")).with(
        "readinessProbe",
        get(port, &json!({"path": "/deep?a=b", "httpHeaders": headers})),
    ));
    node.wait_ready("told");
}

#[test]
fn a_redirect_is_followed_on_its_host_and_believed_elsewhere() {
    let node = Node::start();
    let port = answering::http(&node.sandbox, |head| match head.split(' ').nth(1) {
        Some("/here") => answering::status("302 Found", "Location: /sick\r\n"),
        Some("/there") => answering::status("302 Found", "Location: http://elsewhere.invalid/\r\n"),
        _ => answering::status("500 Internal Server Error", ""),
    });
    node.apply(
        &pod("there")
            .container(idle("main"))
            .with("livenessProbe", get(port, &json!({"path": "/there"}))),
    );
    wait_event(&node, "Liveness probe warning: Probe terminated redirects");
    node.apply(
        &pod("here")
            .container(idle("main"))
            .with("livenessProbe", get(port, &json!({"path": "/here"}))),
    );
    wait_event(
        &node,
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
    );
    let there = node.wait_ready("there");
    assert_eq!(there.container("main").restarts(), 0);
}

/// Ends with the test.
struct Tls(Child);

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// openssl's own server, with a certificate that nobody vouches for.
fn tls_server(node: &Node, port: u16) -> Tls {
    let made = rcgen::generate_simple_self_signed(["nobody".to_owned()]).expect("a certificate");
    let write = |name: &str, content: &[u8]| {
        let path = node.dir(name);
        std::fs::write(&path, content).expect("write");
        path
    };
    let key = write("key", &made.signing_key.serialize_der());
    let certificate = write("certificate", made.cert.der());
    let mut server = Command::new("openssl");
    server
        .args(["s_server", "-quiet", "-www", "-port", &port.to_string()])
        .args(["-keyform", "DER", "-certform", "DER"])
        .args([Path::new("-key"), &key, Path::new("-cert"), &certificate])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Tls(node
        .sandbox
        .enter(|| server.spawn())
        .expect("start openssl"))
}

#[test]
fn a_server_may_speak_tls_with_any_certificate() {
    let node = Node::start();
    let _server = tls_server(&node, 8443);
    node.apply(&pod("secret").container(idle("main")).with(
        "readinessProbe",
        get(8443, &json!({"scheme": "HTTPS", "path": "/"})),
    ));
    node.wait_ready("secret");
}

#[test]
fn a_grpc_server_is_asked_for_its_health() {
    let node = Node::start();
    let port = answering::grpc_health(&node.sandbox);
    let probe = json!({"grpc": {"port": port}, "periodSeconds": 1});
    node.apply(
        &pod("healthy")
            .spec("hostNetwork", json!(true))
            .container(idle("main"))
            .with("readinessProbe", probe),
    );
    node.wait_ready("healthy");
    let probe = json!({"grpc": {"port": 1}, "periodSeconds": 1});
    node.apply(
        &pod("deaf")
            .spec("hostNetwork", json!(true))
            .container(idle("main"))
            .with("readinessProbe", probe),
    );
    wait_event(
        &node,
        "Readiness probe failed: error: failed to connect service",
    );
}

#[test]
fn a_hook_whose_server_speaks_no_tls_is_told_without() {
    let node = Node::start();
    let port = answering::http(&node.sandbox, |head| {
        let is_plain = head.starts_with("GET ");
        answering::status(
            if is_plain {
                "200 OK"
            } else {
                "400 Bad Request"
            },
            "",
        )
    });
    let hook = json!({"httpGet": {"scheme": "HTTPS", "host": "127.0.0.1", "port": port}});
    node.apply(
        &pod("told")
            .container(idle("main"))
            .with("lifecycle", json!({"postStart": hook})),
    );
    wait_event(
        &node,
        &format!("request to HTTPS lifecycle hook 127.0.0.1:{port} got HTTP response"),
    );
    node.wait_ready("told");
}

#[test]
fn explain_and_describe_name_the_probes() {
    let node = Node::start();
    let server = "mkdir -p /tmp/w; echo ok > /tmp/w/healthz; exec httpd -f -p 8080 -h /tmp/w";
    node.apply(
        &pod("web")
            .spec(
                "readinessGates",
                json!([{"conditionType": "example.org/door"}]),
            )
            .container(sh("main", server))
            .with(
                "lifecycle",
                json!({"postStart": {"exec": {"command": ["true"]}}}),
            )
            .with(
                "readinessProbe",
                json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}),
            ),
    );
    let web = node.wait_pod("web", "ready but for its gate", |pod| {
        pod.condition("ContainersReady") == Some("True")
    });
    assert_eq!(web.condition("Ready"), Some("False"), "a gate is shut");
    wait_until("the timeline to tell it", seconds(20), || {
        let told = node.say(&["explain", "web"]);
        ["postStart hook", "first readiness probe", " ready "]
            .iter()
            .all(|step| told.contains(step))
    });
    let text = node.say(&["describe", "pod", "web"]);
    for line in [
        "Readiness:      http-get http://:8080/healthz delay=0s timeout=1s period=1s #success=1 #failure=3",
        "Readiness Gates:",
        "example.org/door",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
