//! The naive reference: what the phase and the restart counts of a pod are in the end, told from its plan or from what happened to
//! its containers, without stages, records, events or time.

use crate::history::{ContainerPlan, PodPlan};
use crate::truth::{Life, restarts};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) phase: &'static str,
    /// Of the containers that were started at all.
    pub(crate) restarts: BTreeMap<String, i32>,
}

/// How the newest attempt of a container stands in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    NeverStarted,
    Runs,
    Ended(i32),
}

/// What becomes of a pod whose containers do what the plan says, and to which nothing else happens.
pub(crate) fn of_plan(plan: &PodPlan) -> Expected {
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
            let program = container.program(attempt);
            if program.runs_ms.is_none() {
                break Last::Runs;
            }
            let code = program.own_code();
            let is_last = attempt as usize >= container.programs.len();
            if !restarts(&plan.policy, container, code) || is_last {
                break Last::Ended(code);
            }
            attempt += 1;
        };
        blocked = container.init && !container.sidecar && last != Last::Ended(0);
        restarted.insert(
            container.name.clone(),
            i32::try_from(attempt).unwrap_or(i32::MAX),
        );
        lasts.push((container, last));
    }
    Expected {
        phase: phase(&plan.policy, &lasts),
        restarts: restarted,
    }
}

/// What must be shown of a pod after all that happened to it.
pub(crate) fn of_life(plan: &PodPlan, life: &Life) -> Expected {
    let mut lasts = Vec::new();
    let mut restarted = BTreeMap::new();
    for container in &plan.containers {
        let truth = life
            .containers
            .iter()
            .find(|(name, _)| name.as_str() == container.name);
        let newest = truth.and_then(|(_, truth)| truth.attempts.last_key_value());
        let last = match newest {
            None => Last::NeverStarted,
            Some((number, attempt)) => {
                restarted.insert(
                    container.name.clone(),
                    i32::try_from(*number).unwrap_or(i32::MAX),
                );
                attempt.end.map_or(Last::Runs, |end| Last::Ended(end.code))
            }
        };
        lasts.push((container, last));
    }
    Expected {
        phase: phase(&plan.policy, &lasts),
        restarts: restarted,
    }
}

fn phase(policy: &str, lasts: &[(&ContainerPlan, Last)]) -> &'static str {
    let inits = || {
        lasts
            .iter()
            .filter(|(container, _)| container.init && !container.sidecar)
            .map(|(_, last)| *last)
    };
    let mains = || lasts.iter().filter(|(container, _)| !container.init);
    let has_begun = |last| last != Last::NeverStarted;
    let failed = |last| matches!(last, Last::Ended(code) if code != 0);
    let sidecars = lasts.iter().filter(|(container, _)| container.sidecar);
    if policy == "Never" && inits().any(failed) {
        return "Failed";
    }
    let waits = sidecars.chain(mains()).any(|(_, last)| !has_begun(*last));
    if waits || inits().any(|last| last != Last::Ended(0)) {
        return "Pending";
    }
    let goes_on = |(container, last): &(&ContainerPlan, Last)| match last {
        Last::Ended(code) => restarts(policy, container, *code),
        Last::Runs | Last::NeverStarted => true,
    };
    if mains().any(goes_on) {
        "Running"
    } else if mains().any(|(_, last)| failed(*last)) {
        "Failed"
    } else {
        "Succeeded"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Program;

    fn plan(policy: &str, containers: &[(&str, bool, &[Option<i32>])]) -> PodPlan {
        let program = |code: &Option<i32>| Program {
            runs_ms: code.map(|_| 0),
            code: code.unwrap_or(0),
            ..Program::default()
        };
        PodPlan {
            name: "web".into(),
            uid: "web-1".into(),
            policy: policy.into(),
            grace_seconds: 5,
            from_api: false,
            containers: containers
                .iter()
                .map(|(name, init, codes)| ContainerPlan {
                    name: (*name).into(),
                    init: *init,
                    policy: None,
                    restart_on: Vec::new(),
                    sidecar: false,
                    post_start: false,
                    pre_stop: false,
                    probes: Vec::new(),
                    image: "x:1".into(),
                    pull: "IfNotPresent".into(),
                    programs: codes.iter().map(program).collect(),
                })
                .collect(),
        }
    }

    fn told(plan: &PodPlan) -> String {
        let expected = of_plan(plan);
        format!("{} {:?}", expected.phase, expected.restarts)
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
}
