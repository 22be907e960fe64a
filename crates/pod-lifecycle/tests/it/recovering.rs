//! The agent dies, and a new one goes on.

use pod_lifecycle::{
    Input, PodRecord, Remains, Retry, Settings, Stage, Terminating, WhyTerminating,
};
use pod_model::{Action, AdmittedPod, ContainerName, MonoTime, Now, PodUid, ProbeKind};
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn starts(world: &mut World) -> Vec<String> {
    world
        .take_issued_texts()
        .into_iter()
        .filter(|t| t.starts_with("Start"))
        .collect()
}

#[test]
fn running_pods_do_not_notice_that_the_agent_died() {
    let mut world = World::default();
    let web = pod("web")
        .init("setup")
        .container("app")
        .container("side")
        .build();
    world.machine.script.program("setup", [Program::exits(0)]);
    world.desire(&web);
    let before = world.status(&web);
    world.crash(Crash::AfterEffects);
    world.take_issued();
    world.recover();
    assert!(world.take_issued().is_empty());
    assert_eq!(world.status(&web), before, "not even a time has changed");
}

#[test]
fn restart_counts_and_back_off_survive() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(75); // 4 restarts; the next is 80 s after the last end at 70 s
    let line = "Running app=CrashLoopBackOff last=Error:1 restarts=4";
    assert_eq!(world.line(&web), line);
    world.take_issued();
    world.crash(Crash::AfterEffects);
    world.recover();
    assert_eq!(world.line(&web), line);
    world.run_secs(74);
    assert!(starts(&mut world).is_empty());
    world.run_secs(1);
    assert_eq!(starts(&mut world), ["Start app.5"]);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Error:1 restarts=5"
    );
}

#[test]
fn an_exit_while_nobody_listened_is_told_truthfully() {
    for (code, line) in [(0, "Succeeded app=Completed:0"), (7, "Failed app=Error:7")] {
        let mut world = World::default();
        world
            .machine
            .script
            .program("app", [Program::exits(code).after(seconds(10))]);
        let job = pod("job").container("app").never().build();
        world.desire(&job);
        world.exits_are_told = false;
        world.run_secs(10);
        world.crash(Crash::AfterEffects);
        world.exits_are_told = true;
        world.recover();
        assert_eq!(world.line(&job), line);
    }
}

#[test]
fn a_container_that_vanished_is_unknown_and_never_a_success() {
    for (policy, line) in [
        ("Never", "Failed app=ContainerStatusUnknown:137"),
        (
            "OnFailure",
            "Running app=Running last=ContainerStatusUnknown:137 restarts=1",
        ),
        (
            "Always",
            "Running app=Running last=ContainerStatusUnknown:137 restarts=1",
        ),
    ] {
        let mut world = World::default();
        let web = pod("web").container("app").restart_policy(policy).build();
        world.desire(&web);
        let key = world.key(&web, "app", 0);
        world.crash(Crash::AfterEffects);
        world.machine.lose(&key);
        world.recover();
        assert_eq!(world.line(&web), line);
    }
}

/// Runs a pod's whole life, kills the agent when the `n`th action has been issued, and lets a new one go on.
fn dies_at(
    n: usize,
    crash: Crash,
    life: &dyn Fn(&mut World, &AdmittedPod),
    web: &AdmittedPod,
) -> (World, bool) {
    let mut world = World::default();
    world
        .machine
        .script
        .program("setup", [Program::exits(1), Program::exits(0)]);
    world.machine.script.program(
        "app",
        [Program::exits(1).after(seconds(2)), Program::runs()],
    );
    // every action takes time, so that the agent can die during any of them
    world
        .machine
        .script
        .takes(Duration::from_millis(10), |_| true);
    life(&mut world, web);
    let mut issued = 0;
    while issued < n {
        let new = world.take_issued().len();
        issued += new;
        if new == 0 {
            if world.core().next_wake().is_none() && world.in_work().is_empty() {
                return (world, false);
            }
            world.run_for(Duration::from_millis(5));
        }
    }
    world.crash(crash);
    world.recover();
    (world, true)
}

