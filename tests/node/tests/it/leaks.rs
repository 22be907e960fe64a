//! Nothing is left: of pods that are gone, of pods that never came to be, of many.

use node_tests::leaks::{Belongings, assert_nothing_left, wait_back_to};
use node_tests::manifest::idle;
use node_tests::{Node, pod, seconds, sh, wait_until};
use serde_json::json;

#[test]
fn a_pod_that_comes_and_goes_leaves_nothing() {
    let node = Node::start();
    node.apply(&pod("first").container(idle("main")));
    node.wait_ready("first");
    node.remove_manifest("first");
    node.wait_gone("first");
    // The keeper and the first directories exist from now on.
    let before = settled(&node);
    for number in 0..3 {
        let name = format!("guest-{number}");
        node.apply(
            &pod(&name)
                .spec(
                    "volumes",
                    json!([{"name": "m", "emptyDir": {"medium": "Memory"}}]),
                )
                .init(sh("init", "true"))
                .container(idle("main"))
                .with("volumeMounts", json!([{"name": "m", "mountPath": "/m"}]))
                .with(
                    "ports",
                    json!([{"containerPort": 80, "hostPort": 8090 + number}]),
                ),
        );
        node.wait_ready(&name);
        node.exec(&name, "main", &["true"]);
        node.remove_manifest(&name);
        node.wait_gone(&name);
    }
    wait_back_to(&node, &before);
    let pods = node.root().join("pods");
    wait_until("no pod's directory", seconds(15), || {
        std::fs::read_dir(&pods).is_ok_and(|mut entries| entries.next().is_none())
    });
}

/// The counts once they stand still: the pool of network slots fills in the background.
fn settled(node: &Node) -> Belongings {
    let mut last = Belongings::of(node);
    let mut quiet = 0;
    wait_until("the node to settle", seconds(30), || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = Belongings::of(node);
        quiet = if now.counts() == last.counts() {
            quiet + 1
        } else {
            0
        };
        last = now;
        quiet >= 8
    });
    last
}

#[test]
fn a_pod_that_cannot_start_leaves_nothing() {
    let node = Node::start();
    node.apply(&pod("first").container(idle("main")));
    node.wait_ready("first");
    node.remove_manifest("first");
    node.wait_gone("first");
    let before = settled(&node);
    let broken = [
        pod("no-image").container(
            json!({"name": "main", "image": "localhost/none:1", "imagePullPolicy": "Never"}),
        ),
        pod("no-user")
            .container(idle("main"))
            .with("securityContext", json!({"runAsNonRoot": true})),
        pod("no-command")
            .container(idle("main"))
            .with("command", json!(["/none"])),
        pod("no-volume")
            .spec(
                "volumes",
                json!([{"name": "v", "hostPath": {"path": "/no/such", "type": "Directory"}}]),
            )
            .container(idle("main"))
            .with("volumeMounts", json!([{"name": "v", "mountPath": "/v"}])),
        pod("no-init")
            .init(sh("init", "exit 1"))
            .container(idle("main")),
    ];
    for manifest in &broken {
        node.apply(manifest);
        node.wait_pod(manifest.name(), "known", |pod| !pod.phase().is_empty());
    }
    node.wait_pod("no-init", "tried", |pod| {
        pod.try_container("init")
            .is_some_and(|init| init.restarts() >= 1)
    });
    for manifest in &broken {
        node.remove_manifest(manifest.name());
    }
    wait_until("no pod", seconds(30), || node.pods().is_empty());
    wait_back_to(&node, &before);
}

#[test]
fn fifty_pods_at_once_leave_nothing() {
    let node = Node::start();
    for number in 0..50 {
        node.apply(&pod(&format!("many-{number}")).container(idle("main")));
    }
    wait_until("all to run", seconds(60), || {
        node.pods().iter().filter(|pod| pod.is_ready()).count() == 50
    });
    node.say(&["down"]);
    wait_until("the agent to end", seconds(30), || {
        node.agent_ended().is_some()
    });
    assert_nothing_left(&node);
}

#[test]
fn objects_that_no_pod_owns_are_swept_at_the_start() {
    let node = Node::start();
    node.apply(&pod("orphan").container(idle("main")));
    let orphan = node.wait_ready("orphan");
    node.kill_agent();
    // The record is lost, as after a damaged disk; the manifest too.
    std::fs::remove_dir_all(node.root().join("pods").join(orphan.uid())).unwrap();
    node.remove_manifest("orphan");
    node.start_agent();
    wait_until("its processes to be gone", seconds(30), || {
        node.container_pid(orphan.uid(), "main").is_none()
    });
    node.say(&["down"]);
    assert_nothing_left(&node);
}
