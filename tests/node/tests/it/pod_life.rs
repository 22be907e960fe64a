//! From Pending to its end: order, restarts, back-off, termination, exit codes and the words for them.

use node_tests::manifest::{BUSYBOX, idle};
use node_tests::{Image, Node, pod, seconds, sh, wait_until};
use serde_json::json;
use std::time::Duration;

#[test]
fn init_containers_run_in_order_before_the_others() {
    let node = Node::start();
    let mount = json!([{"name": "shared", "mountPath": "/shared"}]);
    let step = |name: &str| {
        let mut container = sh(name, &format!("sleep 0.2; echo {name} >> /shared/order"));
        container["volumeMounts"] = mount.clone();
        container
    };
    node.apply(
        &pod("ordered")
            .spec("volumes", json!([{"name": "shared", "emptyDir": {}}]))
            .init(step("first"))
            .init(step("second"))
            .container(idle("main"))
            .with("volumeMounts", mount.clone()),
    );
    let ordered = node.wait_ready("ordered");
    assert_eq!(
        node.exec("ordered", "main", &["cat", "/shared/order"]),
        "first\nsecond\n"
    );
    assert_eq!(ordered.condition("Initialized"), Some("True"));
    let first = ordered.container("first").ended().expect("ended");
    assert_eq!((first.exit_code(), first.reason()), (0, "Completed"));
}

#[test]
fn a_failing_init_container_holds_back_the_main_ones() {
    let node = Node::start();
    node.apply(
        &pod("stuck")
            .init(sh("first", "exit 9"))
            .container(idle("main")),
    );
    let stuck = node.wait_pod("stuck", "waiting", |pod| {
        pod.try_container("first")
            .is_some_and(|first| first.waiting() == "CrashLoopBackOff")
    });
    assert_eq!(stuck.phase(), "Pending");
    assert_eq!(stuck.container("main").waiting(), "PodInitializing");
    assert_eq!(stuck.condition("Initialized"), Some("False"));
    assert_eq!(
        stuck
            .container("first")
            .ended_before()
            .map(|end| end.exit_code()),
        Some(9)
    );
}

#[test]
fn a_failing_init_container_fails_a_pod_that_is_never_restarted() {
    let node = Node::start();
    node.apply(
        &pod("failed")
            .once()
            .init(sh("first", "exit 9"))
            .container(idle("main")),
    );
    let failed = node.wait_phase("failed", "Failed");
    assert_eq!(
        failed.container("first").ended().map(|end| end.exit_code()),
        Some(9)
    );
    assert!(failed.container("main").ended().is_none());
}

#[test]
fn a_pod_that_is_never_restarted_ends_with_its_containers() {
    let node = Node::start();
    node.apply(&pod("good").once().container(sh("main", "exit 0")));
    node.apply(
        &pod("bad")
            .once()
            .container(sh("main", "exit 3"))
            .container(sh("other", "exit 0")),
    );
    let good = node.wait_phase("good", "Succeeded");
    let bad = node.wait_phase("bad", "Failed");
    let end = good.container("main").ended().expect("ended");
    assert_eq!((end.exit_code(), end.reason()), (0, "Completed"));
    let end = bad.container("main").ended().expect("ended");
    assert_eq!((end.exit_code(), end.reason()), (3, "Error"));
    assert_eq!(bad.container("main").restarts(), 0);
    assert!(end.value["startedAt"].is_string() && end.value["finishedAt"].is_string());
}

#[test]
fn a_job_is_restarted_until_it_succeeds() {
    let node = Node::start();
    let script = "n=$(cat /state/n 2>/dev/null || echo 0); echo $((n+1)) > /state/n; [ $n -ge 1 ]";
    node.apply(
        &pod("job")
            .spec("restartPolicy", json!("OnFailure"))
            .spec("volumes", json!([{"name": "state", "emptyDir": {}}]))
            .container(sh("main", script))
            .with(
                "volumeMounts",
                json!([{"name": "state", "mountPath": "/state"}]),
            ),
    );
    let job = node.wait_phase("job", "Succeeded");
    assert_eq!(job.container("main").restarts(), 1);
    assert_eq!(
        job.container("main").ended().map(|end| end.exit_code()),
        Some(0)
    );
}

