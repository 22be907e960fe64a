//! What is probed, and what probing found. Both sides of the port know only these.

use crate::{ContainerKey, MonoTime};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The three probes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Whether the program has started; the other two wait for it.
    Startup,
    /// Whether it can serve.
    Readiness,
    /// Whether it has to be killed.
    Liveness,
}

impl ProbeKind {
    pub const ALL: [ProbeKind; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// As in the label `probe_type` of a metric, and in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One probe of one attempt, which is to be made from now on. How it is made, the pod's spec says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    pub container: ContainerKey,
    pub kind: ProbeKind,
    /// The pod's first address; `None` on the host's network, or if there is none.
    pub pod_ip: Option<String>,
    /// When the container was started, or adopted if nobody saw that: `initialDelaySeconds` is counted from it.
    pub started: MonoTime,
    /// What the record holds, which is where probing begins; `None`: nothing is known yet.
    pub healthy: Option<bool>,
}

/// A probe's answer has changed, by its thresholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub container: ContainerKey,
    pub kind: ProbeKind,
    pub healthy: bool,
    /// What the probe said last.
    pub message: String,
}

/// One probe failed; it may be one too few for the threshold. Told as an event, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFailed {
    pub container: ContainerKey,
    pub kind: ProbeKind,
    pub message: String,
}
