//! What is wrong with the configuration, for people.

use located_yaml::Place;
use std::fmt;
use std::path::PathBuf;

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub file: PathBuf,
    pub at: Option<Place>,
    /// The key, as `registries.mirrors`; empty when it is about none.
    pub key: String,
    pub message: String,
}

/// `/etc/coracle/coracle.yaml:3:1: runDirr: unknown key; did you mean "runDir"?`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(at) = self.at {
            write!(f, ":{at}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read the configuration file {path:?}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("list the drop-in directory {path:?}")]
    List {
        path: PathBuf,
        source: std::io::Error,
    },
    /// At least one; a line each.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Mistake>),
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}
