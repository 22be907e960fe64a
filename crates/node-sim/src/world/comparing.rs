//! What the world was shown of a pod in the end, beside what the reference says: of pods that rest, and of those that are over.

use super::World;
use crate::history::PodPlan;
use crate::reference::{self, Expected};
use crate::truth::Holds;
use k8s_openapi::api::core::v1::PodStatus;
use pod_lifecycle::StatusUpdate;
use pod_model::PodUid;
use std::collections::BTreeMap;

/// What is compared of a status.
struct Shown<'a> {
    phase: &'a str,
    restarts: BTreeMap<&'a str, i32>,
}

impl<'a> Shown<'a> {
    fn of(status: &'a PodStatus) -> Self {
        let inits = status.init_container_statuses.iter().flatten();
        let all = inits.chain(status.container_statuses.iter().flatten());
        Self {
            phase: status.phase.as_deref().unwrap_or_default(),
            restarts: all.map(|s| (s.name.as_str(), s.restart_count)).collect(),
        }
    }
    /// The phase is the same, and so is every count; what never started counts nothing.
    fn agrees(&self, expected: &Expected, counts: impl Fn(&str) -> bool) -> bool {
        let mut names = self.restarts.iter().filter(|(name, _)| counts(name));
        let count = |name: &str| expected.restarts.get(name).copied().unwrap_or(0);
        self.phase == expected.phase && names.all(|(name, shown)| *shown == count(name))
    }
}

impl World<'_> {
    /// No process of it lives any more, and this is the last that is said of it.
    pub(super) fn judge_released(&mut self, update: &StatusUpdate) {
        let plan = self.pod_plan(&update.uid).cloned();
        if let Some(plan) = plan {
            self.judge_by_reference(&plan, &update.uid, &update.status, true);
        }
    }

    pub(super) fn judge_by_reference(
        &mut self,
        plan: &PodPlan,
        uid: &PodUid,
        status: &PodStatus,
        is_over: bool,
    ) {
        if !self.judge_cause(uid, status) {
            return;
        }
        let is_cut_short = status.reason.is_some();
        let deadline = self.deadline_of(uid);
        let Some(life) = self.truth.lives.get_mut(uid).filter(|l| !l.tainted) else {
            return;
        };
        let counted = !std::mem::replace(&mut life.compared, true);
        self.figures.compared += u64::from(counted);
        let mut expected = reference::of_life(plan, life, is_over);
        if is_cut_short {
            expected.phase = "Failed";
        } else if expected.phase == "Pending" && life.has_run {
            expected.phase = "Running";
        }
        let is_undisturbed = !life.disturbed && !life.deleted && life.evicted == Holds::No;
        let by_plan = reference::of_plan(plan, deadline).filter(|_| is_undisturbed);
        let shown = Shown::of(status);
        if !shown.agrees(&expected, |_| true) {
            let text = format!(
                "{uid}: {}, in truth {expected:?}",
                test_kit::summary(status)
            );
            return self.find("phase and counts are what happened", || text);
        }
        let Some(by_plan) = by_plan else { return };
        let counted = !std::mem::replace(&mut life.compared_with_plan, true);
        self.figures.compared_with_plan += u64::from(counted);
        // how often a sidecar was started before its pod ended is a matter of time
        let is_running = by_plan.phase == "Running";
        let is_timely = |name: &str| {
            let mut containers = plan.containers.iter();
            !by_plan.counts || (!is_running && containers.any(|c| c.sidecar && c.name == name))
        };
        if !shown.agrees(&by_plan, |name| !is_timely(name)) {
            let text = format!("{uid}: {}, planned {by_plan:?}", test_kit::summary(status));
            self.find("phase and counts are what was planned", || text);
        }
    }

    fn deadline_of(&self, uid: &PodUid) -> Option<u64> {
        let index = self.pods.iter().position(|pod| pod.uid() == uid)?;
        self.edited[index].deadline_seconds
    }

    /// What is said to have failed by a limit has broken it, and what has to fail by one does. Whether it is so.
    fn judge_cause(&mut self, uid: &PodUid, status: &PodStatus) -> bool {
        let Some(life) = self.truth.lives.get(uid).filter(|l| !l.tainted) else {
            return true;
        };
        let reason = status.reason.as_deref();
        let is_right = match reason {
            Some("Evicted") => life.evicted != Holds::No,
            Some("DeadlineExceeded") => self.may_be_past_deadline(uid),
            Some("Preempting") => life.preempted != Holds::No,
            Some("OutOfmemory" | "OutOfpods" | "UnexpectedAdmissionError") => life.rejected,
            Some(_) => false,
            None => {
                let holds = life.evicted.max(life.preempted);
                holds != Holds::Yes && !life.rejected
            }
        };
        if !is_right {
            let text = format!(
                "{uid}: {reason:?}, in truth evicted: {:?}, preempted: {:?}, rejected: {}",
                life.evicted, life.preempted, life.rejected
            );
            self.find("a pod fails by the limit that it broke", || text);
        }
        is_right
    }
}
