//! The invariants notice what they are for. Steps as no core makes them are shown to [`check`].

use pod_lifecycle::{
    ContainerState, Context, Event, Live, Made, PartState, Phase, PodRecord, Remains, Retry,
    Settings, Stage, Step, Terminating, WhyTerminating, check,
};
use pod_model::{
    Action, AdmittedPod, Attempt, ContainerKey, ContainerName, MonoTime, Now, SandboxPart, WallTime,
};
use std::time::Duration;
use test_kit::pod;

const NOW: Now = Now {
    mono: MonoTime(1),
    wall: WallTime(1),
};

/// A pod that runs: its init container has succeeded, its main container is up as attempt 2.
fn running() -> (AdmittedPod, PodRecord) {
    let web = pod("web").init("setup").container("app").build();
    let mut record = PodRecord::new(&web, NOW);
    record.stage = Stage::Running;
    record.admission = Default::default();
    record.start_time = Some(NOW.wall);
    for part in [
        &mut record.sandbox.cgroup,
        &mut record.sandbox.network,
        &mut record.sandbox.volumes,
    ] {
        *part = PartState::Ready;
    }
    record.containers[0].succeeded = true;
    record.containers[0].state = ContainerState::Down;
    let app = &mut record.containers[1];
    app.state = ContainerState::Up(Live {
        attempt: Attempt(2),
        pid: 7,
        started_at: NOW.wall,
        since: NOW.mono,
        hooked: true,
        started: false,
        ready: false,
    });
    app.made = Some(Made {
        attempt: Attempt(2),
        image_id: String::new(),
        process: None,
    });
    app.next = Attempt(3);
    record.phase = Phase::Running;
    (web, record)
}

/// What is said of a step from `before` to `after` with `actions`.
fn said(
    before: &PodRecord,
    after: PodRecord,
    actions: Vec<Action>,
    pod: &AdmittedPod,
    looked: bool,
) -> Vec<&'static str> {
    let settings = Settings::default();
    let context = Context {
        settings: &settings,
        held: false,
        looked,
    };
    let mut after = after;
    after.in_flight.extend(actions.iter().cloned());
    let step = Step {
        record: after,
        actions,
        abandoned: vec![],
        next_wake: None,
        reasons: vec![],
    };
    let mut rules: Vec<_> = check(before, Some(pod), &Event::Wake, context, &step)
        .into_iter()
        .map(|v| v.rule)
        .collect();
    rules.dedup();
    rules
}

fn start(pod: &AdmittedPod, name: &str, attempt: u32) -> Action {
    let name = ContainerName::new(name).unwrap();
    Action::Start {
        container: ContainerKey::new(pod.uid().clone(), name, Attempt(attempt)),
        image_id: "sha256:1".to_owned(),
    }
}
fn terminating(deadline: u64) -> Stage {
    Stage::Terminating(Terminating {
        why: WhyTerminating::Deleted,
        since: NOW,
        grace: Duration::from_secs(1),
        deadline: MonoTime(deadline),
    })
}

#[test]
fn a_sound_step_is_not_objected_to() {
    let (web, before) = running();
    assert!(said(&before, before.clone(), vec![], &web, true).is_empty());
}

#[test]
fn a_second_living_attempt_is_objected_to() {
    let (web, before) = running();
    let rules = said(
        &before,
        before.clone(),
        vec![start(&web, "app", 3)],
        &web,
        true,
    );
    assert_eq!(rules, ["at most one attempt of a container lives"]);
}

#[test]
fn starting_an_attempt_that_was_made_is_objected_to() {
    let (web, mut before) = running();
    before.containers[1].state = ContainerState::Waiting;
    let rules = said(
        &before,
        before.clone(),
        vec![start(&web, "app", 2)],
        &web,
        true,
    );
    assert_eq!(rules, ["an attempt is made once"]);
}

#[test]
fn starting_before_the_first_look_is_objected_to() {
    let (web, mut before) = running();
    before.containers[1].state = ContainerState::Waiting;
    let rules = said(
        &before,
        before.clone(),
        vec![start(&web, "app", 3)],
        &web,
        false,
    );
    assert_eq!(rules, ["nothing starts before the first look"]);
}

