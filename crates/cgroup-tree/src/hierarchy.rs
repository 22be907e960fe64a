//! A mounted hierarchy, and whether cgroup2 serves.

use crate::file;
use crate::mounts::{self, V2_CONTROLLERS};
use std::path::{Path, PathBuf};

/// One mounted hierarchy that is used: on v2 the only one.
#[derive(Debug, Clone)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// The mount joined with `--cgroup-root`.
    pub(crate) base: PathBuf,
    /// Those that count, of v1 or v2, that it has.
    pub(crate) controllers: Vec<&'static str>,
}

impl Hierarchy {
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }
}

/// The v2 hierarchy, or what it lacks. The controllers that count are those that reach the nearest existing ancestor of the root.
pub(crate) fn v2_hierarchy(mount: &Path, root: &str) -> Result<Hierarchy, String> {
    let base = mounts::below(mount, root);
    let there = base
        .ancestors()
        .find(|p| p.is_dir() || *p == mount)
        .unwrap_or(mount);
    // an existing root may not have been handed its controllers yet: what the mount has can be handed down
    let has = |directory: &Path| {
        file::read(directory, "cgroup.controllers").map(|text| {
            V2_CONTROLLERS
                .into_iter()
                .filter(|c| text.split_whitespace().any(|w| w == *c))
                .collect::<Vec<_>>()
        })
    };
    let controllers = match has(there) {
        Ok(here) if here.len() == V2_CONTROLLERS.len() => here,
        _ => has(mount).map_err(|e| e.to_string())?,
    };
    let missing: Vec<_> = V2_CONTROLLERS
        .into_iter()
        .filter(|c| !controllers.contains(c))
        .collect();
    if missing.is_empty() {
        Ok(Hierarchy {
            mount: mount.to_owned(),
            base,
            controllers,
        })
    } else {
        Err(format!(
            "the cgroup2 tree {} lacks {}",
            mount.display(),
            missing.join(", ")
        ))
    }
}
