//! Making the sandbox, part by part, and taking it away, part by part, backwards.

use crate::step::Scene;
use crate::{PartState, Retry, Stage};
use pod_model::{Action, Failure, Reason, SandboxPart};
use std::time::Duration;

const SANDBOX_CHANGED: &str = "Pod sandbox changed, it will be killed and re-created.";
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Scene<'_> {
    /// [`Stage::Admitted`]
    pub(crate) fn admit(&mut self) {
        self.tend_remains();
        if self.held || self.record.admission.holds_back() {
            return;
        }
        self.record.start_time.get_or_insert(self.now.wall);
        if self.fail_past_deadline() {
            return;
        }
        let was_rebooted = std::mem::take(&mut self.record.rebooted);
        if was_rebooted {
            self.begin_again_after_reboot();
        }
        if self.record.restarting_all {
            self.begin_all_again();
        }
        if self.has_ended() {
            self.record.stage = self.terminating_by_itself();
            return;
        }
        if was_rebooted {
            self.say(Reason::normal("SandboxChanged", SANDBOX_CHANGED));
        }
        self.record.stage = Stage::Preparing;
    }

    /// [`Stage::Preparing`]: the three parts do not need each other, so all are made at once, and the first images are looked for
    /// meanwhile.
    pub(crate) fn prepare(&mut self) {
        self.tend_remains();
        if self.fail_past_deadline() {
            return;
        }
        // of a pod whose record was lost containers run already, and a probe may end one
        self.stop_containers();
        for part in SandboxPart::ALL {
            let retry = match self.record.sandbox.part(part) {
                PartState::Ready => continue,
                PartState::Preparing { retry } => *retry,
                PartState::Absent | PartState::Undoing { .. } => Retry::default(),
            };
            let action = Action::Prepare {
                pod: self.record.uid.clone(),
                part,
            };
            if self.record.in_flight.contains(&action) {
                continue;
            }
            let at = retry.at;
            *self.record.sandbox.part_mut(part) = PartState::Preparing { retry };
            if self.is_due(at) {
                self.issue(action);
            }
        }
        self.ensure_first_images();
        if self.record.sandbox.is_ready() {
            self.record.stage = Stage::Running;
        }
    }

    pub(crate) fn prepared(&mut self, part: SandboxPart, addresses: &[String]) {
        *self.record.sandbox.part_mut(part) = PartState::Ready;
        if part == SandboxPart::Network {
            self.record.addresses = addresses.iter().take(2).cloned().collect();
        }
    }

    pub(crate) fn not_prepared(&mut self, part: SandboxPart, failure: &Failure) {
        let mut retry = match self.record.sandbox.part(part) {
            PartState::Preparing { retry } => *retry,
            _ => Retry::default(),
        };
        retry.later(
            FIRST_RETRY,
            LONGEST_RETRY,
            failure.retry_after,
            self.now.mono,
        );
        *self.record.sandbox.part_mut(part) = PartState::Preparing { retry };
        let message = &failure.message;
        self.say(match part {
            SandboxPart::Cgroup => Reason::warning(
                "FailedCreatePodContainer",
                format!("unable to ensure pod container exists: {message}"),
            ),
            SandboxPart::Network => Reason::warning(
                "FailedCreatePodSandBox",
                format!("Failed to create pod sandbox: {message}"),
            ),
            SandboxPart::Volumes => Reason::warning("FailedMount", message.clone()),
        });
    }

    /// Undoes one part after the other, the last made first. True when nothing is left.
    pub(crate) fn undo_parts(&mut self) -> bool {
        for part in SandboxPart::ALL.into_iter().rev() {
            let retry = match self.record.sandbox.part(part) {
                PartState::Absent => continue,
                PartState::Undoing { retry } => *retry,
                PartState::Preparing { .. } | PartState::Ready => Retry::default(),
            };
            let at = retry.at;
            *self.record.sandbox.part_mut(part) = PartState::Undoing { retry };
            let action = Action::Undo {
                pod: self.record.uid.clone(),
                part,
            };
            if !self.record.in_flight.contains(&action) && self.is_due(at) {
                self.issue(action);
            }
            return false;
        }
        true
    }

    pub(crate) fn undone(&mut self, part: SandboxPart) {
        *self.record.sandbox.part_mut(part) = PartState::Absent;
    }

    pub(crate) fn not_undone(&mut self, part: SandboxPart, failure: &Failure) {
        let mut retry = match self.record.sandbox.part(part) {
            PartState::Undoing { retry } => *retry,
            _ => Retry::default(),
        };
        retry.later(
            FIRST_RETRY,
            LONGEST_RETRY,
            failure.retry_after,
            self.now.mono,
        );
        *self.record.sandbox.part_mut(part) = PartState::Undoing { retry };
        self.say_not_killed(failure);
    }

    pub(crate) fn say_not_killed(&mut self, failure: &Failure) {
        self.say(Reason::warning(
            "FailedKillPod",
            format!("error killing pod: {}", failure.message),
        ));
    }
}
