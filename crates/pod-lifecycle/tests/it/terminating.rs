//! The end of a pod, asked for at every moment of its life.

use pod_model::{Action, FailureReason, SandboxPart};
use std::time::Duration;
use test_kit::{Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_pod_that_listens_is_gone_at_once() {
    let mut world = World::default();
    let web = pod("web").container("a").container("b").build();
    world.desire(&web);
    world.take_issued();
    world.take_events(&web);
    world.delete(&web);
    assert_eq!(
        world.take_issued_texts(),
        [
            "Stop a.0",
            "Stop b.0",
            "Remove a.0",
            "Remove b.0",
            "Undo Volumes",
            "Undo Network",
            "Undo Cgroup",
            "Forget"
        ],
    );
    assert!(world.is_forgotten(&web));
    assert!(world.machine.is_clean());
    assert_eq!(
        world.take_events(&web),
        [
            "Killing: Stopping container a",
            "Killing: Stopping container b"
        ]
    );
}

#[test]
fn a_deaf_container_is_killed_at_the_deadline() {
    for (grace, waits) in [(30, 30), (7, 7), (1, 2), (0, 2)] {
        let mut world = World::default();
        world
            .machine
            .script
            .program("app", [Program::runs().deaf()]);
        let web = pod("web").container("app").grace_seconds(grace).build();
        world.desire(&web);
        world.delete(&web);
        assert_eq!(
            world.line(&web),
            "Running app=Running",
            "it runs until it is killed"
        );
        world.run_for(seconds(waits) - Duration::from_millis(1));
        assert!(!world.is_forgotten(&web), "grace {grace} s");
        world.run_for(Duration::from_millis(1));
        assert!(world.is_forgotten(&web), "grace {grace} s");
    }
}

#[test]
fn a_grace_period_of_zero_kills_now() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.take_issued();
    world.delete_within(&web, Some(Duration::ZERO));
    assert_eq!(
        world.take_issued_texts()[..2],
        ["Kill app.0", "Remove app.0"],
        "no stop signal"
    );
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_second_deletion_shortens_and_never_lengthens() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").grace_seconds(60).build();
    world.desire(&web);
    world.delete(&web);
    world.run_secs(10);
    world.delete_within(&web, Some(seconds(600)));
    world.run_secs(10);
    world.delete_within(&web, Some(seconds(5)));
    world.run_secs(4);
    assert!(!world.is_forgotten(&web));
    world.run_secs(1);
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_shorter_grace_breaks_off_a_pre_stop_that_runs() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.hangs(|a| matches!(a, Action::PreStop { .. }));
    script.program("app", [Program::runs().deaf()]);
    let web = pod("web")
        .container("app")
        .pre_stop()
        .grace_seconds(60)
        .build();
    world.desire(&web);
    world.delete(&web);
    world.run_secs(10);
    world.take_issued();
    world.delete_within(&web, Some(seconds(5)));
    world.run_for(Duration::from_millis(4_999));
    assert!(world.take_issued().is_empty());
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.take_issued_texts(), ["Stop app.0"]);
    world.run_secs(2);
    assert_eq!(world.take_issued_texts()[0], "Kill app.0");
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_grace_of_zero_kills_also_while_a_pre_stop_runs_and_while_a_sidecar_waits() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.hangs(|a| matches!(a, Action::PreStop { .. }));
    script.program("app", [Program::runs().deaf()]);
    script.program("side", [Program::runs().deaf()]);
    let web = pod("web")
        .sidecar("side")
        .container("app")
        .pre_stop()
        .build();
    world.desire(&web);
    world.delete(&web);
    world.run_secs(10);
    world.take_issued();
    world.delete_within(&web, Some(Duration::ZERO));
    assert_eq!(
        world.take_issued_texts()[..2],
        ["Kill side.0", "Kill app.0"]
    );
    assert!(world.is_forgotten(&web));
}

