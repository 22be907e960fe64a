//! From the pod being seen to its containers running.

use pod_model::{Action, FailureReason, SandboxPart};
use test_kit::{Program, World, pod};

#[test]
fn a_pod_prepares_everything_at_once_and_runs() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(
        world.take_issued_texts(),
        [
            "EnsureImage app",
            "Prepare Cgroup",
            "Prepare Network",
            "Prepare Volumes",
            "Start app.0"
        ],
        "image and sandbox are seen to in the same step"
    );
    assert_eq!(world.line(&web), "Running app=Running");
    assert_eq!(world.status(&web).pod_ip.as_deref(), Some("10.88.0.1"));
}

#[test]
fn image_and_sandbox_are_in_flight_together() {
    let mut world = World::default();
    world.machine.script.hangs(|_| true);
    let web = pod("web").container("app").container("side").build();
    world.desire(&web);
    let mut in_work = world.in_work();
    in_work.sort();
    assert_eq!(
        in_work,
        [
            "EnsureImage app",
            "EnsureImage side",
            "Prepare Cgroup",
            "Prepare Network",
            "Prepare Volumes"
        ]
    );
    assert_eq!(
        world.line(&web),
        "Pending app=ContainerCreating side=ContainerCreating"
    );
}

#[test]
fn all_main_containers_start_side_by_side() {
    let mut world = World::default();
    world
        .machine
        .script
        .hangs(|a| matches!(a, Action::Start { .. }));
    let web = pod("web").container("b").container("a").build();
    world.desire(&web);
    assert_eq!(world.in_work(), ["Start b.0", "Start a.0"]);
}

#[test]
fn the_events_of_a_start_are_a_kubelets() {
    let mut world = World::default();
    world
        .machine
        .images
        .insert("registry.test/app:1".to_owned());
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(
        world.take_events(&web),
        [
            "Pulled: Container image \"registry.test/app:1\" already present on machine and can be accessed by the pod",
            "Created: Container created",
            "Started: Container started",
        ]
    );
}

#[test]
fn a_part_that_cannot_be_prepared_is_reported_and_tried_again() {
    for (part, event) in [
        (
            SandboxPart::Cgroup,
            "FailedCreatePodContainer: unable to ensure pod container exists: no",
        ),
        (
            SandboxPart::Network,
            "FailedCreatePodSandBox: Failed to create pod sandbox: no",
        ),
        (SandboxPart::Volumes, "FailedMount: no"),
    ] {
        let mut world = World::default();
        world
            .machine
            .images
            .insert("registry.test/app:1".to_owned());
        world.machine.script.fail(
            3,
            FailureReason::FailedMount,
            "no",
            move |a| matches!(a, Action::Prepare { part: p, .. } if *p == part),
        );
        let web = pod("web").container("app").build();
        world.desire(&web);
        assert_eq!(world.line(&web), "Pending app=ContainerCreating");
        assert_eq!(
            world
                .take_events(&web)
                .iter()
                .filter(|e| *e == event)
                .count(),
            1,
            "{part:?}"
        );
        // after 1 s, 2 s and 4 s
        world.run_secs(6);
        assert_eq!(world.line(&web), "Pending app=ContainerCreating");
        world.run_secs(1);
        assert_eq!(world.line(&web), "Running app=Running");
    }
}

#[test]
fn a_failed_part_does_not_hold_up_the_others() {
    let mut world = World::default();
    world
        .machine
        .script
        .always_fail(FailureReason::FailedMount, "no", |a| {
            matches!(
                a,
                Action::Prepare {
                    part: SandboxPart::Volumes,
                    ..
                }
            )
        });
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(600);
    let prepared = world.take_issued();
    let count = |part| {
        prepared
            .iter()
            .filter(|a| matches!(a, Action::Prepare { part: p, .. } if *p == part))
            .count()
    };
    assert_eq!(
        (count(SandboxPart::Cgroup), count(SandboxPart::Network)),
        (1, 1)
    );
    // 1, 2, 4, 8, 16 s, then every 30 s
    assert!(
        (20..=26).contains(&count(SandboxPart::Volumes)),
        "{}",
        count(SandboxPart::Volumes)
    );
}

#[test]
fn before_the_first_look_nothing_starts_and_a_new_pod_is_not_judged() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.take_issued();
    world.reboot();
    let new = pod("new").container("app").build();
    world.desire(&new);
    assert_eq!(
        world.condition(&web, "PodReadyToStartContainers").status,
        "True",
        "whatever else it needs is made ready"
    );
    assert!(
        !world
            .take_issued()
            .iter()
            .any(|a| a.pod() == new.uid() || matches!(a, Action::Start { .. }))
    );
    world.recover();
    assert!(world.line(&web).starts_with("Running app=Running"));
    assert_eq!(world.line(&new), "Running app=Running");
}

#[test]
fn an_exit_that_overtakes_the_answer_to_its_start_is_not_lost() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(3)]);
    let job = pod("job").container("app").never().build();
    world
        .machine
        .script
        .hangs(|a| matches!(a, Action::Start { .. }));
    world.desire(&job);
    // the machine has not executed it yet: tell the exit as the keeper would, before the executor's answer
    let key = world.key(&job, "app", 0);
    let exit = pod_model::ExitRecord {
        code: 3,
        signal: None,
        cause: pod_model::ExitCause::Exited,
        started_at: world.now().wall,
        finished_at: world.now().wall,
        finished_mono: world.now().mono,
    };
    let seq = world.machine.seq();
    world.input(pod_lifecycle::Input::Exit(pod_model::ExitSeen {
        container: key,
        exit,
        last_words: None,
        seq,
    }));
    assert_eq!(world.line(&job), "Failed app=Error:3");
    let events = world.take_events(&job);
    assert!(
        events.contains(&"Started: Container started".to_owned()),
        "{events:?}"
    );
}

#[test]
fn a_host_network_pod_has_the_hosts_address() {
    let mut world = World::default();
    let web = pod("web").container("app").host_network().build();
    world.desire(&web);
    let status = world.status(&web);
    assert_eq!(status.pod_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
}
