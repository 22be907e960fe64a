//! Ephemeral containers: started once, and of no account for the pod.

use pod_model::{Action, AdmittedPod, FailureReason};
use std::time::Duration;
use test_kit::{Crash, PodBuilder, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn web() -> PodBuilder {
    pod("web").container("app")
}
/// A person adds a container to the pod that runs.
fn add(world: &mut World, pod: PodBuilder) -> AdmittedPod {
    let pod = pod.ephemeral("tools", Some("app")).build();
    world.desire(&pod);
    pod
}
fn start_of(name: &'static str) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Start { container, .. } if container.name.as_str() == name)
}

#[test]
fn one_is_put_into_a_pod_that_runs_and_disturbs_nothing() {
    let mut world = World::default();
    world.desire(&web().build());
    world.run_secs(5);
    world.take_issued();
    let web = add(&mut world, web());
    assert_eq!(
        world.take_issued_texts(),
        ["EnsureImage tools", "Start tools.0"]
    );
    assert_eq!(world.line(&web), "Running app=Running tools=Running");
    let status = world.status(&web);
    let ephemeral = status.ephemeral_container_statuses.expect("it has one");
    assert_eq!((ephemeral[0].ready, ephemeral[0].started), (false, None));
    assert_eq!(status.container_statuses.map(|list| list.len()), Some(1));
    assert_eq!(world.condition(&web, "Ready").status, "True");
}

#[test]
fn one_that_ends_is_never_started_again_and_its_end_says_nothing_about_the_pod() {
    let mut world = World::default();
    world.machine.script.program("tools", [Program::exits(1)]);
    world.desire(&web().build());
    let web = add(&mut world, web());
    world.run_secs(600);
    assert_eq!(world.line(&web), "Running app=Running tools=Error:1");
    assert_eq!(world.condition(&web, "Ready").status, "True");
    let removed = Action::Remove {
        container: world.key(&web, "tools", 0),
    };
    assert!(
        world.take_issued().contains(&removed),
        "what it left is taken away"
    );
}

#[test]
fn a_pod_ends_without_waiting_for_it() {
    let mut world = World::default();
    let once = pod("web").never().container("app");
    world
        .machine
        .script
        .program("app", [Program::exits(0).after(seconds(5))]);
    world.desire(&once.clone().build());
    let web = add(&mut world, once);
    world.run_secs(6);
    assert_eq!(
        world.line(&web),
        "Succeeded app=Completed:0 tools=Completed:0"
    );
    assert!(world.machine.is_clean());
}

#[test]
fn it_is_started_while_init_containers_run_and_while_a_hook_hangs() {
    let mut world = World::default();
    world
        .machine
        .script
        .hangs(|a| matches!(a, Action::PostStart { .. }));
    let init = pod("init").init("setup").container("app");
    world.desire(&init.clone().build());
    let init = add(&mut world, init);
    assert_eq!(
        world.line(&init),
        "Pending setup=Running app=PodInitializing tools=Running"
    );
    let hook = pod("hook").container("app").post_start();
    world.desire(&hook.clone().build());
    let hook = add(&mut world, hook);
    assert_eq!(
        world.line(&hook),
        "Pending app=ContainerCreating tools=Running"
    );
}

#[test]
fn an_image_that_cannot_be_had_is_backed_off_from_like_any_other() {
    let mut world = World::default();
    world.desire(&web().build());
    let script = &mut world.machine.script;
    script.fail(1, FailureReason::ErrImagePull, "no", |a| {
        matches!(a, Action::EnsureImage { .. })
    });
    let web = add(&mut world, web());
    world.run_secs(2);
    assert_eq!(
        world.line(&web),
        "Running app=Running tools=ImagePullBackOff"
    );
    world.run_secs(10);
    assert_eq!(world.line(&web), "Running app=Running tools=Running");
}

#[test]
fn a_target_that_does_not_run_is_looked_for_again() {
    let mut world = World::default();
    world.desire(&web().build());
    let script = &mut world.machine.script;
    let text = "unable to find target container app";
    script.fail(
        1,
        FailureReason::CreateContainerConfigError,
        text,
        start_of("tools"),
    );
    let web = add(&mut world, web());
    assert_eq!(
        world.line(&web),
        "Running app=Running tools=CreateContainerConfigError"
    );
    world.run_secs(10);
    assert_eq!(world.line(&web), "Running app=Running tools=Running");
}

#[test]
fn it_is_stopped_with_the_main_containers_and_sidecars_do_not_wait_for_it() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("tools", [Program::runs().deaf()]);
    let web = pod("web").sidecar("side").container("app");
    world.desire(&web.clone().build());
    let web = add(&mut world, web);
    world.take_issued();
    world.delete(&web);
    let mut issued = world.take_issued_texts();
    issued.retain(|text| text.starts_with("Stop"));
    assert_eq!(issued, ["Stop app.0", "Stop tools.0", "Stop side.0"]);
    world.run_secs(31);
    assert!(world.is_forgotten(&web));
    assert!(world.machine.is_clean());
}

#[test]
fn a_restart_of_all_containers_leaves_it_alone() {
    let mut world = World::default();
    let trigger = Program::exits(88).after(seconds(5));
    world
        .machine
        .script
        .program("app", [trigger, Program::runs()]);
    let rules = serde_json::json!([
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}},
    ]);
    let web = web().configure(|c| {
        c.restart_policy = Some("Never".to_owned());
        c.restart_policy_rules = serde_json::from_value(rules).expect("rules");
    });
    world.desire(&web.clone().build());
    let web = add(&mut world, web);
    world.run_secs(6);
    assert_eq!(
        world.line(&web),
        "Running app=Running last=Error:88 restarts=1 tools=Running"
    );
}

#[test]
fn the_next_agent_and_the_next_boot_start_none_again() {
    let mut world = World::default();
    world.desire(&web().build());
    let web = add(&mut world, web());
    world.crash(Crash::BeforeEffects);
    world.recover();
    assert_eq!(world.line(&web), "Running app=Running tools=Running");
    world.reboot();
    world.recover();
    world.run_secs(60);
    assert_eq!(
        world.line(&web),
        "Running app=Running last=ContainerStatusUnknown:137 restarts=1 tools=ContainerStatusUnknown:137"
    );
}
