//! What probes mean: started, ready, killed. Who probes is not here; the world says what probes said.

use k8s_openapi::api::core::v1::{PodCondition, PodReadinessGate, PodStatus};
use pod_model::ProbeKind::{Liveness, Readiness, Startup};
use pod_model::{Action, AdmittedPod, ProbeFailed};
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

fn web() -> AdmittedPod {
    pod("web")
        .container("app")
        .probe(Startup, None)
        .probe(Readiness, None)
        .probe(Liveness, Some(5))
        .build()
}

fn ready(world: &World, pod: &AdmittedPod) -> (Option<bool>, bool, String) {
    let status = world.status(pod).container_statuses.unwrap_or_default();
    let condition = world.condition(pod, "Ready");
    (status[0].started, status[0].ready, condition.status)
}

#[test]
fn readiness_and_liveness_wait_for_the_startup_probe() {
    let (mut world, web) = (World::default(), web());
    world.desire(&web);
    assert_eq!(ready(&world, &web), (Some(false), false, "False".into()));
    assert_eq!(world.targets(&web), ["app.0 startup"]);
    world.probed(&web, "app", 0, (Readiness, true));
    assert_eq!(world.line(&web), "Running app=Unready", "nobody asked");
    world.probed(&web, "app", 0, (Startup, true));
    assert_eq!(world.targets(&web), ["app.0 readiness", "app.0 liveness"]);
    assert_eq!(ready(&world, &web), (Some(true), false, "False".into()));
    let condition = world.condition(&web, "Ready");
    assert_eq!(condition.reason.as_deref(), Some("ContainersNotReady"));
    assert_eq!(
        condition.message.as_deref(),
        Some("containers with unready status: [app]")
    );
    world.probed(&web, "app", 0, (Readiness, true));
    assert_eq!(ready(&world, &web), (Some(true), true, "True".into()));
    world.probed(&web, "app", 0, (Readiness, false));
    assert_eq!(ready(&world, &web), (Some(true), false, "False".into()));
}

#[test]
fn without_a_readiness_probe_what_has_started_is_ready() {
    let mut world = World::default();
    let web = pod("web").container("app").probe(Startup, None).build();
    world.desire(&web);
    assert_eq!(world.line(&web), "Running app=Unready");
    world.probed(&web, "app", 0, (Startup, true));
    assert_eq!(world.line(&web), "Running app=Running");
    assert!(world.targets(&web).is_empty());
}

#[test]
fn a_container_that_fails_its_liveness_probe_is_killed_and_started_again() {
    let (mut world, web) = (World::default(), web());
    world
        .machine
        .script
        .program("app", [Program::runs().deaf(), Program::runs()]);
    world.desire(&web);
    world.probed(&web, "app", 0, (Startup, true));
    world.probed(&web, "app", 0, (Readiness, true));
    world.take_events(&web);
    world.take_issued();
    world.input(pod_lifecycle::Input::ProbeFailed(ProbeFailed {
        container: world.key(&web, "app", 0),
        kind: Liveness,
        message: "HTTP probe failed with statuscode: 500".to_owned(),
    }));
    world.probed(&web, "app", 0, (Liveness, false));
    assert_eq!(
        world.take_events(&web),
        [
            "Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 500",
            "Killing: Container app failed liveness probe, will be restarted",
        ]
    );
    assert_eq!(world.targets(&web), ["app.0 readiness"]);
    // the probe's own grace period, not the pod's
    world.run_for(Duration::from_millis(4_999));
    assert_eq!(world.take_issued_texts(), ["Stop app.0"]);
    world.run_for(Duration::from_millis(1));
    assert_eq!(
        world.line(&web),
        "Running app=Unready last=Error:137 restarts=1"
    );
    assert_eq!(world.targets(&web), ["app.1 startup"]);
    world.probed(&web, "app", 0, (Liveness, false));
    assert_eq!(
        world.take_issued_texts(),
        [
            "Kill app.0",
            "EnsureImage app",
            "Remove app.0",
            "Start app.1"
        ],
        "what is said of the former attempt is late"
    );
}

#[test]
fn a_startup_probe_that_fails_kills_too_and_the_policy_decides() {
    let mut world = World::default();
    let job = pod("job")
        .container("app")
        .probe(Startup, None)
        .container("other")
        .never()
        .build();
    world.desire(&job);
    world.take_events(&job);
    world.probed(&job, "app", 0, (Startup, false));
    assert_eq!(
        world.take_events(&job),
        ["Killing: Container app failed startup probe"]
    );
    assert_eq!(world.line(&job), "Running app=Completed:0 other=Running");
}

