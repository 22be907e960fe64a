//! A directory of manifests is what the node runs.

use node_tests::manifest::idle;
use node_tests::{Node, pod, seconds, wait_until};
use serde_json::json;
use std::fs;

#[test]
fn a_pod_in_the_directory_runs() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    let web = node.wait_ready("web");
    assert_eq!(
        web.value["metadata"]["name"], "web-node",
        "a static pod bears the node's name"
    );
    assert_eq!(web.value["metadata"]["namespace"], "default");
    assert_eq!(
        web.value["metadata"]["annotations"]["kubernetes.io/config.source"],
        "file"
    );
}

#[test]
fn manifests_that_were_there_before_the_start_run() {
    let node = Node::builder().prepare();
    node.apply(&pod("early").container(idle("main")));
    node.start_agent();
    node.load(node_tests::manifest::BUSYBOX, &node_tests::Image::busybox());
    node.wait_ready("early");
}

#[test]
fn a_changed_manifest_replaces_its_pod() {
    let node = Node::start();
    let web = pod("web").container(idle("main"));
    node.apply(&web);
    let before = node.wait_ready("web");
    node.apply(&web.with("env", json!([{"name": "COLOUR", "value": "blue"}])));
    let after = node.wait_pod("web", "replaced", |pod| {
        pod.is_ready() && pod.uid() != before.uid()
    });
    assert_eq!(
        node.exec("web", "main", &["sh", "-c", "echo $COLOUR"]),
        "blue\n"
    );
    assert_eq!(node.pods().len(), 1);
    assert_ne!(after.container("main").id(), before.container("main").id());
}

#[test]
fn a_manifest_written_again_without_a_change_changes_nothing() {
    let node = Node::start();
    let web = pod("web").container(idle("main"));
    node.apply(&web);
    let before = node.wait_ready("web");
    node.apply(&web);
    // A second pod shows that the directory was read again.
    node.apply(&pod("other").container(idle("main")));
    node.wait_ready("other");
    let after = node.wait_ready("web");
    assert_eq!(after.container("main").id(), before.container("main").id());
    assert_eq!(after.container("main").restarts(), 0);
}

#[test]
fn a_removed_manifest_stops_its_pod() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    let web = node.wait_ready("web");
    let pid = node.container_pid(web.uid(), "main").expect("a process");
    node.remove_manifest("web");
    node.wait_gone("web");
    assert!(!node_tests::process::lives(pid));
}

#[test]
fn yaml_json_several_documents_and_lists_are_read() {
    let node = Node::start();
    let document = |name: &str| pod(name).container(idle("main")).text();
    node.write_manifest("one.json", &document("from-json"));
    node.write_manifest(
        "two.yml",
        &format!(
            "---\n{}---\n# nothing\n---\n{}",
            document("first"),
            document("second")
        ),
    );
    let items = [pod("third").container(idle("main")).value];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    node.write_manifest("list.yaml", &list.to_string());
    for name in ["from-json", "first", "second", "third"] {
        node.wait_ready(name);
    }
}

#[test]
fn files_that_editors_leave_are_ignored() {
    let node = Node::start();
    let text = pod("ghost").container(idle("main")).text();
    for name in [
        ".ghost.yaml.swp",
        "ghost.yaml~",
        "#ghost.yaml#",
        ".#ghost.yaml",
        "ghost.yaml.bak",
        "4913",
        ".ghost.yaml",
        "ghost.txt",
    ] {
        fs::write(node.manifests().join(name), &text).unwrap();
    }
    node.apply(&pod("real").container(idle("main")));
    node.wait_ready("real");
    assert_eq!(node.pods().len(), 1);
}

#[test]
fn a_manifest_that_breaks_keeps_its_last_good_pod_and_says_where() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    let before = node.wait_ready("web");
    node.write_manifest(
        "web.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web\nspec: [\n",
    );
    wait_until("the complaint", seconds(20), || {
        node.agent_log().contains("web.yaml")
    });
    let log = node.agent_log();
    let line = log.lines().find(|line| line.contains("web.yaml")).unwrap();
    assert!(
        line.contains("line") || line.contains("web.yaml:"),
        "no line number: {line}"
    );
    let after = node.wait_ready("web");
    assert_eq!(after.container("main").id(), before.container("main").id());
}

