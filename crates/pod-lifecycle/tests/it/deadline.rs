//! `activeDeadlineSeconds`, and restart policies of single containers.

use k8s_openapi::api::core::v1::{ContainerRestartRule, ContainerRestartRuleOnExitCodes};
use pod_lifecycle::Settings;
use pod_model::Action;
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

#[test]
fn a_pod_past_its_deadline_fails() {
    let mut world = World::default();
    let job = pod("job")
        .container("app")
        .spec(|spec| spec.active_deadline_seconds = Some(60))
        .build();
    world.desire(&job);
    world.run_secs(40);
    world.crash(Crash::BeforeEffects);
    world.recover();
    world.take_events(&job);
    world.run_for(Duration::from_millis(19_999));
    assert_eq!(world.line(&job), "Running app=Running");
    world.run_for(Duration::from_millis(1));
    let status = world.status(&job);
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    let text = "Pod was active on the node longer than the specified deadline";
    assert_eq!(status.message.as_deref(), Some(text));
    assert_eq!(
        world.take_events(&job),
        [
            format!("DeadlineExceeded: {text}"),
            "Killing: Stopping container app".to_owned()
        ]
    );
    assert!(world.machine.is_clean());
}

#[test]
fn a_boot_does_not_begin_the_deadline_anew() {
    let mut world = World::default();
    let job = pod("job")
        .container("app")
        .spec(|spec| spec.active_deadline_seconds = Some(120))
        .build();
    world.desire(&job);
    world.run_secs(50);
    // a minute passes
    world.reboot();
    world.recover();
    world.run_secs(9);
    assert_eq!(world.status(&job).phase.as_deref(), Some("Running"));
    world.run_secs(2);
    assert_eq!(world.status(&job).phase.as_deref(), Some("Failed"));
}

#[test]
fn a_deadline_that_is_given_later_counts_from_the_start_whatever_the_wall_clock_says() {
    let mut world = World::default();
    let job = |seconds| {
        let app = pod("job").container("app");
        app.spec(|spec| spec.active_deadline_seconds = seconds)
            .build()
    };
    world.desire(&job(None));
    world.run_secs(20);
    world.set_wall_clock(1_000_000);
    world.desire(&job(Some(60)));
    world.run_secs(39);
    assert_eq!(world.line(&job(None)), "Running app=Running");
    world.run_secs(2);
    let status = world.status(&job(None));
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn what_waits_for_its_turn_does_not_begin_after_the_deadline() {
    let mut world = World::new(Settings {
        kernel_slots: 1,
        ..Settings::default()
    });
    let slow = |action: &Action| matches!(action, Action::Prepare { .. });
    world.machine.script.takes(Duration::from_secs(2), slow);
    let job = pod("job")
        .container("app")
        .spec(|spec| spec.active_deadline_seconds = Some(1))
        .build();
    world.desire(&job);
    let begun = |issued: Vec<Action>| issued.into_iter().filter(slow).count();
    assert_eq!(begun(world.take_issued()), 1);
    world.run_secs(60);
    assert_eq!(begun(world.take_issued()), 0);
    assert_eq!(world.status(&job).phase.as_deref(), Some("Failed"));
    assert!(world.machine.is_clean());
}

#[test]
fn rules_come_before_the_policy_of_the_container_and_that_before_the_pods() {
    let rule = |operator: &str, values: &[i32]| ContainerRestartRule {
        action: "Restart".to_owned(),
        exit_codes: Some(ContainerRestartRuleOnExitCodes {
            operator: operator.to_owned(),
            values: Some(values.to_vec()),
        }),
    };
    // policy of the pod, of the container, its rules, the exit code, whether it is started again
    for (of_pod, own, rules, code, restarts) in [
        ("Always", Some("Never"), vec![], 1, false),
        ("Never", Some("Always"), vec![], 0, true),
        ("Never", Some("OnFailure"), vec![], 0, false),
        ("Never", Some("Never"), vec![rule("In", &[42])], 42, true),
        ("Never", Some("Never"), vec![rule("In", &[42])], 1, false),
        ("Never", Some("Never"), vec![rule("NotIn", &[1])], 42, true),
        ("Never", Some("Never"), vec![rule("NotIn", &[1])], 1, false),
        ("Never", None, vec![rule("In", &[42])], 42, false),
    ] {
        let mut world = World::default();
        world.machine.script.program(
            "app",
            [
                Program::exits(code).after(Duration::from_secs(1)),
                Program::runs(),
            ],
        );
        let web = pod("web")
            .container("app")
            .restart_policy(of_pod)
            .configure(|c| {
                c.restart_policy = own.map(str::to_owned);
                c.restart_policy_rules = Some(rules.clone());
            })
            .build();
        world.desire(&web);
        world.run_secs(1);
        let line = world.line(&web);
        assert_eq!(
            line.starts_with("Running"),
            restarts,
            "{of_pod} {own:?} {code}: {line}"
        );
    }
}
