//! Images that are here, are pulled, or cannot be had.

use pod_model::{Action, FailureReason};
use std::time::Duration;
use test_kit::{Program, World, pod};

fn is_image(action: &Action) -> bool {
    matches!(action, Action::EnsureImage { .. })
}
fn message(world: &World, pod: &pod_model::AdmittedPod) -> String {
    let statuses = world.status(pod).container_statuses.unwrap();
    statuses[0]
        .state
        .clone()
        .unwrap()
        .waiting
        .unwrap()
        .message
        .unwrap_or_default()
}

#[test]
fn a_pull_is_told_with_its_time_and_size() {
    let mut world = World::default();
    world
        .machine
        .script
        .takes(Duration::from_millis(1_200), is_image);
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(
        world.take_events(&web),
        ["Pulling: Pulling image \"registry.test/app:1\""],
        "told when it begins"
    );
    world.run_secs(2);
    assert_eq!(
        world.take_events(&web)[0],
        "Pulled: Successfully pulled image \"registry.test/app:1\" in 1.2s (1.2s including waiting). Image size: 4096 bytes."
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_backed_off_from() {
    let mut world = World::default();
    world.machine.script.always_fail(
        FailureReason::ErrImagePull,
        "registry.test/app:1: not found",
        is_image,
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(world.line(&web), "Pending app=ErrImagePull");
    assert_eq!(message(&world, &web), "registry.test/app:1: not found");
    assert_eq!(
        world.take_events(&web),
        [
            "Pulling: Pulling image \"registry.test/app:1\"",
            "Failed: Failed to pull image \"registry.test/app:1\": registry.test/app:1: not found",
            "Failed: Error: ErrImagePull",
        ]
    );
    world.run_secs(1);
    assert_eq!(world.line(&web), "Pending app=ImagePullBackOff");
    assert_eq!(
        message(&world, &web),
        "Back-off pulling image \"registry.test/app:1\": ErrImagePull: registry.test/app:1: not found"
    );
    assert_eq!(
        world.take_events(&web),
        [
            "BackOff: Back-off pulling image \"registry.test/app:1\"",
            "Failed: Error: ImagePullBackOff"
        ]
    );
}

#[test]
fn the_pull_back_off_begins_with_10_s_doubles_and_stops_at_300_s() {
    let mut world = World::default();
    world
        .machine
        .script
        .always_fail(FailureReason::ErrImagePull, "no", is_image);
    let web = pod("web").container("app").build();
    world.desire(&web);
    let mut tries = Vec::new();
    for second in 0..=1_300u32 {
        if world.take_issued().iter().any(is_image) {
            tries.push(second);
        }
        world.run_secs(1);
    }
    assert_eq!(tries, [0, 10, 30, 70, 150, 310, 610, 910, 1_210]);
}

#[test]
fn a_registry_that_asks_for_patience_gets_it() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.machine.script.hangs(is_image);
    world.desire(&web);
    let key = world.take_issued().into_iter().find(is_image).unwrap();
    let mut failure = test_kit::script::failure(FailureReason::ErrImagePull, "429");
    failure.retry_after = Some(Duration::from_secs(77));
    let fact = pod_model::Fact {
        key,
        outcome: Err(failure),
        at: world.now(),
        seq: world.machine.seq(),
        spans: Vec::new(),
    };
    world.input(pod_lifecycle::Input::Fact(fact));
    world.take_issued();
    world.run_secs(76);
    assert!(!world.take_issued().iter().any(is_image));
    world.run_secs(1);
    assert!(world.take_issued().iter().any(is_image));
}

#[test]
fn a_failed_pull_is_no_restart() {
    let mut world = World::default();
    world
        .machine
        .script
        .fail(3, FailureReason::ErrImagePull, "no", is_image);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(10 + 20 + 40);
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn every_image_error_has_its_reason_message_and_event() {
    for (reason, line, text, events) in [
        (
            FailureReason::ErrImageNeverPull,
            "Pending app=ErrImageNeverPull",
            "Container image \"registry.test/app:1\" is not present with pull policy of Never",
            vec![
                "ErrImageNeverPull: Container image \"registry.test/app:1\" is not present with pull policy of Never",
                "Failed: Error: ErrImageNeverPull",
            ],
        ),
        (
            FailureReason::InvalidImageName,
            "Pending app=InvalidImageName",
            "Failed to apply default image tag \"registry.test/app:1\": why",
            vec![
                "InspectFailed: Failed to apply default image tag \"registry.test/app:1\": why",
                "Failed: Error: InvalidImageName",
            ],
        ),
        (
            FailureReason::RegistryUnavailable,
            "Pending app=RegistryUnavailable",
            "image pull failed for registry.test/app:1 because the registry is unavailable: why",
            vec![
                "Pulling: Pulling image \"registry.test/app:1\"",
                "Failed: Failed to pull image \"registry.test/app:1\": why",
                "Failed: Error: RegistryUnavailable",
            ],
        ),
    ] {
        let mut world = World::default();
        world
            .machine
            .images
            .insert("registry.test/app:1".to_owned());
        world.machine.script.always_fail(reason, "why", is_image);
        let web = pod("web").container("app").build();
        world.desire(&web);
        assert_eq!(world.line(&web), line);
        assert_eq!(message(&world, &web), text);
        assert_eq!(world.take_events(&web), events);
    }
}

#[test]
fn an_image_that_somebody_loads_is_found_soon() {
    let mut world = World::default();
    let web = pod("web").container("app").pull("Never").build();
    world.desire(&web);
    world.run_secs(1_000);
    assert_eq!(world.line(&web), "Pending app=ErrImageNeverPull");
    world
        .machine
        .images
        .insert("registry.test/app:1".to_owned());
    world.run_secs(60);
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn the_image_is_looked_for_before_every_attempt() {
    for policy in ["Always", "IfNotPresent"] {
        let mut world = World::default();
        world.machine.script.program(
            "app",
            [Program::exits(1), Program::exits(1), Program::runs()],
        );
        let web = pod("web").container("app").pull(policy).build();
        world.desire(&web);
        world.run_secs(30);
        assert_eq!(
            world.take_issued().iter().filter(|a| is_image(a)).count(),
            3,
            "{policy}"
        );
    }
}

#[test]
fn a_container_that_has_run_and_lost_its_image_is_not_pending() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [
            Program::exits(1).after(Duration::from_secs(5)),
            Program::runs(),
        ],
    );
    let web = pod("web").container("app").pull("Always").build();
    world.desire(&web);
    world
        .machine
        .script
        .always_fail(FailureReason::ErrImagePull, "gone", is_image);
    world.run_secs(7);
    assert_eq!(
        world.line(&web),
        "Running app=ImagePullBackOff last=Error:1"
    );
    world.machine.script.mend();
    world.run_secs(20);
    assert_eq!(
        world.line(&web),
        "Running app=Running last=Error:1 restarts=1"
    );
}

#[test]
fn one_bad_image_does_not_keep_the_other_containers_from_running() {
    let mut world = World::default();
    world.machine.script.always_fail(
        FailureReason::ErrImagePull,
        "no",
        |a| matches!(a, Action::EnsureImage { container, .. } if container.as_str() == "bad"),
    );
    let web = pod("web").container("bad").container("good").build();
    world.desire(&web);
    assert_eq!(world.line(&web), "Pending bad=ErrImagePull good=Running");
}

#[test]
fn a_wish_to_pull_that_comes_after_the_answer_holds_no_turn() {
    let mut world = World::new(pod_lifecycle::Settings {
        max_parallel_image_pulls: 1,
        kernel_slots: 64,
        ..Default::default()
    });
    let web = pod("web")
        .container("app")
        .image("registry.test/a:1")
        .build();
    let other = pod("other")
        .container("app")
        .image("registry.test/b:1")
        .build();
    world.desire(&web);
    // its executor asked for its turn, heard that it was cancelled, and answered; the wish is the last to be heard
    world.delete(&web);
    world.input(pod_lifecycle::Input::PullWanted(Action::EnsureImage {
        pod: web.uid().clone(),
        container: world.key(&web, "app", 0).name,
        try_number: 0,
    }));
    world.desire(&other);
    assert_eq!(world.line(&other), "Running app=Running");
}

#[test]
fn an_image_that_somebody_brings_is_seen_at_once() {
    let mut world = World::default();
    world
        .machine
        .script
        .always_fail(FailureReason::ErrImageNeverPull, "", is_image);
    let never = pod("never").container("app").pull("Never").build();
    let always = pod("always").container("app").pull("Always").build();
    world.desire(&never);
    world.desire(&always);
    world.run_secs(1);
    world.machine.script = Default::default();
    world
        .machine
        .images
        .insert("registry.test/app:1".to_owned());
    world.input(pod_lifecycle::Input::ImagesCame);
    assert_eq!(world.line(&never), "Running app=Running");
    // only its registry knows what it wants
    assert_eq!(world.line(&always), "Pending app=ErrImageNeverPull");
    world.run_secs(60);
    assert_eq!(world.line(&always), "Running app=Running");
}
