//! `RestartAllContainers`: the pod begins again in the sandbox that it has.

use node_tests::manifest::idle;
use node_tests::{Node, pod, sh};
use serde_json::json;

#[test]
fn all_containers_begin_again_and_address_and_volumes_stay() {
    let node = Node::start();
    let mount = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut setup = sh("setup", "echo setup >> /shared/order");
    setup["volumeMounts"] = mount.clone();
    let mut main = sh(
        "main",
        "[ -e /shared/again ] && exec sleep 3600; while [ ! -e /shared/go ]; do sleep 0.1; done; touch /shared/again; exit 88",
    );
    main["volumeMounts"] = mount.clone();
    main["restartPolicy"] = json!("Never");
    main["restartPolicyRules"] = json!([{
        "action": "RestartAllContainers",
        "exitCodes": {"operator": "In", "values": [88]},
    }]);
    node.apply(
        &pod("again")
            .spec("volumes", json!([{"name": "shared", "emptyDir": {}}]))
            .init(setup)
            .container(main)
            .container(idle("other"))
            .with("volumeMounts", mount),
    );
    let before = node.wait_ready("again");
    assert_eq!(before.condition("AllContainersRestarting"), Some("False"));
    node.exec("again", "other", &["touch", "/shared/go", "/only-once"]);
    let after = node.wait_pod("again", "begun again", |pod| {
        pod.is_ready() && pod.container("other").restarts() == 1
    });
    assert_eq!(after.ip(), before.ip());
    for (name, code) in [("setup", 0), ("main", 88), ("other", 137)] {
        let container = after.container(name);
        assert_eq!(container.restarts(), 1, "{name}");
        let ended = container.ended_before().expect("ended before");
        assert_eq!(ended.exit_code(), code, "{name}");
    }
    assert_eq!(after.condition("AllContainersRestarting"), Some("False"));
    assert_eq!(
        node.exec("again", "other", &["cat", "/shared/order"]),
        "setup\nsetup\n"
    );
    let left = node.exec("again", "other", &["ls", "/"]);
    assert!(!left.contains("only-once"), "{left}");
}