#[test]
fn a_container_that_keeps_failing_is_restarted_at_once_and_then_after_a_back_off() {
    let node = Node::start();
    node.apply(&pod("loop").container(sh("main", "exit 7")));
    let looping = node.wait_pod("loop", "backing off", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.waiting() == "CrashLoopBackOff")
    });
    let main = looping.container("main");
    assert_eq!(main.restarts(), 1, "the first restart waits for nothing");
    assert!(
        main.message()
            .starts_with("back-off 10s restarting failed container=main pod="),
        "{}",
        main.message()
    );
    assert_eq!(
        main.ended_before()
            .map(|end| (end.exit_code(), end.reason())),
        Some((7, "Error"))
    );
    assert_eq!(
        looping.phase(),
        "Running",
        "a pod that will be restarted runs"
    );
    let later = node.wait_pod("loop", "restarted", |pod| {
        pod.container("main").restarts() == 2
    });
    assert_eq!(later.uid(), looping.uid());
}

#[test]
fn the_back_off_honours_the_greatest_restart_period() {
    let node = Node::builder()
        .kubelet_config("crashLoopBackOff:\n  maxContainerRestartPeriod: 1s\n")
        .start();
    node.apply(&pod("loop").container(sh("main", "exit 7")));
    node.wait_pod("loop", "restarted often", |pod| {
        pod.try_container("main")
            .is_some_and(|main| main.restarts() >= 5)
    });
}

#[test]
fn a_container_of_many_is_restarted_alone() {
    let node = Node::start();
    node.apply(
        &pod("pair")
            .container(idle("steady"))
            .container(sh("flaky", "sleep 0.5; exit 1")),
    );
    let pair = node.wait_pod("pair", "restarted", |pod| {
        pod.try_container("flaky")
            .is_some_and(|flaky| flaky.restarts() >= 1)
    });
    assert_eq!(pair.container("steady").restarts(), 0);
    assert!(pair.container("steady").is_running());
}

#[test]
fn term_comes_first_and_a_container_may_end_by_itself() {
    let node = Node::start();
    let script = "trap 'echo got TERM; exit 5' TERM; echo up; while :; do sleep 0.1; done";
    node.apply(
        &pod("polite")
            .once()
            .spec("terminationGracePeriodSeconds", json!(60))
            .container(sh("main", script)),
    );
    node.wait_log("polite", "main", "up");
    let mut log = log_of(&node, "polite", "main");
    node.remove_manifest("polite");
    node.wait_gone("polite");
    // The log is gone with the pod; the file was open.
    let text = log();
    assert!(text.contains("got TERM"), "{text}");
}

#[test]
fn kill_comes_when_the_grace_period_is_over() {
    let node = Node::start();
    let script = "trap 'echo not yet' TERM; echo up; while :; do sleep 0.1; done";
    node.apply(&pod("stubborn").once().container(sh("main", script)));
    node.wait_log("stubborn", "main", "up");
    let mut log = log_of(&node, "stubborn", "main");
    node.remove_manifest("stubborn");
    node.wait_gone("stubborn");
    let text = log();
    assert!(text.contains("not yet"), "{text}");
}

/// Keeps a container's log file open, so that it can be read when the pod is gone.
fn log_of(node: &Node, pod: &str, container: &str) -> impl FnMut() -> String + use<> {
    use std::io::{Read, Seek, SeekFrom};
    let uid = node.pod(pod).expect("the pod").uid().to_owned();
    let dir = node
        .logs_dir()
        .join(format!("default_{pod}-{}_{uid}", node.name));
    let mut file = std::fs::File::open(dir.join(container).join("0.log")).expect("the log");
    move || {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).expect("seek");
        file.read_to_string(&mut text).expect("read the log");
        text
    }
}

#[test]
fn a_signal_is_reported_as_128_plus_its_number() {
    let node = Node::start();
    node.apply(
        // `$$` is a dollar sign in a command of a pod.
        &pod("shot")
            .once()
            .container(sh("main", "sh -c 'kill -SEGV $$$$'; exit $?")),
    );
    let shot = node.wait_phase("shot", "Failed");
    assert_eq!(
        shot.container("main").ended().map(|end| end.exit_code()),
        Some(139)
    );
}

