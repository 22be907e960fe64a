//! A history from a seed. Each history has a few kinds of faults and not the others, so that one kind does not hide another
//! (Groce and others: Swarm Testing, 2012).

use crate::chance::Chance;
use crate::history::{
    ContainerPlan, Edit, History, Node, Op, PodPlan, Program, Room, Trouble, Weather,
};
use crate::kind::{CrashPoint, Kind};
use pod_model::{FailureReason, ProbeKind};

const MOST_PODS: u64 = 4;

/// The history of this seed.
pub fn generate(seed: u64) -> History {
    let mut chance = Chance::new(seed);
    let chance = &mut chance;
    let salt = chance.next();
    let node = Node {
        kernel_slots: chance.pick(&[1, 2, 4, 64]),
        pulls: chance.pick(&[1, 2, 5]),
        longest_back_off_seconds: chance.pick(&[300, 300, 300, 30, 1]),
        old_kernel: chance.percent(30),
        room: chance.percent(35).then(|| Room {
            pods: chance.pick(&[1, 2, 3, 110]),
            memory: chance.pick(&[6, 10, 100]),
        }),
    };
    // those of an API server make room for the others
    let from_api = if node.room.is_some() { 60 } else { 25 };
    let pods = pods(chance, from_api);
    let weather = weather(chance);
    let faults = faults(chance);
    let length = 4 + chance.below(24);
    let mut ops = vec![(0, Op::Write(0))];
    for _ in 0..length {
        let after = match chance.below(10) {
            0 | 1 => 0,
            2 | 3 => chance.below(20),
            4..=6 => chance.below(3_000),
            7 | 8 => chance.below(40_000),
            _ => chance.pick(&[70_000, 200_000, 700_000]),
        };
        let op = op(chance, &faults, &pods);
        let goes = match &op {
            Op::Take { pod, .. } if chance.percent(25) => Some(*pod),
            _ => None,
        };
        ops.push((after, op));
        if let Some(pod) = goes {
            let grace_seconds = chance.pick(&[0, 1, 5]);
            let after = chance.pick(&[500, 1_000, 4_000]);
            ops.push((after, Op::Hurry { pod, grace_seconds }));
        }
    }
    History {
        salt,
        node,
        weather,
        pods,
        ops,
    }
}

fn weather(chance: &mut Chance) -> Weather {
    let mut often = |most: u64| {
        if chance.percent(60) {
            0
        } else {
            u8::try_from(1 + chance.below(most)).unwrap_or(1)
        }
    };
    Weather {
        exit_late: often(60),
        exit_lost: often(60),
        exit_twice: often(60),
        look_late: often(60),
        look_lost: often(60),
        action_slow: often(20),
        answer_late: often(40),
        batched: often(60),
        probe_late: often(60),
    }
}

/// Kinds of operations and how often each comes.
fn faults(chance: &mut Chance) -> Vec<(u64, Fault)> {
    let all = [
        (4, Fault::Trouble),
        (2, Fault::Mend),
        (6, Fault::CrashAt),
        (3, Fault::Crash),
        (1, Fault::Reboot),
        (2, Fault::KeeperDies),
        (1, Fault::Vanish),
        (1, Fault::Damage),
        (1, Fault::Disk),
        (1, Fault::DeleteImage),
        (1, Fault::StepClock),
        (2, Fault::Edit),
        (1, Fault::Evict),
    ];
    let mut chosen: Vec<_> = all.into_iter().filter(|_| chance.percent(40)).collect();
    chosen.push((6, Fault::Manifest));
    chosen
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Manifest,
    Trouble,
    Mend,
    CrashAt,
    Crash,
    Reboot,
    KeeperDies,
    Vanish,
    Damage,
    Disk,
    DeleteImage,
    StepClock,
    Edit,
    Evict,
}

