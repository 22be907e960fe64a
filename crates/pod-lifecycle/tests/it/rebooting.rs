//! The machine is switched off and on, or its clock is set.

use std::time::Duration;
use test_kit::{Program, World, pod};

fn starts(world: &mut World) -> Vec<String> {
    world
        .take_issued_texts()
        .into_iter()
        .filter(|t| t.starts_with("Start"))
        .collect()
}

#[test]
fn after_a_reboot_the_policy_decides_what_runs_again() {
    for (policy, line) in [
        (
            "Always",
            "Running app=Running last=ContainerStatusUnknown:137 restarts=1",
        ),
        (
            "OnFailure",
            "Running app=Running last=ContainerStatusUnknown:137 restarts=1",
        ),
        ("Never", "Failed app=ContainerStatusUnknown:137"),
    ] {
        let mut world = World::default();
        let web = pod("web").container("app").restart_policy(policy).build();
        world.desire(&web);
        world.reboot();
        world.recover();
        assert_eq!(world.line(&web), line);
        world.delete(&web);
        assert!(world.is_forgotten(&web));
        assert!(world.machine.is_clean());
    }
}

#[test]
fn after_a_reboot_the_sandbox_is_made_anew_and_init_containers_run_again() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("setup", [Program::exits(0).after(Duration::from_secs(5))]);
    let web = pod("web").init("setup").container("app").build();
    world.desire(&web);
    world.run_secs(5);
    world.reboot();
    world.take_issued();
    world.recover();
    assert_eq!(
        world.line(&web),
        "Running setup=Running last=Completed:0 restarts=1 app=ContainerStatusUnknown:137",
        "and the phase does not go back"
    );
    world.run_secs(5);
    assert_eq!(
        world.line(&web),
        "Running setup=Completed:0 last=Completed:0 restarts=1 app=Running last=ContainerStatusUnknown:137 restarts=1"
    );
}

#[test]
fn after_a_reboot_a_container_that_had_succeeded_under_on_failure_stays_so() {
    let mut world = World::default();
    world.machine.script.program("one", [Program::exits(0)]);
    let job = pod("job")
        .container("one")
        .container("two")
        .on_failure()
        .build();
    world.desire(&job);
    world.reboot();
    world.recover();
    assert_eq!(
        world.line(&job),
        "Running one=Completed:0 two=Running last=ContainerStatusUnknown:137 restarts=1"
    );
}

#[test]
fn after_a_reboot_a_finished_pod_stays_finished() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(0)]);
    let job = pod("job").container("app").never().build();
    world.desire(&job);
    world.reboot();
    world.take_issued();
    world.recover();
    assert!(world.take_issued().is_empty());
    assert_eq!(world.line(&job), "Succeeded app=Completed:0");
}

#[test]
fn after_a_reboot_counts_and_back_off_are_kept_by_the_new_clock() {
    let mut world = World::default();
    world.machine.script.program("app", [Program::exits(1)]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.run_secs(75);
    world.reboot();
    world.recover();
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Error:1 restarts=4"
    );
    world.run_secs(79);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Error:1 restarts=4"
    );
    world.run_secs(1);
    assert_eq!(
        world.line(&web),
        "Running app=CrashLoopBackOff last=Error:1 restarts=5"
    );
}

#[test]
fn a_deletion_goes_on_after_a_reboot() {
    let mut world = World::default();
    world
        .machine
        .script
        .program("app", [Program::runs().deaf()]);
    let web = pod("web").container("app").build();
    world.desire(&web);
    world.delete(&web);
    world.reboot();
    world.recover();
    assert!(world.is_forgotten(&web));
}

#[test]
fn a_wall_clock_that_jumps_changes_no_wait() {
    for jump in [-86_400, 86_400] {
        let mut world = World::default();
        world.machine.script.program("app", [Program::exits(1)]);
        let web = pod("web").container("app").build();
        world.desire(&web);
        world.take_issued();
        world.set_wall_clock(jump);
        world.run_secs(9);
        assert!(starts(&mut world).is_empty());
        world.run_secs(1);
        assert_eq!(starts(&mut world), ["Start app.2"]);
    }
}
