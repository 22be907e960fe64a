//! The shortest history that still breaks the rule that a long one broke: what can be left out is left out, one thing after another.

use crate::history::{ContainerPlan, History, Op, Weather};
use crate::run;
use pod_lifecycle::Decide;

/// So many tries at the most; each is a run.
const MOST_TRIES: u32 = 2_000;

/// Leaves out operations, weather, containers' programs and pods as long as `rule` is still broken.
pub fn shrink(history: &History, decide: Decide, rule: &str) -> History {
    let mut best = history.clone();
    let mut tries = 0;
    let mut breaks = |candidate: &History| {
        tries += 1;
        tries <= MOST_TRIES
            && run(candidate, decide, false)
                .finding
                .is_some_and(|finding| finding.rule == rule)
    };
    loop {
        let before = best.clone();
        for width in [8, 4, 2, 1] {
            let mut at = 0;
            while at < best.ops.len() {
                let mut candidate = best.clone();
                let end = (at + width).min(candidate.ops.len());
                candidate.ops.drain(at..end);
                if breaks(&candidate) {
                    best = candidate;
                } else {
                    at += width;
                }
            }
        }
        for simpler in simpler(&best) {
            if breaks(&simpler) {
                best = simpler;
            }
        }
        if best == before {
            return best;
        }
    }
}

/// The same history with one thing less in it. Made one after the other of what came before, so each is tried by itself.
fn simpler(history: &History) -> Vec<History> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut History)| {
        let mut changed = history.clone();
        change(&mut changed);
        if changed != *history {
            all.push(changed);
        }
    };
    with(&|h| h.weather = Weather::default());
    let calm: [fn(&mut Weather); 9] = [
        |w| w.exit_late = 0,
        |w| w.exit_lost = 0,
        |w| w.exit_twice = 0,
        |w| w.look_late = 0,
        |w| w.look_lost = 0,
        |w| w.action_slow = 0,
        |w| w.answer_late = 0,
        |w| w.batched = 0,
        |w| w.probe_late = 0,
    ];
    for change in calm {
        with(&|h| change(&mut h.weather));
    }
    let last = history.pods.len().saturating_sub(1);
    let is_used = history.ops.iter().any(|(_, op)| names_pod(op, last));
    if last > 0 && !is_used {
        with(&|h| {
            h.pods.pop();
        });
    }
    with(&|h| h.node.room = None);
    for pod in 0..history.pods.len() {
        with(&|h| h.pods[pod].memory = 0);
        with(&|h| h.pods[pod].ephemeral.clear());
        with(&|h| h.pods[pod].priority = None);
        with(&|h| h.pods[pod].deadline_seconds = None);
        with(&|h| h.pods[pod].gate = false);
        for container in 0..history.pods[pod].containers.len() {
            if history.pods[pod].containers.len() > 1 {
                with(&|h| {
                    h.pods[pod].containers.remove(container);
                });
            }
            with(&|h| make_plain(&mut h.pods[pod].containers[container]));
            with(&|h| h.pods[pod].containers[container].probes.clear());
            with(&|h| h.pods[pod].containers[container].restart_all_on.clear());
            with(&|h| {
                let programs = &mut h.pods[pod].containers[container].programs;
                if programs.len() > 1 {
                    programs.remove(0);
                }
            });
        }
    }
    for at in 0..history.ops.len() {
        with(&|h| h.ops[at].0 = 0);
    }
    all
}

/// Without hooks and probes, and a policy of its own.
fn make_plain(container: &mut ContainerPlan) {
    container.probes.clear();
    container.post_start = false;
    container.pre_stop = false;
    container.policy = None;
    container.restart_on.clear();
    container.restart_unless = false;
    container.restart_all_on.clear();
    for program in &mut container.programs {
        program.fit_after_ms = 0;
        program.sick_after_ms = None;
        program.startup_fails_after_ms = None;
        program.flaps = 0;
        program.post_start_fails = false;
    }
}

fn names_pod(op: &Op, pod: usize) -> bool {
    match op {
        Op::Write(of)
        | Op::TellAgain(of)
        | Op::DamageRecord(of)
        | Op::DamagePod(of)
        | Op::Evict(of)
        | Op::Edit { pod: of, .. }
        | Op::Take { pod: of, .. }
        | Op::Hurry { pod: of, .. } => *of == pod,
        _ => false,
    }
}
