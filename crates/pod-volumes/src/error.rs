//! What can go wrong, whose fault it is, and whether trying again may help.

use pod_model::{Fault, PodUid};
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("volume {volume:?}: {what} is not supported by this node")]
    Unsupported { volume: String, what: String },
    #[error("pod {pod} has no volume {volume:?}")]
    NoSuchVolume { pod: PodUid, volume: String },
    /// In the kubelet's words.
    #[error("hostPath type check failed: {} is not a {wanted}, {found}", path.display())]
    HostPathType {
        path: PathBuf,
        wanted: &'static str,
        found: String,
    },
    #[error("cannot {what} hostPath {}", path.display())]
    HostPath {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot {what} volume {volume:?}")]
    EmptyDir {
        what: &'static str,
        volume: String,
        #[source]
        source: io::Error,
    },
    #[error("subPath {sub_path:?} of volume {volume:?}: {problem}")]
    SubPathInvalid {
        volume: String,
        sub_path: String,
        problem: &'static str,
    },
    #[error("cannot {what} subPath {sub_path:?} of volume {volume:?}")]
    SubPath {
        what: &'static str,
        volume: String,
        sub_path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot {what} {}", path.display())]
    Files {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// In containerd's words.
    #[error("path {path:?} is mounted on {mount_point:?} but it is not a {wanted} mount")]
    NotPropagated {
        path: PathBuf,
        mount_point: PathBuf,
        wanted: &'static str,
    },
    /// Something is still mounted where volumes were; nothing is deleted.
    #[error("{} is still mounted", path.display())]
    StillMounted { path: PathBuf },
}

impl VolumeError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::EmptyDir { .. } | Self::Files { .. } | Self::StillMounted { .. } => Fault::Node,
            _ => Fault::Workload,
        }
    }
    /// Whether the same call may succeed later without anybody changing the pod: a missing host path may appear.
    pub fn retry(&self) -> bool {
        !matches!(
            self,
            Self::Unsupported { .. } | Self::NoSuchVolume { .. } | Self::SubPathInvalid { .. }
        )
    }
    /// The whole chain in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        text
    }
    pub(crate) fn files(
        what: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Files {
            what,
            path: path.into(),
            source: source.into(),
        }
    }
}
