//! Init containers that run on.

use pod_model::ProbeKind::{Liveness, Readiness, Startup};
use pod_model::{Action, AdmittedPod};
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn starts(world: &mut World) -> Vec<String> {
    let issued = world.take_issued_texts().into_iter();
    issued.filter(|text| text.starts_with("Start")).collect()
}

fn web() -> AdmittedPod {
    pod("web")
        .sidecar("proxy")
        .probe(Startup, None)
        .init("setup")
        .sidecar("logs")
        .container("app")
        .build()
}

#[test]
fn what_follows_a_sidecar_starts_once_it_has_started() {
    let (mut world, web) = (World::default(), web());
    world.machine.script.program("setup", [Program::exits(0)]);
    world.desire(&web);
    assert_eq!(starts(&mut world), ["Start proxy.0"]);
    let initialized = world.condition(&web, "Initialized");
    assert_eq!(
        initialized.message.as_deref(),
        Some("containers with incomplete status: [proxy setup logs]")
    );
    world.probed(&web, "proxy", 0, (Startup, true));
    assert_eq!(
        starts(&mut world),
        ["Start setup.0", "Start logs.0", "Start app.0"]
    );
    assert_eq!(
        world.line(&web),
        "Running proxy=Running setup=Completed:0 logs=Running app=Running"
    );
    assert_eq!(world.condition(&web, "Initialized").status, "True");
    assert_eq!(world.condition(&web, "Ready").status, "True");
}

#[test]
fn a_post_start_of_a_sidecar_holds_back_what_follows() {
    let mut world = World::default();
    world
        .machine
        .script
        .takes(seconds(2), |a| matches!(a, Action::PostStart { .. }));
    let web = pod("web")
        .sidecar("proxy")
        .post_start()
        .container("app")
        .build();
    world.desire(&web);
    assert_eq!(starts(&mut world), ["Start proxy.0"]);
    world.run_secs(2);
    assert_eq!(starts(&mut world), ["Start app.0"]);
}

#[test]
fn a_sidecar_is_started_again_whatever_the_policy_says() {
    let mut world = World::default();
    world.machine.script.program(
        "proxy",
        [Program::exits(0).after(seconds(1)), Program::runs()],
    );
    let job = pod("job")
        .sidecar("proxy")
        .probe(Startup, None)
        .container("app")
        .never()
        .build();
    world.desire(&job);
    world.probed(&job, "proxy", 0, (Startup, true));
    world.run_secs(1);
    assert_eq!(
        world.line(&job),
        "Running proxy=Running last=Completed:0 restarts=1 app=Running",
        "that it starts again does not make the pod pending"
    );
}

#[test]
fn a_sidecar_counts_for_readiness() {
    let mut world = World::default();
    let web = pod("web")
        .sidecar("proxy")
        .probe(Readiness, None)
        .container("app")
        .build();
    world.desire(&web);
    let ready = world.condition(&web, "ContainersReady");
    assert_eq!(
        ready.message.as_deref(),
        Some("containers with unready status: [proxy]")
    );
    world.probed(&web, "proxy", 0, (Readiness, true));
    assert_eq!(world.condition(&web, "Ready").status, "True");
}

#[test]
fn a_sidecar_that_fails_its_liveness_probe_is_started_again() {
    let mut world = World::default();
    let job = pod("job")
        .sidecar("proxy")
        .probe(Liveness, None)
        .container("app")
        .never()
        .build();
    world.desire(&job);
    world.take_events(&job);
    world.probed(&job, "proxy", 0, (Liveness, false));
    assert_eq!(
        world.take_events(&job)[0],
        "Killing: Init container proxy failed liveness probe"
    );
    assert_eq!(
        world.line(&job),
        "Running proxy=Running last=Completed:0 restarts=1 app=Running"
    );
}

#[test]
fn a_sidecar_outlives_the_main_containers_and_stops_in_reverse_order() {
    let mut world = World::default();
    for name in ["proxy", "logs", "app"] {
        let stops = Program::runs().stops_after(seconds(2), 0);
        world.machine.script.program(name, [stops]);
    }
    let web = pod("web")
        .sidecar("proxy")
        .sidecar("logs")
        .container("app")
        .build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    assert_eq!(world.take_issued_texts(), ["Stop app.0"]);
    world.run_secs(2);
    assert_eq!(world.take_issued_texts()[0], "Stop logs.0");
    world.run_secs(2);
    assert_eq!(world.take_issued_texts()[0], "Stop proxy.0");
    world.run_secs(2);
    assert!(world.is_forgotten(&web));
}

#[test]
fn at_the_deadline_sidecars_are_told_and_have_two_seconds() {
    let mut world = World::default();
    for name in ["proxy", "app"] {
        world.machine.script.program(name, [Program::runs().deaf()]);
    }
    let web = pod("web")
        .sidecar("proxy")
        .container("app")
        .grace_seconds(5)
        .build();
    world.desire(&web);
    world.take_issued();
    world.delete(&web);
    world.run_for(Duration::from_millis(4_999));
    assert_eq!(world.take_issued_texts(), ["Stop app.0"]);
    world.run_for(Duration::from_millis(1));
    let issued = world.take_issued_texts();
    assert_eq!(issued[..2], ["Stop proxy.0", "Kill app.0"]);
    world.run_for(Duration::from_millis(1_999));
    assert!(!world.is_forgotten(&web));
    world.run_for(Duration::from_millis(1));
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_job_is_over_once_its_main_containers_are_and_its_sidecars_go() {
    for (code, phase) in [(0, "Succeeded"), (1, "Failed")] {
        let mut world = World::default();
        world
            .machine
            .script
            .program("app", [Program::exits(code).after(seconds(5))]);
        world
            .machine
            .script
            .program("proxy", [Program::runs().stops_after(seconds(3), 143)]);
        let job = pod("job").sidecar("proxy").container("app").never().build();
        world.desire(&job);
        world.run_secs(5);
        assert!(world.line(&job).starts_with("Running proxy=Running"));
        world.run_secs(3);
        assert_eq!(world.status(&job).phase.as_deref(), Some(phase));
        assert!(world.machine.is_clean());
    }
}

#[test]
fn sidecars_survive_the_agent_and_start_first_after_a_boot() {
    let mut world = World::default();
    let web = pod("web").sidecar("proxy").container("app").build();
    world.desire(&web);
    world.take_issued();
    world.crash(Crash::AfterEffects);
    world.recover();
    assert!(starts(&mut world).is_empty());
    world.reboot();
    world.recover();
    world.run_secs(20);
    assert_eq!(starts(&mut world), ["Start proxy.1", "Start app.1"]);
}

#[test]
fn a_sidecar_that_is_ended_while_its_pod_goes_on_waits_for_nobody() {
    let mut world = World::default();
    let web = pod("web")
        .sidecar("proxy")
        .pre_stop()
        .probe(Liveness, None)
        .container("app")
        .build();
    world.desire(&web);
    world.take_issued();
    world.probed(&web, "proxy", 0, (Liveness, false));
    let issued = world.take_issued_texts();
    assert_eq!(issued[..2], ["PreStop proxy.0", "Stop proxy.0"]);
    assert!(issued.contains(&"Start proxy.1".to_owned()), "{issued:?}");
}
