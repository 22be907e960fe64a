//! What listings mean, and what they do not.

use pod_lifecycle::Input;
use pod_model::{
    Action, ExitCause, ExitRecord, ExitSeen, Observed, ObservedContainer, ObservedState, Seq,
};
use std::time::Duration;
use test_kit::{Program, World, pod};

#[test]
fn a_look_from_before_a_start_does_not_make_the_container_vanish() {
    let mut world = World::default();
    let stale = world.machine.observe();
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.take_issued();
    world.show(stale);
    assert_eq!(world.line(&web), "Running app=Running");
    assert!(world.take_issued().is_empty());
}

#[test]
fn a_look_during_a_start_does_not_disturb_it() {
    let mut world = World::default();
    world.machine.script.takes(Duration::from_secs(1), |a| {
        matches!(a, Action::Start { .. })
    });
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.take_issued();
    world.look();
    assert!(world.take_issued().is_empty());
    world.run_secs(1);
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn a_fresh_look_that_lacks_a_running_container_ends_it() {
    let mut world = World::default();
    let web = pod("web").container("app").never().build();
    world.desire(&web);
    let key = world.key(&web, "app", 0);
    world.machine.lose(&key);
    world.look();
    assert_eq!(world.line(&web), "Failed app=ContainerStatusUnknown:137");
    let status = world.status(&web).container_statuses.unwrap().remove(0);
    let ended = status.state.unwrap().terminated.unwrap();
    assert_eq!(
        ended.message.as_deref(),
        Some("The container could not be located when the pod was terminated")
    );
    assert!(ended.started_at.is_some());
}

#[test]
fn an_exit_told_twice_and_late_is_one_exit() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [
            Program::exits(1).after(Duration::from_secs(1)),
            Program::runs(),
        ],
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    let key = world.key(&web, "app", 0);
    world.run_secs(1);
    let exit = ExitRecord {
        code: 1,
        signal: None,
        cause: ExitCause::Exited,
        started_at: world.now().wall,
        finished_at: world.now().wall,
        finished_mono: world.now().mono,
    };
    let line = "Running app=Running last=Error:1 restarts=1";
    assert_eq!(world.line(&web), line);
    world.take_issued();
    for seq in [Seq(0), Seq(1_000)] {
        world.input(Input::Exit(ExitSeen {
            container: key.clone(),
            exit: exit.clone(),
            last_words: None,
            seq,
        }));
        assert_eq!(world.line(&web), line);
        assert!(world.take_issued().is_empty());
    }
}

#[test]
fn a_look_that_still_shows_a_removed_attempt_is_not_believed() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [
            Program::exits(1).after(Duration::from_secs(1)),
            Program::runs(),
        ],
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    let stale = world.machine.observe();
    world.run_secs(1);
    world.take_issued();
    world.show(stale);
    assert!(world.take_issued().is_empty());
    assert_eq!(
        world.line(&web),
        "Running app=Running last=Error:1 restarts=1"
    );
}

#[test]
fn a_second_living_attempt_is_killed_and_the_known_one_kept() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    let stray = world.key(&web, "app", 5);
    let now = world.now();
    world.machine.plant(stray, now);
    world.take_issued();
    world.look();
    assert_eq!(world.take_issued_texts(), ["Kill app.5", "Remove app.5"]);
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn what_a_dead_attempt_left_is_found_and_removed() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    let mut seen = world.machine.observe();
    let exit = ExitRecord {
        code: 0,
        signal: None,
        cause: ExitCause::Exited,
        started_at: world.now().wall,
        finished_at: world.now().wall,
        finished_mono: world.now().mono,
    };
    seen.containers.insert(
        world.key(&web, "gone", 2),
        ObservedContainer {
            state: ObservedState::Exited(exit),
            last_words: None,
        },
    );
    world.take_issued();
    world.show(seen);
    assert_eq!(world.take_issued_texts(), ["Remove gone.2"]);
}

#[test]
fn looks_of_an_idle_node_cause_nothing() {
    let mut world = World::default();
    let pods: Vec<_> = (0..20)
        .map(|i| pod(&format!("web-{i}")).container("app").build())
        .collect();
    for web in &pods {
        world.desire(web);
    }
    world.take_issued();
    let told = world.published;
    for _ in 0..10 {
        world.run_secs(60);
        world.look();
    }
    assert!(world.take_issued().is_empty());
    assert_eq!(world.published, told);
    assert_eq!(world.core().next_wake(), None, "an idle node sleeps");
}

#[test]
fn a_pod_forgotten_since_is_not_taken_for_a_stranger() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    let stale = world.machine.observe();
    world.delete(&web);
    world.take_issued();
    world.show(stale);
    assert!(world.take_issued().is_empty());
}

#[test]
fn a_container_made_and_not_started_is_started_by_the_same_attempt() {
    let mut world = World::default();
    world.machine.script.takes(Duration::from_secs(1), |a| {
        matches!(a, Action::Start { .. })
    });
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.crash(test_kit::Crash::BeforeEffects);
    world.take_issued();
    let key = world.key(&web, "app", 0);
    let containers = [(
        key,
        ObservedContainer {
            state: ObservedState::Created,
            last_words: None,
        },
    )]
    .into();
    world.show(Observed {
        as_of: Seq(50),
        containers,
    });
    let texts = world.take_issued_texts();
    let place = |text: &str| texts.iter().position(|t| t == text);
    let (removed, started) = (place("Remove app.0"), place("Start app.0"));
    assert!(
        removed.is_some() && removed < started,
        "what is left of the first start goes before the second: {texts:?}"
    );
}

#[test]
fn a_container_made_and_not_started_goes_with_its_pod() {
    let mut world = World::default();
    world
        .machine
        .script
        .hangs(|a| matches!(a, Action::Start { .. }));
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.crash(test_kit::Crash::BeforeEffects);
    world.delete(&web);
    world.take_issued();
    let made = ObservedContainer {
        state: ObservedState::Created,
        last_words: None,
    };
    world.show(Observed {
        as_of: Seq(50),
        containers: [(world.key(&web, "app", 0), made)].into(),
    });
    let texts = world.take_issued_texts();
    let place = |text: &str| texts.iter().position(|t| t == text);
    assert!(
        place("Remove app.0").is_some() && place("Remove app.0") < place("Undo Volumes"),
        "{texts:?}"
    );
}

#[test]
fn an_exit_of_a_former_pod_of_the_same_uid_is_not_the_new_ones() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    let now = world.now();
    let exit = ExitRecord {
        code: 3,
        signal: None,
        cause: ExitCause::Exited,
        started_at: now.wall,
        finished_at: now.wall,
        finished_mono: now.mono,
    };
    let old = ExitSeen {
        container: world.key(&web, "app", 0),
        exit,
        last_words: None,
        seq: world.machine.seq(),
    };
    world.delete(&web);
    world.run_secs(1);
    assert!(world.is_forgotten(&web));
    // a newer look makes the core forget what it has forgotten
    world.look();
    world.desire(&web);
    world.input(Input::Exit(old));
    assert_eq!(world.line(&web), "Running app=Running");
}
