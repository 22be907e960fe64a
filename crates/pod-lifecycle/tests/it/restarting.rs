//! Restart policies and the crash back-off.

use pod_lifecycle::Settings;
use pod_model::{Action, FailureReason};
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn the_policy_and_the_exit_code_decide() {
    // policy, exit code, the status right after the exit
    for (policy, code, line) in [
        (
            "Always",
            0,
            "Running app=Running last=Completed:0 restarts=1",
        ),
        ("Always", 1, "Running app=Running last=Error:1 restarts=1"),
        ("OnFailure", 0, "Succeeded app=Completed:0"),
        (
            "OnFailure",
            1,
            "Running app=Running last=Error:1 restarts=1",
        ),
        ("Never", 0, "Succeeded app=Completed:0"),
        ("Never", 1, "Failed app=Error:1"),
    ] {
        let mut world = World::default();
        world.machine.script.program(
            "app",
            [Program::exits(code).after(seconds(5)), Program::runs()],
        );
        let web = pod("web").container("app").restart_policy(policy).build();
        world.desire(&web);
        assert_eq!(world.line(&web), "Running app=Running", "{policy} {code}");
        world.run_secs(5);
        assert_eq!(world.line(&web), line, "{policy} {code}");
    }
}

#[test]
fn an_oom_kill_is_told_as_one() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::is_oom_killed().after(seconds(1))]);
    let job = pod("job").container("app").never().build();
    world.desire(&job);
    world.run_secs(1);
    assert_eq!(world.line(&job), "Failed app=OOMKilled:137");
}

/// When each attempt began, in seconds after the first.
fn starts(world: &mut World, run_seconds: u64) -> Vec<u64> {
    let mut starts = Vec::new();
    for second in 0..=run_seconds {
        let begun = world
            .take_issued()
            .iter()
            .filter(|a| matches!(a, Action::Start { .. }))
            .count();
        starts.extend(std::iter::repeat_n(second, begun));
        world.run_secs(1);
    }
    starts
}

#[test]
fn the_back_off_begins_with_10_s_doubles_and_stops_at_300_s() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    // the first restart is immediate
    let expected: Vec<u64> = [0, 0, 10, 20, 40, 80, 160, 300, 300, 300]
        .iter()
        .scan(0, |at, wait| {
            *at += wait;
            Some(*at)
        })
        .collect();
    assert_eq!(starts(&mut world, 1_220), expected);
}

#[test]
fn a_start_that_waits_long_for_its_turn_has_not_run_meanwhile() {
    fn is_second(action: &Action) -> bool {
        matches!(action, Action::Start { container, .. } if container.attempt.0 == 1)
    }
    for how in ["it crashes", "it cannot be executed", "nobody saw it start"] {
        let mut world = World::default();
        let script = &mut world.machine.script;
        script.program("app", [Program::exits(1)]);
        script.takes(seconds(700), is_second);
        if how == "it cannot be executed" {
            let reason = FailureReason::RunContainerError;
            script.fail(1, reason, "no such file", is_second);
        }
        world.desire(&pod("web").container("app").build());
        assert_eq!(starts(&mut world, 698), [0, 0], "{how}");
        if how == "nobody saw it start" {
            world.crash(Crash::AfterEffects);
            world.recover();
        } else {
            world.run_secs(1);
        }
        let later = starts(&mut world, 20);
        assert_eq!(later.first(), Some(&10), "{how}: {later:?}");
    }
}

#[test]
fn waiting_says_how_long_and_for_what() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Error:1 restarts=1"
    );
    let message = |world: &World| {
        let statuses = world.status(&web).container_statuses.unwrap();
        statuses[0]
            .state
            .clone()
            .unwrap()
            .waiting
            .unwrap()
            .message
            .unwrap()
    };
    assert_eq!(
        message(&world),
        "back-off 10s restarting failed container=app pod=web_default(web-uid)"
    );
    let back_off =
        "BackOff: Back-off restarting failed container app in pod web_default(web-uid)".to_owned();
    assert_eq!(
        world
            .take_events(&web)
            .iter()
            .filter(|e| **e == back_off)
            .count(),
        1
    );
    world.run_secs(10 + 20 + 40);
    assert_eq!(
        message(&world),
        "back-off 1m20s restarting failed container=app pod=web_default(web-uid)"
    );
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Error:1 restarts=4"
    );
}

