//! Main containers are started in their order, and a `postStart` is part of the start.

use pod_model::{Action, FailureReason};
use std::time::Duration;
use test_kit::{Crash, PodBuilder, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn post_start(action: &Action) -> bool {
    matches!(action, Action::PostStart { .. })
}
fn image_of(name: &'static str) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::EnsureImage { container, .. } if container.as_str() == name)
}
fn start_of(name: &'static str) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Start { container, .. } if container.name.as_str() == name)
}
/// The first one has a `postStart`, the second none.
fn two() -> PodBuilder {
    pod("web").container("first").post_start().container("next")
}
fn starts(world: &mut World) -> Vec<String> {
    let issued = world.take_issued_texts();
    let is_start = |text: &String| text.starts_with("Start") || text.starts_with("PostStart");
    issued.into_iter().filter(is_start).collect()
}

#[test]
fn the_next_container_waits_for_the_post_start_of_the_one_before_it() {
    let mut world = World::default();
    world.machine.script.takes(seconds(3), post_start);
    let web = two().build();
    world.desire(&web);
    world.run_for(Duration::from_millis(2_999));
    assert_eq!(starts(&mut world), ["Start first.0", "PostStart first.0"]);
    world.run_for(Duration::from_millis(1));
    assert_eq!(starts(&mut world), ["Start next.0"]);
    assert_eq!(world.line(&web), "Running first=Running next=Running");
}

#[test]
fn containers_without_a_post_start_wait_for_nobody() {
    let mut world = World::default();
    world.machine.script.takes(seconds(3), start_of("first"));
    world.machine.script.takes(seconds(9), image_of("second"));
    let web = pod("web")
        .container("first")
        .container("second")
        .container("third")
        .build();
    world.desire(&web);
    assert_eq!(starts(&mut world), ["Start first.0", "Start third.0"]);
}

#[test]
fn a_container_before_it_waits_for_nothing() {
    let mut world = World::default();
    world.machine.script.hangs(post_start);
    let web = pod("web")
        .container("first")
        .container("hooked")
        .post_start()
        .build();
    world.desire(&web);
    assert_eq!(
        starts(&mut world),
        ["Start first.0", "Start hooked.0", "PostStart hooked.0"]
    );
}

#[test]
fn the_image_of_a_container_with_a_post_start_is_waited_for_and_the_next_image_is_looked_for_meanwhile()
 {
    let mut world = World::default();
    world.machine.script.takes(seconds(9), image_of("first"));
    let web = two().build();
    world.desire(&web);
    let issued = world.take_issued_texts();
    assert!(
        issued.contains(&"EnsureImage next".to_owned()),
        "{issued:?}"
    );
    assert!(!issued.contains(&"Start next.0".to_owned()), "{issued:?}");
    world.run_secs(9);
    assert_eq!(
        starts(&mut world),
        ["Start first.0", "PostStart first.0", "Start next.0"]
    );
}

#[test]
fn a_container_whose_image_cannot_be_had_is_passed_over() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.always_fail(FailureReason::ErrImagePull, "no", image_of("first"));
    let web = two().build();
    world.desire(&web);
    assert_eq!(starts(&mut world), ["Start next.0"]);
}

#[test]
fn a_container_whose_start_is_refused_is_passed_over() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.always_fail(FailureReason::CreateContainerError, "no", start_of("first"));
    let web = two().build();
    world.desire(&web);
    assert_eq!(starts(&mut world), ["Start first.0", "Start next.0"]);
}

#[test]
fn a_post_start_that_fails_lets_the_next_one_start_once_its_container_has_ended() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.fail(1, FailureReason::FailedPostStartHook, "no", post_start);
    script.program("first", [Program::runs().stops_after(seconds(2), 0)]);
    let web = two().never().build();
    world.desire(&web);
    assert_eq!(starts(&mut world), ["Start first.0", "PostStart first.0"]);
    world.run_secs(2);
    assert_eq!(starts(&mut world), ["Start next.0"]);
}

#[test]
fn one_that_backs_off_is_passed_over() {
    let mut world = World::default();
    let crashes = Program::exits(1).after(seconds(1));
    world.machine.script.program("first", [crashes.clone()]);
    world.machine.script.program("next", [crashes]);
    let web = two().build();
    world.desire(&web);
    // the second restart of both waits for 10 s from their ends, and nobody for anybody
    world.run_secs(2);
    assert_eq!(
        world.line(&web),
        "Running first=CrashLoopBackOff last=Error:1 restarts=1 next=CrashLoopBackOff last=Error:1 restarts=1"
    );
}

#[test]
fn a_restart_waits_for_the_post_start_of_another_container_wherever_it_stands() {
    let mut world = World::default();
    world.machine.script.takes(seconds(5), post_start);
    let crashes = Program::exits(1).after(seconds(1));
    let script = &mut world.machine.script;
    script.program("early", [crashes, Program::runs()]);
    let web = pod("web")
        .container("early")
        .container("hooked")
        .post_start()
        .build();
    world.desire(&web);
    world.run_secs(4);
    assert_eq!(
        starts(&mut world),
        ["Start early.0", "Start hooked.0", "PostStart hooked.0"]
    );
    world.run_secs(1);
    assert_eq!(starts(&mut world), ["Start early.1"]);
}

#[test]
fn the_next_agent_waits_as_well() {
    let mut world = World::default();
    world.machine.script.takes(seconds(3), post_start);
    let web = two().build();
    world.desire(&web);
    world.take_issued();
    world.crash(Crash::BeforeEffects);
    world.recover();
    assert_eq!(starts(&mut world), ["PostStart first.0"]);
    world.run_secs(3);
    assert_eq!(starts(&mut world), ["Start next.0"]);
}
