//! A pod that the node has no room for is rejected before anything is done for it, and stays so; a critical one is made room for.

use node_policy::admission::{AdmittingNode, Allocatable, RejectionReason};
use pod_lifecycle::{Input, Settings, Tally};
use pod_model::{Action, AdmittedPod};
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

/// A node with three cores and room for so many pods.
fn node(pods: i64) -> World {
    let allocatable = Allocatable {
        pods,
        cpu_millis: 3000,
        ..Allocatable::BOUNDLESS
    };
    World::new(Settings {
        node: AdmittingNode {
            allocatable,
            ..AdmittingNode::boundless()
        },
        kernel_slots: 64,
        ..Settings::default()
    })
}

/// Of an API server, so that it is not critical.
fn web(name: &str, cpu: &str) -> AdmittedPod {
    let pod = pod(name).container("app").request("cpu", cpu);
    pod.grace_seconds(60).from_api().build()
}
fn critical(name: &str, cpu: &str) -> AdmittedPod {
    pod(name).container("app").request("cpu", cpu).build()
}

const NO_ROOM: &str =
    "Node didn't have enough resource: cpu, requested: 2000, used: 2000, capacity: 3000";

#[test]
fn a_rejected_pod_fails_with_its_reason_and_nothing_is_done_for_it() {
    let mut world = node(10);
    world.desire(&web("a", "2"));
    world.take_issued();
    let late = web("b", "2");
    world.desire(&late);
    assert!(world.take_issued().is_empty());
    assert_eq!(world.take_events(&late), [format!("OutOfcpu: {NO_ROOM}")]);
    let status = world.status(&late);
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
    assert_eq!(status.message, Some(format!("Pod was rejected: {NO_ROOM}")));
    assert!(status.start_time.is_some());
    assert_eq!(status.qos_class.as_deref(), Some("Burstable"));
    assert_eq!((status.conditions, status.container_statuses), (None, None));
    assert_eq!(
        world.take_tallies(),
        [Tally::Rejected(RejectionReason::OutOfCpu)]
    );
    world.delete(&late);
    assert!(world.is_forgotten(&late));
}

#[test]
fn a_rejected_pod_stays_so_when_there_is_room_and_when_the_agent_is_another() {
    for how in ["agent", "machine"] {
        let mut world = node(10);
        let (first, late) = (web("a", "2"), web("b", "2"));
        world.desire(&first);
        world.desire(&late);
        world.delete(&first);
        world.run_secs(100);
        assert!(world.is_forgotten(&first));
        match how {
            "agent" => world.crash(Crash::BeforeEffects),
            _ => world.reboot(),
        }
        world.take_events(&late);
        world.recover();
        assert_eq!(
            world.status(&late).reason.as_deref(),
            Some("OutOfcpu"),
            "{how}"
        );
        assert!(world.machine.running().is_empty());
        assert!(world.take_events(&late).is_empty(), "it is told once");
        world.desire(&web("c", "2"));
        assert_eq!(world.line(&web("c", "2")), "Running app=Running");
    }
}

#[test]
fn a_pod_that_runs_is_not_judged_again() {
    let mut world = node(10);
    let pods = [web("a", "1"), web("b", "2")];
    for pod in &pods {
        world.desire(pod);
    }
    world.crash(Crash::BeforeEffects);
    // its record is lost, but the kernel shows that it runs
    world.forget_record(&pods[0]);
    world.crash(Crash::BeforeEffects);
    let late = web("c", "1");
    for pod in pods.iter().chain([&late]) {
        world.desire(pod);
    }
    world.recover();
    for pod in &pods {
        assert_eq!(world.line(pod), "Running app=Running");
    }
    assert_eq!(world.status(&late).reason.as_deref(), Some("OutOfcpu"));
}

#[test]
fn what_a_pod_holds_is_free_when_none_of_its_processes_lives() {
    let mut world = node(10);
    let program = Program::runs().stops_after(Duration::from_secs(20), 0);
    world.machine.script.program("app", [program]);
    let first = web("a", "2");
    world.desire(&first);
    world.delete(&first);
    world.run_secs(19);
    let early = web("b", "2");
    world.desire(&early);
    assert_eq!(world.status(&early).reason.as_deref(), Some("OutOfcpu"));
    world.run_secs(1);
    world.desire(&web("c", "2"));
    assert_eq!(world.status(&web("c", "2")).reason, None);
}