#[test]
fn the_back_off_counts_from_the_end_of_the_container() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::exits(1).after(seconds(100))]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    // runs 100 s, restarts at once; runs 100 s, waits 10 s; runs 100 s, waits 20 s
    assert_eq!(starts(&mut world, 440), [0, 100, 210, 330]);
}

#[test]
fn a_container_that_ran_longer_than_600_s_begins_anew() {
    for (ran, waits) in [(599, 20), (601, 0)] {
        let mut world = World::default();
        let crash = Program::exits(1);
        let long = Program::exits(1).after(seconds(ran));
        world
            .machine
            .script
            .program("app", [crash.clone(), crash, long, Program::runs()]);
        let web = pod("web").container("app").build();
        world.desire(&web);
        world.run_secs(10);
        assert_eq!(
            world.line(&web),
            "Running app=Running last=Error:1 restarts=2"
        );
        world.run_secs(ran);
        if waits > 0 {
            assert_eq!(
                world.line(&web),
                "Running app=CrashLoopBackOff last=Error:1 restarts=2"
            );
            world.run_secs(waits);
        }
        assert_eq!(
            world.line(&web),
            "Running app=Running last=Error:1 restarts=3",
            "ran {ran} s"
        );
    }
}

#[test]
fn no_wait_is_longer_than_the_node_allows() {
    for (longest, expected) in [(1, vec![0, 0, 1, 2, 3]), (15, vec![0, 0, 10, 25, 40])] {
        let mut world = World::new(Settings {
            max_container_restart_period: seconds(longest),
            kernel_slots: 8,
            ..Settings::default()
        });
        world.machine.script.program("app", [Program::exits(1)]);
        let web = pod("web").container("app").build();
        world.desire(&web);
        let mut begun = starts(&mut world, 45);
        begun.truncate(5);
        assert_eq!(begun, expected, "{longest} s");
    }
}

#[test]
fn a_success_under_always_backs_off_too() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(0)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Completed:0 restarts=1"
    );
}

#[test]
fn containers_back_off_each_for_itself() {
    let mut world = World::default();
    world.machine.script.program("bad", [Program::exits(1)]);
    let web = pod("web").container("good").container("bad").build();
    world.desire(&web);
    world.run_secs(15);
    assert_eq!(
        world.line(&web),
        "Running bad=CrashLoopBackOff last=Error:1 restarts=2 good=Running"
    );
}

#[test]
fn a_pod_is_over_when_all_its_containers_are() {
    let mut world = World::default();
    world.machine.script.program("one", [Program::exits(0)]);
    world
        .machine
        .script
        .program("two", [Program::exits(4).after(seconds(5))]);
    let job = pod("job").container("one").container("two").never().build();
    world.desire(&job);
    assert_eq!(world.line(&job), "Running one=Completed:0 two=Running");
    world.run_secs(5);
    assert_eq!(world.line(&job), "Failed one=Completed:0 two=Error:4");
    assert!(world.machine.is_clean(), "a pod that is over holds nothing");
    assert!(
        !world.is_forgotten(&job),
        "but it is known until it is deleted"
    );
    world.run_secs(10_000);
    assert_eq!(world.line(&job), "Failed one=Completed:0 two=Error:4");
    world.delete(&job);
    assert!(world.is_forgotten(&job));
}

#[test]
fn remains_of_a_dead_attempt_are_removed_and_its_successor_lives() {
    let mut world = World::default();
    world.machine.script.program(
        "app",
        [Program::exits(1).after(seconds(1)), Program::runs()],
    );
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(1);
    let there: Vec<String> = world
        .machine
        .containers()
        .map(|key| key.dir_name())
        .collect();
    assert_eq!(there, ["app.1"]);
}

#[test]
fn remains_that_cannot_be_removed_do_not_pile_up() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    world
        .machine
        .script
        .always_fail(FailureReason::FailedKillPod, "busy", |a| {
            matches!(a, Action::Remove { .. })
        });
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(3_000);
    assert_eq!(world.machine.containers().count(), 4);
    assert!(
        world
            .take_events(&web)
            .contains(&"FailedKillPod: error killing pod: busy".to_owned())
    );
    world.mend();
    world.run_secs(300);
    assert!(world.machine.containers().count() <= 1);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Error:1 restarts=6"
    );
}

#[test]
fn a_crashing_container_is_not_told_more_often_than_it_changes() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(170);
    let before = world.published;
    // two restarts fall into it
    world.run_secs(460);
    assert!(
        world.published - before <= 8,
        "{} statuses for two restarts",
        world.published - before
    );
}
