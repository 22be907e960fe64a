//! Limits over all pods.

use pod_lifecycle::{Context, Event, Input, NodeCore, PodRecord, Settings, Step, step};
use pod_model::{Action, AdmittedPod, Now};
use std::time::Duration;
use test_kit::{Program, World, pod};

fn node(kernel_slots: usize, max_parallel_image_pulls: usize) -> World {
    World::new(Settings {
        kernel_slots,
        max_parallel_image_pulls,
        ..Settings::default()
    })
}
fn pods(count: usize) -> Vec<AdmittedPod> {
    (0..count)
        .map(|i| {
            pod(&format!("web-{i:03}"))
                .container("app")
                .image("registry.test/app:1")
                .build()
        })
        .collect()
}
fn is_kernel(text: &str) -> bool {
    !text.starts_with("EnsureImage") && !text.starts_with("Stop") && !text.starts_with("Kill")
}

#[test]
fn no_more_actions_of_the_kernel_stage_run_than_there_are_slots() {
    let mut world = node(4, 5);
    world
        .machine
        .images
        .insert("registry.test/app:1".to_owned());
    world
        .machine
        .script
        .takes(Duration::from_millis(10), |_| true);
    let pods = pods(50);
    for web in &pods {
        world.desire(web);
        assert!(world.in_work().iter().filter(|t| is_kernel(t)).count() <= 4);
    }
    for _ in 0..1_000 {
        world.run_for(Duration::from_millis(1));
        assert!(world.in_work().iter().filter(|t| is_kernel(t)).count() <= 4);
    }
    assert!(
        pods.iter()
            .all(|web| world.line(web) == "Running app=Running")
    );
}

#[test]
fn who_comes_first_is_served_first() {
    let mut world = node(3, 5);
    world
        .machine
        .images
        .insert("registry.test/app:1".to_owned());
    world
        .machine
        .script
        .takes(Duration::from_millis(10), |_| true);
    let pods = pods(3);
    for web in &pods {
        world.desire(web);
    }
    let mut order = Vec::new();
    for _ in 0..200 {
        world.run_for(Duration::from_millis(1));
        for action in world.take_issued() {
            if let Action::Start { container, .. } = action {
                order.push(container.pod.to_string());
            }
        }
    }
    assert_eq!(order, ["web-000-uid", "web-001-uid", "web-002-uid"]);
}

#[test]
fn stops_and_kills_never_wait_behind_anything() {
    let mut world = node(1, 1);
    let victim = pod("victim").container("app").build();
    world.desire(&victim);
    world
        .machine
        .script
        .hangs(|a| matches!(a, Action::Prepare { .. }));
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    for web in pods(10) {
        world.desire(&web);
    }
    world.take_issued();
    world.delete(&victim);
    assert_eq!(world.take_issued_texts(), ["Stop app.0"]);
    let deaf = pod("deaf").container("app").build();
    world.delete_within(&victim, Some(Duration::ZERO));
    assert!(
        world.machine.running().is_empty(),
        "killed though the only slot hangs"
    );
    drop(deaf);
}

#[test]
fn pulls_take_turns_and_images_that_are_here_do_not_wait_for_them() {
    let mut world = node(64, 2);
    world
        .machine
        .images
        .insert("registry.test/here:1".to_owned());
    world.machine.script.takes(Duration::from_secs(10), |a| {
        matches!(a, Action::EnsureImage { container, .. } if container.as_str().starts_with("far"))
    });
    let far: Vec<_> = (0..6)
        .map(|i| {
            pod(&format!("far-{i}"))
                .container(&format!("far-{i}"))
                .build()
        })
        .collect();
    for web in &far {
        world.desire(web);
    }
    let here = pod("here").container("here").build();
    world.desire(&here);
    assert_eq!(world.line(&here), "Running here=Running");
    let running = |world: &World| {
        far.iter()
            .filter(|web| world.line(web).starts_with("Running"))
            .count()
    };
    for done in [2, 4, 6] {
        world.run_secs(10);
        assert_eq!(running(&world), done);
    }
    let waited = world.take_events(&far[5]);
    assert_eq!(
        waited[1],
        "Pulled: Successfully pulled image \"registry.test/far-5:1\" in 10s (30s including waiting). Image size: 4096 bytes."
    );
}

#[test]
fn a_pod_deleted_before_its_turn_came_costs_no_turn() {
    let mut world = node(1, 1);
    world
        .machine
        .script
        .hangs(|a| matches!(a, Action::Prepare { .. }));
    let first = pod("first").container("app").build();
    let second = pod("second").container("app").build();
    world.desire(&first);
    world.desire(&second);
    world.take_issued();
    world.delete(&second);
    world.mend();
    world.run_secs(1);
    assert!(world.is_forgotten(&second));
    let issued = world.take_issued();
    let its: Vec<_> = issued
        .iter()
        .filter(|a| {
            a.pod() == second.uid() && matches!(a, Action::Prepare { .. } | Action::Start { .. })
        })
        .collect();
    assert!(its.is_empty(), "{its:?}");
    assert_eq!(world.line(&first), "Running app=Running");
}

#[test]
fn a_hundred_pods_at_once_all_run_and_all_go() {
    let mut world = node(4, 5);
    world
        .machine
        .script
        .takes(Duration::from_millis(2), |_| true);
    let pods = pods(110);
    for web in &pods {
        world.desire(web);
    }
    world.run_secs(10);
    assert!(
        pods.iter()
            .all(|web| world.line(web) == "Running app=Running")
    );
    for web in &pods {
        world.delete(web);
    }
    world.run_secs(10);
    assert!(world.core().is_empty());
    assert!(world.machine.is_clean());
}

#[test]
fn a_pod_that_wishes_to_be_woken_at_once_for_ever_does_not_hold_up_the_node() {
    fn never_content(
        record: PodRecord,
        pod: Option<&AdmittedPod>,
        event: &Event<'_>,
        context: Context<'_>,
        now: Now,
    ) -> Step {
        let mut done = step(record, pod, event, context, now);
        done.next_wake = Some(now.mono);
        done
    }
    let mut core = NodeCore::deciding_by(never_content, Settings::default());
    let now = Now::default();
    core.handle(Input::Desired(pod("web").container("app").build()), now);
    core.handle(Input::Tick, now);
    assert_eq!(core.next_wake(), Some(now.mono));
}
