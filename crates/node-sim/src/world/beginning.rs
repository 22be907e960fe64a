//! All containers of a pod begin again, as a rule of one of them says: when that has to be, and whether it is so.

use super::World;
use crate::history::PodPlan;
use k8s_openapi::api::core::v1::PodStatus;
use pod_lifecycle::{PodRecord, StatusUpdate};
use pod_model::{Action, PodUid};

const CONDITION: &str = "AllContainersRestarting";

fn condition(status: &PodStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|c| c.type_ == CONDITION);
    condition.map(|c| c.status.as_str())
}

impl World<'_> {
    /// The core has learnt how containers ended. One such ending is enough: all that lives is ended.
    pub(super) fn note_round(&mut self, record: &PodRecord) {
        let Some(plan) = self.pod_plan(&record.uid).cloned() else {
            return;
        };
        let Some(life) = self.truth.lives.get_mut(&record.uid) else {
            return;
        };
        let mut begins = false;
        let mut all = life.containers.values().flat_map(|c| c.attempts.values());
        let is_something_left = all.any(|attempt| attempt.lives());
        for container in &record.containers {
            let (Some(ending), Some(planned), Some(truth)) = (
                container.last_ending(),
                plan.containers
                    .iter()
                    .find(|c| c.name == container.name.as_str()),
                life.containers.get_mut(&container.name),
            ) else {
                continue;
            };
            let is_changed = truth.is_changed(ending.attempt.0);
            if let Some(attempt) = truth.attempts.get_mut(&ending.attempt.0)
                && !std::mem::replace(&mut attempt.is_judged, true)
            {
                let is_restarted = attempt.is_ended_to_restart(&plan.policy, planned);
                let says_so = !is_restarted && planned.restarts_all_on(ending.code);
                // it ended by itself, or for its other image: nobody but the core can tell
                begins |= says_so && (!is_changed || record.restarting_all);
                life.tainted |= says_so && is_changed && !is_something_left;
            }
        }
        if !begins || life.restarts_all || !record.stage.is_before_termination() {
            return;
        }
        life.restarts_all = true;
        life.disturbed = true;
        for action in &record.in_flight {
            if let Action::Start { container, .. } = action {
                life.old_starts.insert(container.clone());
            }
        }
        let all = life.containers.iter_mut();
        let all = all.filter(|(name, _)| !plan.is_ephemeral(name.as_str()));
        for attempt in all.flat_map(|(_, c)| c.attempts.values_mut()) {
            attempt.failed = true;
        }
    }

    /// The condition is there if a rule can make it true, and true only while all containers end.
    pub(super) fn judge_restarting_all(&mut self, update: &StatusUpdate) {
        let (Some(plan), Some(life)) = (
            self.pod_plan(&update.uid),
            self.truth.lives.get(&update.uid),
        ) else {
            return;
        };
        let is_true = condition(&update.status) == Some("True");
        let mut containers = plan.containers.iter();
        let is_possible = containers.any(|c| c.policy.is_some() && !c.restart_all_on.is_empty());
        if is_true && !(is_possible && life.restarts_all) {
            self.find("all containers restart for a reason", || {
                update.uid.to_string()
            });
        }
    }

    /// Whoever was there when all had to begin again has done so.
    pub(super) fn judge_round_at_rest(&mut self, plan: &PodPlan, uid: &PodUid, shown: &PodStatus) {
        if shown.phase.as_deref() != Some("Running") {
            return;
        }
        let Some(life) = self.truth.lives.get(uid) else {
            return;
        };
        let is_old = |name: &str| {
            life.attempts(name)
                .last()
                .is_none_or(|a| a.round < life.round)
        };
        let mut names = plan.containers.iter().map(|c| &c.name);
        let old = names.find(|name| is_old(name)).cloned();
        let is_true = condition(shown) == Some("True");
        if let Some(name) = old.filter(|_| life.round > 0) {
            self.find("all containers begin again", || format!("{uid}/{name}"));
        } else if is_true || life.restarts_all {
            self.find("all containers come to begin again", || uid.to_string());
        }
    }
}
