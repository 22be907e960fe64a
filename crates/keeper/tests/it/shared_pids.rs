use crate::adoption::Held;
use crate::node::{Node, assert_end_of_orphan, eventually, exit_of, is_root, text_of};
use keeper::protocol::{Adoption, Reply, Request};
use launch_plan::description::PidNamespace;

#[test]
fn containers_of_a_pod_see_each_other_and_orphans_are_collected() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let mut launch = |node: &Node, name: &str, script: &str| {
        let mut description = node.plain(name, &["/bin/sh", "-c", script]);
        description.namespaces.pid = PidNamespace::Pod;
        Held::launch(node, &mut connection, description)
    };
    // an orphan: its parent ends at once, and then it does
    let one = launch(&node, "one", "(sleep 0.05 &) ; sleep 1000");
    let two = launch(&node, "two", "ps -o pid,comm; echo all; sleep 1000");
    let text = eventually("the list", || {
        Some(text_of(&two.files.log)).filter(|t| t.contains("all"))
    });
    assert!(
        text.contains("coracle-pod") && text.matches("sleep").count() >= 1,
        "{text}"
    );
    let zombies = || {
        let pid = one.launched.process.pid;
        let root = format!("/proc/{pid}/root/proc");
        std::fs::read_dir(root)
            .expect("proc")
            .flatten()
            .filter(|e| {
                std::fs::read_to_string(e.path().join("stat")).is_ok_and(|s| s.contains(") Z "))
            })
            .count()
    };
    eventually("the orphan is collected", || (zombies() == 0).then_some(()));
    // one ends: the other lives on, also under a new keeper
    one.signal(9);
    let mut connection = node.connect();
    eventually("the first has ended", || {
        match connection
            .call(Request::List, vec![])
            .expect("an answer")
            .reply
        {
            Reply::Listed { containers } => {
                containers
                    .into_iter()
                    .find(|c| c.container == one.key)?
                    .exit
            }
            _ => None,
        }
    });
    node.kill_keeper();
    node.start_keeper();
    let mut connection = node.connect();
    assert!(matches!(
        two.adopt(&mut connection, true),
        Adoption::Running { .. }
    ));
    let mut description = node.plain(
        "three",
        &["/bin/sh", "-c", "ps -o comm | grep coracle-pod; exit 6"],
    );
    description.namespaces.pid = PidNamespace::Pod;
    let three = Held::launch(&node, &mut connection, description);
    assert_eq!(exit_of(&mut connection, &three.key).code, 6);
    // the end of the pod is the end of everything in it
    let ended = connection
        .call(
            Request::EndPod {
                pod: two.key.pod.clone(),
            },
            vec![],
        )
        .expect("an answer");
    assert_eq!(ended.reply, Reply::Done);
    assert_end_of_orphan(&exit_of(&mut connection, &two.key), 137, Some(9));
    eventually("its pid file is gone", || {
        (!node.path("run/containers/pod-1/pod-init").exists()).then_some(())
    });
}
