//! What answers, exits and listings teach the record.

use crate::step::{Look, Scene};
use crate::{ContainerState, Ending};
use pod_model::{
    Action, ContainerKey, ExitSeen, Fact, Failure, ObservedContainer, ObservedState, Outcome,
};
use std::collections::BTreeSet;

impl Scene<'_> {
    /// An answer to nothing that is in flight is late, or comes twice: it says nothing new.
    pub(crate) fn absorb_fact(&mut self, fact: &Fact) {
        if !self.record.in_flight.remove(&fact.key) {
            return;
        }
        self.record.seq = self.record.seq.max(fact.seq);
        match (&fact.key, &fact.outcome) {
            (Action::Prepare { part, .. }, Ok(Outcome::Prepared { addresses })) => {
                self.prepared(*part, addresses)
            }
            (Action::Prepare { part, .. }, Ok(_)) => self.prepared(*part, &[]),
            (Action::Prepare { part, .. }, Err(failure)) => self.not_prepared(*part, failure),
            (Action::EnsureImage { container, .. }, Ok(Outcome::Image(image))) => {
                self.image_ensured(container, image)
            }
            (Action::EnsureImage { container, .. }, Ok(_)) => {
                self.image_not_ensured(container, &wrong_answer())
            }
            (Action::EnsureImage { container, .. }, Err(failure)) => {
                self.image_not_ensured(container, failure)
            }
            (Action::Start { container, .. }, Ok(Outcome::Started { pid, at, process })) => {
                self.started(container, *pid, *at, Some(process))
            }
            (Action::Start { container, .. }, Ok(_)) => self.started(container, 0, fact.at, None),
            (Action::Start { container, .. }, Err(failure)) => {
                self.not_started(container, failure, fact.at)
            }
            (Action::PostStart { container }, outcome) => {
                self.post_start_answered(container, outcome.as_ref().err())
            }
            (Action::PreStop { container }, outcome) => {
                self.pre_stop_answered(container, outcome.as_ref().err())
            }
            (Action::Stop { container }, outcome) => {
                self.stop_answered(container, outcome.as_ref().err())
            }
            (Action::Kill { container }, outcome) => {
                self.kill_answered(container, outcome.as_ref().err())
            }
            (Action::Remove { container }, outcome) => {
                self.remove_answered(container, outcome.as_ref().err())
            }
            (Action::Undo { part, .. }, Ok(_)) => self.undone(*part),
            (Action::Undo { part, .. }, Err(failure)) => self.not_undone(*part, failure),
            (Action::Forget { .. }, outcome) => self.forget_answered(outcome.as_ref().err()),
        }
    }

    /// An exit is a fact for ever: told twice, or late, it changes nothing.
    pub(crate) fn absorb_exit(&mut self, seen: &ExitSeen) {
        // of a former pod of this uid
        if seen.seq < self.record.born {
            return;
        }
        self.record.seq = self.record.seq.max(seen.seq);
        self.learn_exit(&seen.container, &seen.exit, seen.last_words.as_deref());
    }

    fn learn_exit(
        &mut self,
        key: &ContainerKey,
        exit: &pod_model::ExitRecord,
        last_words: Option<&str>,
    ) {
        if let Some(stray) = self
            .record
            .remains
            .iter_mut()
            .find(|r| r.container == key.name && r.attempt == key.attempt)
        {
            stray.is_dead();
            return;
        }
        let Some(container) = self.record.container(&key.name) else {
            return self.leave(&key.name, key.attempt, false);
        };
        match container.state.live_attempt() {
            Some(live) if live == key.attempt => self.exited(key, exit, last_words),
            // the agent died between the start and writing it down
            None if self.may_adopt(key) => {
                self.account_for(key);
                if let Some(container) = self.record.container_mut(&key.name) {
                    container.state = ContainerState::Unsure {
                        attempt: key.attempt,
                    };
                }
                self.exited(key, exit, last_words);
            }
            _ => {}
        }
    }

    /// A look that began before the last completed action of the pod says nothing about what is not there.
    pub(crate) fn absorb_look(&mut self, look: &Look<'_>) {
        if look.as_of < self.record.born {
            return;
        }
        let fresh = look.as_of >= self.record.seq;
        self.absorb_absences(look, fresh);
        let believed: Vec<_> = look
            .containers
            .iter()
            .filter(|(key, _)| fresh || self.is_unheard_of(key))
            .collect();
        // endings first: a main container that runs makes one infer what its init containers did
        for (key, observed) in &look.containers {
            if let ObservedState::Exited(exit) = &observed.state {
                self.learn_exit(key, exit, observed.last_words.as_deref());
            }
        }
        for (key, observed) in believed {
            match observed.state {
                ObservedState::Exited(_) => self.find_remains(key, false),
                _ => self.absorb_presence(key, observed),
            }
        }
    }

    fn absorb_absences(&mut self, look: &Look<'_>, fresh: bool) {
        let there: BTreeSet<_> = look
            .containers
            .iter()
            .map(|(key, _)| (&key.name, key.attempt))
            .collect();
        for stray in &mut self.record.remains {
            if fresh && !there.contains(&(&stray.container, stray.attempt)) {
                stray.is_dead();
            }
        }
        let now = self.now;
        let mut lost = Vec::new();
        for container in &mut self.record.containers {
            let Some(attempt) = container.state.live_attempt() else {
                continue;
            };
            if there.contains(&(&container.name, attempt)) {
                continue;
            }
            match &container.state {
                // never made, as its start is another agent's: the same attempt is started
                ContainerState::Unsure { .. } => container.state = ContainerState::Waiting,
                ContainerState::Up(live) | ContainerState::Stopping { live, .. } if fresh => {
                    lost.push((
                        container.name.clone(),
                        Ending::lost(attempt, Some(live.started_at), now),
                    ));
                }
                // its start is in flight, and will be answered; or the look is too old to tell
                _ => {}
            }
        }
        for (name, ending) in lost {
            self.ended(&name, ending);
        }
    }

    /// This agent has done nothing to it yet, so no look can be too old to show it.
    fn is_unheard_of(&self, key: &ContainerKey) -> bool {
        let Some(container) = self.record.container(&key.name) else {
            return false;
        };
        match &container.state {
            ContainerState::Unsure { attempt } if *attempt == key.attempt => true,
            state => key.attempt >= container.next && state.live_attempt() != Some(key.attempt),
        }
    }

    fn absorb_presence(&mut self, key: &ContainerKey, observed: &ObservedContainer) {
        let Some(container) = self.record.container(&key.name) else {
            return self.leave(
                &key.name,
                key.attempt,
                matches!(observed.state, ObservedState::Running { .. }),
            );
        };
        let live_attempt = container.state.live_attempt();
        let is_unsure = matches!(container.state, ContainerState::Unsure { .. });
        let next = container.next;
        match observed.state {
            ObservedState::Exited(_) => {}
            ObservedState::Created if is_unsure && live_attempt == Some(key.attempt) => {
                if let Some(container) = self.record.container_mut(&key.name) {
                    container.state = ContainerState::Waiting;
                }
                self.leave(&key.name, key.attempt, false);
            }
            // made by a start that will be answered
            ObservedState::Created if live_attempt == Some(key.attempt) => {}
            // cut off by the death of an agent: it goes before the same attempt is made again, or with the pod
            ObservedState::Created if key.attempt == next => {
                self.leave(&key.name, key.attempt, false)
            }
            ObservedState::Created => self.find_remains(key, false),
            ObservedState::Running { pid, started_at } => {
                let mut live = self.newly_live(key, pid, started_at, self.now.mono);
                // its start was written down, so it had no hook yet; of one that is not known, it may have been long ago
                live.hooked |= !is_unsure;
                match live_attempt {
                    Some(attempt) if attempt == key.attempt => {
                        if is_unsure {
                            self.adopt(key, live);
                        }
                    }
                    None if self.may_adopt(key) => self.adopt(key, live),
                    // another attempt than the one that should live, or one that was believed dead
                    _ => {
                        self.find_remains(key, true);
                    }
                }
            }
        }
    }

    /// A look shows something of an attempt that is not the current one.
    fn find_remains(&mut self, key: &ContainerKey, alive: bool) {
        let is_current = self
            .record
            .container(&key.name)
            .is_some_and(|c| c.state.live_attempt() == Some(key.attempt));
        let goes_already =
            self.in_flight(|a| matches!(a, Action::Remove { container } if container == key));
        if is_current {
            return;
        }
        if let Some(container) = self.record.container_mut(&key.name) {
            container.next = container.next.max(key.attempt.next());
        }
        if !goes_already {
            self.leave(&key.name, key.attempt, alive);
        }
    }
}

/// An executor that answers an image with something else has no image.
fn wrong_answer() -> Failure {
    Failure {
        reason: pod_model::FailureReason::ImageInspectError,
        message: "the answer names no image".to_owned(),
        fault: pod_model::Fault::Node,
        retry: true,
        retry_after: None,
    }
}
