//! The naive reference: what the phase and the restart counts of a pod are in the end, told from its plan or from what happened to
//! its containers, without stages, records, events or time.

use crate::history::{ContainerPlan, PodPlan, Program};
use crate::truth::{Life, restarts};
use pod_model::ProbeKind;
use std::collections::BTreeMap;

/// What a kill ends with.
const KILLED: i32 = 137;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) phase: &'static str,
    /// Of the containers that were started at all.
    pub(crate) restarts: BTreeMap<String, i32>,
    /// Whether the counts follow from the plan, or are a matter of time.
    pub(crate) counts: bool,
}

/// How the newest attempt of a container stands in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    NeverStarted,
    Runs,
    /// With a code, and whether a probe ended it.
    Ended(i32, bool),
}

/// What becomes of one attempt that nobody disturbs.
enum Fate {
    Runs,
    Ends(i32, bool),
    /// That depends on which of two things comes first.
    Unclear,
}

/// What becomes of a pod whose containers do what the plan says, and to which nothing else happens; `None` if time decides.
pub(crate) fn of_plan(plan: &PodPlan, deadline_seconds: Option<u64>) -> Option<Expected> {
    // which attempts of the others are ended for it, is a matter of time
    let mut containers = plan.containers.iter();
    if containers.any(|c| c.policy.is_some() && !c.restart_all_on.is_empty()) {
        return None;
    }
    let mut lasts = Vec::new();
    let mut restarted = BTreeMap::new();
    let mut blocked = false;
    for container in &plan.containers {
        if blocked {
            lasts.push((container, Last::NeverStarted));
            continue;
        }
        let mut attempt = 0;
        let last = loop {
            let is_last = attempt as usize >= container.programs.len();
            match fate(&plan.policy, container, container.program(attempt)) {
                Fate::Runs => break Last::Runs,
                Fate::Ends(code, sick) => {
                    let last = Last::Ended(code, sick);
                    if is_last || !goes_on(&plan.policy, container, last) {
                        break last;
                    }
                }
                Fate::Unclear => return None,
            }
            attempt += 1;
        };
        blocked = container.init && !container.sidecar && !has_succeeded(last);
        restarted.insert(
            container.name.clone(),
            i32::try_from(attempt).unwrap_or(i32::MAX),
        );
        lasts.push((container, last));
    }
    let phase = phase(plan, &lasts, false);
    match deadline_seconds {
        // it never ends, so its deadline comes
        Some(_) if ["Pending", "Running"].contains(&phase) => Some(Expected {
            phase: "Failed",
            restarts: restarted,
            counts: false,
        }),
        Some(_) => None,
        None => Some(Expected {
            phase,
            restarts: restarted,
            counts: true,
        }),
    }
}

fn fate(policy: &str, container: &ContainerPlan, program: Program) -> Fate {
    let asks = |kind| container.probes.contains(&kind);
    let is_sick = (asks(ProbeKind::Liveness) && program.sick_after_ms.is_some())
        || (asks(ProbeKind::Startup) && program.startup_fails_after_ms.is_some());
    let fails_hook = container.post_start && program.post_start_fails;
    match (program.runs_ms, is_sick || fails_hook) {
        (None, false) => Fate::Runs,
        (Some(_), false) => Fate::Ends(program.own_code(), false),
        (Some(_), true) => Fate::Unclear,
        (None, true) => {
            // it is told to stop, and killed if that takes too long
            let codes = [program.stops.map_or(KILLED, |(_, code)| code), KILLED];
            let is_same = |of: &dyn Fn(i32) -> bool| of(codes[0]) == of(codes[1]);
            let goes_on = |code| goes_on(policy, container, Last::Ended(code, is_sick));
            if is_same(&goes_on) && is_same(&|code| code == 0 || goes_on(code)) {
                Fate::Ends(codes[0], is_sick)
            } else {
                Fate::Unclear
            }
        }
    }
}

/// What must be shown of a pod after all that happened to it.
pub(crate) fn of_life(plan: &PodPlan, life: &Life, is_over: bool) -> Expected {
    let mut lasts = Vec::new();
    let mut restarted = BTreeMap::new();
    for container in &plan.containers {
        let truth = life
            .containers
            .iter()
            .find(|(name, _)| name.as_str() == container.name);
        let made = truth
            .into_iter()
            .flat_map(|(_, truth)| &truth.attempts)
            .rfind(|(_, attempt)| attempt.counts());
        let last = match made {
            None => Last::NeverStarted,
            Some((number, attempt)) => {
                restarted.insert(
                    container.name.clone(),
                    i32::try_from(*number).unwrap_or(i32::MAX),
                );
                let ended = |end: crate::truth::End| Last::Ended(end.code, attempt.sick);
                attempt.end.map_or(Last::Runs, ended)
            }
        };
        lasts.push((container, last));
    }
    Expected {
        phase: phase(plan, &lasts, is_over),
        restarts: restarted,
        counts: true,
    }
}

