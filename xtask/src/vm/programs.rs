//! Test programs as cargo built them, and the shared libraries that a program names.

use crate::run::{cargo, output, program};
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(super) struct Suite {
    /// `package` or `package-it`.
    pub(super) name: String,
    pub(super) program: PathBuf,
}

/// The test programs of `packages`. Asked for as part of the whole workspace, so that no dependency is built with other features
/// than for `cargo test --workspace`.
pub(super) fn built(packages: &[&str]) -> anyhow::Result<Vec<Suite>> {
    let text = output(cargo().args([
        "test",
        "--workspace",
        "--no-run",
        "--quiet",
        "--message-format=json",
    ]))?;
    let mut suites = Vec::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).context("cargo's message")?;
        let Some(executable) = message["executable"].as_str() else {
            continue;
        };
        let target = &message["target"];
        let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
        let text = std::fs::read_to_string(manifest).unwrap_or_default();
        let package = packages
            .iter()
            .find(|name| text.contains(&format!("\nname = \"{name}\"")));
        let (Some(package), true) = (package, message["profile"]["test"] == true) else {
            continue;
        };
        let name = if target["kind"][0] == "test" {
            format!("{package}-{}", target["name"].as_str().unwrap_or_default())
        } else {
            (*package).to_owned()
        };
        suites.push(Suite {
            name,
            program: PathBuf::from(executable),
        });
    }
    Ok(suites)
}

/// The files that the loader maps for `program`, itself left out; none for a static one.
pub(super) fn libraries(file: &Path) -> BTreeSet<PathBuf> {
    // ldd fails for a static program.
    let text = output(program("ldd").arg(file)).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}
