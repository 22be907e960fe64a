use node_sim::{
    ContainerPlan, CrashPoint, History, Kind, Moment, Node, Op, PodPlan, Program, Trouble, Weather,
    run,
};
use pod_lifecycle::step;

fn container(name: &str, init: bool, programs: Vec<Program>) -> ContainerPlan {
    ContainerPlan {
        name: name.to_owned(),
        init,
        post_start: !init,
        pre_stop: !init,
        image: "registry.test/image:1".to_owned(),
        pull: "IfNotPresent".to_owned(),
        programs,
        ..ContainerPlan::default()
    }
}

/// A whole life: an init container, a crash, a deaf program that has to be killed, the end. The agent dies at `point`.
fn life(point: CrashPoint, salt: u64) -> History {
    let ends = |runs_ms, code| Program {
        runs_ms: Some(runs_ms),
        code,
        ..Program::default()
    };
    History {
        salt,
        node: Node {
            kernel_slots: 4,
            pulls: 1,
            longest_back_off_seconds: 300,
            old_kernel: false,
            room: None,
        },
        weather: Weather::default(),
        pods: vec![PodPlan {
            name: "web".to_owned(),
            uid: "web-1".to_owned(),
            policy: "Always".to_owned(),
            grace_seconds: 2,
            containers: vec![
                container("setup", true, vec![ends(10, 0)]),
                container("app", false, vec![ends(10, 1), Program::default()]),
            ],
            ..PodPlan::default()
        }],
        ops: vec![
            (
                0,
                Op::CrashAt {
                    point,
                    skip: 0,
                    down_ms: 100,
                },
            ),
            // a stop signal that nobody answers leaves time for the kill
            (
                0,
                Op::Trouble {
                    kind: Kind::Stop,
                    what: Trouble::Takes { ms: 1 },
                    times: 1,
                },
            ),
            (0, Op::Write(0)),
            (
                60_000,
                Op::Take {
                    pod: 0,
                    grace_seconds: None,
                },
            ),
            (60_000, Op::Mend),
        ],
    }
}

#[test]
fn the_agent_may_die_before_during_and_after_every_action() {
    for point in CrashPoint::all() {
        for salt in 0..8 {
            let outcome = run(&life(point, salt), step, false);
            assert_eq!(outcome.finding, None, "{point:?} salt {salt}");
            assert_eq!(outcome.figures.crashes, 1, "{point:?} was not met");
        }
    }
}

#[test]
fn every_moment_of_every_action_is_a_crash_point() {
    let all: Vec<CrashPoint> = CrashPoint::all().collect();
    assert_eq!(all.len(), Kind::ALL.len() * Moment::ALL.len());
}