/// What the node says is used of its cores, in thousandths, to a pod that asks for more than it has.
fn used(world: &mut World) -> String {
    let greedy = web("greedy", "100");
    world.desire(&greedy);
    let message = world.status(&greedy).message.expect("it is refused");
    world.delete(&greedy);
    assert!(world.is_forgotten(&greedy));
    let (_, used) = message.split_once("used: ").expect("what is used");
    used.split(',').next().unwrap_or_default().to_owned()
}

#[test]
fn what_is_used_is_what_the_pods_hold_whatever_has_happened_to_them() {
    let mut world = node(10);
    let slow = Program::runs().stops_after(Duration::from_secs(20), 0);
    world.machine.script.program("slow", [slow]);
    world.machine.script.program("job", [Program::exits(0)]);
    assert_eq!(used(&mut world), "0");
    let (a, b) = (web("a", "500m"), web("b", "1"));
    world.desire(&a);
    world.desire(&b);
    assert_eq!(used(&mut world), "1500");
    // told again, and changed
    world.desire(&b);
    let image = pod("b").container("app").image("registry.test/other:1");
    let image = image
        .request("cpu", "1")
        .grace_seconds(60)
        .from_api()
        .build();
    world.desire(&image);
    assert_eq!(used(&mut world), "1500");
    // rejected, ended by itself, evicted, deleted
    world.desire(&web("late", "2"));
    assert_eq!(used(&mut world), "1500");
    let job = pod("job").container("job").request("cpu", "1").never();
    world.desire(&job.from_api().build());
    assert_eq!(used(&mut world), "1500");
    world.evict(&a, "too much");
    world.run_secs(5);
    assert_eq!(used(&mut world), "1000");
    let late = pod("slow").container("slow").request("cpu", "250m");
    let late = late.grace_seconds(60).from_api().build();
    world.desire(&late);
    world.delete(&late);
    assert_eq!(used(&mut world), "1250", "until its last process has ended");
    world.crash(Crash::BeforeEffects);
    world.recover();
    assert_eq!(used(&mut world), "1250");
    world.run_secs(60);
    assert_eq!(used(&mut world), "1000");
    // a static pod that is to go holds nothing
    let fixed = critical("dns", "2");
    world.desire(&fixed);
    assert_eq!(used(&mut world), "3000");
    world.delete(&fixed);
    assert_eq!(used(&mut world), "1000");
    world.delete(&image);
    world.delete(&a);
    world.run_secs(60);
    assert_eq!(used(&mut world), "0");
}

#[test]
fn a_pod_that_has_ended_holds_nothing() {
    let mut world = node(1);
    world.machine.script.program("job", [Program::exits(0)]);
    let job = pod("job").container("job").never().from_api().build();
    world.desire(&job);
    assert!(world.line(&job).starts_with("Succeeded"));
    world.desire(&web("a", "1"));
    assert_eq!(world.line(&web("a", "1")), "Running app=Running");
}

#[test]
fn a_static_pod_makes_room_for_its_next_version() {
    let mut world = node(1);
    let version = |uid: &str| pod("web").uid(uid).container("app").build();
    world.desire(&version("one"));
    world.delete(&version("one"));
    world.desire(&version("two"));
    world.run_secs(60);
    assert_eq!(world.line(&version("two")), "Running app=Running");
}

#[test]
fn one_that_makes_room_for_longer_than_one_and_a_half_grace_periods_is_told_of() {
    let mut world = node(10);
    let big = web("big", "2");
    world.desire(&big);
    let script = &mut world.machine.script;
    script.hangs(|a| matches!(a, Action::Stop { .. } | Action::Kill { .. }));
    world.desire(&critical("dns", "2"));
    let told = |world: &mut World| {
        let events = world.take_events(&big);
        events
            .iter()
            .any(|event| event.starts_with("ExceededGracePeriod: "))
    };
    world.run_secs(89);
    assert!(!told(&mut world));
    world.run_secs(1);
    assert!(told(&mut world));
    assert_eq!(
        world.line(&critical("dns", "2")),
        "Pending app=ContainerCreating",
        "it waits on: a process that lives holds what it has"
    );
}

