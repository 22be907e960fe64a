//! What a run was made of: the figures of its last line, and the proof that faults did happen.

use crate::kind::{CrashPoint, Kind};

#[derive(Debug, Clone)]
pub struct Figures {
    pub histories: u64,
    pub inputs: u64,
    pub actions: [u64; Kind::ALL.len()],
    pub failed_actions: u64,
    pub statuses: u64,
    pub records: u64,
    pub crashes: u64,
    /// By crash point.
    pub crashed_at: [u64; CrashPoint::COUNT],
    pub reboots: u64,
    pub virtual_seconds: u64,
    /// Lives of pods that came to their end.
    pub lives: u64,
    /// Of them, those whose end was compared with the reference: with that of what happened, and with that of the plan alone.
    pub compared: u64,
    pub compared_with_plan: u64,
    pub records_lost: u64,
    /// Pods that a node with little room did not take on, and those that made room for another.
    pub rejected: u64,
    pub preempted: u64,
    /// Pods whose old record tells of a sandbox that is gone; nothing helps them but deleting them.
    pub stuck: u64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            histories: 0,
            inputs: 0,
            actions: [0; Kind::ALL.len()],
            failed_actions: 0,
            statuses: 0,
            records: 0,
            crashes: 0,
            crashed_at: [0; CrashPoint::COUNT],
            reboots: 0,
            virtual_seconds: 0,
            lives: 0,
            compared: 0,
            compared_with_plan: 0,
            records_lost: 0,
            rejected: 0,
            preempted: 0,
            stuck: 0,
        }
    }
}

impl Figures {
    pub fn add(&mut self, other: &Figures) {
        let Figures {
            histories,
            inputs,
            actions,
            failed_actions,
            statuses,
            records,
            crashes,
            crashed_at,
            reboots,
            virtual_seconds,
            lives,
            compared,
            compared_with_plan,
            records_lost,
            rejected,
            preempted,
            stuck,
        } = other;
        self.histories += histories;
        self.inputs += inputs;
        for (sum, more) in self.actions.iter_mut().zip(actions) {
            *sum += more;
        }
        self.failed_actions += failed_actions;
        self.statuses += statuses;
        self.records += records;
        self.crashes += crashes;
        for (sum, more) in self.crashed_at.iter_mut().zip(crashed_at) {
            *sum += more;
        }
        self.reboots += reboots;
        self.virtual_seconds += virtual_seconds;
        self.lives += lives;
        self.compared += compared;
        self.compared_with_plan += compared_with_plan;
        self.records_lost += records_lost;
        self.rejected += rejected;
        self.preempted += preempted;
        self.stuck += stuck;
    }

    /// Crash points at which an agent has died at least once.
    pub fn points_hit(&self) -> usize {
        self.crashed_at.iter().filter(|times| **times > 0).count()
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{} histories, {} virtual hours, {} inputs, {} actions ({} failed), {} records, {} statuses, {} crashes at {} of {} points, {} reboots, {} pods rejected, {} preempted, {} lost records ({} pods stuck by them), {} of {} pods as the reference says ({} by their plan alone)",
            self.histories,
            self.virtual_seconds / 3600,
            self.inputs,
            self.actions.iter().sum::<u64>(),
            self.failed_actions,
            self.records,
            self.statuses,
            self.crashes,
            self.points_hit(),
            CrashPoint::COUNT,
            self.reboots,
            self.rejected,
            self.preempted,
            self.records_lost,
            self.stuck,
            self.compared,
            self.lives,
            self.compared_with_plan,
        )
    }
}
