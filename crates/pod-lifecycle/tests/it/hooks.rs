//! `postStart` and `preStop`.

use pod_model::{Action, FailureReason};
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn post_start(action: &Action) -> bool {
    matches!(action, Action::PostStart { .. })
}
fn pre_stop(action: &Action) -> bool {
    matches!(action, Action::PreStop { .. })
}

#[test]
fn a_container_runs_once_its_post_start_is_over() {
    let mut world = World::default();
    world.machine.script.takes(seconds(3), post_start);
    let web = pod("web").container("app").post_start().build();
    world.desire(&web);
    assert_eq!(world.line(&web), "Pending app=ContainerCreating");
    world.run_secs(3);
    assert_eq!(world.line(&web), "Running app=Running");
    let issued = world.take_issued_texts();
    assert_eq!(
        issued[issued.len() - 2..],
        ["Start app.0", "PostStart app.0"]
    );
}

#[test]
fn a_post_start_that_fails_ends_the_container_and_the_policy_goes_on() {
    let mut world = World::default();
    world
        .machine
        .script
        .fail(1, FailureReason::FailedPostStartHook, "secret", post_start);
    let web = pod("web").container("app").post_start().build();
    world.desire(&web);
    let events = world.take_events(&web);
    assert!(
        events.contains(&"FailedPostStartHook: PostStartHook failed".to_owned()),
        "{events:?}"
    );
    assert!(
        events.contains(&"Killing: FailedPostStartHook".to_owned()),
        "{events:?}"
    );
    assert_eq!(
        world.line(&web),
        "Running app=Running last=Completed:0 restarts=1"
    );
}

#[test]
fn a_post_start_in_flight_is_run_again_by_the_next_agent_and_a_done_one_is_not() {
    let mut world = World::default();
    world.machine.script.takes(seconds(3), post_start);
    let web = pod("web").container("app").post_start().build();
    world.desire(&web);
    world.run_secs(1);
    world.take_issued();
    world.crash(Crash::BeforeEffects);
    assert!(world.take_issued().is_empty(), "it may have ended");
    world.recover();
    assert_eq!(world.take_issued_texts(), ["PostStart app.0"]);
    world.run_secs(3);
    world.crash(Crash::BeforeEffects);
    world.recover();
    assert!(world.take_issued().is_empty());
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn the_stop_signal_waits_for_pre_stop_and_the_time_counts() {
    let mut world = World::default();
    world.machine.script.takes(seconds(4), pre_stop);
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web")
        .container("app")
        .pre_stop()
        .grace_seconds(10)
        .build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    assert_eq!(world.take_issued_texts(), ["PreStop app.0"]);
    world.run_secs(4);
    assert_eq!(world.take_issued_texts(), ["Stop app.0"]);
    world.run_for(Duration::from_millis(5_999));
    assert!(world.take_issued().is_empty());
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.take_issued_texts()[0], "Kill app.0");
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_pre_stop_is_broken_off_at_the_deadline_and_two_seconds_are_left() {
    let mut world = World::default();
    world.machine.script.hangs(pre_stop);
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web")
        .container("app")
        .pre_stop()
        .grace_seconds(5)
        .build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    world.run_secs(5);
    assert_eq!(world.take_issued_texts(), ["PreStop app.0", "Stop app.0"]);
    world.run_for(Duration::from_millis(1_999));
    assert!(world.take_issued().is_empty());
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.take_issued_texts()[0], "Kill app.0");
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_pre_stop_that_fails_is_told_and_the_stop_goes_on() {
    let mut world = World::default();
    world
        .machine
        .script
        .fail(1, FailureReason::FailedPreStopHook, "secret", pre_stop);
    let web = pod("web").container("app").pre_stop().build();
    world.desire(&web);
    world.take_events(&web);
    world.delete(&web);
    assert_eq!(
        world.take_events(&web),
        [
            "Killing: Stopping container app",
            "FailedPreStopHook: PreStopHook failed"
        ]
    );
    assert!(world.is_forgotten(&web));
}

#[test]
fn what_ends_by_itself_has_no_pre_stop_and_takes_a_running_one_with_it() {
    let mut world = World::default();
    world.machine.script.hangs(pre_stop);
    world
        .machine
        .script
        .program("app", [Program::exits(0).after(seconds(8))]);
    let job = pod("job").container("app").pre_stop().never().build();
    world.desire(&job);
    world.run_secs(6);
    world.take_issued();
    world.delete(&job);
    world.run_secs(2);
    assert_eq!(
        world.take_issued_texts(),
        [
            "PreStop app.0",
            "Remove app.0",
            "Undo Volumes",
            "Undo Network",
            "Undo Cgroup",
            "Forget"
        ]
    );
}

#[test]
fn a_pod_that_asks_for_no_time_has_no_pre_stop() {
    let mut world = World::default();
    let web = pod("web")
        .container("app")
        .pre_stop()
        .grace_seconds(0)
        .build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    assert_eq!(world.take_issued_texts()[0], "Stop app.0");
}

#[test]
fn no_time_leaves_no_time_for_a_pre_stop() {
    let mut world = World::default();
    let web = pod("web").container("app").pre_stop().build();
    world.desire(&web);
    world.take_issued();
    world.delete_within(&web, Some(Duration::ZERO));
    assert_eq!(world.take_issued_texts()[0], "Kill app.0");
}

#[test]
fn a_pre_stop_in_flight_is_run_again_by_the_next_agent_and_a_done_one_is_not() {
    let mut world = World::default();
    world.machine.script.takes(seconds(3), pre_stop);
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").pre_stop().build();
    world.desire(&web);
    world.delete(&web);
    world.take_issued();
    world.crash(Crash::AfterEffects);
    world.recover();
    assert_eq!(world.take_issued_texts(), ["PreStop app.0"]);
    world.run_secs(3);
    assert_eq!(world.take_issued_texts(), ["Stop app.0"]);
    world.crash(Crash::AfterEffects);
    world.recover();
    world.run_secs(60);
    let issued = world.take_issued_texts();
    assert!(!issued.contains(&"PreStop app.0".to_owned()), "{issued:?}");
    assert!(world.machine.is_clean());
}
