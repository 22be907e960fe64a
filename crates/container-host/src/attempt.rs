//! The directories of one attempt: made before the launch, found after a restart, removed with the attempt.

use crate::paths::HostPaths;
use keeper::protocol::Process;
use launch_plan::Planned;
use pod_model::{ContainerKey, PodUid};
use serde::{Deserialize, Serialize};
use state_file::Durability;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// Version of the `launch` file: the JSON of [`Launch`].
const LAUNCH_VERSION: u32 = 1;

/// What is remembered of a launch for as long as the attempt is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    pub planned: Planned,
    /// The image it was launched from: its stop signal is looked up there.
    pub image_id: String,
    /// The link for log shippers that points at its log.
    pub log_link: PathBuf,
}

fn directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes everything that the keeper expects to find, and takes away what a start that was cut off has left of the same attempt.
pub(crate) fn make(paths: &HostPaths, launch: &Launch) -> io::Result<()> {
    let description = &launch.planned.description;
    let key = &description.container;
    let writable = paths.writable_of(key);
    if fs::exists(&writable)? {
        fs::remove_dir_all(&writable)?;
    }
    directory(&paths.pod_layers(&key.pod), 0o700)?;
    directory(&writable, 0o700)?;
    // overlayfs shows the mode of `upper` as the mode of `/`
    directory(&writable.join("upper"), 0o755)?;
    directory(&writable.join("work"), 0o700)?;
    keeper::exit_slot::prepare(&description.files.exit).map_err(io::Error::other)?;

    let run = paths.run_of(key);
    if fs::exists(&run)? {
        fs::remove_dir_all(&run)?;
    }
    directory(&run, 0o700)?;
    if let Some(logs) = description.files.log.parent() {
        directory(logs, 0o755)?;
    }
    let bytes = serde_json::to_vec(launch).map_err(io::Error::other)?;
    state_file::write(
        &run.join("launch"),
        LAUNCH_VERSION,
        &bytes,
        Durability::Cache,
    )
    .map_err(io::Error::other)
}

/// Points `/var/log/containers/…` at the attempt's log, as log shippers expect.
pub(crate) fn link_log(paths: &HostPaths, link: &Path, log: &Path) -> io::Result<()> {
    directory(&paths.log_links(), 0o755)?;
    match symlink(log, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// What an earlier agent has left of an attempt.
pub(crate) struct Found {
    pub(crate) key: ContainerKey,
    /// `None`: cut off before the launch, or unreadable.
    pub(crate) launch: Option<Launch>,
    /// Written by the keeper right after the clone.
    pub(crate) process: Option<Process>,
    /// That process got as far as the container's program.
    pub(crate) has_executed: bool,
}

impl Found {
    /// A keeper has started its program, so that another keeper can adopt it.
    pub(crate) fn was_launched(&self) -> bool {
        self.process.is_some() && self.has_executed
    }
}

/// All attempts that have a run directory.
pub(crate) fn find_all(paths: &HostPaths) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for pod in list(&paths.attempts())? {
        let Ok(uid) = PodUid::new(&pod) else { continue };
        for dir in list(&paths.pod_attempts(&uid))? {
            let Some(key) = ContainerKey::from_dir_name(&uid, &dir) else {
                continue;
            };
            let run = paths.run_of(&key);
            let launch = match state_file::read(&run.join("launch")) {
                Ok(Some(stored)) if stored.version == LAUNCH_VERSION => {
                    serde_json::from_slice(&stored.payload).ok()
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::warn!(container = %key, error = &error as &dyn std::error::Error, "launch file is not readable");
                    None
                }
            };
            let process = keeper::pid_file::read(&run);
            let has_executed = keeper::pid_file::has_executed(&run);
            found.push(Found {
                key,
                launch,
                process,
                has_executed,
            });
        }
    }
    Ok(found)
}

pub(crate) fn list(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes the run directory now and the root filesystem's upper layer soon: a tree may be large, so it is renamed away and deleted by
/// `trash`. Missing parts are fine.
pub(crate) fn remove(paths: &HostPaths, key: &ContainerKey) -> io::Result<()> {
    let run = paths.run_of(key);
    gone(fs::remove_dir_all(&run))?;
    let _ = fs::remove_dir(paths.pod_attempts(&key.pod));
    let writable = paths.writable_of(key);
    if fs::exists(&writable)? {
        directory(&paths.trash(), 0o700)?;
        fs::rename(
            &writable,
            paths
                .trash()
                .join(format!("{}.{}", key.pod, key.dir_name())),
        )?;
    }
    let _ = fs::remove_dir(paths.pod_layers(&key.pod));
    Ok(())
}

pub(crate) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
