//! Several nodes on one machine share nothing and leave nothing.

use node_tests::manifest::idle;
use node_tests::{Node, Sandbox, leaks, pod, seconds, wait_until};

#[test]
fn two_nodes_in_one_network_do_not_meet() {
    let machine = Sandbox::new();
    let one = Node::builder_in(&machine)
        .name("one")
        .pod_cidr("10.88.0.0/16")
        .start();
    let two = Node::builder_in(&machine)
        .name("two")
        .pod_cidr("10.89.0.0/16")
        .start();
    one.apply(&pod("web").container(idle("main")));
    two.apply(&pod("web").container(idle("main")));
    let (first, second) = (one.wait_ready("web"), two.wait_ready("web"));
    assert_eq!(first.value["metadata"]["name"], "web-one");
    assert_eq!(second.value["metadata"]["name"], "web-two");
    assert!(first.ip().starts_with("10.88.") && second.ip().starts_with("10.89."));
    assert_eq!((one.pods().len(), two.pods().len()), (1, 1));
    two.say(&["down"]);
    wait_until("its agent to end", seconds(20), || {
        two.agent_ended().is_some()
    });
    assert_eq!(
        one.wait_ready("web").container("main").id(),
        first.container("main").id()
    );
    one.exec("web", "main", &["true"]);
    one.say(&["down"]);
    wait_until("its agent to end", seconds(20), || {
        one.agent_ended().is_some()
    });
    leaks::assert_nothing_left(&one);
    leaks::assert_nothing_left(&two);
}

#[test]
fn a_node_taken_down_and_started_again_runs_its_pods_anew() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    let before = node.wait_ready("web");
    node.say(&["down"]);
    wait_until("the agent to end", seconds(20), || {
        node.agent_ended().is_some()
    });
    node.start_agent();
    let after = node.wait_ready("web");
    let pid = node.container_pid(after.uid(), "main");
    assert!(pid.is_some());
    assert_eq!(
        after.value["metadata"]["name"],
        before.value["metadata"]["name"]
    );
}