#[test]
fn starting_without_a_sandbox_is_objected_to() {
    let (web, mut before) = running();
    before.containers[1].state = ContainerState::Waiting;
    before.sandbox.network = PartState::Absent;
    let rules = said(
        &before,
        before.clone(),
        vec![start(&web, "app", 3)],
        &web,
        true,
    );
    assert_eq!(rules, ["a container starts in a sandbox"]);
}

#[test]
fn starting_ahead_of_an_init_container_is_objected_to() {
    let (web, mut before) = running();
    before.containers[1].state = ContainerState::Waiting;
    before.containers[0].succeeded = false;
    let rules = said(
        &before,
        before.clone(),
        vec![start(&web, "app", 3)],
        &web,
        true,
    );
    assert_eq!(rules, ["init containers come first"]);
}

#[test]
fn starting_beside_a_post_start_is_objected_to() {
    let web = pod("web")
        .container("first")
        .post_start()
        .container("next")
        .build();
    let mut before = running().1;
    before.containers[0].name = ContainerName::new("first").expect("a name");
    before.containers[1].name = ContainerName::new("next").expect("a name");
    before.containers.swap(0, 1);
    let ContainerState::Up(mut live) = before.containers[0].state.clone() else {
        panic!("it is up");
    };
    live.hooked = false;
    before.containers[1].state = ContainerState::Up(live);
    before.containers.swap(0, 1);
    before.containers[1].state = ContainerState::Waiting;
    let starts = vec![start(&web, "next", 3)];
    let rules = said(&before, before.clone(), starts, &web, true);
    assert_eq!(rules, ["a postStart is waited for"]);
}

#[test]
fn starting_while_all_are_ended_and_before_all_are_gone_are_objected_to() {
    let (web, mut before) = running();
    before.restarting_all = true;
    let mut after = before.clone();
    after.restarting_all = false;
    let rules = said(&before, after, vec![], &web, true);
    assert_eq!(rules, ["all end before all begin"]);
    before.containers[1].state = ContainerState::Waiting;
    let starts = vec![start(&web, "app", 3)];
    let rules = said(&before, before.clone(), starts, &web, true);
    assert_eq!(rules, ["all end before all begin"]);
}

#[test]
fn starting_an_ephemeral_container_again_is_objected_to() {
    let (_, mut before) = running();
    let web = pod("web")
        .init("setup")
        .container("app")
        .ephemeral("tools", None)
        .build();
    let mut tools = before.containers[1].clone();
    tools.name = ContainerName::new("tools").expect("a name");
    tools.state = ContainerState::Down;
    before.containers.push(tools);
    let starts = vec![start(&web, "tools", 3)];
    let rules = said(&before, before.clone(), starts, &web, true);
    assert_eq!(rules, ["ephemeral containers start once"]);
}

#[test]
fn starting_and_preparing_after_termination_are_objected_to() {
    let (web, mut before) = running();
    before.containers[1].state = ContainerState::Waiting;
    before.stage = terminating(5);
    for action in [
        start(&web, "app", 3),
        Action::Prepare {
            pod: web.uid().clone(),
            part: SandboxPart::Volumes,
        },
    ] {
        assert_eq!(
            said(&before, before.clone(), vec![action], &web, true),
            ["nothing starts after termination"]
        );
    }
}

#[test]
fn undoing_under_a_process_is_objected_to() {
    let (web, mut before) = running();
    before.stage = Stage::CleaningUp;
    for part in SandboxPart::ALL {
        let undo = Action::Undo {
            pod: web.uid().clone(),
            part,
        };
        assert_eq!(
            said(&before, before.clone(), vec![undo], &web, true),
            ["nothing is undone under a process"]
        );
    }
}

#[test]
fn removing_what_lives_is_objected_to() {
    let (web, before) = running();
    let container = ContainerKey::new(
        web.uid().clone(),
        ContainerName::new("app").unwrap(),
        Attempt(2),
    );
    assert_eq!(
        said(
            &before,
            before.clone(),
            vec![Action::Remove { container }],
            &web,
            true
        ),
        ["what lives is not removed"]
    );
}

