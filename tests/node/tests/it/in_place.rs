//! A manifest that names its uid: an edit changes the pod that runs, within what the API server lets be changed.

use node_tests::manifest::{BUSYBOX, Manifest, idle};
use node_tests::view::PodView;
use node_tests::{Image, Node, pod, seconds, sh, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const UID: &str = "0b1c2d3e-0000-4000-8000-000000000001";
const OTHER_THAN: &str =
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`";
/// Ends two seconds after it is told to.
const SLOW: &str = "trap 'sleep 2; exit 0' TERM; while :; do sleep 3600 & wait $!; done";
const TOOLS: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";

/// An image of busybox whose containers have VERSION in their environment.
fn image(version: u32) -> String {
    format!("localhost/app:{version}")
}

fn node() -> Node {
    let node = Node::start();
    for version in 1..=3 {
        let environment = json!(["PATH=/bin", format!("VERSION={version}")]);
        node.load(&image(version), &Image::busybox().set("Env", environment));
    }
    node
}

fn kept(name: &str) -> Manifest {
    pod(name).meta("uid", json!(UID))
}

fn of_image(version: u32, mut container: Value) -> Value {
    container["image"] = json!(image(version));
    container
}

/// The container `app` says its image's version, and idles; `other` has nothing to do with it.
fn web(version: u32) -> Manifest {
    let script = format!("echo version $VERSION; {TOOLS}");
    kept("web")
        .container(of_image(version, sh("app", &script)))
        .container(idle("other"))
}

fn restarted(times: u64) -> impl Fn(&PodView) -> bool {
    move |pod| pod.is_ready() && pod.container("app").restarts() == times
}

/// What the pod shares and a container of it has: the same as long as its sandbox is.
fn network_of(node: &Node, container: &str) -> String {
    let pid = node.container_pid(UID, container).expect("a process");
    let link = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("a namespace");
    link.to_string_lossy().into_owned()
}

#[test]
fn another_image_restarts_that_container_and_nothing_else() {
    let node = node();
    node.apply(&web(1));
    let before = node.wait_ready("web");
    assert_eq!(before.uid(), UID);
    node.wait_log("web", "app", "version 1");
    let network = network_of(&node, "app");

    node.apply(&web(2));
    let after = node.wait_pod("web", "restarted", restarted(1));
    assert_eq!((after.uid(), after.ip()), (before.uid(), before.ip()));
    assert_eq!(network_of(&node, "app"), network);
    assert_eq!(node.wait_log("web", "app", "version"), "version 2\n");
    let other = |pod: &PodView| pod.container("other").value.clone();
    assert_eq!(other(&after), other(&before));
    assert_eq!(
        after.container("app").ended_before().map(|e| e.exit_code()),
        Some(0)
    );
    let spec = &after.value["spec"]["containers"][0];
    assert_eq!(spec["image"], image(2));
    assert_eq!(node.pods().len(), 1);
}

#[test]
fn a_uid_may_be_one_letter_or_sixty_four() {
    let node = Node::start();
    let long = "a".repeat(64);
    for (name, uid) in [("short", "a"), ("long", &long)] {
        node.apply(&pod(name).meta("uid", json!(uid)).container(idle("app")));
        assert_eq!(node.wait_ready(name).uid(), uid);
        let said = node.exec(name, "app", &["hostname"]);
        assert_eq!(said, format!("{name}-node\n"));
    }
    for name in ["short", "long"] {
        node.remove_manifest(name);
        node.wait_gone(name);
    }
    node.say(&["down"]);
    node_tests::leaks::assert_nothing_left(&node);
}

#[test]
fn one_that_crashes_starts_at_once_with_a_mended_image_and_its_back_off_begins_anew() {
    let node = node();
    let script = "echo version $VERSION; [ $VERSION = 3 ] && exec sleep 3600; exit 1";
    let crashing = |version| kept("web").container(of_image(version, sh("app", script)));
    let waits = |text: &'static str| {
        move |pod: &PodView| {
            let app = pod.try_container("app");
            app.is_some_and(|app| {
                app.waiting() == "CrashLoopBackOff" && app.message().contains(text)
            })
        }
    };
    node.apply(&crashing(1));
    let before = node.wait_pod("web", "held back for longer", waits("back-off 20s"));
    assert_eq!(before.container("app").restarts(), 2);
    // another that crashes: it is held back as a new one is
    node.apply(&crashing(2));
    let anew = node.wait_pod("web", "held back as at first", waits("back-off 10s"));
    assert_eq!(node.logs("web", "app"), "version 2\n");
    assert_eq!(anew.ip(), before.ip());
    node.apply(&crashing(3));
    let mended = node.wait_ready("web");
    let app = mended.container("app");
    assert!(app.restarts() > anew.container("app").restarts());
    // its back-off was not over when it began
    let crash = time(&app.ended_before().expect("it crashed").value["finishedAt"]);
    let began = time(&app.value["state"]["running"]["startedAt"]);
    assert!(began < crash + Duration::from_secs(10), "{:#}", app.value);
}

fn time(value: &Value) -> jiff::Timestamp {
    let text = value.as_str().expect("a time");
    text.parse().expect("a time")
}

#[test]
fn what_may_not_be_changed_is_told_and_nothing_is_touched() {
    let node = node();
    node.apply(&web(1));
    let before = node.wait_ready("web");
    let blue = json!([{"name": "COLOUR", "value": "blue"}]);
    node.apply(&web(2).with("env", blue));
    wait_until("the event", seconds(20), || {
        let events = node.json(&["get", "events", "-o", "json"]);
        let events = events["items"].as_array().expect("a list").iter();
        events
            .filter(|event| event["reason"] == "InvalidManifest")
            .filter(|event| event["involvedObject"]["uid"] == UID)
            .filter_map(|event| event["message"].as_str())
            .any(|text| {
                text.contains("web.yaml: Pod \"web-node\" is invalid: spec: Forbidden")
                    && text.ends_with("changed: spec.containers[1].env")
            })
    });
    assert!(node.agent_log().contains(OTHER_THAN));
    let containers = |pod: &PodView| pod.value["status"]["containerStatuses"].clone();
    assert_eq!(containers(&node.wait_ready("web")), containers(&before));

    // nor by the next agent, which says it too
    let said = node.agent_log().len();
    node.restart_agent();
    wait_until("the refusal", seconds(20), || {
        node.agent_log()[said..].contains(OTHER_THAN)
    });
    assert_eq!(containers(&node.wait_ready("web")), containers(&before));
    // what may be changed is, once the rest is as it was
    node.apply(&web(2));
    node.wait_pod("web", "restarted", restarted(1));
}

#[test]
fn an_edit_while_the_agent_is_dead_is_taken_up_by_the_next() {
    let node = node();
    node.apply(&web(1));
    let before = node.wait_ready("web");
    node.kill_agent();
    node.apply(&web(2).meta("labels", json!({"colour": "blue"})));
    node.start_agent();
    let after = node.wait_pod("web", "restarted", restarted(1));
    assert_eq!((after.uid(), after.ip()), (UID, before.ip()));
    assert_eq!(after.value["metadata"]["labels"]["colour"], "blue");
    assert_eq!(node.wait_log("web", "app", "version"), "version 2\n");
    // and the next one finds it as it is
    node.restart_agent();
    let later = node.wait_ready("web");
    assert_eq!(later.container("app").id(), after.container("app").id());
}

#[test]
fn a_lowered_deadline_ends_the_pod() {
    let node = node();
    let bounded = |seconds: u32| web(1).spec("activeDeadlineSeconds", json!(seconds));
    node.apply(&bounded(3600));
    let before = node.wait_ready("web");
    node.apply(&bounded(1));
    let after = node.wait_phase("web", "Failed");
    assert_eq!(
        (after.reason(), after.uid()),
        ("DeadlineExceeded", before.uid())
    );
}

fn add_tools(node: &Node) -> PodView {
    let words = ["debug", "web", "--image", BUSYBOX, "-c", "tools"];
    let command = ["--", "sh", "-c", TOOLS];
    node.say(&[&words[..], &command].concat());
    node.wait_pod("web", "debugged", |pod| {
        let tools = pod.try_container("tools");
        tools.is_some_and(|tools| tools.is_running())
    })
}

#[test]
fn a_container_for_debugging_outlives_another_image() {
    let node = node();
    node.apply(&web(1));
    node.wait_ready("web");
    let before = add_tools(&node);
    node.apply(&web(2));
    let after = node.wait_pod("web", "restarted", restarted(1));
    assert_eq!(
        after.container("tools").value,
        before.container("tools").value
    );
    assert_eq!(node.wait_log("web", "app", "version"), "version 2\n");
    // and the next agent knows of both
    node.restart_agent();
    let later = node.wait_ready("web");
    for name in ["app", "tools"] {
        assert_eq!(later.container(name).value, after.container(name).value);
    }
    assert_eq!(
        later.value["spec"]["ephemeralContainers"][0]["name"],
        "tools"
    );
}

fn leaves(pod: &PodView) -> bool {
    pod.value["metadata"]["deletionTimestamp"].is_string()
}

fn is_without_tools(pod: &PodView) -> bool {
    pod.is_ready() && !leaves(pod) && pod.value["spec"]["ephemeralContainers"].is_null()
}

#[test]
fn a_pod_that_comes_back_by_its_manifest_comes_without_what_was_put_into_it() {
    // with a uid of the node's making: the same manifest is the same uid
    let slow = pod("web")
        .container(sh("app", SLOW))
        .spec("terminationGracePeriodSeconds", json!(30));
    for agent_dies_in_between in [false, true] {
        let node = Node::start();
        node.apply(&slow);
        node.wait_ready("web");
        let before = add_tools(&node);
        node.remove_manifest("web");
        node.wait_pod("web", "leaving", leaves);
        node.apply(&slow);
        if agent_dies_in_between {
            node.restart_agent();
        }
        let after = node.wait_pod("web", "back", is_without_tools);
        assert_eq!(after.uid(), before.uid());
        assert_ne!(after.container("app").id(), "");
        // what the next agent finds on disk
        node.kill_agent();
        node.start_agent();
        let later = node.wait_pod("web", "known", is_without_tools);
        assert_eq!(later.container("app").value, after.container("app").value);
        assert!(later.try_container("tools").is_none());
    }
}
