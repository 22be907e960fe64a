//! What a driver does around the core: time, records, statuses, actions, answers.

use super::{HISTORY, MOST_AT_ONCE, Work, World, text_of};
use pod_lifecycle::Input;
use pod_model::{Action, ContainerKey, ExitRecord, ExitSeen, Fact, MonoTime};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

impl World {
    pub(super) fn next_happening(&self) -> Option<MonoTime> {
        let done = self
            .work
            .iter()
            .filter(|w| !self.machine.script.is_hanging(&w.action))
            .filter_map(|w| w.done_at)
            .min();
        [done, self.machine.next_exit(), self.core.next_wake()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn pass_to(&mut self, at: MonoTime) {
        let step = at.since(self.now.mono);
        self.now.mono = self.now.mono.plus(step);
        self.now.wall.0 += i64::try_from(step.as_nanos()).unwrap_or(0);
    }

    /// Until nothing more happens without time passing.
    pub(super) fn settle(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            self.drain();
            if let Some(index) = self.next_done() {
                let work = self.work.remove(index);
                let fact = self.execute(&work);
                self.note(format!(
                    "  {} -> {}",
                    text_of(&work.action),
                    if fact.outcome.is_ok() { "ok" } else { "failed" }
                ));
                self.core.handle(Input::Fact(fact), self.now);
            } else if let Some((key, exit)) = self.machine.end_next(self.now) {
                self.exited(key, exit);
            } else if self.core.next_wake().is_some_and(|at| at <= self.now.mono) {
                self.core.handle(Input::Tick, self.now);
            } else {
                return;
            }
        }
        panic!("it never comes to rest\n{}", self.history());
    }

    pub(super) fn next_done(&self) -> Option<usize> {
        self.work.iter().position(|w| {
            w.done_at.is_some_and(|at| at <= self.now.mono)
                && !self.machine.script.is_hanging(&w.action)
        })
    }

    pub(super) fn exited(&mut self, key: ContainerKey, exit: ExitRecord) {
        self.note(format!("  {key} exits with {}", exit.code));
        if self.exits_are_told {
            let seq = self.machine.seq();
            let last_words = self.machine.last_words(&key);
            self.core.handle(
                Input::Exit(ExitSeen {
                    container: key,
                    exit,
                    last_words,
                    seq,
                }),
                self.now,
            );
        }
    }

    /// As a driver does: records, statuses, reasons, actions.
    pub(super) fn drain(&mut self) {
        while let Some(uid) = self.core.poll_record() {
            match self.core.record(&uid) {
                Some(record) => {
                    let text = serde_json::to_string(record).expect("a record can be written");
                    if let Some(pod) = self.core.pod(&uid).cloned() {
                        self.disk.insert(uid, (Some(text), pod));
                    }
                }
                None => {
                    self.disk.remove(&uid);
                    self.statuses.remove(&uid);
                }
            }
        }
        while let Some(update) = self.core.poll_publish() {
            self.published += 1;
            self.statuses.insert(update.uid.clone(), update);
        }
        while let Some((uid, reason)) = self.core.poll_reason() {
            self.note(format!(
                "  event {uid} {}: {}",
                reason.reason, reason.message
            ));
            self.events.push((uid, reason));
        }
        while let Some(tally) = self.core.poll_tally() {
            self.tallies.push(tally);
        }
        while let Some(action) = self.core.poll_action() {
            self.note(format!("  issued {}", text_of(&action)));
            self.issued.push(action.clone());
            self.take_up(action);
        }
        while let Some(action) = self.core.poll_cancel() {
            // broken off, it is answered at once
            for work in self.work.iter_mut().filter(|w| w.action == action) {
                work.done_at = Some(self.now.mono);
            }
        }
        while let Some(action) = self.core.poll_pull() {
            let takes = self.machine.script.duration_of(&action);
            for work in self.work.iter_mut().filter(|w| w.action == action) {
                work.began = self.now.mono;
                work.done_at = Some(self.now.mono.plus(takes));
            }
        }
        if let Some(violation) = self.core.poll_violation() {
            panic!("{violation}\n{}", self.history());
        }
    }

    pub(super) fn take_up(&mut self, action: Action) {
        let doubled = self.work.iter().any(|w| w.action == action);
        assert!(
            !doubled,
            "{action:?} is issued while it is in work\n{}",
            self.history()
        );
        let pod = self.core.pod(action.pod());
        let began = self.now.mono;
        if self.machine.has_to_pull(&action, pod) {
            self.work.push(Work {
                action: action.clone(),
                done_at: None,
                began,
            });
            self.core.handle(Input::PullWanted(action), self.now);
        } else {
            let done_at = Some(began.plus(self.machine.script.duration_of(&action)));
            self.work.push(Work {
                action,
                done_at,
                began,
            });
        }
    }

    pub(super) fn execute(&mut self, work: &Work) -> Fact {
        let pod = self.core.pod(work.action.pod()).cloned();
        let took = self.now.mono.since(work.began);
        let (machine, now) = (&mut self.machine, self.now);
        let done = catch_unwind(AssertUnwindSafe(|| {
            machine.execute(&work.action, pod.as_ref(), now, took)
        }));
        let outcome = match done {
            Ok(outcome) => outcome,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                panic!("{text}\n{}", self.history());
            }
        };
        Fact {
            key: work.action.clone(),
            outcome,
            at: self.now,
            seq: self.machine.seq(),
            spans: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, text: String) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let seconds = Duration::from_nanos(self.now.mono.0).as_secs_f64();
        self.history.push_back(format!("{seconds:10.3} {text}"));
    }
}