#[test]
fn the_last_container_that_is_not_started_again_takes_its_pod_with_it() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().stops_after(Duration::ZERO, 143)]);
    let job = pod("job")
        .container("app")
        .probe(Liveness, None)
        .never()
        .build();
    world.desire(&job);
    world.take_events(&job);
    world.probed(&job, "app", 0, (Liveness, false));
    assert_eq!(
        world.take_events(&job),
        ["Killing: Stopping container app"],
        "a kubelet ends the pod"
    );
    assert_eq!(world.line(&job), "Failed app=Error:143");
}

#[test]
fn readiness_is_asked_for_until_the_end() {
    let (mut world, web) = (World::default(), web());
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    world.desire(&web);
    world.probed(&web, "app", 0, (Startup, true));
    world.probed(&web, "app", 0, (Readiness, true));
    world.delete(&web);
    assert_eq!(world.targets(&web), ["app.0 readiness"]);
    assert_eq!(world.line(&web), "Running app=Running");
    world.probed(&web, "app", 0, (Readiness, false));
    assert_eq!(world.line(&web), "Running app=Unready");
    world.run_secs(30);
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_new_agent_knows_what_probes_said() {
    let (mut world, web) = (World::default(), web());
    world.desire(&web);
    world.probed(&web, "app", 0, (Startup, true));
    world.probed(&web, "app", 0, (Readiness, true));
    world.crash(Crash::BeforeEffects);
    assert_eq!(ready(&world, &web), (Some(true), true, "True".into()));
    world.recover();
    assert_eq!(ready(&world, &web), (Some(true), true, "True".into()));
    let record = world.core().record(web.uid()).expect("it is known");
    let begin: Vec<_> = pod_lifecycle::targets(record, &web)
        .into_iter()
        .map(|target| (target.kind, target.healthy))
        .collect();
    assert_eq!(begin, [(Readiness, Some(true)), (Liveness, Some(true))]);
}

#[test]
fn a_readiness_gate_keeps_a_pod_unready() {
    for (status, reason, message) in [
        (
            None,
            Some("ReadinessGatesNotReady"),
            Some(
                r#"corresponding condition of pod readiness gate "example.com/gate" does not exist."#,
            ),
        ),
        (
            Some("False"),
            Some("ReadinessGatesNotReady"),
            Some(r#"the status of pod readiness gate "example.com/gate" is not "True", but False"#),
        ),
        (Some("True"), None, None),
    ] {
        let mut manifest = pod("web")
            .container("app")
            .spec(|spec| {
                spec.readiness_gates = Some(vec![PodReadinessGate {
                    condition_type: "example.com/gate".to_owned(),
                }]);
            })
            .to_pod();
        manifest.status = status.map(|status| PodStatus {
            conditions: Some(vec![PodCondition {
                type_: "example.com/gate".to_owned(),
                status: status.to_owned(),
                ..PodCondition::default()
            }]),
            ..PodStatus::default()
        });
        let web = AdmittedPod::from_validated(manifest, pod_model::QosClass::BestEffort)
            .expect("it is valid");
        let mut world = World::default();
        world.desire(&web);
        assert_eq!(world.condition(&web, "ContainersReady").status, "True");
        let ready = world.condition(&web, "Ready");
        assert_eq!(ready.status == "True", reason.is_none());
        assert_eq!(ready.reason.as_deref(), reason);
        assert_eq!(ready.message.as_deref(), message);
    }
}

#[test]
fn what_a_probe_ended_is_started_again_however_it_ended() {
    let mut world = World::default();
    world.machine.script.takes(Duration::from_secs(1), |a| {
        matches!(a, Action::Start { .. } | Action::PostStart { .. })
    });
    let job = pod("job")
        .container("app")
        .probe(Liveness, None)
        .post_start()
        .on_failure()
        .build();
    world.desire(&job);
    world.run_secs(2);
    world.probed(&job, "app", 0, (Liveness, false));
    for _ in 0..3 {
        assert_eq!(world.status(&job).phase.as_deref(), Some("Running"));
        world.run_secs(1);
    }
    assert_eq!(
        world.line(&job),
        "Running app=Running last=Completed:0 restarts=1"
    );
}

#[test]
fn what_a_probe_ended_waits_as_a_kubelet_makes_it_wait() {
    let mut world = World::default();
    let web = pod("web").container("app").probe(Liveness, None).build();
    world.desire(&web);
    // each attempt is ended when it has run for 30 s; the wait is counted from the end before until that is not long enough
    let mut waits = Vec::new();
    for attempt in 0..7 {
        world.run_secs(30);
        world.probed(&web, "app", attempt, (Liveness, false));
        let mut waited = 0;
        while !world.line(&web).contains("app=Running") {
            world.run_secs(1);
            waited += 1;
        }
        waits.push(waited);
    }
    assert_eq!(waits, [0, 0, 0, 0, 40, 80, 160]);
}
