//! Probes: who is restarted, who is ready, who is waited for, and what is left of a probe.

use node_tests::manifest::{Manifest, idle};
use node_tests::{Node, pod, process, seconds, sh, wait_for, wait_until};
use serde_json::{Value, json};

/// A probe each second that needs one failure.
fn probe(handler: Value) -> Value {
    let mut probe = json!({"periodSeconds": 1, "failureThreshold": 1});
    if let (Some(probe), Some(handler)) = (probe.as_object_mut(), handler.as_object()) {
        probe.extend(handler.clone());
    }
    probe
}

fn exec(script: &str) -> Value {
    probe(json!({"exec": {"command": ["/bin/sh", "-c", script]}}))
}

fn wait_event(node: &Node, text: &str) {
    wait_for(&format!("an event: {text}"), seconds(30), || {
        node.say(&["get", "events"]).contains(text).then_some(())
    });
}

fn is_ready(pod: &Manifest, node: &Node) -> Option<bool> {
    let view = node.pod(pod.name())?;
    let main = view.try_container("main")?.value["ready"].as_bool()?;
    let condition = view.condition("Ready")? == "True";
    (main == condition).then_some(main)
}

#[test]
fn a_container_that_fails_its_liveness_probe_is_restarted() {
    let node = Node::start();
    node.apply(
        &pod("sick")
            .container(idle("main"))
            .with("livenessProbe", exec("echo too sick; test -e /tmp/well")),
    );
    let restarted = node.wait_pod("sick", "restarted", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.restarts() > 0)
    });
    assert!(restarted.container("main").ended_before().is_some());
    wait_event(&node, "Liveness probe failed: too sick");
    wait_event(
        &node,
        "Container main failed liveness probe, will be restarted",
    );
}

#[test]
fn a_container_that_passes_its_liveness_probe_is_left_alone() {
    let node = Node::start();
    node.apply(
        &pod("well")
            .container(idle("main"))
            .with("livenessProbe", exec("echo probed >> /tmp/probed")),
    );
    node.wait_ready("well");
    wait_until("three probes", seconds(20), || {
        let output = node.coracle(&["exec", "well", "-c", "main", "--", "cat", "/tmp/probed"]);
        String::from_utf8_lossy(&output.stdout).lines().count() >= 3
    });
    let well = node.wait_ready("well");
    assert_eq!(well.container("main").restarts(), 0);
    let metrics = node.http("/metrics/probes").text();
    let counted =
        "prober_probe_total{probe_type=\"Liveness\",result=\"successful\",container=\"main\"";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_pod_is_ready_when_its_readiness_probe_says_so() {
    let node = Node::start();
    let ready = pod("door")
        .container(idle("main"))
        .with("readinessProbe", exec("test -e /tmp/open"));
    node.apply(&ready);
    wait_event(&node, "Readiness probe failed:");
    assert_eq!(is_ready(&ready, &node), Some(false));
    node.exec("door", "main", &["touch", "/tmp/open"]);
    wait_until("ready", seconds(20), || {
        is_ready(&ready, &node) == Some(true)
    });
    node.exec("door", "main", &["rm", "/tmp/open"]);
    wait_until("not ready", seconds(20), || {
        is_ready(&ready, &node) == Some(false)
    });
    let door = node.pod("door").expect("the pod");
    assert_eq!(door.container("main").restarts(), 0);
}

#[test]
fn the_other_probes_wait_for_the_startup_probe() {
    let node = Node::start();
    let mut startup = exec("test -e /tmp/started");
    startup["failureThreshold"] = json!(100);
    let slow = pod("slow")
        .container(idle("main"))
        .with("startupProbe", startup)
        .with("livenessProbe", exec("test -e /tmp/started"))
        .with("readinessProbe", exec("true"));
    node.apply(&slow);
    wait_event(&node, "Startup probe failed:");
    let view = node.pod("slow").expect("the pod");
    let main = view.container("main");
    assert_eq!(main.value["started"], false);
    assert_eq!(is_ready(&slow, &node), Some(false));
    node.exec("slow", "main", &["touch", "/tmp/started"]);
    let view = node.wait_ready("slow");
    let main = view.container("main");
    assert_eq!((&main.value["started"], main.restarts()), (&json!(true), 0));
}

#[test]
fn servers_are_asked_over_the_network() {
    let node = Node::start();
    let server = "mkdir -p /tmp/w; echo ok > /tmp/w/healthz; exec httpd -f -p 8080 -h /tmp/w";
    let ports = json!([{"name": "web", "containerPort": 8080}]);
    node.apply(
        &pod("web")
            .container(sh("main", server))
            .with("ports", ports.clone())
            .with(
                "readinessProbe",
                probe(json!({"httpGet": {"path": "/healthz", "port": "web"}})),
            )
            .with("livenessProbe", {
                let mut tcp = probe(json!({"tcpSocket": {"port": 8080}}));
                tcp["failureThreshold"] = json!(10);
                tcp
            }),
    );
    let web = node.wait_ready("web");
    node.apply(&pod("lost").container(sh("main", server)).with(
        "readinessProbe",
        probe(json!({"httpGet": {"path": "/nothing", "port": 8080}})),
    ));
    wait_event(
        &node,
        "Readiness probe failed: HTTP probe failed with statuscode: 404",
    );
    node.apply(
        &pod("deaf")
            .container(idle("main"))
            .with("readinessProbe", probe(json!({"httpGet": {"port": 81}}))),
    );
    let deaf = node.wait_pod("deaf", "running", |pod| pod.phase() == "Running");
    let refused = format!(
        "Readiness probe failed: Get \"http://{0}:81/\": dial tcp {0}:81: connect: connection refused",
        deaf.ip()
    );
    wait_event(&node, &refused);
    let main = node.pod("web").expect("the pod");
    assert_eq!(main.container("main").restarts(), 0);
    assert_eq!(web.uid(), main.uid());
}

#[test]
fn of_a_probe_that_takes_too_long_nothing_is_left() {
    let node = Node::start();
    let hangs = "test -e /tmp/hung && exit 1; touch /tmp/hung; sleep 7777 & sleep 8888";
    node.apply(
        &pod("hangs")
            .container(idle("main"))
            .with("readinessProbe", exec(hangs)),
    );
    wait_event(&node, "timed out after 1s");
    wait_until("no process of the probe", seconds(10), || {
        !node.processes().iter().any(|pid| {
            let words = process::command_line(*pid);
            words.iter().any(|word| word == "7777" || word == "8888")
        })
    });
    wait_until("no cgroup of the probe", seconds(10), || {
        let directories = process::cgroup_directories(&node.cgroup_root);
        !directories
            .iter()
            .any(|directory| directory.to_string_lossy().contains("/exec-"))
    });
    let main = node.pod("hangs").expect("the pod");
    assert!(main.container("main").is_running());
}

#[test]
fn what_a_probe_found_outlives_the_agent() {
    let node = Node::start();
    let mut probe = exec("true");
    probe["initialDelaySeconds"] = json!(1);
    node.apply(
        &pod("steady")
            .container(idle("main"))
            .with("readinessProbe", probe),
    );
    let conditions = |node: &Node| {
        let view = node.wait_ready("steady");
        view.value["status"]["conditions"].clone()
    };
    let before = conditions(&node);
    for _ in 0..3 {
        node.restart_agent();
        assert_eq!(conditions(&node), before, "readiness flapped");
    }
    wait_until("a probe of the new agent", seconds(20), || {
        node.http("/metrics/probes")
            .text()
            .contains("probe_type=\"Readiness\",result=\"successful\"")
    });
    assert_eq!(conditions(&node), before);
}
