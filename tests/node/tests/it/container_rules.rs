//! What one container of a pod may have of its own: its restarts, its stop signal, its end; sidecars among the others; and the pod's deadline.

use node_tests::manifest::{Manifest, idle};
use node_tests::{Node, pod, seconds, sh, wait_for};
use serde_json::{Value, json};

fn with(mut container: Value, fields: Value) -> Value {
    if let (Some(container), Value::Object(fields)) = (container.as_object_mut(), fields) {
        container.extend(fields);
    }
    container
}

fn always(container: Value) -> Value {
    with(container, json!({"restartPolicy": "Always"}))
}

/// A probe each second that needs one failure.
fn exec(script: &str) -> Value {
    json!({"exec": {"command": ["/bin/sh", "-c", script]}, "periodSeconds": 1, "failureThreshold": 1})
}

fn wait_event(node: &Node, text: &str) {
    wait_for(&format!("an event: {text}"), seconds(30), || {
        node.say(&["get", "events"]).contains(text).then_some(())
    });
}

/// Gives the pod a directory of the host at `/shared` in its main container, and says where it is.
fn shared(node: &Node, manifest: Manifest) -> (Manifest, std::path::PathBuf) {
    let dir = node.dir("shared");
    std::fs::create_dir(&dir).expect("make a directory");
    let volumes = json!([{"name": "shared", "hostPath": {"path": dir}}]);
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    let manifest = manifest
        .spec("volumes", volumes)
        .with("volumeMounts", mounts);
    (manifest, dir)
}

#[test]
fn a_container_may_be_restarted_though_its_pod_is_not() {
    let node = Node::start();
    node.apply(
        &pod("own")
            .once()
            .container(always(sh("again", "exit 1")))
            .container(idle("main")),
    );
    let own = node.wait_pod("own", "restarted", |pod| {
        pod.try_container("again").is_some_and(|c| c.restarts() > 0)
    });
    assert_eq!(
        (own.phase(), own.container("main").restarts()),
        ("Running", 0)
    );
}

#[test]
fn the_first_rule_that_fits_an_exit_code_decides() {
    let node = Node::start();
    let rules = |operator: &str, code: i32| {
        json!({
            "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": operator, "values": [code]}}],
        })
    };
    node.apply(
        &pod("ruled")
            .once()
            .container(with(sh("fits", "exit 42"), rules("In", 42)))
            .container(with(sh("other", "exit 41"), rules("In", 42)))
            .container(idle("main")),
    );
    let ruled = node.wait_pod("ruled", "restarted", |pod| {
        pod.try_container("fits").is_some_and(|c| c.restarts() > 0)
    });
    let other = ruled.container("other");
    let code = other.ended().map(|ended| ended.exit_code());
    assert_eq!((other.restarts(), code), (0, Some(41)));
}

#[test]
fn a_sidecar_is_restarted_in_a_pod_that_never_is_and_counts_not_for_its_phase() {
    let node = Node::start();
    node.apply(
        &pod("job")
            .once()
            .init(always(sh("side", "test -e /tmp/second || sleep 1; exit 1")))
            .container(sh("main", "sleep 5")),
    );
    node.wait_pod("job", "with its sidecar restarted", |pod| {
        pod.phase() == "Running" && pod.try_container("side").is_some_and(|c| c.restarts() > 0)
    });
    node.wait_phase("job", "Succeeded");
}

#[test]
fn a_sidecar_is_probed_like_the_others() {
    let node = Node::start();
    let probes = json!({
        "livenessProbe": exec("test -e /tmp/well"),
        "readinessProbe": exec("test -e /tmp/open"),
        "startupProbe": exec("touch /tmp/well"),
    });
    node.apply(
        &pod("both")
            .init(always(with(idle("side"), probes)))
            .container(idle("main")),
    );
    wait_event(&node, "Readiness probe failed:");
    let both = node.pod("both").expect("the pod");
    assert!(!both.is_ready() && both.container("side").value["started"] == true);
    node.exec("both", "side", &["touch", "/tmp/open"]);
    node.wait_ready("both");
    node.exec("both", "side", &["rm", "/tmp/well"]);
    let both = node.wait_pod("both", "with its sidecar restarted", |pod| {
        pod.try_container("side").is_some_and(|c| c.restarts() > 0)
    });
    assert_eq!(both.container("main").restarts(), 0);
}

#[test]
fn a_probe_may_shorten_the_time_to_end() {
    let node = Node::start();
    let deaf = "trap '' TERM; while :; do sleep 1; done";
    let mut probe = exec("false");
    probe["terminationGracePeriodSeconds"] = json!(1);
    node.apply(
        &pod("deaf")
            .spec("terminationGracePeriodSeconds", json!(3600))
            .container(sh("main", deaf))
            .with("livenessProbe", probe),
    );
    let deaf = node.wait_pod("deaf", "killed", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.ended_before().is_some())
    });
    let ended = deaf.container("main").ended_before();
    assert_eq!(ended.map(|ended| ended.exit_code()), Some(137));
}

#[test]
fn a_container_may_name_the_signal_that_ends_it() {
    let node = Node::start();
    let script = "trap 'echo usr1 > /shared/signal; exit 0' USR1; trap 'echo term > /shared/signal; exit 0' TERM; echo set; while :; do sleep 0.1; done";
    let manifest = pod("signalled")
        .spec("os", json!({"name": "linux"}))
        .spec("terminationGracePeriodSeconds", json!(20))
        .container(sh("main", script))
        .with("lifecycle", json!({"stopSignal": "SIGUSR1"}));
    let (manifest, dir) = shared(&node, manifest);
    node.apply(&manifest);
    // before its trap is set, the first process of a PID namespace hears nothing
    node.wait_log("signalled", "main", "set\n");
    node.remove_manifest("signalled");
    node.wait_gone("signalled");
    let signal = std::fs::read_to_string(dir.join("signal")).expect("the signal");
    assert_eq!(signal, "usr1\n");
}

#[test]
fn a_pod_that_is_active_for_too_long_fails() {
    let node = Node::start();
    node.apply(
        &pod("late")
            .spec("activeDeadlineSeconds", json!(2))
            .container(idle("main")),
    );
    node.wait_ready("late");
    let late = node.wait_phase("late", "Failed");
    assert_eq!(late.reason(), "DeadlineExceeded");
    node.wait_pod("late", "over", |pod| {
        pod.container("main").ended().is_some()
    });
}

#[test]
fn a_hook_that_sleeps_holds_back_what_follows() {
    let node = Node::start();
    let manifest = pod("slow")
        .spec("terminationGracePeriodSeconds", json!(20))
        .container(sh(
            "main",
            "trap 'date +%s > /shared/ended; exit 0' TERM; while :; do sleep 0.1; done",
        ))
        .with("lifecycle", json!({"preStop": {"sleep": {"seconds": 2}}}));
    let (manifest, dir) = shared(&node, manifest);
    node.apply(&manifest);
    node.wait_ready("slow");
    let asked = std::time::SystemTime::now();
    node.remove_manifest("slow");
    node.wait_gone("slow");
    let ended = std::fs::read_to_string(dir.join("ended")).expect("when it ended");
    let ended: u64 = ended.trim().parse().expect("seconds");
    let asked = asked.duration_since(std::time::UNIX_EPOCH).expect("a time");
    assert!(
        ended > asked.as_secs(),
        "the signal did not wait for the hook"
    );
}
