//! Containers that run, or have run, and of whose start the record knows nothing.

use crate::step::Scene;
use crate::{ContainerState, Ending, Live, Made, Stage};
use pod_model::{ContainerKey, ContainerRole};

impl Scene<'_> {
    /// Whether an attempt that this record knows nothing of can be the one that it would have made: the agent died before it was
    /// written down, or the record was lost. One that it knows as having to go is not.
    pub(crate) fn may_adopt(&self, key: &ContainerKey) -> bool {
        let stage = &self.record.stage;
        let wants_it = stage.is_before_termination() && self.wants_start(&key.name);
        let mut remains = self.record.remains.iter();
        let has_to_go =
            remains.any(|left| left.container == key.name && left.attempt == key.attempt);
        self.record.container(&key.name).is_some_and(|container| {
            key.attempt >= container.next
                && container.state.live_attempt().is_none()
                && stage.rank() < Stage::CleaningUp.rank()
                && !has_to_go
                && (wants_it || container.made.is_none())
        })
    }

    /// Takes over a container that runs and whose start this record knows nothing of: the agent died before it could be written.
    pub(crate) fn adopt(&mut self, key: &ContainerKey, live: Live) {
        self.account_for(key);
        if let Some(container) = self.record.container_mut(&key.name) {
            container.state = ContainerState::Up(live);
        }
        self.was_started(&key.name, key.attempt, self.now.mono);
    }

    /// What issuing its start would have written.
    pub(crate) fn account_for(&mut self, key: &ContainerKey) {
        self.serve_back_off(&key.name);
        let is_main = self
            .pod
            .and_then(|pod| pod.container(&key.name))
            .is_some_and(|(role, _)| role == ContainerRole::Main);
        if is_main {
            self.infer_init_success();
        }
        self.record.start_time.get_or_insert(self.now.wall);
        // what runs, runs in a sandbox
        self.record.sandbox_was_found();
    }

    /// Main containers have been started, so all init containers must have succeeded, and all sidecars have started.
    fn infer_init_success(&mut self) {
        let now = self.now;
        for name in self.names(ContainerRole::Sidecar) {
            if let Some(container) = self.record.container_mut(&name) {
                container.succeeded = true;
            }
        }
        for name in self.names(ContainerRole::Init) {
            let Some(container) = self.record.container_mut(&name) else {
                continue;
            };
            if !container.succeeded && container.state == ContainerState::Waiting {
                let attempt = container.next;
                container.ended(Ending::inferred_success(attempt, now));
                container.made = Some(Made {
                    attempt,
                    image_id: String::new(),
                    process: None,
                });
                container.succeeded = true;
                container.state = ContainerState::Down;
            }
        }
    }
}
