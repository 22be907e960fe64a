//! Having the image of a container before its next attempt.

use crate::ending::bounded;
use crate::step::Scene;
use crate::{ContainerState, WaitReason, Waiting};
use pod_model::pod::image_pull_policy;
use pod_model::{
    Action, ContainerName, ContainerRole, Failure, FailureReason, ImageFact, ImagePullPolicy,
    Reason,
};
use std::time::Duration;

/// For what only somebody on this node can mend: a kubelet looks again with every sync.
const FIRST_LOOK: Duration = Duration::from_secs(10);
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// How long the error itself is shown before the status says that it is being backed off from.
const ERROR_SHOWN: Duration = Duration::from_secs(1);

/// Whether the container waits for its image.
pub(crate) fn is_about_image(waiting: &Waiting) -> bool {
    matches!(
        waiting.reason,
        WaitReason::ImagePullBackOff
            | WaitReason::ErrImagePull
            | WaitReason::ErrImageNeverPull
            | WaitReason::InvalidImageName
            | WaitReason::ImageInspectError
            | WaitReason::RegistryUnavailable
    )
}

impl Scene<'_> {
    /// The image of what starts first is looked for while the sandbox is made.
    pub(crate) fn ensure_first_images(&mut self) {
        let Some(pod) = self.pod else { return };
        let inits = pod
            .containers()
            .filter(|(role, _, _)| matches!(role, ContainerRole::Init | ContainerRole::Sidecar));
        let next_init = inits
            .map(|(_, name, _)| name)
            .find(|name| self.record.container(name).is_some_and(|c| !c.succeeded));
        let first: Vec<ContainerName> = match next_init {
            Some(name) => vec![name.clone()],
            None => pod
                .containers()
                .filter(|(role, _, _)| *role == ContainerRole::Main)
                .map(|(_, name, _)| name.clone())
                .collect(),
        };
        for name in first {
            if self.wants_start(&name) && self.back_off_is_over(&name) {
                self.image_is_ready(&name);
            }
        }
    }

    /// Whether the image for the next attempt is here; if not, sees to it.
    pub(crate) fn image_is_ready(&mut self, name: &ContainerName) -> bool {
        let uid = self.record.uid.clone();
        self.forget_other_image(name);
        let Some(image) = self.record.container(name).map(|c| &c.image) else {
            return false;
        };
        if image.ready.is_some() {
            return true;
        }
        let (retry_at, shown_at) = (image.retry.at, image.back_off_shown_at);
        let action = Action::EnsureImage {
            pod: uid,
            container: name.clone(),
            try_number: image.try_number,
        };
        if self.record.in_flight.contains(&action) {
            return false;
        }
        if self.is_due(retry_at) {
            let now = self.now.mono;
            if let Some(container) = self.record.container_mut(name) {
                container.image.issued_at = now;
                container.image.pull_told = false;
                container.image.back_off_shown_at = None;
            }
            self.issue(action);
        } else if shown_at.is_some() && self.is_due(shown_at) {
            self.show_pull_back_off(name);
        }
        false
    }

    /// The error has been shown; from now on the status says that the next try has to wait.
    fn show_pull_back_off(&mut self, name: &ContainerName) {
        let image_name = self.image_name(name);
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        container.image.back_off_shown_at = None;
        let back_off = format!("Back-off pulling image {image_name:?}");
        let cause = container
            .waiting
            .as_ref()
            .map(|w| format!(": {}: {}", w.reason.as_str(), w.message))
            .unwrap_or_default();
        container.waiting = Some(Waiting {
            reason: WaitReason::ImagePullBackOff,
            message: bounded(&format!("{back_off}{cause}")),
        });
        self.say(Reason::normal("BackOff", back_off).of(name));
        self.say(Reason::warning("Failed", "Error: ImagePullBackOff").of(name));
    }

    /// The executor found no image of that name, or the policy is `Always`.
    pub(crate) fn absorb_pull_begins(&mut self, name: &ContainerName) {
        if self
            .in_flight(|a| matches!(a, Action::EnsureImage { container, .. } if container == name))
        {
            self.tell_pull(name);
        }
    }

    /// What waits for the next try tries now; with a policy of `Always` only the registry can help. How long the try after it waits stays.
    pub(crate) fn absorb_images_came(&mut self) {
        let now = self.now.mono;
        let names: Vec<_> = self
            .record
            .containers
            .iter()
            .map(|c| c.name.clone())
            .collect();
        for name in names {
            let is_asked_elsewhere = self.image_policy(&name) == ImagePullPolicy::Always;
            if let Some(container) = self.record.container_mut(&name)
                && let Some(at) = &mut container.image.retry.at
                && !is_asked_elsewhere
            {
                *at = now.min(*at);
            }
        }
    }

    fn tell_pull(&mut self, name: &ContainerName) {
        let image_name = self.image_name(name);
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        if !std::mem::replace(&mut container.image.pull_told, true) {
            self.say(Reason::normal("Pulling", format!("Pulling image {image_name:?}")).of(name));
        }
    }

    pub(crate) fn image_ensured(&mut self, name: &ContainerName, fact: &ImageFact) {
        let (image_name, policy) = (self.image_name(name), self.image_policy(name));
        let pulled = !fact.was_present || policy == ImagePullPolicy::Always;
        if pulled {
            self.tell_pull(name);
        }
        let now = self.now.mono;
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        let image = &mut container.image;
        let waited = now.since(image.issued_at);
        image.try_number = image.try_number.wrapping_add(1);
        image.retry = Default::default();
        image.back_off_shown_at = None;
        image.ready = Some(fact.clone());
        let text = if pulled {
            let (pull, waited) = (
                crate::go_text::duration_ms(fact.pull),
                crate::go_text::duration_ms(waited.max(fact.pull)),
            );
            format!(
                "Successfully pulled image {image_name:?} in {pull} ({waited} including waiting). Image size: {} bytes.",
                fact.size_bytes
            )
        } else {
            format!(
                "Container image {image_name:?} already present on machine and can be accessed by the pod"
            )
        };
        self.say(Reason::normal("Pulled", text).of(name));
    }

    pub(crate) fn image_not_ensured(&mut self, name: &ContainerName, failure: &Failure) {
        let image_name = self.image_name(name);
        let text = &failure.message;
        // event, its text, and what the status says
        let (reason, event, event_text, message) = match failure.reason {
            FailureReason::ErrImageNeverPull => {
                let text = format!(
                    "Container image {image_name:?} is not present with pull policy of Never"
                );
                (
                    WaitReason::ErrImageNeverPull,
                    "ErrImageNeverPull",
                    text.clone(),
                    text,
                )
            }
            FailureReason::InvalidImageName => {
                let text = format!("Failed to apply default image tag {image_name:?}: {text}");
                (
                    WaitReason::InvalidImageName,
                    "InspectFailed",
                    text.clone(),
                    text,
                )
            }
            FailureReason::ImageInspectError => {
                let text = format!("Failed to inspect image {image_name:?}: {text}");
                (
                    WaitReason::ImageInspectError,
                    "InspectFailed",
                    text.clone(),
                    text,
                )
            }
            FailureReason::RegistryUnavailable => (
                WaitReason::RegistryUnavailable,
                "Failed",
                format!("Failed to pull image {image_name:?}: {text}"),
                format!(
                    "image pull failed for {image_name} because the registry is unavailable: {text}"
                ),
            ),
            _ => (
                WaitReason::ErrImagePull,
                "Failed",
                format!("Failed to pull image {image_name:?}: {text}"),
                text.clone(),
            ),
        };
        let is_pull = matches!(
            reason,
            WaitReason::ErrImagePull | WaitReason::RegistryUnavailable
        );
        if is_pull {
            self.tell_pull(name);
        }
        let now = self.now.mono;
        let Some(container) = self.record.container_mut(name) else {
            return;
        };
        let image = &mut container.image;
        image.try_number = image.try_number.wrapping_add(1);
        image.back_off_shown_at = None;
        if is_pull {
            let wait = image
                .back_off
                .advance(now)
                .max(failure.retry_after.unwrap_or_default());
            image.retry.at = Some(now.plus(wait));
            image.back_off_shown_at = Some(now.plus(ERROR_SHOWN));
        } else {
            image
                .retry
                .later(FIRST_LOOK, LONGEST_LOOK, failure.retry_after, now);
        }
        container.waiting = Some(Waiting {
            reason,
            message: bounded(&message),
        });
        self.say(Reason::warning(event, bounded(&event_text)).of(name));
        self.say(Reason::warning("Failed", format!("Error: {}", reason.as_str())).of(name));
    }

    /// The image that the container asks for, as its manifest writes it.
    fn image_name(&self, name: &ContainerName) -> String {
        self.pod
            .and_then(|pod| pod.container(name))
            .and_then(|(_, c)| c.image.clone())
            .unwrap_or_default()
    }
    fn image_policy(&self, name: &ContainerName) -> ImagePullPolicy {
        self.pod
            .and_then(|pod| pod.container(name))
            .map_or(ImagePullPolicy::IfNotPresent, |(_, c)| image_pull_policy(c))
    }

    /// Whether the container is one that is to be started as soon as it may.
    pub(crate) fn wants_start(&self, name: &ContainerName) -> bool {
        self.record
            .container(name)
            .is_some_and(|container| match container.state {
                ContainerState::Waiting => true,
                ContainerState::Down => self.is_restarted(container),
                _ => false,
            })
    }
}
