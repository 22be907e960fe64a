//! Everything at once, in any order: pods come and go, programs crash, actions fail and hang, the agent and the machine die, looks are
//! stale, exits are lost. Whatever happened, once it stops every pod comes to rest where it should be, and nothing is left over.
//!
//! The histories are the same in every run. `HISTORIES` sets their number and `SEED` (0 to 255) others.

use pod_lifecycle::Input;
use pod_model::{
    Action, AdmittedPod, Attempt, ContainerKey, ContainerName, FailureReason, ProbeKind,
    ProbeTarget, Probed, SandboxPart,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use test_kit::{Crash, Program, World, pod};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prepare(SandboxPart),
    Image,
    Start,
    Hook,
    Stop,
    Kill,
    Remove,
    Undo,
    Forget,
}

impl Kind {
    fn is(self, action: &Action) -> bool {
        match (self, action) {
            (Kind::Prepare(wanted), Action::Prepare { part, .. }) => wanted == *part,
            (Kind::Image, Action::EnsureImage { .. })
            | (Kind::Start, Action::Start { .. })
            | (Kind::Hook, Action::PostStart { .. } | Action::PreStop { .. })
            | (Kind::Stop, Action::Stop { .. })
            | (Kind::Kill, Action::Kill { .. })
            | (Kind::Remove, Action::Remove { .. })
            | (Kind::Undo, Action::Undo { .. })
            | (Kind::Forget, Action::Forget { .. }) => true,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Desire(usize),
    Delete(usize, Option<u64>),
    Evict(usize),
    Pass(u64),
    Look,
    KeepLook,
    ShowKeptLook,
    Crash {
        after_effects: u64,
        recover: bool,
    },
    LoseRecord(usize),
    Reboot,
    Fail(Kind, FailureReason, u32),
    Takes(Kind, u64),
    Hang(Kind),
    Mend,
    Programs(&'static str, Vec<Program>),
    Lose(usize),
    Plant(usize, u32),
    TellExits(bool),
    SetClock(i64),
    /// One of the probes says something.
    Probe(usize, bool),
}

const CONTAINERS: [&str; 4] = ["setup", "app", "side", "proxy"];

/// Four pods; the first two bear one name.
fn pods() -> Vec<AdmittedPod> {
    vec![
        pod("web")
            .uid("web-1")
            .init("setup")
            .sidecar("proxy")
            .post_start()
            .pre_stop()
            .container("app")
            .probe(ProbeKind::Liveness, Some(3))
            .probe(ProbeKind::Readiness, None)
            .container("side")
            .post_start()
            .pre_stop()
            .build(),
        pod("web")
            .uid("web-2")
            .container("app")
            .grace_seconds(5)
            .build(),
        pod("job")
            .uid("job-1")
            .init("setup")
            .container("app")
            .container("side")
            .on_failure()
            .build(),
        pod("once")
            .uid("once-1")
            .sidecar("proxy")
            .probe(ProbeKind::Startup, None)
            .init("setup")
            .container("app")
            .pre_stop()
            .never()
            .from_api()
            .grace_seconds(1)
            .build(),
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        proptest::sample::select(SandboxPart::ALL.to_vec()).prop_map(Kind::Prepare),
        Just(Kind::Image),
        Just(Kind::Start),
        Just(Kind::Start),
        Just(Kind::Hook),
        Just(Kind::Hook),
        Just(Kind::Stop),
        Just(Kind::Kill),
        Just(Kind::Remove),
        Just(Kind::Undo),
        Just(Kind::Forget),
    ]
}

fn reasons() -> impl Strategy<Value = FailureReason> {
    proptest::sample::select(vec![
        FailureReason::ErrImagePull,
        FailureReason::ErrImageNeverPull,
        FailureReason::CreateContainerConfigError,
        FailureReason::CreateContainerError,
        FailureReason::RunContainerError,
        FailureReason::RunContainerError,
        FailureReason::FailedKillPod,
    ])
}

fn programs() -> impl Strategy<Value = Program> {
    let ends = proptest::option::of((0u64..20, proptest::sample::select(vec![0, 0, 1, 137])));
    let on_stop = proptest::option::of((0u64..40, proptest::sample::select(vec![0, 143])));
    (ends, on_stop, any::<bool>()).prop_map(|(ends, on_stop, oom)| Program {
        ends: ends.map(|(after, code)| (Duration::from_secs(after), code)),
        on_stop: on_stop.map(|(after, code)| (Duration::from_secs(after), code)),
        oom: oom && ends.is_some_and(|(_, code)| code == 137),
        says: None,
    })
}

fn ops() -> impl Strategy<Value = Op> {
    let pass = proptest::sample::select(vec![0, 1, 10, 100, 1_000, 5_000, 15_000, 60_000, 700_000]);
    prop_oneof![
        6 => (0usize..4).prop_map(Op::Desire),
        4 => (0usize..4, proptest::option::of(0u64..20)).prop_map(|(pod, grace)| Op::Delete(pod, grace)),
        // the first two must run in the end, one after the other
        1 => (2usize..4).prop_map(Op::Evict),
        8 => pass.prop_map(Op::Pass),
        2 => Just(Op::Look),
        1 => Just(Op::KeepLook),
        2 => Just(Op::ShowKeptLook),
        3 => (any::<u64>(), any::<bool>()).prop_map(|(after_effects, recover)| Op::Crash { after_effects, recover }),
        1 => (0usize..4).prop_map(Op::LoseRecord),
        1 => Just(Op::Reboot),
        3 => (kinds(), reasons(), 1u32..4).prop_map(|(kind, reason, times)| Op::Fail(kind, reason, times)),
        2 => (kinds(), proptest::sample::select(vec![1, 50, 2_000, 30_000])).prop_map(|(kind, ms)| Op::Takes(kind, ms)),
        1 => kinds().prop_map(Op::Hang),
        1 => Just(Op::Mend),
        3 => (proptest::sample::select(CONTAINERS.to_vec()), proptest::collection::vec(programs(), 1..4))
            .prop_map(|(name, programs)| Op::Programs(name, programs)),
        1 => any::<usize>().prop_map(Op::Lose),
        1 => (0usize..4, 0u32..6).prop_map(|(pod, attempt)| Op::Plant(pod, attempt)),
        1 => any::<bool>().prop_map(Op::TellExits),
        1 => (-100_000i64..100_000).prop_map(Op::SetClock),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, healthy)| Op::Probe(which, healthy)),
    ]
}

fn crash_of(bits: u64, count: &mut u32) -> Crash {
    let bit = bits >> (*count % 64) & 1;
    *count += 1;
    if bit == 1 {
        Crash::AfterEffects
    } else {
        Crash::BeforeEffects
    }
}

fn live(ops: &[Op]) {
    let pods = pods();
    let mut world = World::default();
    world.machine.script.program("setup", [Program::exits(0)]);
    let mut wanted = [false; 4];
    let mut kept = None;
    for op in ops {
        match op {
            Op::Desire(i) => {
                wanted[*i] = true;
                world.desire(&pods[*i]);
            }
            Op::Delete(i, grace) => {
                wanted[*i] = false;
                world.delete_within(&pods[*i], grace.map(Duration::from_secs));
            }
            Op::Evict(i) => world.evict(&pods[*i], "too much"),
            Op::Pass(ms) => world.run_for(Duration::from_millis(*ms)),
            Op::Look => world.look(),
            Op::KeepLook => kept = Some(world.machine.observe()),
            // a look belongs to one agent's life: its versions mean nothing to the next
            Op::ShowKeptLook => {
                if let Some(look) = kept.take() {
                    world.show(look);
                }
            }
            Op::Crash {
                after_effects,
                recover,
            } => {
                kept = None;
                let mut count = 0;
                world.crash_with(|_| crash_of(*after_effects, &mut count));
                if *recover {
                    world.recover();
                }
            }
            Op::LoseRecord(i) => {
                kept = None;
                world.forget_record(&pods[*i]);
                world.crash(Crash::AfterEffects);
            }
            Op::Reboot => {
                kept = None;
                world.reboot();
            }
            Op::Fail(kind, reason, times) => {
                let kind = *kind;
                world
                    .machine
                    .script
                    .fail(*times, *reason, "as the script says", move |a| kind.is(a));
            }
            Op::Takes(kind, ms) => {
                let kind = *kind;
                world
                    .machine
                    .script
                    .takes(Duration::from_millis(*ms), move |a| kind.is(a));
            }
            Op::Hang(kind) => {
                let kind = *kind;
                world.machine.script.hangs(move |a| kind.is(a));
            }
            Op::Mend => world.mend(),
            Op::Programs(name, programs) => world.machine.script.program(name, programs.clone()),
            Op::Lose(i) => {
                let running: Vec<ContainerKey> =
                    world.machine.running().into_iter().cloned().collect();
                if !running.is_empty() {
                    world.machine.lose(&running[i % running.len()]);
                }
            }
            Op::Plant(i, attempt) => plant(&mut world, &pods[*i], *attempt),
            Op::TellExits(told) => world.exits_are_told = *told,
            Op::SetClock(seconds) => world.set_wall_clock(*seconds),
            Op::Probe(which, healthy) => probe(&mut world, &pods, *which, *healthy),
        }
        assert_honest(&world, &pods);
    }
    // who had the name first is in the record
    let has_lost_record = ops.iter().any(|op| matches!(op, Op::LoseRecord(_)));
    come_to_rest(&mut world, &pods, wanted, has_lost_record);
}

/// What is to be probed, of all pods.
fn targets(world: &World, pods: &[AdmittedPod]) -> Vec<ProbeTarget> {
    let records = pods
        .iter()
        .filter_map(|pod| Some((world.core().record(pod.uid())?, pod)));
    records
        .flat_map(|(record, pod)| pod_lifecycle::targets(record, pod))
        .collect()
}

fn probe(world: &mut World, pods: &[AdmittedPod], which: usize, healthy: bool) {
    let targets = targets(world, pods);
    if targets.is_empty() {
        return;
    }
    let target = targets[which % targets.len()].clone();
    world.input(Input::Probed(Probed {
        container: target.container,
        kind: target.kind,
        healthy,
        message: String::new(),
    }));
}

/// A living container that the agent did not ask for, where none of that name lives.
fn plant(world: &mut World, pod: &AdmittedPod, attempt: u32) {
    let name = ContainerName::new("app").expect("a name");
    let key = ContainerKey::new(pod.uid().clone(), name, Attempt(attempt));
    let there = world.machine.containers().any(|k| *k == key);
    let lives = world
        .machine
        .running()
        .iter()
        .any(|k| k.pod == key.pod && k.name == key.name);
    let starts = world.in_work().iter().any(|t| t.starts_with("Start"));
    // what is being undone or is not there cannot have containers
    let stands = SandboxPart::ALL
        .iter()
        .all(|part| world.machine.parts.contains(&(key.pod.clone(), *part)));
    let goes = world
        .in_work()
        .iter()
        .any(|t| t.starts_with("Undo") || t.starts_with("Remove"));
    if !there && !lives && !starts && stands && !goes {
        let now = world.now();
        world.machine.plant(key, now);
        // nobody can know of it before a look
        world.look();
    }
}

/// What the status says of a pod is never better than the truth.
fn assert_honest(world: &World, pods: &[AdmittedPod]) {
    for pod in pods {
        let status = world.status(pod);
        let phase = status.phase.unwrap_or_default();
        if phase == "Succeeded" {
            for container in status.container_statuses.into_iter().flatten() {
                let code = container
                    .state
                    .and_then(|s| s.terminated)
                    .map(|t| t.exit_code);
                assert_eq!(
                    code,
                    Some(0),
                    "{} succeeded\n{}",
                    pod.uid(),
                    world.history()
                );
            }
        }
    }
}

fn come_to_rest(world: &mut World, pods: &[AdmittedPod], wanted: [bool; 4], has_lost_record: bool) {
    world.machine.script.program("setup", [Program::exits(0)]);
    world.machine.script.program("app", [Program::runs()]);
    world.machine.script.program("side", [Program::runs()]);
    world.machine.script.program("proxy", [Program::runs()]);
    let now = world.now();
    world.machine.end("setup", 0, now);
    world.mend();
    world.recover();
    // programs of before run on for a while, the longest back-off is 300 s, and the safety net looks now and then
    for _ in 0..30 {
        world.run_secs(60);
        world.look();
        for which in 0..targets(world, pods).len() {
            probe(world, pods, which, true);
        }
    }
    let history = world.history();
    assert!(
        world.in_work().is_empty(),
        "in work at the end: {:?}\n{history}",
        world.in_work()
    );
    world.take_issued();
    let told = world.published;
    world.run_secs(3_600);
    world.look();
    let spin = world.take_issued_texts();
    assert!(spin.is_empty(), "no rest: {spin:?}\n{history}");
    assert_eq!(
        world.published, told,
        "told again without a change\n{history}"
    );
    assert_eq!(world.core().next_wake(), None, "{history}");

    for (pod, wanted) in pods.iter().zip(wanted) {
        let line = world.line(pod);
        if wanted {
            let is_namesake = pod.uid().as_str().starts_with("web");
            let waits_for_namesake =
                is_namesake && (line.starts_with("Pending") || has_lost_record);
            let is_running = line.starts_with("Running")
                && (line.contains("app=Running") || line.contains("side=Running"));
            let is_over = line.starts_with("Failed") || line.starts_with("Succeeded");
            assert!(
                is_running || (is_over && pod.uid().as_str() != "web-1") || waits_for_namesake,
                "{} rests as {line}\n{history}",
                pod.uid()
            );
        } else {
            assert!(
                world.is_forgotten(pod),
                "{} is not forgotten: {line}\n{history}",
                pod.uid()
            );
        }
    }
    let webs = ["web-1", "web-2"].map(|uid| {
        pods.iter()
            .any(|p| p.uid().as_str() == uid && world.line(p).starts_with("Running"))
    });
    let (run, expected) = (
        webs.iter().filter(|runs| **runs).count(),
        usize::from(wanted[0] || wanted[1]),
    );
    assert!(
        run == expected || (has_lost_record && run > expected),
        "{run} of the namesakes run\n{history}"
    );
    for key in world.machine.containers() {
        let record = world
            .core()
            .record(&key.pod)
            .unwrap_or_else(|| panic!("{key} belongs to nobody\n{history}"));
        let live = record
            .container(&key.name)
            .and_then(|c| c.state.live_attempt());
        assert_eq!(live, Some(key.attempt), "{key} is there\n{history}");
    }
    for (uid, part) in &world.machine.parts {
        assert!(
            world.core().record(uid).is_some(),
            "{part:?} of {uid} belongs to nobody\n{history}"
        );
    }
}

#[test]
fn whatever_happens_every_pod_comes_to_rest_where_it_should() {
    let number = |name: &str, default: u32| {
        std::env::var(name)
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(default)
    };
    let config = Config {
        cases: number("HISTORIES", 400),
        max_shrink_iters: 4_000,
        failure_persistence: None,
        ..Config::default()
    };
    let seed = [u8::try_from(number("SEED", 0)).expect("a seed is 0 to 255"); 32];
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let histories = proptest::collection::vec(ops(), 1..40);
    let outcome = runner.run(&histories, |ops| {
        std::panic::catch_unwind(AssertUnwindSafe(|| live(&ops))).map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .unwrap_or_else(|| "it panicked".to_owned());
            TestCaseError::fail(text)
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
