//! What a record becomes when the agent, or the machine, was started anew.

use crate::{ContainerState, Ending, Made, PartState, PodRecord, Retry, Stage};
use pod_model::{Now, SandboxPart, Seq};

impl PodRecord {
    /// The record as the next agent of the same boot has to take it: nobody will answer what was in flight. Each such action is
    /// issued again, which its key allows; a start is looked for first.
    #[must_use]
    pub fn restarted(mut self) -> Self {
        self.in_flight.clear();
        // the container host counts from the beginning again
        self.seq = Seq::default();
        self.born = Seq::default();
        for container in &mut self.containers {
            if let ContainerState::Creating { attempt } = container.state {
                container.state = ContainerState::Unsure { attempt };
            }
            container.image.pull_told = false;
        }
        self
    }

    /// The record as an agent has to take it after the machine was booted: no process lives, no cgroup and no namespace is there.
    /// Containers that lived have ended as `ContainerStatusUnknown`; the sandbox is made anew; init containers run again; the policy
    /// says which main containers do. Counts and back-off are kept; the back-off is counted from `now`, as the old clock is gone.
    #[must_use]
    pub fn rebooted(mut self, now: Now) -> Self {
        self = self.restarted();
        for container in &mut self.containers {
            if let Some(attempt) = container.state.live_attempt() {
                let started = container.state.running().map(|live| live.started_at);
                let was_unsure = started.is_none();
                if was_unsure
                    && container
                        .made
                        .as_ref()
                        .is_none_or(|made| made.attempt < attempt)
                {
                    // its start was never answered: the attempt counts, as its log file may be there
                    container.made = Some(Made {
                        attempt,
                        image_id: String::new(),
                        process: None,
                    });
                }
                container.ended(Ending::lost(attempt, started, now));
                container.state = ContainerState::Down;
            }
            for ending in &mut container.endings {
                ending.finished_mono = now.mono;
            }
            container.crash.rebooted(now.mono);
            container.image.back_off.rebooted(now.mono);
            container.image.retry.rebooted();
            container.image.back_off_shown_at = None;
            container.refused.rebooted();
        }
        for remains in &mut self.remains {
            remains.alive = false;
            remains.retry.rebooted();
        }
        self.forgetting.rebooted();
        self.first_seen.mono = now.mono;
        self.active = None;
        match &mut self.stage {
            Stage::Admitted => {}
            Stage::Preparing | Stage::Running => {
                self.rebooted = true;
                self.stage = Stage::Admitted;
            }
            Stage::Terminating(terminating) => {
                terminating.since.mono = now.mono;
                terminating.deadline = now.mono;
            }
            Stage::CleaningUp | Stage::Finished => {}
        }
        let before_termination = self.stage.is_before_termination();
        for part in SandboxPart::ALL {
            let state = self.sandbox.part_mut(part);
            *state = match (&state, before_termination) {
                (PartState::Absent, _) => PartState::Absent,
                // files and leases of it may be on disk: they are found and used again, or undone
                (_, true) => PartState::Preparing {
                    retry: Retry::default(),
                },
                (_, false) => PartState::Undoing {
                    retry: Retry::default(),
                },
            };
        }
        self
    }
}