#[test]
fn an_agent_that_dies_at_any_action_of_a_start_is_made_up_for() {
    let web = pod("web")
        .init("setup")
        .container("app")
        .container("side")
        .build();
    for crash in [Crash::BeforeEffects, Crash::AfterEffects] {
        for n in 1..=16 {
            let (mut world, _) = dies_at(n, crash, &|world, web| world.desire(web), &web);
            world.run_secs(60);
            assert_eq!(
                world.line(&web),
                "Running setup=Completed:0 last=Error:1 restarts=1 app=Running last=Error:1 restarts=1 side=Running",
                "died at action {n}, {crash:?}\n{}",
                world.history()
            );
            assert!(world.in_work().is_empty());
        }
    }
}

#[test]
fn an_agent_that_dies_at_any_action_of_a_deletion_is_made_up_for() {
    let web = pod("web")
        .init("setup")
        .container("app")
        .container("side")
        .build();
    let life = |world: &mut World, web: &AdmittedPod| {
        world.desire(web);
        world.run_secs(30);
        world.take_issued();
        world.delete(web);
    };
    for crash in [Crash::BeforeEffects, Crash::AfterEffects] {
        for n in 1..=9 {
            let (mut world, _) = dies_at(n, crash, &life, &web);
            world.run_secs(60);
            assert!(
                world.is_forgotten(&web),
                "died at action {n}, {crash:?}\n{}",
                world.history()
            );
            assert!(world.machine.is_clean());
        }
    }
}

#[test]
fn a_start_in_flight_is_looked_for_before_it_is_issued_again() {
    for (crash, again) in [
        (Crash::BeforeEffects, vec!["Start app.0"]),
        (Crash::AfterEffects, vec![]),
    ] {
        let mut world = World::default();
        world
            .machine
            .script
            .takes(seconds(1), |a| matches!(a, Action::Start { .. }));
        let web = pod("web").container("app").build();
        world.desire(&web);
        world.take_issued();
        world.crash(crash);
        world.recover();
        assert_eq!(starts(&mut world), again, "{crash:?}");
        world.run_secs(1);
        assert_eq!(world.line(&web), "Running app=Running");
    }
}

#[test]
fn a_start_that_ended_before_anybody_looked_is_an_attempt() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(9)]);
    world
        .machine
        .script
        .takes(seconds(1), |a| matches!(a, Action::Start { .. }));
    let job = pod("job").container("app").never().build();
    world.desire(&job);
    world.crash(Crash::AfterEffects);
    world.recover();
    assert_eq!(world.line(&job), "Failed app=Error:9");
}

#[test]
fn a_lost_record_is_rebuilt_from_what_runs() {
    let mut world = World::default();
    world.machine.script.program("setup", [Program::exits(0)]);
    world.machine.script.program(
        "app",
        [Program::exits(1).after(seconds(1)), Program::runs()],
    );
    let web = pod("web")
        .init("setup")
        .container("app")
        .container("side")
        .build();
    world.desire(&web);
    world.run_secs(1);
    world.forget_record(&web);
    world.crash(Crash::AfterEffects);
    world.take_issued();
    world.recover();
    assert!(starts(&mut world).is_empty(), "nothing is started twice");
    assert_eq!(
        world.line(&web),
        "Running setup=Completed:0 app=Running restarts=1 side=Running"
    );
    assert_eq!(world.status(&web).pod_ip.as_deref(), Some("10.88.0.1"));
}

