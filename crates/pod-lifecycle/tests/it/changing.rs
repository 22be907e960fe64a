//! Another image for a container of a pod that runs, under the same uid, as an API server delivers it.

use pod_model::{Action, FailureReason};
use std::time::Duration;
use test_kit::{Crash, PodBuilder, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn web(image: &str) -> PodBuilder {
    pod("web").container("app").image(image)
}
fn image(action: &Action) -> bool {
    matches!(action, Action::EnsureImage { .. })
}

#[test]
fn the_container_is_stopped_and_started_with_the_new_image() {
    for policy in ["Always", "OnFailure", "Never"] {
        let mut world = World::default();
        world.desire(&web("registry.test/app:1").restart_policy(policy).build());
        let before = world.status(&web("registry.test/app:1").build());
        world.take_issued();
        let changed = web("registry.test/app:2").restart_policy(policy).build();
        world.take_events(&changed);
        world.desire(&changed);
        let events = world.take_events(&changed);
        assert!(
            events.contains(
                &"Killing: Container app definition changed, will be restarted".to_owned()
            ),
            "{events:?}"
        );
        assert_eq!(world.take_issued_texts()[0], "Stop app.0");
        assert_eq!(
            world.line(&changed),
            "Running app=Running last=Completed:0 restarts=1",
            "{policy}"
        );
        let image_id = |status: k8s_openapi::api::core::v1::PodStatus| {
            status
                .container_statuses
                .map(|list| list[0].image_id.clone())
        };
        assert_ne!(image_id(before), image_id(world.status(&changed)));
    }
}

#[test]
fn a_grace_period_is_kept_and_pre_stop_is_run() {
    let mut world = World::default();
    let stops = Program::runs().stops_after(seconds(4), 0);
    world.machine.script.program("app", [stops]);
    world.desire(&web("registry.test/app:1").pre_stop().build());
    world.take_issued();
    world.desire(&web("registry.test/app:2").pre_stop().build());
    world.run_secs(3);
    assert_eq!(world.take_issued_texts(), ["PreStop app.0", "Stop app.0"]);
    world.run_secs(1);
    assert!(
        world
            .take_issued_texts()
            .contains(&"Start app.1".to_owned())
    );
}

#[test]
fn one_that_crashes_starts_at_once_with_another_image() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    world.desire(&web("registry.test/app:1").build());
    world.run_secs(60);
    let changed = web("registry.test/app:2").build();
    assert!(world.line(&changed).contains("CrashLoopBackOff"));
    world.take_issued();
    world.desire(&changed);
    let issued = world.take_issued_texts();
    assert!(
        issued.iter().any(|text| text.starts_with("Start app.")),
        "{issued:?}"
    );
}

#[test]
fn what_was_found_out_about_the_old_image_does_not_count() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.fail(1, FailureReason::ErrImagePull, "no such image", image);
    world.desire(&web("registry.test/ap:1").build());
    world.run_secs(2);
    let changed = web("registry.test/app:1").build();
    assert_eq!(world.line(&changed), "Pending app=ImagePullBackOff");
    world.desire(&changed);
    assert_eq!(world.line(&changed), "Running app=Running");
}

#[test]
fn a_pull_of_the_old_image_is_waited_for_no_more() {
    let mut world = World::default();
    world.machine.script.takes(seconds(60), image);
    world.desire(&web("registry.test/huge:1").build());
    world.run_secs(1);
    world.machine.script.mend();
    let changed = web("registry.test/small:1").build();
    world.desire(&changed);
    assert_eq!(world.line(&changed), "Running app=Running");
    world.run_secs(100);
    assert_eq!(world.line(&changed), "Running app=Running");
}

#[test]
fn a_sidecar_is_restarted_and_an_init_container_is_not_run_again() {
    let pod = |tag: &str| {
        let of = |name: &str| format!("registry.test/{name}:{tag}");
        pod("web")
            .init("setup")
            .image(&of("setup"))
            .sidecar("side")
            .image(&of("side"))
            .container("app")
            .build()
    };
    let mut world = World::default();
    world.machine.script.program("setup", [Program::exits(0)]);
    world.desire(&pod("1"));
    world.desire(&pod("2"));
    assert_eq!(
        world.line(&pod("2")),
        "Running setup=Completed:0 side=Running last=Completed:0 restarts=1 app=Running"
    );
}

#[test]
fn a_change_while_the_old_one_starts_counts() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.takes(seconds(2), |a| matches!(a, Action::Start { .. }));
    world.desire(&web("registry.test/app:1").build());
    world.run_secs(1);
    let changed = web("registry.test/app:2").build();
    world.desire(&changed);
    world.run_secs(5);
    assert_eq!(
        world.line(&changed),
        "Running app=Running last=Completed:0 restarts=1"
    );
}

#[test]
fn anything_else_of_the_spec_disturbs_nothing() {
    let mut world = World::default();
    world.desire(&web("registry.test/app:1").build());
    world.take_issued();
    let changed = web("registry.test/app:1").label("a", "b").build();
    world.desire(&changed);
    assert!(world.take_issued().is_empty());
}

#[test]
fn the_next_agent_knows_what_runs() {
    let mut world = World::default();
    world.desire(&web("registry.test/app:1").build());
    world.crash(Crash::BeforeEffects);
    let changed = web("registry.test/app:2").build();
    world.look();
    world.desire(&changed);
    world.sources_ready();
    assert_eq!(
        world.line(&changed),
        "Running app=Running last=Completed:0 restarts=1"
    );
}