#[test]
fn a_living_attempt_among_the_remains_is_objected_to() {
    let (web, before) = running();
    let mut after = before.clone();
    after.remains.push(Remains {
        container: ContainerName::new("app").unwrap(),
        attempt: Attempt(2),
        alive: true,
        retry: Retry::default(),
    });
    let rules = said(&before, after, vec![], &web, true);
    assert_eq!(rules, ["what lives is not left over"]);
}

#[test]
fn issuing_what_is_in_flight_is_objected_to() {
    let (web, mut before) = running();
    let container = ContainerKey::new(
        web.uid().clone(),
        ContainerName::new("app").unwrap(),
        Attempt(1),
    );
    let action = Action::Remove { container };
    before.in_flight.insert(action.clone());
    assert_eq!(
        said(&before, before.clone(), vec![action], &web, true),
        ["nothing is issued while it is in flight"]
    );
}

#[test]
fn forgetting_what_is_there_is_objected_to() {
    let (web, mut before) = running();
    before.stage = Stage::Finished;
    before.deleted = true;
    before.containers[1].state = ContainerState::Down;
    let forget = Action::Forget {
        pod: web.uid().clone(),
    };
    assert_eq!(
        said(&before, before.clone(), vec![forget], &web, true),
        ["nothing is forgotten that is there"]
    );
}

type Change = fn(&mut PodRecord);

#[test]
fn going_back_is_objected_to() {
    let cases: [(Change, Change, &str); 6] = [
        (
            |r| r.stage = Stage::Running,
            |r| r.stage = Stage::Preparing,
            "a stage is not gone back to",
        ),
        (
            |r| r.phase = Phase::Running,
            |r| r.phase = Phase::Pending,
            "a phase is not gone back to",
        ),
        (
            |r| r.phase = Phase::Succeeded,
            |r| r.phase = Phase::Failed,
            "a terminal phase is not left",
        ),
        (
            |r| r.deleted = true,
            |r| r.deleted = false,
            "deletion is not taken back",
        ),
        (
            |r| r.stage = terminating(5),
            |r| r.stage = terminating(6),
            "a deadline only comes nearer",
        ),
        (
            |r| r.containers[1].next = Attempt(3),
            |r| r.containers[1].next = Attempt(2),
            "attempts only grow",
        ),
    ];
    for (earlier, later, rule) in cases {
        let (web, mut before) = running();
        let mut after = before.clone();
        earlier(&mut before);
        later(&mut after);
        // somebody is to look again, so that only the rule in question is broken
        after.in_flight.insert(Action::Forget {
            pod: web.uid().clone(),
        });
        let rules = said(&before, after, vec![], &web, true);
        assert!(rules.contains(&rule), "{rule}: {rules:?}");
    }
}

#[test]
fn a_pod_that_nobody_looks_at_again_is_objected_to() {
    let (web, before) = running();
    for stage in [
        Stage::Admitted,
        Stage::Preparing,
        terminating(5),
        Stage::CleaningUp,
    ] {
        let mut stuck = before.clone();
        stuck.stage = stage;
        assert_eq!(
            said(&stuck, stuck.clone(), vec![], &web, true),
            ["somebody looks again"]
        );
    }
    let mut stuck = before.clone();
    stuck.containers[1].state = ContainerState::Waiting;
    assert_eq!(
        said(&stuck, stuck.clone(), vec![], &web, true),
        ["somebody looks again"]
    );
}

#[test]
fn a_record_that_grows_is_objected_to() {
    let (web, before) = running();
    let mut after = before.clone();
    for try_number in 0..100 {
        let container = ContainerName::new("app").unwrap();
        after.in_flight.insert(Action::EnsureImage {
            pod: web.uid().clone(),
            container,
            try_number,
        });
    }
    assert_eq!(
        said(&before, after, vec![], &web, true),
        ["a record stays small"]
    );
}