/// A life with everything in it: init containers, a sidecar, hooks, crashes, back-off, a restart of all.
#[test]
fn a_pod_may_be_deleted_at_any_time_of_its_life() {
    let life = |world: &mut World| {
        let script = &mut world.machine.script;
        for (takes, which) in [
            (700, "Prepare"),
            (500, "EnsureImage"),
            (300, "Start"),
            (900, "PostStart"),
            (1_100, "PreStop"),
            (200, "Remove"),
        ] {
            let is_it = move |a: &Action| format!("{a:?}").starts_with(&format!("{which} "));
            script.takes(Duration::from_millis(takes), is_it);
        }
        script.program(
            "setup",
            [Program::exits(1).after(seconds(1)), Program::exits(0)],
        );
        script.program("app", [Program::exits(1).after(seconds(2))]);
        let again = Program::exits(88).after(seconds(9));
        script.program("other", [again, Program::runs().deaf()]);
    };
    let rule = serde_json::json!([
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}},
    ]);
    let web = pod("web")
        .init("setup")
        .sidecar("side")
        .post_start()
        .container("app")
        .post_start()
        .pre_stop()
        .container("other")
        .configure(|c| {
            c.restart_policy = Some("OnFailure".to_owned());
            c.restart_policy_rules = serde_json::from_value(rule).expect("a rule");
        })
        .grace_seconds(5)
        .build();
    for at in 0..160 {
        let mut world = World::default();
        life(&mut world);
        world.desire(&web);
        world.run_for(Duration::from_millis(at * 250));
        world.delete(&web);
        world.take_issued();
        world.run_secs(60);
        let started = world.take_issued_texts();
        let is_start = |text: &&String| text.starts_with("Start ") || text.starts_with("Prepare ");
        assert_eq!(started.iter().find(is_start), None, "at {at}: {started:?}");
        assert!(world.is_forgotten(&web), "at {at}\n{}", world.history());
        assert!(world.machine.is_clean(), "at {at}\n{}", world.history());
    }
}

#[test]
fn nothing_restarts_once_the_pod_is_to_go() {
    let mut world = World::default();
    world.machine.script.program("crashes", [Program::exits(1)]);
    world
        .machine
        .script
        .program("slow", [Program::runs().stops_after(seconds(20), 0)]);
    let web = pod("web").container("crashes").container("slow").build();
    world.desire(&web);
    world.delete(&web);
    world.take_issued();
    world.run_secs(19);
    assert_eq!(
        world.line(&web),
        "Running crashes=Error:1 last=Error:1 restarts=1 slow=Running",
        "no back-off is waited for any more"
    );
    assert!(
        !world
            .take_issued_texts()
            .iter()
            .any(|t| t.starts_with("Start"))
    );
    world.run_secs(1);
    assert!(world.is_forgotten(&web));
}

#[test]
fn the_last_status_tells_how_each_container_ended() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("polite", [Program::runs().stops_after(seconds(1), 143)]);
    world
        .machine
        .script
        .program("deaf", [Program::runs().deaf()]);
    let web = pod("web")
        .container("polite")
        .container("deaf")
        .grace_seconds(5)
        .from_api()
        .build();
    world.desire(&web);
    world
        .machine
        .script
        .hangs(|a| matches!(a, Action::Forget { .. }));
    world.delete(&web);
    assert!(!world.update(&web).unwrap().released);
    world.run_secs(5);
    assert_eq!(world.line(&web), "Failed deaf=Error:137 polite=Error:143");
    assert!(world.update(&web).unwrap().deleting);
    assert!(world.update(&web).unwrap().released);
}

#[test]
fn a_static_pod_does_not_change_its_phase_by_being_deleted_and_an_api_pod_ends() {
    for (web, phase) in [
        (pod("web").container("app"), "Running app=Completed:0"),
        (
            pod("web").container("app").from_api(),
            "Succeeded app=Completed:0",
        ),
    ] {
        let mut world = World::default();
        world
            .machine
            .script
            .hangs(|a| matches!(a, Action::Forget { .. }));
        let web = web.build();
        world.desire(&web);
        world.delete(&web);
        assert_eq!(world.line(&web), phase);
    }
}

#[test]
fn containers_that_never_ran_are_said_to_be_lost_unless_their_turn_had_not_come() {
    let with_init = pod("web").init("setup").container("app").from_api().build();
    let without = pod("web").container("app").from_api().build();
    for (web, line) in [
        (
            with_init,
            "Failed setup=ContainerStatusUnknown:137 app=PodInitializing",
        ),
        (without, "Failed app=ContainerStatusUnknown:137"),
    ] {
        let mut world = World::default();
        world
            .machine
            .script
            .hangs(|a| matches!(a, Action::EnsureImage { .. } | Action::Forget { .. }));
        world.desire(&web);
        world.delete(&web);
        assert_eq!(world.line(&web), line);
    }
}

#[test]
fn a_pod_can_be_deleted_during_a_pull_and_does_not_wait_for_it() {
    let mut world = World::default();
    world
        .machine
        .script
        .takes(seconds(600), |a| matches!(a, Action::EnsureImage { .. }));
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(10);
    world.delete(&web);
    assert!(world.is_forgotten(&web));
    assert!(world.machine.is_clean());
}