fn op(chance: &mut Chance, faults: &[(u64, Fault)], pods: &[PodPlan]) -> Op {
    let sum: u64 = faults.iter().map(|(weight, _)| weight).sum();
    let mut at = chance.below(sum);
    let mut fault = Fault::Manifest;
    for (weight, each) in faults {
        fault = *each;
        if at < *weight {
            break;
        }
        at -= weight;
    }
    let pod = chance.index(pods.len());
    let down_ms = chance.pick(&[0, 1, 100, 100, 2_000, 15_000, 100_000]);
    match fault {
        Fault::Manifest => match chance.below(12) {
            0..=5 => Op::Write(pod),
            6..=9 => Op::Take {
                pod,
                grace_seconds: chance.pick(&[None, None, Some(0), Some(1), Some(20)]),
            },
            10 => Op::Hurry {
                pod,
                grace_seconds: chance.pick(&[0, 1, 5]),
            },
            _ => Op::TellAgain(pod),
        },
        Fault::Trouble => {
            let kind = chance.pick(&Kind::ALL);
            Op::Trouble {
                kind,
                what: trouble(chance, kind),
                times: chance.pick(&[1, 1, 2, 3, 8]),
            }
        }
        Fault::Mend => Op::Mend,
        Fault::CrashAt => {
            let points: Vec<CrashPoint> = CrashPoint::all().collect();
            Op::CrashAt {
                point: chance.pick(&points),
                skip: chance.pick(&[0, 0, 0, 1, 3]),
                down_ms,
            }
        }
        Fault::Crash => Op::Crash { down_ms },
        Fault::Reboot => Op::Reboot { down_ms },
        Fault::KeeperDies => Op::KeeperDies { down_ms },
        Fault::Vanish => Op::Vanish(chance.index(8)),
        Fault::Damage if chance.percent(50) => Op::DamageRecord(pod),
        Fault::Damage => Op::DamagePod(pod),
        Fault::Disk if chance.percent(40) => Op::DiskFree,
        Fault::Disk => Op::DiskFull {
            run: chance.percent(60),
            root: chance.percent(60),
        },
        Fault::DeleteImage => {
            let containers = &pods[pod].containers;
            let image = containers[chance.index(containers.len())].image.clone();
            if chance.percent(30) {
                Op::BringImage(image)
            } else {
                Op::DeleteImage(image)
            }
        }
        Fault::Edit => Op::Edit {
            pod,
            what: edit(chance, pods[pod].containers.len()),
        },
        Fault::Evict => Op::Evict(pod),
        Fault::StepClock => Op::StepClock {
            seconds: chance.pick(&[-1_000_000, -3_600, -1, 1, 3_600, 1_000_000]),
        },
    }
}

fn edit(chance: &mut Chance, containers: usize) -> Edit {
    let container = chance.index(containers);
    chance.pick(&[
        Edit::Label,
        Edit::Debug,
        Edit::Debug,
        Edit::Image { container },
        Edit::Image { container },
        Edit::Image { container },
        Edit::Gate { open: true },
        Edit::Gate { open: true },
        Edit::Gate { open: false },
        Edit::Deadline { seconds: 1 },
        Edit::Deadline { seconds: 300 },
    ])
}

fn trouble(chance: &mut Chance, kind: Kind) -> Trouble {
    let reasons: &[FailureReason] = match kind {
        Kind::Prepare(pod_model::SandboxPart::Volumes) => &[FailureReason::FailedMount],
        Kind::Prepare(_) => &[FailureReason::FailedCreatePodSandBox],
        Kind::EnsureImage => &[
            FailureReason::ErrImagePull,
            FailureReason::ErrImagePull,
            FailureReason::RegistryUnavailable,
            FailureReason::ImageInspectError,
            FailureReason::InvalidImageName,
        ],
        Kind::Start => &[
            FailureReason::CreateContainerConfigError,
            FailureReason::CreateContainerError,
            FailureReason::RunContainerError,
        ],
        Kind::PostStart => &[FailureReason::FailedPostStartHook],
        Kind::PreStop => &[FailureReason::FailedPreStopHook],
        _ => &[FailureReason::FailedKillPod],
    };
    match chance.below(4) {
        0 | 1 => Trouble::Fails {
            reason: chance.pick(reasons),
            retry_after_seconds: chance.pick(&[None, None, None, Some(2), Some(90)]),
            half: chance.percent(50),
        },
        2 => Trouble::Takes {
            ms: chance.pick(&[1, 50, 2_000, 30_000]),
        },
        _ => Trouble::Hangs,
    }
}

fn pods(chance: &mut Chance, api_percent: u8) -> Vec<PodPlan> {
    let count = 1 + chance.below(MOST_PODS);
    let mut pods = Vec::new();
    for number in 0..count {
        let from_api = chance.percent(api_percent);
        // of static pods of one name one is the other's successor
        let name = if chance.percent(50) { 0 } else { number };
        let policy = chance.pick(&["Always", "Always", "OnFailure", "Never"]);
        let inits = chance.pick(&[0, 0, 1, 1, 2]);
        let mains = chance.pick(&[1, 1, 2, 3]);
        let name = if from_api {
            format!("api-{number}")
        } else {
            format!("web-{name}")
        };
        let deadline = chance.pick(&[None, None, None, None, Some(1), Some(30), Some(600)]);
        pods.push(PodPlan {
            deadline_seconds: deadline,
            gate: from_api && chance.percent(30),
            memory: chance.pick(&[0, 0, 2, 5, 8]),
            priority: chance.pick(&[None, None, Some(0), Some(10), Some(2_000_000_000)]),
            uid: format!("{name}-{number}"),
            name,
            policy: policy.to_owned(),
            grace_seconds: chance.pick(&[0, 1, 5, 30, 60]),
            from_api,
            containers: containers(chance, policy, inits, mains),
            ephemeral: ephemeral(chance, if from_api { 2 } else { 0 }),
        });
    }
    pods
}

