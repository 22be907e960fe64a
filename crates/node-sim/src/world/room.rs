//! A node with little room: whom it takes on, who makes room for whom, and that no more is given than there is.

use super::World;
use super::faults::LEAST_GRACE;
use crate::history::PodPlan;
use crate::truth::Holds;
use node_policy::admission::{AdmittingNode, Allocatable};
use pod_lifecycle::{Admission, PodRecord};
use pod_model::PodUid;
use std::collections::BTreeSet;

impl World<'_> {
    pub(super) fn admitting_node(&self) -> AdmittingNode {
        let boundless = AdmittingNode::boundless();
        let Some(room) = self.history.node.room else {
            return boundless;
        };
        AdmittingNode {
            allocatable: Allocatable {
                pods: room.pods,
                memory_bytes: room.memory,
                ..Allocatable::BOUNDLESS
            },
            ..boundless
        }
    }

    /// What the core has decided about a pod is for good.
    pub(super) fn note_admission(&mut self, record: &PodRecord) {
        let is_rejected = matches!(record.admission, Admission::Rejected(_));
        let Some(life) = self.truth.lives.get_mut(&record.uid) else {
            return;
        };
        let was_rejected = std::mem::replace(&mut life.rejected, is_rejected);
        life.disturbed |= is_rejected || record.preempted;
        let tainted = life.tainted;
        let is_new_victim = record.preempted && life.preempted == Holds::No;
        if is_rejected && !was_rejected {
            self.figures.rejected += 1;
        }
        if was_rejected && !is_rejected && !tainted {
            return self.find("a pod that was rejected stays so", || {
                record.uid.to_string()
            });
        }
        if is_new_victim {
            self.is_preempted(&record.uid);
        }
    }

    /// It ends in its own time, and fails.
    fn is_preempted(&mut self, uid: &PodUid) {
        self.figures.preempted += 1;
        let spec = self.pods.iter().find(|pod| pod.uid() == uid);
        let grace = spec.map_or(LEAST_GRACE, |pod| pod.grace_period().max(LEAST_GRACE));
        let from = self.now().mono.plus(grace);
        let is_written = !self.disk.run_full;
        let life = self.truth.life(uid);
        life.preempted = if is_written { Holds::Yes } else { Holds::Maybe };
        life.kill_from = Some(life.kill_from.map_or(from, |at| at.min(from)));
        self.has_to_go_within(uid, grace, &self.starting());
    }

    /// The pods that were taken on and have not ended fit into the node. A static pod whose manifest is gone does not count.
    pub(super) fn judge_room(&mut self) {
        let (Some(room), Some(agent)) = (self.history.node.room, &self.agent) else {
            return;
        };
        let living: BTreeSet<&PodUid> = self.kernel.living().map(|(key, _)| &key.pod).collect();
        let holds = |plan: &PodPlan, uid: &PodUid| {
            let record = agent.core.record(uid)?;
            let life = self.truth.lives.get(uid)?;
            // also one whose end was told to an agent that did not live to write it down: the source tells the next one
            let is_told = record.deleted || life.told_to_go.is_some();
            let is_withdrawn = is_told && !plan.from_api;
            let may_begin = match &record.admission {
                Admission::Admitted { after } => after.is_empty(),
                _ => false,
            };
            let is_open = may_begin && record.stage.is_before_termination();
            let holds = !life.tainted && !is_withdrawn && (is_open || living.contains(uid));
            holds.then_some(plan.memory)
        };
        let pods = self.history.pods.iter().zip(&self.pods);
        let memory: Vec<i64> = pods
            .filter_map(|(plan, pod)| holds(plan, pod.uid()))
            .collect();
        let (count, sum) = (memory.len(), memory.iter().sum::<i64>());
        let is_too_many = i64::try_from(count).is_ok_and(|count| count > room.pods);
        if is_too_many || sum > room.memory {
            self.find("no more is given than there is", || {
                format!("{count} pods, {sum} bytes of {room:?}")
            });
        }
    }
}
