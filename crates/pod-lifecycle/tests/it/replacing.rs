//! A pod that takes the place of another of its name.

use std::time::Duration;
use test_kit::{Program, World, pod};

#[test]
fn a_replacement_waits_until_its_predecessor_is_gone() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [Program::runs().stops_after(Duration::from_secs(5), 0)],
    );
    let old = pod("web").uid("old").container("app").build();
    let new = pod("web").uid("new").container("app").build();
    world.desire(&old);
    world.delete(&old);
    world.take_issued();
    world.desire(&new);
    assert!(world.take_issued().is_empty());
    assert_eq!(world.line(&new), "Pending app=ContainerCreating");
    assert!(
        world.status(&new).start_time.is_none(),
        "nothing was done for it yet"
    );
    world.run_secs(5);
    assert!(world.is_forgotten(&old));
    assert_eq!(world.line(&new), "Running app=Running");
}

#[test]
fn a_replacement_that_comes_before_the_deletion_waits_too() {
    let mut world = World::default();
    let old = pod("web").uid("old").container("app").build();
    let new = pod("web").uid("new").container("app").build();
    world.desire(&old);
    world.desire(&new);
    world.run_secs(100);
    assert_eq!(world.line(&old), "Running app=Running");
    assert_eq!(world.line(&new), "Pending app=ContainerCreating");
    world.delete(&old);
    assert_eq!(world.line(&new), "Running app=Running");
}

#[test]
fn a_replacement_that_is_replaced_while_it_waits_never_runs() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [Program::runs().stops_after(Duration::from_secs(5), 0)],
    );
    let pods: Vec<_> = ["1", "2", "3"]
        .iter()
        .map(|uid| pod("web").uid(uid).container("app").build())
        .collect();
    world.desire(&pods[0]);
    world.take_issued();
    world.delete(&pods[0]);
    world.desire(&pods[1]);
    world.delete(&pods[1]);
    world.desire(&pods[2]);
    assert!(world.is_forgotten(&pods[1]));
    world.run_secs(5);
    assert_eq!(world.line(&pods[2]), "Running app=Running");
    let started: Vec<_> = world
        .take_issued()
        .into_iter()
        .filter(|a| matches!(a, pod_model::Action::Start { .. }))
        .collect();
    assert_eq!(started.len(), 1);
}

#[test]
fn the_same_pod_again_begins_anew_once_it_is_gone() {
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
    world.run_secs(1);
    assert_eq!(
        world.line(&web),
        "Running app=Running last=Error:1 restarts=1"
    );
    world.machine.script.program(
        "app",
        [Program::runs().stops_after(Duration::from_secs(5), 0)],
    );
    world.delete(&web);
    world.desire(&web);
    world.run_secs(30);
    assert_eq!(
        world.line(&web),
        "Running app=Running",
        "with no memory of its former life"
    );
}

#[test]
fn wanting_it_again_and_not_after_all_is_not_wanting_it() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [Program::runs().stops_after(Duration::from_secs(5), 0)],
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.delete(&web);
    world.desire(&web);
    world.delete(&web);
    world.run_secs(30);
    assert!(world.is_forgotten(&web));
}

#[test]
fn pods_of_one_name_in_two_namespaces_do_not_wait_for_each_other() {
    let mut world = World::default();
    let one = pod("web")
        .uid("1")
        .namespace("one")
        .container("app")
        .build();
    let two = pod("web")
        .uid("2")
        .namespace("two")
        .container("app")
        .build();
    world.desire(&one);
    world.desire(&two);
    assert_eq!(world.line(&two), "Running app=Running");
}

#[test]
fn an_api_servers_pod_does_not_wait_for_its_namesake() {
    let mut world = World::default();
    let one = pod("web").uid("1").from_api().container("app").build();
    let two = pod("web").uid("2").from_api().container("app").build();
    world.desire(&one);
    world.desire(&two);
    assert_eq!(world.line(&two), "Running app=Running");
}

#[test]
fn telling_a_pod_again_changes_nothing() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.take_issued();
    let told = world.published;
    for _ in 0..10 {
        world.desire(&web);
    }
    assert!(world.take_issued().is_empty());
    assert_eq!(world.published, told);
}

#[test]
fn a_new_generation_is_observed_and_disturbs_nothing() {
    let mut world = World::default();
    let web = pod("web").container("app").generation(1);
    world.desire(&web.clone().build());
    world.take_issued();
    let web = web.generation(2).label("a", "b").build();
    world.desire(&web);
    assert_eq!(world.status(&web).observed_generation, Some(2));
    assert!(world.take_issued().is_empty());
}

#[test]
fn an_exit_of_its_former_life_does_not_end_its_new_one() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    let key = world.key(&web, "app", 0);
    let seq = world.machine.seq();
    let now = world.now();
    let exit = pod_model::ExitRecord {
        code: 1,
        signal: None,
        cause: pod_model::ExitCause::Exited,
        started_at: now.wall,
        finished_at: now.wall,
        finished_mono: now.mono,
    };
    world.delete(&web);
    world.desire(&web);
    world.take_issued();
    world.input(pod_lifecycle::Input::Exit(pod_model::ExitSeen {
        container: key,
        exit,
        last_words: None,
        seq,
    }));
    assert_eq!(world.line(&web), "Running app=Running");
    assert!(world.take_issued().is_empty());
}
