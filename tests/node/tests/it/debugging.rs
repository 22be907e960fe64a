//! `coracle debug`: a container with tools in a pod that runs.

use node_tests::manifest::{BUSYBOX, idle};
use node_tests::view::PodView;
use node_tests::{Node, pod, sh};

const SLEEP: [&str; 3] = ["--", "sleep", "3600"];

/// A pod with the container `app`, whose first process is easy to tell.
fn with_web() -> Node {
    let node = Node::start();
    node.apply(&pod("web").container(sh("app", "exec sleep 123456")));
    node.wait_ready("web");
    node
}

fn debug<'a>(words: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let image = ["debug", "web", "--image", BUSYBOX];
    image.iter().chain(words).chain(command).copied().collect()
}

#[test]
fn it_sees_the_processes_of_its_target_and_the_network_of_the_pod() {
    let node = with_web();
    let before = node.wait_ready("web");
    let said = node.say(&debug(
        &["-c", "tools", "--target", "app", "--env", "A=b"],
        &SLEEP,
    ));
    assert_eq!(said, "");
    let runs = |pod: &PodView| {
        pod.try_container("tools")
            .is_some_and(|tools| tools.is_running())
    };
    let pod = node.wait_pod("web", "debugged", runs);
    assert!(pod.is_ready());
    assert_eq!((pod.uid(), pod.ip()), (before.uid(), before.ip()));
    assert_eq!(pod.container("app").restarts(), 0);
    let first = node.exec("web", "tools", &["cat", "/proc/1/cmdline"]);
    assert!(first.contains("123456"), "{first:?}");
    let addresses = node.exec("web", "tools", &["ip", "-o", "addr"]);
    assert!(addresses.contains(pod.ip()), "{addresses}");
    assert_eq!(node.exec("web", "tools", &["sh", "-c", "echo $A"]), "b\n");

    // the next agent knows it
    node.kill_agent();
    node.start_agent();
    node.wait_agent();
    let pod = node.wait_pod("web", "known", runs);
    assert_eq!(pod.container("tools").restarts(), 0);
    node.remove_manifest("web");
    node.wait_gone("web");
}

#[test]
fn it_ends_with_the_processes_it_looks_at() {
    let node = with_web();
    node.say(&debug(&["-c", "tools", "--target", "app"], &SLEEP));
    let said = node.say(&debug(&[], &SLEEP));
    let name = said
        .trim_end()
        .strip_prefix("Defaulting debug container name to ")
        .and_then(|rest| rest.strip_suffix('.'))
        .expect("it says the name");
    assert!(name.starts_with("debugger-") && name.len() == 14, "{name}");
    let running = |pod: &PodView, name: &str| {
        pod.try_container(name)
            .is_some_and(|container| container.is_running())
    };
    node.wait_pod("web", "debugged", |pod| {
        running(pod, "tools") && running(pod, name)
    });
    // one without a target has processes of its own
    let own = node.exec("web", name, &["cat", "/proc/1/cmdline"]);
    assert!(own.contains("3600"), "{own:?}");
    let app = node
        .container_pid(node.wait_ready("web").uid(), "app")
        .expect("it runs");
    node_tests::process::kill_hard(app);
    let pod = node.wait_pod("web", "restarted", |pod| {
        let tools = pod.try_container("tools").and_then(|tools| tools.ended());
        tools.is_some() && pod.is_ready()
    });
    assert_eq!(
        pod.container("tools").ended().expect("ended").exit_code(),
        137
    );
    assert_eq!(pod.container("tools").restarts(), 0);
    assert!(running(&pod, name));
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_api() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("app")));
    node.wait_ready("web");
    for (words, said) in [
        (
            vec!["-c", "app"],
            "Error from server (Invalid): Pod \"web-node\" is invalid: spec.ephemeralContainers[0].name: Duplicate value: \"app\"\n",
        ),
        (
            vec!["-c", "tools", "--target", "none"],
            "Error from server (Invalid): Pod \"web-node\" is invalid: spec.ephemeralContainers[0].targetContainerName: Not found: \"none\"\n",
        ),
    ] {
        assert_eq!(node.refuses(&debug(&words, &SLEEP)), said);
    }
    let attach = node.refuses(&debug(&["-it"], &[]));
    assert!(attach.contains("coracle exec -it POD -c NAME"), "{attach}");
}