#[test]
fn out_of_memory_is_reported_as_such() {
    let node = Node::start();
    let script = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    node.apply(
        &pod("hungry")
            .once()
            .container(sh("main", script))
            .with("resources", json!({"limits": {"memory": "16Mi"}})),
    );
    let hungry = node.wait_phase("hungry", "Failed");
    let end = hungry.container("main").ended().expect("ended");
    assert_eq!((end.exit_code(), end.reason()), (137, "OOMKilled"));
}

#[test]
fn variables_are_expanded_in_command_arguments_and_environment() {
    let node = Node::start();
    let mut container = json!({"name": "main", "image": BUSYBOX});
    container["command"] = json!(["/bin/echo", "$(GREETING)", "$(MISSING)", "$$(GREETING)"]);
    container["args"] = json!(["$(BOTH)"]);
    container["env"] = json!([
        {"name": "GREETING", "value": "hello"},
        {"name": "BOTH", "value": "$(GREETING)-$(GREETING)"},
    ]);
    node.apply(&pod("expand").once().container(container));
    node.wait_phase("expand", "Succeeded");
    assert_eq!(
        node.logs("expand", "main"),
        "hello $(MISSING) $(GREETING) hello-hello\n"
    );
}

#[test]
fn a_pod_may_know_of_itself() {
    let node = Node::start();
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    node.apply(
        &pod("self")
            .once()
            .container(sh("main", "echo $NAME $NODE $IP"))
            .with(
                "env",
                json!([
                    field("NAME", "metadata.name"),
                    field("NODE", "spec.nodeName"),
                    field("IP", "status.podIP")
                ]),
            ),
    );
    let done = node.wait_phase("self", "Succeeded");
    let log = node.logs("self", "main");
    assert_eq!(
        log.split_whitespace().take(2).collect::<Vec<_>>(),
        ["self-node", "node"]
    );
    assert!(log.contains("10.88."), "{log}; {:#}", done.value["status"]);
}

#[test]
fn the_image_says_what_runs_unless_the_pod_does() {
    let node = Node::start();
    let image = Image::busybox()
        .set("Entrypoint", json!(["/bin/echo", "entry"]))
        .set("Cmd", json!(["cmd"]))
        .set("Env", json!(["PATH=/bin", "COLOUR=red"]))
        .set("WorkingDir", json!("/tmp"))
        .set("User", json!("ana"));
    node.load("localhost/speaker:1", &image);
    let container = |name: &str| json!({"name": name, "image": "localhost/speaker:1"});
    let mut args = container("args");
    args["args"] = json!(["other"]);
    let mut command = container("command");
    command["command"] = json!(["/bin/sh", "-c", "echo $COLOUR; pwd; id -u; id -g"]);
    node.apply(
        &pod("speaker")
            .once()
            .container(container("plain"))
            .container(args)
            .container(command),
    );
    node.wait_phase("speaker", "Succeeded");
    assert_eq!(node.logs("speaker", "plain"), "entry cmd\n");
    assert_eq!(node.logs("speaker", "args"), "entry other\n");
    assert_eq!(node.logs("speaker", "command"), "red\n/tmp\n1000\n1000\n");
}

#[test]
fn a_manifest_removed_while_its_pod_starts_leaves_nothing_running() {
    let node = Node::start();
    for number in 0..10_u64 {
        let name = format!("brief-{number}");
        node.apply(
            &pod(&name)
                .init(sh("init", "sleep 0.1"))
                .container(idle("main")),
        );
        // Any moment of a start will do; which one does not matter.
        std::thread::sleep(Duration::from_millis(number * 15));
        node.remove_manifest(&name);
    }
    wait_until("no pod", seconds(40), || node.pods().is_empty());
    wait_until("no container", seconds(10), || {
        node.processes().iter().all(|pid| {
            !node_tests::process::cgroups(*pid)
                .iter()
                .any(|path| path.contains("/pod"))
        })
    });
}