#[test]
fn a_critical_pod_starts_when_those_that_make_room_for_it_have_ended() {
    let mut world = node(10);
    let program = Program::runs().stops_after(Duration::from_secs(20), 0);
    world.machine.script.program("app", [program]);
    let (small, big) = (web("small", "500m"), web("big", "2"));
    world.desire(&small);
    world.desire(&big);
    world.take_events(&big);
    let dns = critical("dns", "1500m");
    world.desire(&dns);
    assert_eq!(
        world.take_tallies(),
        [Tally::Preempted { signal: "cpu" }],
        "one is enough"
    );
    assert_eq!(
        world.take_events(&big),
        [
            "Preempting: Preempted in order to admit critical pod",
            "Killing: Stopping container app"
        ]
    );
    world.run_secs(19);
    assert_eq!(world.line(&dns), "Pending app=ContainerCreating");
    assert_eq!(world.status(&big).reason, None, "it has not ended");
    world.run_secs(1);
    assert_eq!(world.line(&dns), "Running app=Running");
    assert_eq!(world.line(&small), "Running app=Running");
    let status = world.status(&big);
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("Preempting"));
    assert_eq!(
        status.message.as_deref(),
        Some("Preempted in order to admit critical pod")
    );
    let disruption = world.condition(&big, "DisruptionTarget");
    assert_eq!(disruption.status, "True");
    assert_eq!(disruption.reason.as_deref(), Some("TerminationByKubelet"));
    assert_eq!(
        disruption.message.as_deref(),
        Some("Pod was preempted by Kubelet to accommodate a critical pod.")
    );
}

#[test]
fn making_room_survives_the_agent_and_the_machine() {
    for reboot in [false, true] {
        let mut world = node(1);
        let program = Program::runs().stops_after(Duration::from_secs(20), 0);
        world.machine.script.program("app", [program]);
        let (web, dns) = (web("web", "1"), critical("dns", "1"));
        world.desire(&web);
        world.desire(&dns);
        if reboot {
            world.reboot();
        } else {
            world.crash(Crash::BeforeEffects);
        }
        world.recover();
        world.run_secs(120);
        assert_eq!(world.line(&dns), "Running app=Running");
        assert_eq!(world.status(&web).reason.as_deref(), Some("Preempting"));
    }
}

#[test]
fn room_is_made_although_an_agent_died_before_it_could_write_down_by_whom() {
    let mut world = node(1);
    let program = Program::runs().stops_after(Duration::from_secs(20), 0);
    world.machine.script.program("app", [program]);
    let (web, dns) = (web("web", "1"), critical("dns", "1"));
    world.desire(&web);
    let before = world.core().record(web.uid()).cloned().expect("it runs");
    world.desire(&dns);
    world.store(before, &web);
    world.crash(Crash::BeforeEffects);
    world.recover();
    world.run_secs(120);
    assert_eq!(world.line(&dns), "Running app=Running");
    assert_eq!(world.status(&web).reason.as_deref(), Some("Preempting"));
}

#[test]
fn of_static_pods_only_a_greater_priority_makes_room() {
    let with = |name: &str, priority: i32| {
        let pod = pod(name).container("app");
        pod.spec(|spec| spec.priority = Some(priority)).build()
    };
    let mut world = node(1);
    world.desire(&with("low", 1));
    world.desire(&with("equal", 1));
    let status = world.status(&with("equal", 1));
    assert_eq!(status.reason.as_deref(), Some("UnexpectedAdmissionError"));
    world.desire(&with("high", 2));
    world.run_secs(60);
    assert_eq!(world.line(&with("high", 2)), "Running app=Running");
    assert_eq!(
        world.status(&with("low", 1)).reason.as_deref(),
        Some("Preempting")
    );
}

#[test]
fn a_pod_that_an_agent_did_not_come_to_judge_is_judged_by_the_next() {
    let mut world = node(10);
    world.desire(&web("a", "2"));
    world.crash(Crash::BeforeEffects);
    let late = web("b", "2");
    world.desire(&late);
    assert_eq!(world.status(&late).phase.as_deref(), Some("Pending"));
    world.crash(Crash::BeforeEffects);
    world.recover();
    assert_eq!(world.status(&late).reason.as_deref(), Some("OutOfcpu"));
    assert_eq!(world.line(&web("a", "2")), "Running app=Running");
}

#[test]
fn files_that_bear_its_uid_do_not_prove_that_a_pod_was_taken_on() {
    let large = web("a", "4");
    let leftovers = || Input::Leftovers(vec![large.uid().clone()]);
    let rejected = Some("OutOfcpu");
    // its own, as an agent had not come to judge it
    let mut world = node(10);
    world.crash(Crash::BeforeEffects);
    world.desire(&large);
    world.crash(Crash::BeforeEffects);
    world.input(leftovers());
    world.recover();
    assert_eq!(world.status(&large).reason.as_deref(), rejected);
    // those of a former pod of this uid
    let mut world = node(10);
    world.input(leftovers());
    world.desire(&large);
    assert_eq!(world.status(&large).reason.as_deref(), rejected);
    world.delete(&large);
    world.run_secs(10);
    assert!(world.is_forgotten(&large));
}
