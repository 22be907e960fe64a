//! Containers that cannot be made or started.

use pod_model::{Action, FailureReason};
use test_kit::{World, pod};

fn is_start(action: &Action) -> bool {
    matches!(action, Action::Start { .. })
}

#[test]
fn a_container_that_cannot_be_made_is_tried_again_as_the_same_attempt() {
    for (reason, name) in [
        (
            FailureReason::CreateContainerConfigError,
            "CreateContainerConfigError",
        ),
        (FailureReason::CreateContainerError, "CreateContainerError"),
    ] {
        let mut world = World::default();
        world
            .machine
            .script
            .fail(2, reason, "user \"bob\" is not in the image", is_start);
        let web = pod("web").container("app").build();
        world.desire(&web);
        assert_eq!(world.line(&web), format!("Pending app={name}"));
        assert!(
            world
                .take_events(&web)
                .contains(&"Failed: Error: user \"bob\" is not in the image".to_owned())
        );
        world.run_secs(29);
        assert_eq!(world.line(&web), format!("Pending app={name}"));
        world.run_secs(1);
        assert_eq!(
            world.line(&web),
            "Running app=Running",
            "no restart is counted"
        );
    }
}

#[test]
fn a_refused_container_is_tried_at_least_once_a_minute() {
    let mut world = World::default();
    world
        .machine
        .script
        .always_fail(FailureReason::CreateContainerError, "no", is_start);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(600);
    world.take_issued();
    world.run_secs(600);
    assert_eq!(
        world.take_issued().iter().filter(|a| is_start(a)).count(),
        10
    );
}

#[test]
fn a_program_that_cannot_be_executed_ends_with_128() {
    let message = "exec /nope: no such file or directory";
    let mut world = World::default();
    world
        .machine
        .script
        .always_fail(FailureReason::RunContainerError, message, is_start);
    let job = pod("job").container("app").never().build();
    world.desire(&job);
    assert_eq!(world.line(&job), "Failed app=StartError:128");
    let status = world.status(&job).container_statuses.unwrap().remove(0);
    assert_eq!(
        status.state.unwrap().terminated.unwrap().message.as_deref(),
        Some(message)
    );
    let events = world.take_events(&job);
    assert_eq!(
        &events[events.len() - 2..],
        [
            "Created: Container created",
            &format!("Failed: Error: {message}")
        ]
    );
}

#[test]
fn a_program_that_cannot_be_executed_is_an_attempt_and_backs_off() {
    let mut world = World::default();
    world
        .machine
        .script
        .fail(3, FailureReason::RunContainerError, "no", is_start);
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=StartError:128 restarts=1"
    );
    world.run_secs(10);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=StartError:128 restarts=2"
    );
    world.run_secs(20);
    assert_eq!(
        world.line(&web),
        "Running app=Running last=StartError:128 restarts=3"
    );
}

#[test]
fn a_refused_restart_keeps_its_place_and_its_last_state() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [test_kit::Program::exits(1), test_kit::Program::runs()],
    );
    let web = pod("web").container("app").build();
    world.machine.script.fail(
        1,
        FailureReason::CreateContainerError,
        "no",
        |a| matches!(a, Action::Start { container, .. } if container.attempt.0 == 1),
    );
    world.desire(&web);
    assert_eq!(
        world.line(&web),
        "Running app=CreateContainerError last=Error:1"
    );
    world.run_secs(10);
    assert_eq!(
        world.line(&web),
        "Running app=Running last=Error:1 restarts=1"
    );
}

#[test]
fn long_messages_are_cut() {
    let mut world = World::default();
    world.machine.script.always_fail(
        FailureReason::CreateContainerError,
        &"ä".repeat(100_000),
        is_start,
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    let status = world.status(&web).container_statuses.unwrap().remove(0);
    assert_eq!(
        status
            .state
            .unwrap()
            .waiting
            .unwrap()
            .message
            .unwrap()
            .len(),
        2_048
    );
}
