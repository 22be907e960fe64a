//! What of a container is another one when the pod's spec has changed under the same uid: an API server lets its image be changed.
//!
//! A kubelet hashes name and image of a container and compares that with what runs. Main containers and sidecars are restarted, without
//! back-off; an init container is left alone, done or not.

use crate::back_off::Fingerprint;
use crate::images;
use crate::step::Scene;
use crate::{ContainerState, ImageProgress, Retry};
use pod_model::{Action, ContainerName, ContainerRole};

impl Scene<'_> {
    /// Of what the container is made from, as the pod says it now.
    pub(crate) fn definition(&self, name: &ContainerName) -> Option<u64> {
        let (_, spec) = self.pod?.container(name)?;
        Some(Fingerprint::of(format_args!("{name}{:?}", spec.image)))
    }

    /// Ends the containers that run and are to be something else, so that they are started as that.
    pub(crate) fn stop_changed(&mut self) {
        let main = self.names(ContainerRole::Main).into_iter();
        for name in main.chain(self.names(ContainerRole::Sidecar)) {
            let wanted = self.definition(&name);
            let grace = self.spec_grace();
            let Some(container) = self.record.container_mut(&name) else {
                continue;
            };
            let ContainerState::Up(live) = &container.state else {
                continue;
            };
            // one that was taken over from a lost record is believed to be what is wanted
            if container.definition.is_none() || container.definition == wanted {
                continue;
            }
            container.again = Some(live.attempt);
            let text = format!("Container {name} definition changed, will be restarted");
            self.stop_one(&name, text, grace);
        }
    }

    /// What was found out about another image than the one that is wanted now is forgotten, and its pull is waited for no more.
    pub(crate) fn forget_other_image(&mut self, name: &ContainerName) {
        let wanted = self.definition(name);
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        let known = std::mem::replace(&mut container.image.definition, wanted);
        if known.is_none() || known == wanted {
            return;
        }
        container.image = ImageProgress {
            try_number: container.image.try_number.wrapping_add(1),
            definition: wanted,
            ..ImageProgress::default()
        };
        container.refused = Retry::default();
        if container
            .waiting
            .as_ref()
            .is_some_and(images::is_about_image)
        {
            container.waiting = None;
        }
        self.abandon(
            |action| matches!(action, Action::EnsureImage { container, .. } if container == name),
        );
    }
}
