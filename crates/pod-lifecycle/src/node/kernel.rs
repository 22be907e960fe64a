//! What the kernel shows of all pods, and what becomes of what nobody knows.

use super::NodeCore;
use crate::step::{Event, Look};
use crate::{PodRecord, WhyTerminating};
use pod_model::{ContainerKey, ExitSeen, Now, Observed, ObservedContainer, ObservedState, PodUid};
use std::collections::BTreeMap;

impl NodeCore {
    pub(super) fn exit(&mut self, seen: &ExitSeen, now: Now) {
        let key = &seen.container;
        if self.entries.contains_key(&key.pod) {
            return self.step(&key.pod.clone(), &Event::Exit(seen), now);
        }
        let unclaimed = self
            .unclaimed
            .get_mut(&key.pod)
            .and_then(|(_, containers)| containers.get_mut(key));
        if let Some(container) = unclaimed {
            container.state = ObservedState::Exited(seen.exit.clone());
        }
    }

    pub(super) fn observed(&mut self, observed: &Observed, now: Now) {
        if observed.as_of < self.last_look {
            return self.observed_late(observed, now);
        }
        self.last_look = observed.as_of;
        self.looked = true;
        let mut by_pod: BTreeMap<&PodUid, Vec<(&ContainerKey, &ObservedContainer)>> =
            BTreeMap::new();
        for (key, container) in &observed.containers {
            by_pod.entry(&key.pod).or_default().push((key, container));
        }
        let known: Vec<PodUid> = self.entries.keys().cloned().collect();
        for uid in known {
            let containers = by_pod.remove(&uid).unwrap_or_default();
            self.step(
                &uid,
                &Event::Look(Look {
                    as_of: observed.as_of,
                    containers,
                }),
                now,
            );
        }
        self.judge_all(now);
        self.forgotten.retain(|_, seq| *seq > observed.as_of);
        let is_unknown =
            |uid: &PodUid| !self.entries.contains_key(uid) && !self.forgotten.contains_key(uid);
        let own = |(key, container): (&ContainerKey, &ObservedContainer)| {
            (key.clone(), container.clone())
        };
        self.unclaimed = by_pod
            .into_iter()
            .filter(|(uid, _)| is_unknown(uid))
            .map(|(uid, list)| {
                (
                    uid.clone(),
                    (observed.as_of, list.into_iter().map(own).collect()),
                )
            })
            .collect();
        self.take_away_unknown(now);
    }

    /// A newer look came first. An exit is one all the same.
    pub(super) fn observed_late(&mut self, observed: &Observed, now: Now) {
        for (container, seen) in &observed.containers {
            if let ObservedState::Exited(exit) = &seen.state {
                let seen = ExitSeen {
                    container: container.clone(),
                    exit: exit.clone(),
                    last_words: seen.last_words.clone(),
                    seq: observed.as_of,
                };
                self.exit(&seen, now);
            }
        }
    }

    pub(super) fn found(&mut self, uids: Vec<PodUid>, now: Now) {
        for uid in uids {
            match self.entries.get_mut(&uid) {
                // its record was lost, or is wrong
                Some(entry) => {
                    entry.record.sandbox_was_found();
                    self.step(&uid, &Event::Wake, now);
                }
                None => {
                    self.leftovers.insert(uid);
                }
            }
        }
        self.take_away_unknown(now);
    }

    pub(super) fn sources_are_ready(&mut self, now: Now) {
        self.sources_ready = true;
        let unwanted = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.confirmed && !entry.record.deleted);
        for uid in unwanted.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            self.delete(&uid, WhyTerminating::Unwanted, None, now);
        }
        self.take_away_unknown(now);
    }

    /// What is on the machine and belongs to no pod goes; but not before it is certain that no source wants it.
    pub(super) fn take_away_unknown(&mut self, now: Now) {
        if !self.looked || !self.sources_ready {
            return;
        }
        let unclaimed = std::mem::take(&mut self.unclaimed);
        for uid in std::mem::take(&mut self.leftovers) {
            if !unclaimed.contains_key(&uid) {
                self.take_away(uid, &Event::Wake, now);
            }
        }
        for (uid, (as_of, containers)) in &unclaimed {
            let look = Look {
                as_of: *as_of,
                containers: containers.iter().collect(),
            };
            self.take_away(uid.clone(), &Event::Look(look), now);
        }
    }

    pub(super) fn take_away(&mut self, uid: PodUid, event: &Event<'_>, now: Now) {
        if !self.entries.contains_key(&uid) {
            self.insert(PodRecord::unwanted(uid.clone(), now), None, true);
            self.records.insert(uid.clone());
            self.step(&uid, event, now);
        }
    }
}