#[test]
fn a_probe_ends_a_container_whose_sandbox_is_being_found_again() {
    let mut world = World::default();
    let web = pod("web")
        .container("app")
        .probe(ProbeKind::Liveness, None)
        .build();
    world.desire(&web);
    world.forget_record(&web);
    world.crash(Crash::AfterEffects);
    let script = &mut world.machine.script;
    script.hangs(|a| matches!(a, Action::Prepare { .. }));
    world.recover();
    world.take_issued();
    world.probed(&web, "app", 0, (ProbeKind::Liveness, false));
    assert_eq!(world.take_issued_texts()[0], "Stop app.0");
    world.mend();
    world.run_secs(1);
    assert_eq!(
        world.line(&web),
        "Running app=Running last=Completed:0 restarts=1"
    );
}

#[test]
fn without_a_record_nothing_is_started_before_the_machine_was_looked_at() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.forget_record(&web);
    world.crash(Crash::AfterEffects);
    world.take_issued();
    world.input(Input::Desired(web.clone()));
    assert!(starts(&mut world).is_empty());
    world.look();
    assert!(starts(&mut world).is_empty());
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn a_pod_whose_manifest_went_while_the_agent_was_dead_is_taken_away() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().stops_after(seconds(3), 0)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.crash(Crash::AfterEffects);
    world.look();
    world.run_secs(100);
    assert_eq!(
        world.line(&web),
        "Running app=Running",
        "not before all sources have been read"
    );
    world.sources_ready();
    world.run_secs(2);
    assert!(!world.is_forgotten(&web), "with its grace period");
    world.run_secs(1);
    assert!(world.is_forgotten(&web));
    assert!(world.machine.is_clean());
}

#[test]
fn what_only_the_kernel_knows_is_taken_away() {
    let mut world = World::starting(Settings::default());
    let uid = PodUid::new("stranger").unwrap();
    let key = pod_model::ContainerKey::new(
        uid.clone(),
        ContainerName::new("app").unwrap(),
        pod_model::Attempt(3),
    );
    let now = world.now();
    world.machine.plant(key, now);
    world
        .machine
        .parts
        .insert((uid, pod_model::SandboxPart::Network));
    world.look();
    assert_eq!(
        world.machine.running().len(),
        1,
        "somebody may still want it"
    );
    world.sources_ready();
    assert!(world.machine.is_clean());
    assert!(world.core().is_empty());
    assert_eq!(
        world.take_issued_texts(),
        [
            "Kill app.3",
            "Remove app.3",
            "Undo Volumes",
            "Undo Network",
            "Undo Cgroup",
            "Forget"
        ]
    );
}

#[test]
fn a_stranger_that_is_being_killed_is_not_adopted_once_its_pod_is_read() {
    // root has its pod: the file in the run directory was damaged, and is not damaged there
    let web = pod("web").container("app").build();
    let mut record = PodRecord::new(&web, Now::default());
    record.containers.clear();
    record.deleted = true;
    record.stage = Stage::Terminating(Terminating {
        why: WhyTerminating::Unwanted,
        since: Now::default(),
        grace: Duration::ZERO,
        deadline: MonoTime::default(),
    });
    let mut world = World::default();
    let stray = world.key(&web, "app", 1);
    record.remains.push(Remains {
        container: stray.name.clone(),
        attempt: stray.attempt,
        alive: true,
        retry: Retry::default(),
    });
    let now = world.now();
    world.machine.plant(stray, now);
    world.store(record, &web);
    world.crash(Crash::BeforeEffects);
    world.recover();
    assert_eq!(
        world.take_issued_texts(),
        ["Kill app.1", "Remove app.1", "Forget"]
    );
    assert!(world.is_forgotten(&web));
}

