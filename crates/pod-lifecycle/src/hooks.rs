//! What a container does right after its start and right before its stop signal: actions, each at most once per attempt.
//!
//! `postStart` lies between the start and "may be followed by the next container"; `preStop` is the first part of stopping and counts into
//! the grace period. An attempt that ends takes its hooks with it.

use crate::ending::bounded;
use crate::step::Scene;
use crate::termination::LEAST_GRACE;
use crate::{ContainerState, Live, StopStep, WaitReason, Waiting};
use k8s_openapi::api::core::v1::Lifecycle;
use pod_model::{
    Action, ContainerKey, ContainerName, Failure, FailureReason, MonoTime, Reason, WallTime,
};

impl Scene<'_> {
    fn lifecycle(&self, name: &ContainerName) -> Option<&Lifecycle> {
        let (_, spec) = self.pod?.container(name)?;
        spec.lifecycle.as_ref()
    }
    pub(crate) fn has_pre_stop(&self, name: &ContainerName) -> bool {
        self.lifecycle(name).is_some_and(|l| l.pre_stop.is_some())
    }

    /// A container that was just started, or found to run `since` then.
    pub(crate) fn newly_live(
        &self,
        key: &ContainerKey,
        pid: u32,
        started_at: WallTime,
        since: MonoTime,
    ) -> Live {
        let has_hook = self
            .lifecycle(&key.name)
            .is_some_and(|l| l.post_start.is_some());
        Live {
            attempt: key.attempt,
            pid,
            started_at,
            since,
            hooked: !has_hook,
            started: false,
            ready: false,
        }
    }

    pub(crate) fn running_mut(&mut self, key: &ContainerKey) -> Option<&mut Live> {
        let container = self.record.container_mut(&key.name)?;
        match &mut container.state {
            ContainerState::Up(live) | ContainerState::Stopping { live, .. } => {
                Some(live).filter(|live| live.attempt == key.attempt)
            }
            _ => None,
        }
    }

    /// Runs `postStart` of a container that needs it.
    pub(crate) fn run_post_start(&mut self, name: &ContainerName) {
        let Some(ContainerState::Up(live)) = self.record.container(name).map(|c| &c.state) else {
            return;
        };
        if self.looked && !live.hooked {
            let container = ContainerKey::new(self.record.uid.clone(), name.clone(), live.attempt);
            self.issue(Action::PostStart { container });
        }
    }

    pub(crate) fn post_start_answered(&mut self, key: &ContainerKey, failure: Option<&Failure>) {
        let Some(live) = self.running_mut(key) else {
            return;
        };
        let Some(failure) = failure else {
            live.hooked = true;
            return;
        };
        // the failure itself may name secrets: events do not carry it
        let event = FailureReason::FailedPostStartHook.as_str();
        self.say(Reason::warning(event, "PostStartHook failed").of(&key.name));
        let grace = self.spec_grace();
        self.stop_one(&key.name, event.to_owned(), grace);
        if let Some(container) = self.record.container_mut(&key.name) {
            container.waiting = Some(Waiting {
                reason: WaitReason::PostStartHookError,
                message: bounded(&failure.message),
            });
        }
    }

    pub(crate) fn pre_stop_answered(&mut self, key: &ContainerKey, failure: Option<&Failure>) {
        let least = self.now.mono.plus(LEAST_GRACE);
        let Some(stop) = self.stopping_mut(key) else {
            return;
        };
        if stop.step != StopStep::Hook {
            return;
        }
        stop.hook_is_over(least);
        if failure.is_some() {
            let event = FailureReason::FailedPreStopHook.as_str();
            self.say(Reason::warning(event, "PreStopHook failed").of(&key.name));
        }
    }

    /// Nobody waits any more for the hooks of this container.
    pub(crate) fn break_off_hooks(&mut self, name: &ContainerName) {
        self.abandon(|action| {
            matches!(action, Action::PostStart { container } | Action::PreStop { container }
                if container.name == *name)
        });
    }
}
