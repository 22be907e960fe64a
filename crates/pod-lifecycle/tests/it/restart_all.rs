//! `RestartAllContainers`: a container that ends with a certain code takes all others with it, and the pod begins again in its sandbox.

use k8s_openapi::api::core::v1::{ContainerRestartRule, ContainerRestartRuleOnExitCodes};
use pod_model::{Action, FailureReason, ProbeKind, SandboxPart};
use std::time::Duration;
use test_kit::{Crash, PodBuilder, Program, World, pod};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn removal(action: &Action) -> bool {
    matches!(action, Action::Remove { .. })
}
fn rule(action: &str, codes: &[i32]) -> ContainerRestartRule {
    ContainerRestartRule {
        action: action.to_owned(),
        exit_codes: Some(ContainerRestartRuleOnExitCodes {
            operator: "In".to_owned(),
            values: Some(codes.to_vec()),
        }),
    }
}
/// The container added last restarts all with code 88, and has this policy otherwise.
fn restarting_all(pod: PodBuilder, policy: &str) -> PodBuilder {
    pod.configure(|c| {
        c.restart_policy = Some(policy.to_owned());
        c.restart_policy_rules = Some(vec![rule("RestartAllContainers", &[88])]);
    })
}
fn condition(world: &World, pod: &pod_model::AdmittedPod) -> (String, Option<String>) {
    let condition = world.condition(pod, "AllContainersRestarting");
    (condition.status, condition.reason)
}

#[test]
fn all_containers_are_killed_and_removed_and_begin_again_in_the_same_sandbox() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    let trigger = Program::exits(88).after(seconds(5));
    script.program("main", [trigger, Program::runs()]);
    script.program("setup", [Program::exits(0)]);
    script.program("other", [Program::runs().deaf()]);
    script.takes(seconds(1), removal);
    let web = pod("web")
        .init("setup")
        .sidecar("side")
        .container("main")
        .never();
    let web = restarting_all(web, "Never")
        .container("other")
        .pre_stop()
        .build();
    world.desire(&web);
    world.run_for(Duration::from_millis(4_999));
    assert_eq!(
        world.line(&web),
        "Running setup=Completed:0 side=Running main=Running other=Running"
    );
    assert_eq!(condition(&world, &web), ("False".to_owned(), None));
    let address = world.status(&web).pod_ip;
    world.take_issued();
    world.run_for(Duration::from_millis(1));
    assert_eq!(
        condition(&world, &web),
        (
            "True".to_owned(),
            Some("RestartAllContainersStarted".to_owned())
        )
    );
    let mut killed = world.take_issued_texts();
    killed.retain(|text| !text.starts_with("Remove"));
    assert_eq!(killed, ["Kill side.0", "Kill other.0"], "no hook, no grace");
    world.run_secs(1);
    assert_eq!(condition(&world, &web), ("False".to_owned(), None));
    assert_eq!(
        world.line(&web),
        "Running setup=Completed:0 last=Completed:0 restarts=1 side=Running last=Error:137 restarts=1 \
         main=Running last=Error:88 restarts=1 other=Running last=Error:137 restarts=1"
    );
    let issued = world.take_issued_texts();
    let of_sandbox = |text: &&String| text.starts_with("Undo") || text.starts_with("Prepare");
    assert_eq!(issued.iter().find(of_sandbox), None, "{issued:?}");
    assert_eq!(world.status(&web).pod_ip, address);
    assert_eq!(world.condition(&web, "Initialized").status, "True");
}

#[test]
fn containers_that_had_ended_for_good_begin_again_too() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.program("failed", [Program::exits(1), Program::runs()]);
    script.program("done", [Program::exits(0), Program::runs()]);
    let trigger = Program::exits(88).after(seconds(5));
    script.program("main", [trigger, Program::runs()]);
    let web = pod("web")
        .never()
        .container("failed")
        .container("done")
        .container("main");
    let web = restarting_all(web, "Never").build();
    world.desire(&web);
    world.run_secs(6);
    assert_eq!(
        world.line(&web),
        "Running done=Running last=Completed:0 restarts=1 failed=Running last=Error:1 restarts=1 \
         main=Running last=Error:88 restarts=1"
    );
}

#[test]
fn an_init_container_and_a_sidecar_may_ask_for_it() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.program("first", [Program::exits(0)]);
    script.program("second", [Program::exits(88), Program::exits(0)]);
    let trigger = Program::exits(88).after(seconds(5));
    script.program("side", [trigger, Program::runs()]);
    let web = restarting_all(pod("web").never().init("first").init("second"), "Never");
    let web = restarting_all(web.sidecar("side"), "Always")
        .container("app")
        .build();
    world.desire(&web);
    world.run_secs(1);
    assert_eq!(
        world.line(&web),
        "Running first=Completed:0 last=Completed:0 restarts=1 second=Completed:0 last=Error:88 restarts=1 \
         side=Running app=Running"
    );
}

#[test]
fn the_first_rule_that_matches_wins() {
    let mut world = World::default();
    let trigger = Program::exits(88).after(seconds(5));
    world
        .machine
        .script
        .program("main", [trigger, Program::runs()]);
    let web = pod("web")
        .container("other")
        .container("main")
        .configure(|c| {
            c.restart_policy = Some("Never".to_owned());
            let rules = vec![rule("Restart", &[88]), rule("RestartAllContainers", &[88])];
            c.restart_policy_rules = Some(rules);
        })
        .build();
    world.desire(&web);
    world.run_secs(5);
    assert_eq!(
        world.line(&web),
        "Running main=Running last=Error:88 restarts=1 other=Running"
    );
}

