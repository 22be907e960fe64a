//! What can go wrong, at the crate's edge. An error knows the reason a kubelet would print, whose fault it is, and when to try again.
//!
//! Errors are shared between everybody who waits for the same pull, so they are `Clone`.

use crate::digest::{Digest, DigestError, ImageId};
use crate::unpack::UnpackError;
use pod_model::{Failure, FailureReason, Fault};
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An operation on the store that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    #[error("couldn't parse image name {name:?}: {what}")]
    InvalidName { name: String, what: &'static str },
    #[error("failed to pull image {image:?}")]
    Pull { image: String, source: PullError },
    #[error("failed to load images from {from}")]
    Load { from: String, source: PullError },
    #[error("cannot open the image store {root}")]
    Open { root: PathBuf, source: StoreError },
    #[error("cannot remove image {image:?}")]
    Remove { image: String, source: StoreError },
    #[error("cannot pin image {image}")]
    Pin { image: ImageId, source: StoreError },
    #[error("no such image: {0}")]
    NoSuchImage(String),
    #[error("image {image} is in use by a container")]
    InUse { image: ImageId },
    #[error("cannot read {path} of image {image}")]
    ReadFile {
        image: ImageId,
        path: String,
        source: Arc<io::Error>,
    },
}

/// Why an image did not come in, from a registry or from an archive.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullError {
    #[error("the registry did not deliver")]
    Registry(#[from] RegistryError),
    #[error("the manifest {digest} is refused")]
    Manifest {
        digest: Digest,
        source: ManifestError,
    },
    #[error("the configuration {digest} is refused")]
    Config {
        digest: Digest,
        source: ManifestError,
    },
    #[error("layer {digest} is refused")]
    Layer { digest: Digest, source: UnpackError },
    #[error("cannot store the image")]
    Store(#[from] StoreError),
    #[error("the archive is refused: {0}")]
    Archive(String),
    #[error("cannot read the archive")]
    ReadArchive(#[source] Arc<io::Error>),
    #[error("the pull was cancelled")]
    Cancelled,
}

/// What a registry answered, or did not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    #[error("cannot reach {url}")]
    Unreachable {
        url: String,
        source: Arc<dyn Error + Send + Sync>,
    },
    #[error("{url}: {status}{said}")]
    Refused {
        url: String,
        status: Status,
        /// `: CODE: message`, as the registry said it, or nothing.
        said: String,
        retry_after: Option<Duration>,
    },
    #[error("{url}: {what}")]
    Protocol { url: String, what: String },
    #[error("{url}: the transfer broke")]
    Broken {
        url: String,
        source: Arc<dyn Error + Send + Sync>,
    },
    #[error("{url}: no progress for {} s", after.as_secs())]
    Stalled { url: String, after: Duration },
    #[error("{url}: {what}")]
    Lied { url: String, what: String },
    #[error("{url}: the redirect is refused: {what}")]
    Redirect { url: String, what: String },
    #[error("cannot log in to {host}: {what}")]
    Login { host: String, what: String },
    #[error("cannot use the credentials in {path}: {what}")]
    Credentials { path: PathBuf, what: String },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// An HTTP status, in the words that containerd uses for those that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u16);

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            401 => f.write_str("authorization failed (401)"),
            403 => f.write_str("access denied (403)"),
            404 => f.write_str("not found"),
            429 => f.write_str("too many requests (429)"),
            code => match http::StatusCode::from_u16(code)
                .ok()
                .and_then(|status| status.canonical_reason())
            {
                Some(words) => write!(f, "unexpected status {code} {words}"),
                None => write!(f, "unexpected status {code}"),
            },
        }
    }
}

/// A manifest, index or configuration that is not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManifestError {
    #[error("it is not valid JSON")]
    Json(#[source] Arc<serde_json::Error>),
    #[error("it holds a bad digest")]
    Digest(#[from] DigestError),
    #[error("it is {size} bytes, more than the {limit} allowed")]
    TooLarge { size: u64, limit: u64 },
    #[error("no image for platform {wanted}; there are: {offered}")]
    NoPlatform { wanted: String, offered: String },
    #[error("{0}")]
    Bad(String),
}

/// Trouble with the store's own directory.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: Arc<io::Error>,
    },
    #[error("cannot write a record")]
    Record(#[source] Arc<state_file::WriteError>),
    #[error("another process has it open")]
    Locked,
    #[error("a worker thread panicked")]
    Panicked,
}

