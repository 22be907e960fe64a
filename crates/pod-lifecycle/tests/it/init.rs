//! Init containers: one after the other, before all others.

use pod_model::{Action, FailureReason};
use std::time::Duration;
use test_kit::{Program, World, pod};

fn ends(code: i32) -> Program {
    Program::exits(code).after(Duration::from_secs(5))
}

#[test]
fn init_containers_run_strictly_one_after_the_other() {
    let mut world = World::default();
    world.machine.script.program("one", [ends(0)]);
    world.machine.script.program("two", [ends(0)]);
    let web = pod("web")
        .init("one")
        .init("two")
        .container("app")
        .container("side")
        .build();
    world.desire(&web);
    assert_eq!(
        world.line(&web),
        "Pending one=Running two=PodInitializing app=PodInitializing side=PodInitializing"
    );
    world.run_secs(5);
    assert_eq!(
        world.line(&web),
        "Pending one=Completed:0 two=Running app=PodInitializing side=PodInitializing"
    );
    assert_eq!(world.condition(&web, "Initialized").status, "False");
    assert_eq!(
        world.condition(&web, "Initialized").message.as_deref(),
        Some("containers with incomplete status: [two]")
    );
    world.run_secs(5);
    assert_eq!(
        world.line(&web),
        "Running one=Completed:0 two=Completed:0 app=Running side=Running"
    );
    assert_eq!(world.condition(&web, "Initialized").status, "True");
}

#[test]
fn only_the_image_of_the_first_init_container_is_looked_for_early() {
    let mut world = World::default();
    world.machine.script.hangs(|_| true);
    let web = pod("web").init("one").init("two").container("app").build();
    world.desire(&web);
    let mut images: Vec<String> = world.in_work();
    images.retain(|t| t.starts_with("EnsureImage"));
    assert_eq!(images, ["EnsureImage one"]);
}

#[test]
fn a_failed_init_container_is_retried_as_the_policy_says() {
    for (policy, line) in [
        (
            "Always",
            "Pending setup=CrashLoopBackOff last=Error:2 restarts=1 app=PodInitializing",
        ),
        (
            "OnFailure",
            "Pending setup=CrashLoopBackOff last=Error:2 restarts=1 app=PodInitializing",
        ),
        ("Never", "Failed setup=Error:2 app=PodInitializing"),
    ] {
        let mut world = World::default();
        world.machine.script.program("setup", [Program::exits(2)]);
        let web = pod("web")
            .init("setup")
            .container("app")
            .restart_policy(policy)
            .build();
        world.desire(&web);
        assert_eq!(world.line(&web), line);
        world.run_secs(5);
        assert_eq!(world.line(&web), line);
    }
}

#[test]
fn a_pod_whose_init_container_failed_for_good_never_starts_its_main_containers() {
    let mut world = World::default();
    world.machine.script.program("setup", [Program::exits(2)]);
    let job = pod("job")
        .init("setup")
        .init("other")
        .container("app")
        .never()
        .build();
    world.desire(&job);
    world.run_secs(3_000);
    let started = world
        .take_issued_texts()
        .into_iter()
        .filter(|t| t.starts_with("Start"))
        .collect::<Vec<_>>();
    assert_eq!(started, ["Start setup.0"]);
    assert!(world.machine.is_clean());
    assert_eq!(
        world.condition(&job, "Ready").reason.as_deref(),
        Some("PodFailed")
    );
}

#[test]
fn an_init_container_that_succeeds_late_lets_the_rest_begin() {
    let mut world = World::default();
    world.machine.script.program(
        "setup",
        [Program::exits(1), Program::exits(1), Program::exits(0)],
    );
    let web = pod("web").init("setup").container("app").build();
    world.desire(&web);
    world.run_secs(10);
    assert_eq!(
        world.line(&web),
        "Running setup=Completed:0 last=Error:1 restarts=2 app=Running"
    );
}

#[test]
fn a_succeeded_init_container_does_not_run_again_when_a_main_one_crashes() {
    let mut world = World::default();
    world.machine.script.program("setup", [Program::exits(0)]);
    world.machine.script.program("app", [ends(1)]);
    let web = pod("web").init("setup").container("app").build();
    world.desire(&web);
    world.run_secs(100);
    let setups = world
        .take_issued()
        .iter()
        .filter(
            |a| matches!(a, Action::Start { container, .. } if container.name.as_str() == "setup"),
        )
        .count();
    assert_eq!(setups, 1);
}

#[test]
fn the_image_of_an_init_container_is_an_error_of_the_pod() {
    let mut world = World::default();
    world
        .machine
        .script
        .always_fail(FailureReason::ErrImagePull, "not found", |a| {
            matches!(a, Action::EnsureImage { .. })
        });
    let web = pod("web").init("setup").container("app").build();
    world.desire(&web);
    assert_eq!(
        world.line(&web),
        "Pending setup=ErrImagePull app=PodInitializing"
    );
}
