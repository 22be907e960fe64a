//! Why the core did something. The enum that decides also names the Kubernetes event.

use crate::ContainerName;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// One event about a pod, with the kubelet's reason and wording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub kind: EventType,
    /// The kubelet's reason: `Pulling`, `Pulled`, `Created`, `Started`, `Killing`, `BackOff`, `Failed`, `FailedMount`, …
    pub reason: &'static str,
    pub message: String,
    /// The container it is about; `None` is the pod itself. Becomes `involvedObject.fieldPath`.
    pub container: Option<ContainerName>,
}

impl Reason {
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: EventType::Normal,
            reason,
            message: message.into(),
            container: None,
        }
    }
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: EventType::Warning,
            reason,
            message: message.into(),
            container: None,
        }
    }
    #[must_use]
    pub fn of(mut self, container: &ContainerName) -> Self {
        self.container = Some(container.clone());
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.kind.as_str(),
            self.reason,
            self.message
        )
    }
}