#[test]
fn another_code_is_the_policys_matter() {
    let mut world = World::default();
    world.machine.script.program("main", [Program::exits(87)]);
    let web = restarting_all(pod("web").container("main"), "Never").build();
    world.desire(&web);
    assert_eq!(world.line(&web), "Failed main=Error:87");
    assert_eq!(
        condition(&world, &web),
        ("False".to_owned(), Some("PodFailed".to_owned()))
    );
}

#[test]
fn a_pod_without_such_a_rule_has_no_such_condition() {
    let mut world = World::default();
    let web = pod("web").container("app").build();
    world.desire(&web);
    assert_eq!(condition(&world, &web), (String::new(), None));
}

#[test]
fn a_loop_of_restarts_backs_off() {
    let mut world = World::default();
    let trigger = Program::exits(88).after(seconds(1));
    world.machine.script.program("main", [trigger]);
    let web = restarting_all(pod("web").container("main"), "Never").build();
    world.desire(&web);
    world.run_secs(3);
    assert_eq!(
        world.line(&web),
        "Running main=CrashLoopBackOff last=Error:88 restarts=1"
    );
    assert_eq!(condition(&world, &web).0, "False");
    world.run_secs(9);
    assert_eq!(
        world.line(&web),
        "Running main=Running last=Error:88 restarts=2"
    );
}

#[test]
fn what_a_probe_ends_is_restarted_alone() {
    let mut world = World::default();
    let stops = Program::runs().stops_after(Duration::ZERO, 88);
    world.machine.script.program("main", [stops]);
    let web = pod("web")
        .container("other")
        .container("main")
        .probe(ProbeKind::Liveness, None);
    let web = restarting_all(web, "Always").build();
    world.desire(&web);
    world.probed(&web, "main", 0, (ProbeKind::Liveness, false));
    world.run_secs(1);
    assert_eq!(
        world.line(&web),
        "Running main=Running last=Error:88 restarts=1 other=Running"
    );
}

#[test]
fn a_removal_that_fails_is_waited_for() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    let trigger = Program::exits(88).after(seconds(5));
    script.program("main", [trigger, Program::runs()]);
    script.always_fail(FailureReason::FailedKillPod, "busy", removal);
    let web = restarting_all(pod("web").container("main"), "Never").build();
    world.desire(&web);
    world.run_secs(60);
    assert_eq!(condition(&world, &web).0, "True");
    world.mend();
    world.run_secs(60);
    assert_eq!(condition(&world, &web).0, "False");
    assert_eq!(
        world.line(&web),
        "Running main=Running last=Error:88 restarts=1"
    );
}

#[test]
fn the_next_agent_goes_on_with_it() {
    for crash in [Crash::BeforeEffects, Crash::AfterEffects] {
        let mut world = World::default();
        let script = &mut world.machine.script;
        let trigger = Program::exits(88).after(seconds(5));
        script.program("main", [trigger, Program::runs()]);
        script.program("setup", [Program::exits(0)]);
        script.takes(seconds(2), removal);
        script.takes(seconds(1), |a| matches!(a, Action::Kill { .. }));
        let web = pod("web")
            .init("setup")
            .container("other")
            .container("main");
        let web = restarting_all(web, "Never").build();
        world.desire(&web);
        world.run_secs(5);
        for _ in 0..3 {
            world.crash(crash);
            world.recover();
            assert_eq!(condition(&world, &web).0, "True");
            world.run_for(Duration::from_millis(300));
        }
        world.run_secs(10);
        assert_eq!(
            world.line(&web),
            "Running setup=Completed:0 last=Completed:0 restarts=1 main=Running last=Error:88 restarts=1 \
             other=Running last=Error:137 restarts=1"
        );
    }
}

#[test]
fn a_boot_in_the_middle_begins_again_as_well() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    let trigger = Program::exits(88).after(seconds(5));
    script.program("main", [trigger, Program::runs()]);
    script.hangs(removal);
    let web = restarting_all(pod("web").never().container("main"), "Never").build();
    world.desire(&web);
    world.run_secs(5);
    assert_eq!(condition(&world, &web).0, "True");
    world.machine.script.mend();
    world.reboot();
    world.recover();
    assert_eq!(condition(&world, &web).0, "False");
    assert_eq!(
        world.line(&web),
        "Running main=Running last=Error:88 restarts=1"
    );
}

#[test]
fn a_pod_that_is_deleted_in_the_middle_ends() {
    let mut world = World::default();
    let script = &mut world.machine.script;
    script.program("main", [Program::exits(88).after(seconds(5))]);
    script.takes(seconds(1), removal);
    let web = restarting_all(pod("web").container("other").container("main"), "Never").build();
    world.desire(&web);
    world.run_secs(5);
    world.take_issued();
    world.delete(&web);
    world.run_secs(40);
    let issued = world.take_issued_texts();
    assert!(
        !issued.iter().any(|text| text.starts_with("Start")),
        "{issued:?}"
    );
    assert!(world.is_forgotten(&web));
    assert!(world.machine.is_clean());
    let uid = web.uid().clone();
    assert!(!world.machine.parts.contains(&(uid, SandboxPart::Network)));
}