impl StoreError {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| StoreError::Io {
            what,
            path,
            source: Arc::new(source),
        }
    }
    pub(crate) fn rustix(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |errno| StoreError::Io {
            what,
            path,
            source: Arc::new(errno.into()),
        }
    }
}

impl From<state_file::WriteError> for StoreError {
    fn from(error: state_file::WriteError) -> Self {
        StoreError::Record(Arc::new(error))
    }
}

impl RegistryError {
    /// The same request may be answered differently in a moment.
    pub(crate) fn passes(&self) -> bool {
        match self {
            RegistryError::Unreachable { .. }
            | RegistryError::Broken { .. }
            | RegistryError::Stalled { .. } => true,
            RegistryError::Refused { status, .. } => {
                matches!(status.0, 408 | 425 | 429 | 500..=599)
            }
            _ => false,
        }
    }
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl PullError {
    fn fault(&self) -> Fault {
        match self {
            PullError::Registry(RegistryError::Refused { status, .. })
                if matches!(status.0, 401 | 403 | 404) =>
            {
                Fault::Workload
            }
            PullError::Registry(RegistryError::Login { .. }) => Fault::Workload,
            PullError::Registry(RegistryError::Credentials { .. } | RegistryError::Tls(_)) => {
                Fault::Node
            }
            PullError::Registry(_) => Fault::Cluster,
            PullError::Layer { source, .. } if source.is_of_this_machine() => Fault::Node,
            PullError::Layer { source, .. } if source.is_of_the_transfer() => Fault::Cluster,
            PullError::Store(_) | PullError::ReadArchive(_) | PullError::Cancelled => Fault::Node,
            PullError::Manifest { .. }
            | PullError::Config { .. }
            | PullError::Layer { .. }
            | PullError::Archive(_) => Fault::Workload,
        }
    }

    /// What was fetched completely is worth keeping for the next try: the transfer failed, not the image and not this machine.
    pub(crate) fn keeps_finished_layers(&self) -> bool {
        match self {
            PullError::Registry(error) => !matches!(error, RegistryError::Lied { .. }),
            PullError::Cancelled => true,
            _ => false,
        }
    }
}

impl ImageError {
    /// As a kubelet writes it into the waiting container.
    pub fn reason(&self) -> FailureReason {
        match self {
            ImageError::InvalidName { .. } => FailureReason::InvalidImageName,
            ImageError::ReadFile { .. } | ImageError::NoSuchImage(_) => {
                FailureReason::ImageInspectError
            }
            _ => FailureReason::ErrImagePull,
        }
    }
    pub fn fault(&self) -> Fault {
        match self {
            ImageError::InvalidName { .. } | ImageError::NoSuchImage(_) => Fault::Workload,
            ImageError::Pull { source, .. } | ImageError::Load { source, .. } => source.fault(),
            ImageError::ReadFile { source, .. } if is_of_the_image(source) => Fault::Workload,
            _ => Fault::Node,
        }
    }
    /// The same may succeed later without anybody changing the pod: a kubelet goes on trying all but names that are none.
    pub fn retry(&self) -> bool {
        !matches!(self, ImageError::InvalidName { .. })
    }
    /// At the earliest after this, if the registry asked so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ImageError::Pull {
                source: PullError::Registry(error),
                ..
            } => error.retry_after(),
            _ => None,
        }
    }
    /// The error and everything that caused it, in one line.
    pub fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Foreign errors sometimes print their source themselves.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        message.replace(|c: char| c.is_control(), " ")
    }
    /// What an executor answers with.
    pub fn failure(&self) -> Failure {
        Failure {
            reason: self.reason(),
            message: self.message(),
            fault: self.fault(),
            retry: self.retry(),
            retry_after: self.retry_after(),
        }
    }
}

/// A file of the image was not what was asked for, as opposed to a disk that fails.
fn is_of_the_image(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge
    ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
