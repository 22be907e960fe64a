//! What is wrong with a file, for people: file, line, field, reason.

use located_yaml::Place;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong with the directory or a file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the directory itself.
    pub file: PathBuf,
    /// Line and column, where it is about a place in the text.
    pub at: Option<Place>,
    /// The field, as `spec.containers[0].image`; empty when it is about none.
    pub path: String,
    /// The reason; one line.
    pub message: String,
}

impl Problem {
    pub(crate) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            at: None,
            path: String::new(),
            message: message.into(),
        }
    }
    pub(crate) fn at(file: &Path, at: Place, path: String, message: String) -> Self {
        Self {
            file: file.to_owned(),
            at: (at.line > 0).then_some(at),
            path,
            message,
        }
    }
}

/// `/etc/coracle/manifests/web.yaml:12:5: spec.containers[0].imagee: unknown field`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(at) = self.at {
            write!(f, ":{at}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}
