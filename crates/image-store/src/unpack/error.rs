//! Why a layer was not unpacked.

use crate::digest::Digest;
use std::io;
use std::sync::Arc;

#[derive(Debug, Clone, thiserror::Error)]
pub enum UnpackError {
    #[error("entry {entry:?} {what}")]
    Entry { entry: String, what: &'static str },
    #[error("it is not a valid tar archive: {what} (at byte {at})")]
    Archive { at: u64, what: &'static str },
    #[error("it ends in the middle of an entry (at byte {at})")]
    Truncated { at: u64 },
    #[error("{0}")]
    Budget(String),
    #[error("it cannot be decompressed")]
    Decompress(#[source] Arc<io::Error>),
    #[error("its {what} is {got}, not {expected}")]
    WrongDigest {
        what: &'static str,
        expected: Digest,
        got: Digest,
    },
    #[error("it is {got} bytes long, not {expected}")]
    WrongSize { expected: u64, got: u64 },
    #[error("cannot {what} {entry:?}")]
    Io {
        what: &'static str,
        entry: String,
        source: Arc<io::Error>,
    },
    #[error("the transfer ended early")]
    Aborted,
    #[error("the unpacking thread panicked")]
    Panicked,
}

impl UnpackError {
    /// The disk is full or failing, not the archive bad.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        matches!(self, UnpackError::Io { .. } | UnpackError::Panicked)
    }
    /// The bytes are not those that the manifest names: another source, or another try, may have the right ones.
    pub(crate) fn is_of_the_transfer(&self) -> bool {
        matches!(
            self,
            UnpackError::WrongDigest { what: "digest", .. }
                | UnpackError::WrongSize { .. }
                | UnpackError::Aborted
        )
    }
}

/// Carries an [`UnpackError`] through `std::io::Read`.
pub(crate) fn through_io(error: UnpackError) -> io::Error {
    io::Error::other(error)
}

/// Takes one out again, or makes one with `otherwise`.
pub(crate) fn from_io(
    error: io::Error,
    otherwise: impl FnOnce(Arc<io::Error>) -> UnpackError,
) -> UnpackError {
    match error.downcast::<UnpackError>() {
        Ok(error) => error,
        Err(error) => otherwise(Arc::new(error)),
    }
}

/// A stranger's bytes as text for one line of a message.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned();
    if bytes.len() > LONGEST {
        text.push('…');
    }
    text
}
