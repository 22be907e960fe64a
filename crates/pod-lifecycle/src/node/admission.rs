//! Which pods hold the node's resources, who is judged when, and who waits for room.

use super::{Entry, NodeCore};
use crate::step::Event;
use crate::view::comes_from_api;
use crate::{Admission, Stage, Tally};
use node_policy::admission::{Verdict, admit};
use pod_model::{Now, PodUid};
use std::collections::BTreeSet;

impl NodeCore {
    /// Judges a pod of which nothing is on the machine, unless that was done.
    pub(super) fn judge(&mut self, uid: &PodUid, now: Now) {
        let Some(entry) = self.entries.get(uid) else {
            return;
        };
        let is_open = entry.record.admission == Admission::Undecided;
        let Some(pod) = entry.pod.as_ref().filter(|_| is_open) else {
            return;
        };
        let verdict = if is_begun(entry) {
            Verdict::Admitted
        } else {
            let others = || {
                let counted = self.entries.values().filter(|other| other.is_counted);
                counted.filter_map(|other| other.pod.as_ref()).collect()
            };
            admit(pod, &self.settings.node, &self.held, others)
        };
        match verdict {
            Verdict::Admitted => self.take_on(uid, &[], now),
            Verdict::Preempts { victims, signal } => {
                self.take_on(uid, &victims, now);
                for victim in victims {
                    self.tallies.push_back(Tally::Preempted { signal });
                    self.preempt(&victim, now);
                }
            }
            Verdict::Rejected(rejection) => {
                self.tallies.push_back(Tally::Rejected(rejection.reason));
                self.step(uid, &Event::Rejected(&rejection), now);
            }
        }
    }

    /// Keeps the sum of what pods hold true, after whatever may have changed what this one holds.
    pub(super) fn count(&mut self, uid: &PodUid) {
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        let holds = entry.pod.is_some() && holds_resources(entry);
        match (entry.is_counted, holds) {
            (false, true) => self.held.add(entry.asks),
            (true, false) => self.held.remove(entry.asks),
            _ => {}
        }
        entry.is_counted = holds;
    }

    /// Those that came before the kernel was looked at, in the order in which they came.
    pub(super) fn judge_all(&mut self, now: Now) {
        let is_open = |entry: &&Entry| entry.record.admission == Admission::Undecided;
        let mut open: Vec<_> = self
            .entries
            .values()
            .filter(is_open)
            .map(|entry| (entry.record.first_seen.mono, entry.record.uid.clone()))
            .collect();
        open.sort();
        for (_, uid) in open {
            self.judge(&uid, now);
        }
    }

    fn take_on(&mut self, uid: &PodUid, victims: &[PodUid], now: Now) {
        let after: BTreeSet<PodUid> = victims.iter().cloned().collect();
        self.step(uid, &Event::Admitted { after: &after }, now);
    }

    fn preempt(&mut self, uid: &PodUid, now: Now) {
        let withdrawn = self.dispatcher.withdraw(uid);
        let event = Event::Preempt {
            withdrawn: &withdrawn,
        };
        self.step(uid, &event, now);
    }

    /// No process of this pod lives any more: who waits for that may go on.
    pub(super) fn made_room(&mut self, by: &PodUid, now: Now) {
        let waits = |entry: &&Entry| waits_for(entry, by);
        let waiting = self.entries.values().filter(waits);
        let waiting: Vec<PodUid> = waiting.map(|entry| entry.record.uid.clone()).collect();
        for uid in waiting {
            self.step(&uid, &Event::MadeRoom(by), now);
        }
    }

    /// Of restored pods: nobody waits for one that has ended, or is not there.
    pub(super) fn prune_room_makers(&mut self) {
        let alive = |entry: &&Entry| entry.record.stage.rank() < Stage::CleaningUp.rank();
        let alive = self.entries.values().filter(alive);
        let alive: BTreeSet<PodUid> = alive.map(|entry| entry.record.uid.clone()).collect();
        for entry in self.entries.values_mut() {
            if let Admission::Admitted { after } = &mut entry.record.admission {
                after.retain(|uid| alive.contains(uid));
            }
        }
    }

    /// Of restored pods: an agent may have died when it was written down who waits, and not yet that the others have to end.
    pub(super) fn ask_for_room_again(&mut self, now: Now) {
        let waited_for = |entry: &Entry| match &entry.record.admission {
            Admission::Admitted { after } => after.clone(),
            _ => BTreeSet::new(),
        };
        let victims: BTreeSet<PodUid> = self.entries.values().flat_map(waited_for).collect();
        for victim in victims {
            self.preempt(&victim, now);
        }
    }
}

fn waits_for(entry: &Entry, other: &PodUid) -> bool {
    matches!(&entry.record.admission, Admission::Admitted { after } if after.contains(other))
}

/// Its record was lost, and its containers show that it was taken on once. Or it is to go, and nothing is begun. That something else
/// bears its uid proves nothing: its own record does.
fn is_begun(entry: &Entry) -> bool {
    let record = &entry.record;
    let is_new = record.containers.iter().all(|c| c.made.is_none());
    !record.stage.is_before_termination()
        || record.may_have_processes()
        || !record.remains.is_empty()
        || !is_new
}

/// A kubelet's `GetActivePods`: those that were taken on, until no process of theirs can live any more. A static pod whose manifest is
/// gone is none of them, though it may take its time to end: what comes in its place is not refused for its sake.
fn holds_resources(entry: &Entry) -> bool {
    let record = &entry.record;
    let is_withdrawn = record.deleted && !entry.pod.as_ref().is_some_and(comes_from_api);
    let is_taken_on = matches!(record.admission, Admission::Admitted { .. });
    is_taken_on && !is_withdrawn && record.stage.rank() < Stage::CleaningUp.rank()
}