#[test]
fn a_half_prepared_pod_is_undone_once_what_is_under_way_has_ended() {
    for slow in SandboxPart::ALL {
        let mut world = World::default();
        world.machine.script.takes(
            seconds(10),
            move |a| matches!(a, Action::Prepare { part, .. } if *part == slow),
        );
        let web = pod("web").container("app").build();
        world.desire(&web);
        world.run_secs(1);
        world.delete(&web);
        assert!(!world.is_forgotten(&web), "{slow:?} is still being made");
        world.run_secs(9);
        assert!(world.is_forgotten(&web));
        assert!(world.machine.is_clean());
        assert!(
            !world
                .take_issued_texts()
                .iter()
                .any(|t| t.starts_with("Start"))
        );
    }
}

#[test]
fn a_half_prepared_pod_whose_part_fails_is_undone_too() {
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
    world.take_issued();
    world.delete(&web);
    assert_eq!(
        world.take_issued_texts(),
        ["Undo Volumes", "Undo Network", "Undo Cgroup", "Forget"]
    );
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_pod_deleted_while_its_container_starts_stops_it_first() {
    let mut world = World::default();
    world
        .machine
        .script
        .takes(seconds(3), |a| matches!(a, Action::Start { .. }));
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    assert!(!world.is_forgotten(&web));
    world.run_secs(3);
    assert_eq!(world.take_issued_texts()[0], "Stop app.0");
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_pod_that_waits_in_back_off_goes_at_once() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(100);
    world.delete(&web);
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_finished_pod_is_only_forgotten() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(0)]);
    let job = pod("job").container("app").never().build();
    world.desire(&job);
    world.take_issued();
    world.delete(&job);
    assert_eq!(world.take_issued_texts(), ["Forget"]);
}

#[test]
fn what_cannot_be_undone_is_tried_again_and_said_and_hurts_nobody_else() {
    let mut world = World::default();
    let stuck = pod("stuck").container("app").build();
    let other = pod("other").container("app").build();
    world.desire(&stuck);
    let uid = stuck.uid().clone();
    world.machine.script.always_fail(
        FailureReason::FailedKillPod,
        "device busy",
        move |a| matches!(a, Action::Undo { pod, part: SandboxPart::Volumes } if *pod == uid),
    );
    world.delete(&stuck);
    world.run_secs(3_600);
    let undos = world
        .take_issued_texts()
        .iter()
        .filter(|t| *t == "Undo Volumes")
        .count();
    assert!((115..=130).contains(&undos), "{undos}: every 30 s at last");
    assert!(
        world
            .take_events(&stuck)
            .contains(&"FailedKillPod: error killing pod: device busy".to_owned())
    );
    world.desire(&other);
    assert_eq!(world.line(&other), "Running app=Running");
    world.mend();
    world.run_secs(30);
    assert!(world.is_forgotten(&stuck));
}

#[test]
fn a_stop_that_fails_is_tried_again_and_the_kill_comes_in_time() {
    let mut world = World::default();
    world
        .machine
        .script
        .always_fail(FailureReason::FailedKillPod, "no", |a| {
            matches!(a, Action::Stop { .. })
        });
    let web = pod("web").container("app").grace_seconds(10).build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    world.run_secs(9);
    assert_eq!(
        world.take_issued_texts(),
        ["Stop app.0", "Stop app.0", "Stop app.0", "Stop app.0"],
        "at 0, 1, 3 and 7 s"
    );
    world.run_secs(1);
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_kill_that_fails_is_tried_again_until_it_works() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    world
        .machine
        .script
        .fail(4, FailureReason::FailedKillPod, "no", |a| {
            matches!(a, Action::Kill { .. })
        });
    let web = pod("web").container("app").grace_seconds(2).build();
    world.desire(&web);
    world.delete(&web);
    world.run_secs(2 + 1 + 2 + 4);
    assert!(!world.is_forgotten(&web));
    world.run_secs(8);
    assert!(world.is_forgotten(&web));
}

#[test]
fn an_exit_that_is_never_told_is_found_by_a_look() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.exits_are_told = false;
    world.delete(&web);
    world.run_secs(300);
    assert!(!world.is_forgotten(&web));
    world.look();
    assert!(world.is_forgotten(&web));
}

#[test]
fn deleting_what_is_not_known_is_nothing() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.delete(&web);
    world.delete_within(&web, Some(Duration::ZERO));
    assert!(world.take_issued().is_empty());
    assert!(world.core().is_empty());
}

#[test]
fn the_network_stays_until_no_process_lives() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("slow", [Program::runs().stops_after(seconds(10), 0)]);
    let web = pod("web").container("fast").container("slow").build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    world.run_secs(9);
    assert_eq!(
        world.take_issued_texts(),
        ["Stop fast.0", "Stop slow.0", "Remove fast.0"]
    );
}