fn containers(chance: &mut Chance, policy: &str, inits: u32, mains: u32) -> Vec<ContainerPlan> {
    let mut list = Vec::new();
    for number in 0..inits {
        let is_sidecar = chance.percent(40);
        let own = !is_sidecar && chance.percent(25);
        let own = own.then(|| chance.pick(&["OnFailure", "Never"]));
        let name = format!("init-{number}");
        let mut init = container(chance, own.unwrap_or(policy), true, name);
        if let Some(own) = own {
            give_own_policy(chance, &mut init, own);
        }
        if is_sidecar {
            init.sidecar = true;
            if let Some(last) = init.programs.last_mut() {
                last.runs_ms = None;
            }
            add_hooks_and_probes(chance, &mut init);
        }
        list.push(init);
    }
    for number in 0..mains {
        let own = chance.percent(40);
        let own = own.then(|| chance.pick(&["Always", "OnFailure", "Never"]));
        let name = format!("app-{number}");
        let mut main = container(chance, own.unwrap_or(policy), false, name);
        if let Some(own) = own {
            give_own_policy(chance, &mut main, own);
        }
        add_hooks_and_probes(chance, &mut main);
        list.push(main);
    }
    list
}

fn ephemeral(chance: &mut Chance, most: u64) -> Vec<ContainerPlan> {
    (0..most)
        .map(|number| {
            let name = format!("debug-{number}");
            let target = chance.pick(&[None, Some("app-0"), Some("app-0"), Some("init-0")]);
            let plan = container(chance, "Never", false, name);
            ContainerPlan {
                target: target.map(str::to_owned),
                ..plan
            }
        })
        .collect()
}

fn give_own_policy(chance: &mut Chance, container: &mut ContainerPlan, policy: &str) {
    container.policy = Some(policy.to_owned());
    // what stays, ends with none of these, or not at all
    if chance.percent(50) {
        let last = container.programs.last();
        let stays = last.filter(|p| p.runs_ms.is_some()).map(Program::own_code);
        container.restart_on = vec![1, 137];
        container.restart_on.retain(|code| Some(*code) != stays);
    } else if chance.percent(30) {
        let stays = container.programs.last().map(Program::own_code);
        container.restart_on = [Some(0), stays].into_iter().flatten().collect();
        container.restart_on.dedup();
        container.restart_unless = true;
    }
    if chance.percent(40) {
        let stays = container.programs.last().map(Program::own_code);
        container.restart_all_on = chance.pick(&[vec![1], vec![2], vec![137], vec![2, 143]]);
        container.restart_all_on.retain(|code| Some(*code) != stays);
    }
}

fn add_hooks_and_probes(chance: &mut Chance, container: &mut ContainerPlan) {
    container.post_start = chance.percent(25);
    container.pre_stop = chance.percent(30);
    container.probes = ProbeKind::ALL.to_vec();
    container.probes.retain(|_| chance.percent(30));
    let last = container.programs.len() - 1;
    for (number, program) in container.programs.iter_mut().enumerate() {
        program.fit_after_ms = chance.pick(&[0, 20, 3_000]);
        program.flaps = chance.pick(&[0, 0, 1, 2, 5]);
        program.flap_ms = chance.pick(&[1, 700, 20_000]);
        // what stays, stays well
        if number == last {
            continue;
        }
        match chance.below(10) {
            0..=2 => program.sick_after_ms = Some(chance.pick(&[10, 5_000, 60_000])),
            3 | 4 => program.startup_fails_after_ms = Some(chance.pick(&[10, 5_000, 60_000])),
            5 => program.post_start_fails = true,
            _ => continue,
        }
        if chance.percent(80) {
            program.runs_ms = None;
        }
    }
}

fn container(chance: &mut Chance, policy: &str, init: bool, name: String) -> ContainerPlan {
    let crashes = chance.pick(&[0, 0, 0, 1, 2, 4]);
    let mut programs: Vec<Program> = (0..crashes).map(|_| ends(chance, None)).collect();
    // what comes last, stays
    programs.push(match (policy, init) {
        ("Never", _) if chance.percent(30) => ends(chance, None),
        (_, true) => ends(chance, Some(0)),
        ("Never" | "OnFailure", false) if chance.percent(50) => ends(chance, Some(0)),
        _ => Program {
            runs_ms: None,
            ..ends(chance, Some(0))
        },
    });
    ContainerPlan {
        name,
        init,
        image: format!("registry.test/image-{}:1", chance.below(3)),
        pull: chance
            .pick(&["IfNotPresent", "IfNotPresent", "Always"])
            .to_owned(),
        programs,
        ..ContainerPlan::default()
    }
}

fn ends(chance: &mut Chance, code: Option<i32>) -> Program {
    let oom = code.is_none() && chance.percent(15);
    Program {
        runs_ms: Some(chance.pick(&[0, 1, 50, 1_000, 9_000, 45_000, 720_000])),
        code: code.unwrap_or_else(|| chance.pick(&[0, 1, 2, 137, 143])),
        oom,
        stops: chance.pick(&[
            None,
            Some((0, 0)),
            Some((1, 143)),
            Some((3_000, 0)),
            Some((40_000, 143)),
        ]),
        hangs_ms: chance.pick(&[0, 0, 0, 0, 1, 7_000, 100_000]),
        ..Program::default()
    }
}