fn has_succeeded(last: Last) -> bool {
    matches!(last, Last::Ended(0, _))
}

/// Whether the container runs on, or is started again.
fn goes_on(policy: &str, container: &ContainerPlan, last: Last) -> bool {
    match last {
        Last::Runs | Last::NeverStarted => true,
        Last::Ended(code, sick) => {
            restarts(policy, container, code) || (sick && container.policy(policy) != "Never")
        }
    }
}

fn phase(plan: &PodPlan, lasts: &[(&ContainerPlan, Last)], is_over: bool) -> &'static str {
    let inits = || lasts.iter().filter(|(c, _)| c.init && !c.sidecar);
    let mains = || lasts.iter().filter(|(c, _)| !c.init);
    let sidecars = lasts.iter().filter(|(c, _)| c.sidecar);
    let goes_on = |c: &ContainerPlan, last| goes_on(&plan.policy, c, last);
    let all_succeeded = || inits().chain(mains()).all(|(_, last)| has_succeeded(*last));
    if inits().any(|(c, last)| !has_succeeded(*last) && !goes_on(c, *last)) {
        return "Failed";
    }
    if is_over && plan.from_api {
        // nothing of it will run again, whatever its policy says
        return if all_succeeded() {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    let waits = sidecars
        .chain(mains())
        .any(|(_, last)| *last == Last::NeverStarted);
    if waits || inits().any(|(_, last)| !has_succeeded(*last)) {
        return "Pending";
    }
    if mains().any(|(c, last)| goes_on(c, *last)) {
        "Running"
    } else if all_succeeded() {
        "Succeeded"
    } else {
        "Failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(policy: &str, containers: &[(&str, bool, &[Option<i32>])]) -> PodPlan {
        let program = |code: &Option<i32>| Program {
            runs_ms: code.map(|_| 0),
            code: code.unwrap_or(0),
            ..Program::default()
        };
        PodPlan {
            policy: policy.into(),
            containers: containers
                .iter()
                .map(|(name, init, codes)| ContainerPlan {
                    name: (*name).into(),
                    init: *init,
                    programs: codes.iter().map(program).collect(),
                    ..ContainerPlan::default()
                })
                .collect(),
            ..PodPlan::default()
        }
    }

    fn told(plan: &PodPlan) -> String {
        match of_plan(plan, plan.deadline_seconds) {
            Some(expected) if expected.counts => {
                format!("{} {:?}", expected.phase, expected.restarts)
            }
            Some(expected) => expected.phase.to_owned(),
            None => "unclear".to_owned(),
        }
    }

    #[test]
    fn phases_and_counts_follow_from_the_plan() {
        let setup: (&str, bool, &[Option<i32>]) = ("setup", true, &[Some(1), Some(0)]);
        assert_eq!(
            told(&plan(
                "Always",
                &[setup, ("app", false, &[Some(0), Some(3), None])]
            )),
            r#"Running {"app": 2, "setup": 1}"#
        );
        assert_eq!(
            told(&plan(
                "OnFailure",
                &[setup, ("app", false, &[Some(3), Some(0)])]
            )),
            r#"Succeeded {"app": 1, "setup": 1}"#
        );
        assert_eq!(
            told(&plan("Never", &[setup, ("app", false, &[None])])),
            r#"Failed {"setup": 0}"#
        );
        assert_eq!(
            told(&plan(
                "Never",
                &[("app", false, &[Some(3)]), ("b", false, &[Some(0)])]
            )),
            r#"Failed {"app": 0, "b": 0}"#
        );
    }

    #[test]
    fn a_deadline_fails_what_does_not_end_before_it() {
        let with_deadline = |codes: &[Option<i32>]| {
            let mut plan = plan("Always", &[("app", false, codes)]);
            plan.deadline_seconds = Some(60);
            plan
        };
        assert_eq!(told(&with_deadline(&[None])), "Failed");
        let mut job = with_deadline(&[Some(0)]);
        job.policy = "Never".into();
        assert_eq!(told(&job), "unclear");
    }

    #[test]
    fn what_a_probe_ends_is_started_again_unless_its_policy_is_never() {
        let sick = |policy: &str, stop_code| {
            let mut plan = plan(policy, &[("app", false, &[None, None])]);
            plan.containers[0].probes = vec![ProbeKind::Liveness];
            plan.containers[0].programs[0].sick_after_ms = Some(5);
            plan.containers[0].programs[0].stops = Some((0, stop_code));
            told(&plan)
        };
        assert_eq!(sick("Always", 0), r#"Running {"app": 1}"#);
        assert_eq!(sick("OnFailure", 0), r#"Running {"app": 1}"#);
        assert_eq!(sick("Never", 143), r#"Failed {"app": 0}"#);
        // it may stop in time, or be killed
        assert_eq!(sick("Never", 0), "unclear");
    }
}
