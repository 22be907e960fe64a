//! What must be once faults stop: everything comes to rest where the reference says it should, and when nothing is wanted any more,
//! nothing is left.

use super::{MS, World, note};
use crate::history::PodPlan;
use k8s_openapi::api::core::v1::PodStatus;
use pod_lifecycle::Settings;
use pod_model::{PodUid, SandboxPart};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest back-off is 300 s, programs crash a few times more, a look comes every minute.
const TO_REST: Duration = Duration::from_secs(90 * 60);
const AT_REST: Duration = Duration::from_secs(60 * 60);
/// The longest grace, then some.
const TO_GO: Duration = Duration::from_secs(20 * 60);

impl World<'_> {
    pub(super) fn come_to_rest(&mut self) {
        note!(self, "--- faults stop");
        self.calm = true;
        self.armed.clear();
        self.disk.run_full = false;
        self.disk.root_full = false;
        self.mend();
        self.run_for(TO_REST);
        let stuck = self.stuck();
        self.figures.stuck += stuck;
        self.judge_rest(stuck > 0);
        let (issued, statuses) = (self.issued_in_all, self.figures.statuses);
        self.run_for(AT_REST);
        if self.finding.is_none() && stuck == 0 {
            if self.issued_in_all != issued {
                let more = self.issued_in_all - issued;
                self.find("what rests does nothing", || format!("{more} actions"));
            }
            if self.figures.statuses != statuses {
                self.find("what rests says nothing", || "a status".to_owned());
            }
        }
        note!(self, "--- nothing is wanted any more");
        self.source.wanted.clear();
        self.source.graces.clear();
        self.tell_source();
        self.settle();
        self.run_for(TO_GO);
        self.judge_emptiness();
    }

    /// Pods whose record is so old that it tells of a sandbox that is gone: their starts fail for ever.
    fn stuck(&self) -> u64 {
        let Some(agent) = &self.agent else { return 0 };
        let is_stuck = |uid: &&PodUid| {
            let tainted = self.truth.lives.get(*uid).is_none_or(|life| life.tainted);
            let whole = |part| self.kernel.parts.get(&((*uid).clone(), part)) == Some(&true);
            let believed = agent
                .core
                .record(uid)
                .is_some_and(|record| record.sandbox.is_ready());
            tainted && believed && !SandboxPart::ALL.into_iter().all(whole)
        };
        agent.core.uids().filter(is_stuck).count() as u64
    }

    fn judge_rest(&mut self, is_stuck: bool) {
        if self.finding.is_some() {
            return;
        }
        let Some(agent) = &self.agent else {
            return self.find("an agent lives at the end", String::new);
        };
        let wake = agent.core.next_wake();
        let works = agent.work.keys().next().cloned().filter(|_| !is_stuck);
        if let Some(action) = works {
            return self.find("what rests has nothing in work", || format!("{action:?}"));
        }
        if wake.is_some() && !is_stuck {
            return self.find("what rests waits for nothing", || {
                format!("a wake at {wake:?}")
            });
        }
        let history = self.history;
        let mut running: BTreeMap<&str, u32> = BTreeMap::new();
        for (index, plan) in history.pods.iter().enumerate() {
            let uid = self.pods[index].uid().clone();
            if self.source.wanted.contains_key(&uid) {
                *running.entry(&plan.name).or_default() += 1;
                self.judge_wanted(plan, &uid, is_stuck);
            } else {
                self.judge_gone(&uid);
            }
        }
        if !is_stuck {
            self.judge_remains();
        }
    }

    fn judge_wanted(&mut self, plan: &PodPlan, uid: &PodUid, is_stuck: bool) {
        let Some(life) = self.truth.lives.get(uid) else {
            return self.find("what is wanted is there", || uid.to_string());
        };
        let tainted = life.tainted;
        let Some(shown) = self.shown(uid) else {
            return self.find("what is wanted is there", || uid.to_string());
        };
        let phase = shown.phase.as_deref().unwrap_or_default();
        if !["Running", "Succeeded", "Failed"].contains(&phase) && !is_stuck {
            return self.find("what is wanted comes to run", || {
                format!("{uid}: {}", test_kit::summary(&shown))
            });
        }
        if tainted {
            return;
        }
        let is_over = ["Succeeded", "Failed"].contains(&phase);
        if !is_over && self.is_past_deadline(uid) {
            return self.find("a deadline is kept", || uid.to_string());
        }
        self.judge_round_at_rest(plan, uid, &shown);
        self.judge_changes_at_rest(plan, uid, &shown);
        self.judge_by_reference(plan, uid, &shown, false);
        self.judge_ready_at_rest(uid, &shown);
    }

    /// The status that the core would show now.
    fn shown(&self, uid: &PodUid) -> Option<PodStatus> {
        let agent = self.agent.as_ref()?;
        let (record, pod) = (agent.core.record(uid)?, agent.core.pod(uid)?);
        Some(pod_lifecycle::status(record, pod, &Settings::default()))
    }

    fn judge_gone(&mut self, uid: &PodUid) {
        let known = self
            .agent
            .as_ref()
            .is_some_and(|agent| agent.core.record(uid).is_some());
        let on_disk = self.disk.uids().any(|other| other == uid);
        if known || on_disk {
            return self.find("what nobody wants is forgotten", || {
                format!("{uid}: known {known}, on disk {on_disk}")
            });
        }
        let there = self.kernel.uids().any(|other| other == uid);
        // logs of a pod of which nothing was ever written are nobody's
        let tainted = self.truth.lives.get(uid).is_some_and(|life| life.tainted);
        if there || (self.kernel.logs.contains(uid) && !tainted) {
            self.find("nothing is left over", || uid.to_string());
        }
    }

    /// Of every container only what lives is there; a sandbox is whole, or gone with its last container.
    fn judge_remains(&mut self) {
        let Some(agent) = &self.agent else { return };
        let mut wrong = None;
        for (key, process) in &self.kernel.processes {
            let believed = agent
                .core
                .record(&key.pod)
                .and_then(|record| record.container(&key.name))
                .and_then(|c| c.state.live_attempt());
            if !process.lives() || believed != Some(key.attempt) {
                wrong = Some(format!(
                    "{key} is there, and {believed:?} is believed to live"
                ));
            }
        }
        let lives = |uid: &PodUid| self.kernel.living().any(|(key, _)| key.pod == *uid);
        for ((uid, part), whole) in &self.kernel.parts {
            if !whole || !lives(uid) {
                wrong = Some(format!("{part:?} of {uid}: whole {whole}"));
            }
        }
        for uid in agent.core.uids().filter(|uid| lives(uid)) {
            let has = |part| self.kernel.parts.contains_key(&(uid.clone(), part));
            if !SandboxPart::ALL.into_iter().all(has) {
                wrong = Some(format!("{uid} lives without a sandbox"));
            }
        }
        if let Some(text) = wrong {
            self.find("nothing is left over", || text);
        }
    }

    fn judge_emptiness(&mut self) {
        if self.finding.is_some() {
            return;
        }
        for index in 0..self.pods.len() {
            let uid = self.pods[index].uid().clone();
            self.judge_gone(&uid);
        }
        let is_empty = self.agent.as_ref().is_some_and(|a| a.core.is_empty());
        let later = self.next_time().map(|at| at.saturating_sub(self.t) / MS);
        if !is_empty {
            self.find("in the end nothing is left", || {
                format!("next in {later:?} ms")
            });
        }
    }
}
