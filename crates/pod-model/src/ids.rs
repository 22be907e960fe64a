//! Typed identities. A value of one of these types was checked when it was made; nobody checks it again.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// Why a text is not the id it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct IdError {
    pub what: &'static str,
    pub text: String,
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and wraps it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError { what: $what, text: text.to_owned(), rule: $rule })
                }
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn lower_alnum_or(text: &str, extra: &[u8]) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || extra.contains(&b))
}

fn edges_alnum(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(text.bytes().next()) && edge(text.bytes().last())
}

text_id!(
    /// The uid of a pod: of the API server's making, or a hash of a static manifest, node name and path. Safe as a file name.
    PodUid, "pod uid", "1 to 64 of a-z, 0-9 and '-', with a letter or digit at both ends",
    |t| t.len() <= 64 && edges_alnum(t) && lower_alnum_or(t, b"-")
);

text_id!(
    /// The name of a container in its pod: an RFC 1123 label. Safe as a file name.
    ContainerName, "container name", "an RFC 1123 label: 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends",
    |t| t.len() <= 63 && edges_alnum(t) && lower_alnum_or(t, b"-")
);

/// Which start of a container this is, from 0. It is the restart count of the status and the number in the log's file name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    pub const FIRST: Attempt = Attempt(0);
    #[must_use]
    pub fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One start of one container of one pod. Everything made for it (cgroup, directories, FIFOs, records) carries these three.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerKey {
    pub pod: PodUid,
    pub name: ContainerName,
    pub attempt: Attempt,
}

impl ContainerKey {
    pub fn new(pod: PodUid, name: ContainerName, attempt: Attempt) -> Self {
        Self { pod, name, attempt }
    }
    /// The container's runtime id: a function of the key, so that it needs no record of its own.
    pub fn id(&self) -> ContainerId {
        let digest = Sha256::digest(format!("{}/{}/{}", self.pod, self.name, self.attempt));
        ContainerId(
            digest
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
                .into(),
        )
    }
    /// `name.attempt`: the last part of the cgroup's and the state directory's path. A container name has no dot.
    pub fn dir_name(&self) -> String {
        format!("{}.{}", self.name, self.attempt)
    }
    /// Reads back what [`Self::dir_name`] wrote.
    pub fn from_dir_name(pod: &PodUid, dir: &str) -> Option<Self> {
        let (name, attempt) = dir.split_once('.')?;
        Some(Self::new(
            pod.clone(),
            ContainerName::new(name).ok()?,
            Attempt(attempt.parse().ok()?),
        ))
    }
}

impl fmt::Display for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.pod, self.name, self.attempt)
    }
}

/// 64 hexadecimal digits; a status shows it as `coracle://<id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The form of `containerID` in a container status.
    pub fn uri(&self) -> String {
        format!("coracle://{}", self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Namespace and name of a pod. For people; two pods may bear it one after the other, so nothing is keyed by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
