//! The pod that somebody wants, once it was defaulted and validated.

use crate::{ContainerName, IdError, PodName, PodUid};
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What is wrong with one field, in the words of the API server's validation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FieldError {
    /// As `spec.containers[0].image`.
    pub path: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePullPolicy {
    Always,
    IfNotPresent,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerRole {
    /// Has to succeed before what follows it starts.
    Init,
    /// An init container with `restartPolicy: Always`: what follows it starts once it has started, and it runs beside that.
    Sidecar,
    Main,
    /// Put into the pod by a person while it runs, to look at it: started once, never again, and of no account for the pod.
    Ephemeral,
}

/// A `v1` Pod whose existence is the proof that it can be run: every default is filled in, every field is one that this agent
/// honours, names and quantities parse. Cheap to clone, never changed. A changed pod (an image, an ephemeral container more) is another
/// `AdmittedPod` with the same uid; a changed manifest that does not name its uid is another pod.
///
/// Made by `manifest_source::admit` (a static manifest) and in tests; the accessors below may rely on what it checked.
#[derive(Clone)]
pub struct AdmittedPod {
    inner: Arc<Inner>,
}

struct Inner {
    uid: PodUid,
    name: PodName,
    pod: Pod,
    /// Containers in their order of start, with their checked names.
    containers: Vec<(ContainerRole, ContainerName, usize)>,
    /// The ephemeral containers of the spec, as containers like any other.
    ephemeral: Vec<Container>,
    qos: QosClass,
}

impl AdmittedPod {
    /// Wraps a pod that the caller has defaulted and validated. `qos` is what `node_policy::qos_class` says of it.
    ///
    /// # Errors
    /// When uid or a container's name is none: the caller forgot to validate.
    pub fn from_validated(pod: Pod, qos: QosClass) -> Result<Self, IdError> {
        let uid = PodUid::new(pod.metadata.uid.as_deref().unwrap_or_default())?;
        let name = PodName {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
        };
        let no_spec = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&no_spec);
        let roles = [
            (
                ContainerRole::Init,
                spec.init_containers.as_deref().unwrap_or_default(),
            ),
            (ContainerRole::Main, &spec.containers),
        ];
        let mut containers = Vec::new();
        for (role, list) in roles {
            for (index, container) in list.iter().enumerate() {
                let is_sidecar = role == ContainerRole::Init
                    && container.restart_policy.as_deref() == Some("Always");
                let role = if is_sidecar {
                    ContainerRole::Sidecar
                } else {
                    role
                };
                containers.push((role, ContainerName::new(&container.name)?, index));
            }
        }
        let given = spec.ephemeral_containers.iter().flatten();
        let ephemeral: Vec<Container> = given.map(as_container).collect();
        for (index, container) in ephemeral.iter().enumerate() {
            let name = ContainerName::new(&container.name)?;
            containers.push((ContainerRole::Ephemeral, name, index));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                uid,
                name,
                pod,
                containers,
                ephemeral,
                qos,
            }),
        })
    }

    /// The same with the ephemeral containers of `running`: they were put into the pod, and are no part of what its source says.
    #[must_use]
    pub fn with_ephemeral_of(&self, running: &Self) -> Self {
        let list = running.spec().ephemeral_containers.clone();
        if self.spec().ephemeral_containers == list {
            return self.clone();
        }
        let mut pod = self.inner.pod.clone();
        pod.spec.get_or_insert_default().ephemeral_containers = list;
        let is_ephemeral =
            |(role, ..): &&(ContainerRole, ContainerName, usize)| *role == ContainerRole::Ephemeral;
        let own = self.inner.containers.iter().filter(|c| !is_ephemeral(c));
        let theirs = running.inner.containers.iter().filter(is_ephemeral);
        Self {
            inner: Arc::new(Inner {
                uid: self.inner.uid.clone(),
                name: self.inner.name.clone(),
                pod,
                containers: own.chain(theirs).cloned().collect(),
                ephemeral: running.inner.ephemeral.clone(),
                qos: self.inner.qos,
            }),
        }
    }

    pub fn uid(&self) -> &PodUid {
        &self.inner.uid
    }
    pub fn name(&self) -> &PodName {
        &self.inner.name
    }
    pub fn qos(&self) -> QosClass {
        self.inner.qos
    }
    /// The whole object, without status.
    pub fn pod(&self) -> &Pod {
        &self.inner.pod
    }
    pub fn spec(&self) -> &PodSpec {
        static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.inner.pod.spec.as_ref().unwrap_or(&EMPTY)
    }
    /// Init containers and sidecars in order, then the main ones, then the ephemeral ones.
    pub fn containers(&self) -> impl Iterator<Item = (ContainerRole, &ContainerName, &Container)> {
        self.inner
            .containers
            .iter()
            .map(|(role, name, index)| (*role, name, self.by_index(*role, *index)))
    }
    pub fn container(&self, name: &ContainerName) -> Option<(ContainerRole, &Container)> {
        self.containers()
            .find(|(_, n, _)| *n == name)
            .map(|(role, _, c)| (role, c))
    }
    fn by_index(&self, role: ContainerRole, index: usize) -> &Container {
        let spec = self.spec();
        match role {
            ContainerRole::Init | ContainerRole::Sidecar => {
                &spec.init_containers.as_deref().unwrap_or_default()[index]
            }
            ContainerRole::Main => &spec.containers[index],
            ContainerRole::Ephemeral => &self.inner.ephemeral[index],
        }
    }
    /// `targetContainerName`: whose processes an ephemeral container is to see.
    pub fn target_of(&self, name: &ContainerName) -> Option<ContainerName> {
        let mut ephemeral = self.spec().ephemeral_containers.iter().flatten();
        let container = ephemeral.find(|c| c.name == name.as_str())?;
        ContainerName::new(container.target_container_name.as_deref()?).ok()
    }
    pub fn restart_policy(&self) -> RestartPolicy {
        match self.spec().restart_policy.as_deref() {
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            _ => RestartPolicy::Always,
        }
    }
    /// `terminationGracePeriodSeconds`; a kubelet never gives less than what the pod says, and 30 s when it says nothing.
    pub fn grace_period(&self) -> Duration {
        Duration::from_secs(
            self.spec()
                .termination_grace_period_seconds
                .and_then(|s| u64::try_from(s).ok())
                .unwrap_or(30),
        )
    }
    pub fn host_network(&self) -> bool {
        self.spec().host_network == Some(true)
    }
    pub fn host_pid(&self) -> bool {
        self.spec().host_pid == Some(true)
    }
    pub fn host_ipc(&self) -> bool {
        self.spec().host_ipc == Some(true)
    }
    pub fn share_process_namespace(&self) -> bool {
        self.spec().share_process_namespace == Some(true)
    }
}

impl PartialEq for AdmittedPod {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
            || (self.inner.uid == other.inner.uid && self.inner.pod == other.inner.pod)
    }
}

impl fmt::Debug for AdmittedPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdmittedPod({} {})", self.inner.name, self.inner.uid)
    }
}

/// What an ephemeral container may say is a part of what a container may say.
pub fn as_container(given: &EphemeralContainer) -> Container {
    let given = given.clone();
    Container {
        name: given.name,
        image: given.image,
        command: given.command,
        args: given.args,
        working_dir: given.working_dir,
        env: given.env,
        env_from: given.env_from,
        volume_mounts: given.volume_mounts,
        volume_devices: given.volume_devices,
        image_pull_policy: given.image_pull_policy,
        security_context: given.security_context,
        stdin: given.stdin,
        stdin_once: given.stdin_once,
        tty: given.tty,
        termination_message_path: given.termination_message_path,
        termination_message_policy: given.termination_message_policy,
        ..Container::default()
    }
}

/// The pull policy of a container, once defaulted.
pub fn image_pull_policy(container: &Container) -> ImagePullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => ImagePullPolicy::Always,
        Some("Never") => ImagePullPolicy::Never,
        _ => ImagePullPolicy::IfNotPresent,
    }
}
