//! Probes: who is restarted, who is ready, who is waited for, and what is left of a probe.

use node_tests::manifest::{Manifest, idle};
use node_tests::{Node, pod, process, seconds, sh, wait_for, wait_until};
use serde_json::{Value, json};
use std::path::PathBuf;

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

/// Whether one of the node's processes has this word in its command line.
fn has_process(node: &Node, word: &str) -> bool {
    let processes = node.processes();
    let mut words = processes.iter().flat_map(|pid| process::command_line(*pid));
    words.any(|known| known == word)
}

/// The cgroups of exec sessions whose names begin so: `own-` of the agent's, `exec-` of people's.
fn sessions(node: &Node, prefix: &str) -> Vec<PathBuf> {
    let mut all = process::cgroup_directories(&node.cgroup_root);
    all.retain(|directory| {
        let name = directory.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(prefix)
    });
    all
}

#[test]
fn a_new_agent_ends_the_probes_and_hooks_of_the_one_that_was_killed() {
    let node = Node::start();
    let once = |number: &str| {
        format!("test -e /tmp/{number} && exit 0; touch /tmp/{number}; sleep {number} & sleep 9999")
    };
    let mut probe = exec(&once("7777"));
    probe["timeoutSeconds"] = json!(600);
    let hook = json!({"postStart": {"exec": {"command": ["/bin/sh", "-c", once("8888")]}}});
    node.apply(
        &pod("probed")
            .container(idle("main"))
            .with("livenessProbe", probe),
    );
    node.apply(
        &pod("hooked")
            .container(idle("main"))
            .with("lifecycle", hook),
    );
    node.wait_ready("probed");
    let mut person = node.ask(&["exec", "probed", "-c", "main", "--", "sleep", "6666"]);
    let mut person = node
        .sandbox
        .enter(|| person.spawn())
        .expect("start coracle");
    wait_until("all to run", seconds(20), || {
        ["6666", "7777", "8888"]
            .iter()
            .all(|word| has_process(&node, word))
    });
    let before = sessions(&node, "own-");
    node.restart_agent();
    wait_until("the agent's own sessions to end", seconds(20), || {
        !has_process(&node, "7777")
            && !has_process(&node, "8888")
            && before.iter().all(|directory| !directory.exists())
    });
    assert!(!before.is_empty());
    let people = sessions(&node, "exec-");
    assert!(has_process(&node, "6666"), "the person's session was ended");
    assert!(!people.is_empty());
    // its connection went with the agent
    let _ = person.wait();
    let probed = node.pod("probed").expect("the pod");
    assert_eq!(probed.container("main").restarts(), 0);
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
        !has_process(&node, "7777") && !has_process(&node, "8888")
    });
    wait_until("no cgroup of the probe", seconds(10), || {
        sessions(&node, "own-").is_empty()
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

#[test]
fn whoever_reads_pods_sees_no_flap_through_a_restart() {
    let node = Node::start();
    node.apply(
        &pod("steady")
            .container(idle("main"))
            .with("startupProbe", exec("true"))
            .with("readinessProbe", exec("true"))
            .with("livenessProbe", exec("true")),
    );
    node.wait_ready("steady");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                // nobody answers while there is no agent
                let Ok(answer) = node.fetch(&node.address, "/pods") else {
                    continue;
                };
                let list = answer.json().expect("JSON");
                let status = &list["items"][0]["status"];
                let conditions = status["conditions"].as_array().expect("conditions");
                let ready = conditions.iter().find(|c| c["type"] == "Ready");
                assert_eq!(ready.expect("Ready")["status"], "True", "{status:#}");
                let main = &status["containerStatuses"][0];
                assert_eq!(
                    (&main["ready"], &main["started"]),
                    (&json!(true), &json!(true))
                );
                reads += 1;
            }
            reads
        });
        for _ in 0..3 {
            node.restart_agent();
            node.wait_ready("steady");
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().expect("the reader") > 3);
    });
}