#[test]
fn leftovers_of_unknown_pods_are_undone_and_of_known_ones_kept() {
    let mut world = World::starting(Settings::default());
    let web = pod("web").container("app").build();
    world.desire(&web);
    let uid = PodUid::new("stranger").unwrap();
    world
        .machine
        .parts
        .insert((uid.clone(), pod_model::SandboxPart::Volumes));
    world.input(Input::Leftovers(vec![uid, web.uid().clone()]));
    world.look();
    world.take_issued();
    world.sources_ready();
    assert_eq!(
        world.take_issued_texts(),
        ["Undo Volumes", "Undo Network", "Undo Cgroup", "Forget"]
    );
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn a_container_of_a_known_pod_that_has_no_place_in_it_is_removed() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    let key = world.key(&web, "other", 0);
    let now = world.now();
    world.machine.plant(key, now);
    world.take_issued();
    world.look();
    assert_eq!(
        world.take_issued_texts(),
        ["Kill other.0", "Remove other.0"]
    );
    assert_eq!(world.line(&web), "Running app=Running");
}

#[test]
fn the_grace_period_does_not_begin_anew_with_the_agent() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.delete(&web);
    world.run_secs(20);
    world.crash(Crash::AfterEffects);
    world.recover();
    world.run_secs(9);
    assert!(!world.is_forgotten(&web));
    world.run_secs(1);
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_deletion_is_remembered_even_if_the_manifest_is_back() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().stops_after(seconds(5), 0)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.delete(&web);
    world.run_secs(1);
    world.crash(Crash::AfterEffects);
    world.desire(&web);
    world.recover();
    world.run_secs(4);
    // the old one is gone, and the same pod begins anew
    assert_eq!(world.line(&web), "Running app=Running");
    assert_eq!(world.machine.running().len(), 1);
    assert_eq!(
        world.core().record(web.uid()).unwrap().containers[0]
            .made
            .as_ref()
            .unwrap()
            .attempt
            .0,
        0
    );
}

#[test]
fn a_replacement_still_waits_after_the_agent_died() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().stops_after(seconds(10), 0)]);
    let old = pod("web").uid("z-old").container("app").build();
    let new = pod("web").uid("a-new").container("app").build();
    world.desire(&old);
    world.delete(&old);
    world.desire(&new);
    world.take_issued();
    world.crash(Crash::AfterEffects);
    world.recover();
    world.run_secs(9);
    assert!(starts(&mut world).is_empty());
    world.run_secs(1);
    assert!(world.is_forgotten(&old));
    assert_eq!(world.line(&new), "Running app=Running");
}

#[test]
fn a_first_look_that_is_older_than_an_exit_still_tells_what_was_started() {
    for crash in [Crash::BeforeEffects, Crash::AfterEffects] {
        let mut world = World::default();
        world.machine.script.takes(
            seconds(1),
            |a| matches!(a, Action::Start { container, .. } if container.name.as_str() == "side"),
        );
        let web = pod("web").container("app").container("side").build();
        world.desire(&web);
        world.crash(crash);
        let first = world.machine.observe();
        world.delete(&web);
        world.show(first);
        assert!(world.is_forgotten(&web), "{crash:?}\n{}", world.history());
        assert!(world.machine.is_clean());
    }
}

#[test]
fn a_record_from_before_probes_and_hooks_is_read() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.delete(&web);
    let record = world.core().record(web.uid()).expect("it is going");
    let mut old = serde_json::to_value(record).expect("a record can be written");
    for (place, fields) in [
        ("", &["past_deadline", "active"][..]),
        ("/containers/0", &["again"]),
        (
            "/containers/0/state/Stopping/live",
            &["since", "hooked", "started", "ready"],
        ),
        ("/containers/0/state/Stopping/stop", &["least", "step"]),
    ] {
        let place = old.pointer_mut(place).and_then(|at| at.as_object_mut());
        let place = place.expect("it is there");
        place.retain(|name, _| !fields.contains(&name.as_str()));
    }
    let record: PodRecord = serde_json::from_value(old).expect("an older record can be read");
    let app = record.containers[0].state.running().expect("it runs");
    assert!(app.hooked, "there were no hooks");
    world.store(record, &web);
    world.crash(Crash::AfterEffects);
    world.recover();
    world.run_secs(30);
    assert!(world.is_forgotten(&web));
}
