//! A pod that breaks a limit which only its end can enforce fails, with the kubelet's words, and stays failed.

use pod_model::Action;
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

const MESSAGE: &str = "Usage of EmptyDir volume \"data\" exceeds the limit \"10Mi\". ";

fn reason_and_message(
    world: &World,
    pod: &pod_model::AdmittedPod,
) -> (Option<String>, Option<String>) {
    let status = world.status(pod);
    (status.reason, status.message)
}

#[test]
fn an_evicted_pod_fails_and_nothing_of_it_is_left_but_its_status() {
    let mut world = World::default();
    let web = pod("web").container("a").container("b").build();
    world.desire(&web);
    world.take_issued();
    world.take_events(&web);
    world.evict(&web, MESSAGE);
    assert_eq!(
        world.take_issued_texts(),
        [
            "Stop a.0",
            "Stop b.0",
            "Remove a.0",
            "Remove b.0",
            "Undo Volumes",
            "Undo Network",
            "Undo Cgroup"
        ],
        "the policy is Always, and it is not started again",
    );
    let status = world.status(&web);
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(status.message.as_deref(), Some(MESSAGE));
    assert!(
        !status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "DisruptionTarget"),
        "that is for pressure on the node"
    );
    assert_eq!(
        world.take_events(&web),
        [
            format!("Evicted: {MESSAGE}").as_str(),
            "Killing: Stopping container a",
            "Killing: Stopping container b"
        ]
    );
    world.run_secs(3_600);
    world.desire(&web);
    assert!(world.take_issued_texts().is_empty(), "it stays as it is");
    world.delete(&web);
    assert!(world.is_forgotten(&web));
    assert!(world.machine.is_clean());
}

#[test]
fn a_deaf_pod_gets_two_seconds_and_no_end_is_told_before_it_ended() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").grace_seconds(600).build();
    world.desire(&web);
    world.evict(&web, MESSAGE);
    world.run_for(Duration::from_millis(1_999));
    assert_eq!(world.line(&web), "Running app=Running");
    assert_eq!(reason_and_message(&world, &web), (None, None));
    world.run_for(Duration::from_millis(1));
    assert!(world.line(&web).starts_with("Failed app=Error:137"));
    assert_eq!(
        reason_and_message(&world, &web),
        (Some("Evicted".to_owned()), Some(MESSAGE.to_owned()))
    );
}

const OVERDUE: &str =
    "ExceededGracePeriod: Container runtime did not kill the pod within specified grace period.";

#[test]
fn one_that_cannot_be_killed_within_ten_seconds_is_told_of_once() {
    let mut world = World::default();
    let web = pod("web").container("app").grace_seconds(600).build();
    world.desire(&web);
    let script = &mut world.machine.script;
    script.hangs(|a| matches!(a, Action::Stop { .. } | Action::Kill { .. }));
    world.evict(&web, MESSAGE);
    world.run_secs(9);
    assert!(!world.take_events(&web).contains(&OVERDUE.to_owned()));
    world.run_secs(1);
    assert_eq!(world.take_events(&web), [OVERDUE]);
    world.run_secs(600);
    assert!(world.take_events(&web).is_empty());
    // nor does the next agent say it again
    world.crash(Crash::BeforeEffects);
    world.recover();
    world.run_secs(600);
    assert!(!world.take_events(&web).contains(&OVERDUE.to_owned()));
    world.mend();
    world.run_secs(60);
    assert!(world.line(&web).starts_with("Failed"));
}

#[test]
fn one_that_is_only_deleted_or_past_its_deadline_is_not() {
    for deadline in [false, true] {
        let mut world = World::default();
        let mut web = pod("web").container("app").grace_seconds(1);
        if deadline {
            web = web.spec(|spec| spec.active_deadline_seconds = Some(1));
        }
        let web = web.build();
        world.desire(&web);
        let script = &mut world.machine.script;
        script.hangs(|a| matches!(a, Action::Stop { .. } | Action::Kill { .. }));
        if !deadline {
            world.delete(&web);
        }
        world.run_secs(600);
        assert!(!world.take_events(&web).contains(&OVERDUE.to_owned()));
    }
}

#[test]
fn a_pod_that_ends_well_while_it_is_evicted_has_failed() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [Program::runs().stops_after(Duration::from_secs(1), 0)],
    );
    let web = pod("web").container("app").never().build();
    world.desire(&web);
    world.evict(&web, MESSAGE);
    world.run_secs(1);
    assert!(world.line(&web).starts_with("Failed app=Completed"));
    assert_eq!(world.status(&web).reason.as_deref(), Some("Evicted"));
}

#[test]
fn a_pod_that_has_ended_or_is_deleted_is_not_evicted() {
    let mut world = World::default();
    world.machine.script.program("job", [Program::exits(0)]);
    let job = pod("job").container("job").never().build();
    world.desire(&job);
    world.evict(&job, MESSAGE);
    assert!(world.line(&job).starts_with("Succeeded"));
    assert_eq!(reason_and_message(&world, &job), (None, None));

    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").grace_seconds(60).build();
    world.desire(&web);
    world.delete(&web);
    world.take_events(&web);
    world.evict(&web, MESSAGE);
    world.run_secs(59);
    assert!(!world.is_forgotten(&web), "its grace period is its own");
    assert!(world.take_events(&web).is_empty());
}

#[test]
fn an_eviction_survives_the_agent_and_the_machine() {
    for reboot in [false, true] {
        let mut world = World::default();
        world
            .machine
            .script
            .program("app", [Program::runs().deaf()]);
        let web = pod("web").container("app").build();
        world.desire(&web);
        world.evict(&web, MESSAGE);
        if reboot {
            world.reboot();
        } else {
            world.crash(Crash::BeforeEffects);
        }
        world.recover();
        world.run_secs(60);
        assert!(
            world.line(&web).starts_with("Failed"),
            "{}",
            world.line(&web)
        );
        assert_eq!(
            reason_and_message(&world, &web),
            (Some("Evicted".to_owned()), Some(MESSAGE.to_owned()))
        );
        assert!(world.machine.running().is_empty());
    }
}