#[test]
fn a_broken_manifest_does_not_hold_back_its_neighbours() {
    let node = Node::start();
    node.write_manifest("a.yaml", "{{{");
    node.apply(&pod("web").container(idle("main")));
    node.wait_ready("web");
}

#[test]
fn an_unknown_field_is_refused_by_name_with_its_path() {
    let node = Node::start();
    node.apply(
        &pod("odd")
            .container(idle("main"))
            .with("restartPolicyy", json!("Always")),
    );
    wait_until("the refusal", seconds(20), || {
        node.agent_log()
            .contains("spec.containers[0].restartPolicyy: unknown field")
    });
    assert!(node.pod("odd").is_none());
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    let node = Node::start();
    let source = json!([{"configMapRef": {"name": "settings"}}]);
    node.apply(
        &pod("configured")
            .container(idle("main"))
            .with("envFrom", source),
    );
    wait_until("the refusal", seconds(20), || {
        node.agent_log().contains("spec.containers[0].envFrom")
    });
    assert!(node.pod("configured").is_none());
}

#[test]
fn of_two_files_naming_one_pod_the_first_in_sort_order_wins_and_it_is_said() {
    let node = Node::start();
    let named = |colour: &str| {
        pod("twin")
            .container(idle("main"))
            .with("env", json!([{"name": "COLOUR", "value": colour}]))
            .text()
    };
    node.write_manifest("b.yaml", &named("second"));
    node.write_manifest("a.yaml", &named("first"));
    wait_until("the first to win", seconds(30), || {
        node.pod("twin").is_some_and(|pod| pod.is_ready())
            && node
                .coracle(&["exec", "twin", "--", "sh", "-c", "echo $COLOUR"])
                .stdout
                == b"first\n"
    });
    wait_until("it to be said", seconds(10), || {
        node.agent_log()
            .lines()
            .any(|line| line.contains("a.yaml") && line.contains("b.yaml"))
    });
    assert_eq!(node.pods().len(), 1);
    fs::remove_file(node.manifests().join("a.yaml")).unwrap();
    wait_until("the second to take its place", seconds(30), || {
        node.coracle(&["exec", "twin", "--", "sh", "-c", "echo $COLOUR"])
            .stdout
            == b"second\n"
    });
}

#[test]
fn a_directory_that_vanishes_is_not_a_directory_without_pods() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    let before = node.wait_ready("web");
    let aside = node.dir("aside");
    fs::rename(node.manifests(), &aside).unwrap();
    wait_until("the complaint", seconds(40), || {
        let log = node.agent_log();
        log.lines().any(|line| {
            line.contains("manifests")
                && (line.contains("not ready") || line.contains("No such file"))
        })
    });
    assert_eq!(
        node.wait_ready("web").container("main").id(),
        before.container("main").id()
    );
    fs::rename(&aside, node.manifests()).unwrap();
    node.apply(&pod("later").container(idle("main")));
    node.wait_ready("later");
    assert_eq!(
        node.wait_ready("web").container("main").id(),
        before.container("main").id()
    );
}

#[test]
fn an_agent_started_without_its_directory_leaves_running_pods_alone() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    let before = node.wait_ready("web");
    node.kill_agent();
    let aside = node.dir("aside");
    fs::rename(node.manifests(), &aside).unwrap();
    node.start_agent();
    assert_eq!(
        node.wait_ready("web").container("main").id(),
        before.container("main").id()
    );
    fs::rename(&aside, node.manifests()).unwrap();
}

#[test]
fn hundreds_of_rewrites_end_in_one_pod() {
    let node = Node::start();
    for number in 0..200 {
        let count = json!([{"name": "COUNT", "value": number.to_string()}]);
        node.apply(&pod("busy").container(idle("main")).with("env", count));
    }
    wait_until("the last to run", seconds(60), || {
        node.coracle(&["exec", "busy", "--", "sh", "-c", "echo $COUNT"])
            .stdout
            == b"199\n"
    });
    wait_until("its predecessors to be gone", seconds(30), || {
        node.pods().len() == 1
    });
}
