//! From files and flags to the configuration.

use crate::mistake::{ConfigError, Mistake};
use crate::settings::{NodeConfig, Settings};
use crate::{coracle_file, kubelet_file};
use located_yaml::Node;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// No configuration file is longer.
const MAX_BYTES: u64 = 1 << 20;

/// The files to read; none of them has to be given, each that is given has to be there.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `coracle.yaml`.
    pub coracle: Option<PathBuf>,
    /// A `KubeletConfiguration`.
    pub kubelet: Option<PathBuf>,
    /// A directory of `*.conf`, each a part of a `KubeletConfiguration`; later names win.
    pub kubelet_drop_ins: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: NodeConfig,
    /// For people, one line each.
    pub warnings: Vec<String>,
}

/// Reads the files and lays the flags over them.
///
/// # Errors
/// A file that cannot be read, or every mistake in all of them.
pub fn load(files: &Files, flags: Settings) -> Result<Loaded, ConfigError> {
    let mut mistakes = Vec::new();
    let mut warnings = Vec::new();
    let mut settings = Settings::default();
    if let Some(file) = &files.coracle {
        let mut said = Settings::default();
        if let Some(document) = document(file, &mut mistakes)? {
            coracle_file::read(&document, file, &mut said, &mut mistakes);
        }
        settings = said.or(settings);
    }
    let drop_ins = match &files.kubelet_drop_ins {
        Some(directory) => drop_ins(directory)?,
        None => Vec::new(),
    };
    let mut kubelet = kubelet_file::Reading::default();
    for file in files.kubelet.iter().chain(&drop_ins) {
        if let Some(document) = document(file, &mut mistakes)? {
            kubelet.take(&document, file, &mut mistakes);
        }
    }
    warnings.extend(kubelet.warning());
    settings = kubelet.finish(&mut mistakes).or(settings);
    if !mistakes.is_empty() {
        return Err(ConfigError::Mistakes(mistakes));
    }
    let config = flags.or(settings).or_defaults();
    Ok(Loaded { config, warnings })
}

/// The one document of a file; `None` of one that says nothing.
fn document(file: &Path, mistakes: &mut Vec<Mistake>) -> Result<Option<Node>, ConfigError> {
    let read = |source| ConfigError::Read {
        path: file.to_owned(),
        source,
    };
    let mut say = |at, message: String| {
        mistakes.push(Mistake {
            file: file.to_owned(),
            at,
            key: String::new(),
            message,
        });
        Ok(None)
    };
    let mut bytes = Vec::new();
    let open = File::open(file).map_err(read)?;
    open.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > MAX_BYTES {
        return say(None, "is longer than 1 MiB".to_owned());
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return say(None, "is not UTF-8 text".to_owned());
    };
    match located_yaml::read(&text) {
        Err(error) => say(Some(error.at), error.message),
        Ok(documents) => match <[Node; 1]>::try_from(documents) {
            Ok([document]) => Ok(Some(document)),
            Err(documents) => match documents.get(1) {
                Some(second) => say(Some(second.at), "has more than one document".to_owned()),
                None => Ok(None),
            },
        },
    }
}

/// The `*.conf` files of a drop-in directory by name, as a kubelet takes them. Subdirectories are walked too, depth first.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let list = |source| ConfigError::List {
        path: directory.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(list)? {
        let entry = entry.map_err(list)?;
        let path = entry.path();
        // Not through links: they may lead in a circle.
        if entry.file_type().map_err(list)?.is_dir() {
            found.extend(drop_ins(&path)?);
        } else if path.extension().is_some_and(|e| e == "conf") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
