//! Termination messages: a file of each attempt that its program may write, read when the program has ended.
//!
//! ```text
//!  <root>/pods/<uid>/files/termination-<container>.<attempt>   made before the launch, gone with the attempt
//! ```
//!
//! The file outlives the agent, so an agent that finds an exit later reads the same. Lengths and policies are the kubelet's
//! (`getTerminationMessage` in `pkg/kubelet/kuberuntime/kuberuntime_container.go`).

use super::parts::Parts;
use container_logs::{Progress, ReadOptions, Reader};
use pod_model::{ContainerKey, ExitRecord, Observed, ObservedState};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A kubelet's `MaxContainerTerminationMessageLength`.
const LONGEST: u64 = 4096;
/// Its `MaxContainerTerminationMessageLogLength` and `…LogLines`.
const LONGEST_OF_LOG: usize = 2048;
const LINES_OF_LOG: u64 = 80;
/// How long the end of a log is waited for.
const LOG_WAIT: Duration = Duration::from_secs(1);

fn file(parts: &Parts, key: &ContainerKey) -> PathBuf {
    let pod = parts.paths.root.join("pods").join(key.pod.as_str());
    pod.join("files")
        .join(format!("termination-{}", key.dir_name()))
}

/// An empty file that any user of the container may write, whatever an earlier start of the attempt left there.
pub(super) fn make(parts: &Parts, key: &ContainerKey) -> io::Result<OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let all = Mode::from_raw_mode(0o666);
    let file = rustix::fs::open(file(parts, key), flags, all)?;
    // whatever our umask says
    rustix::fs::fchmod(&file, all)?;
    Ok(file)
}

/// The attempt is removed.
pub(super) fn remove(parts: &Parts, key: &ContainerKey) {
    match std::fs::remove_file(file(parts, key)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(container = %key, %error, "a termination message stays until its pod goes");
        }
        _ => {}
    }
}

/// What the attempt that ended so has left.
pub(super) async fn of(
    parts: &Arc<Parts>,
    key: &ContainerKey,
    exit: &ExitRecord,
) -> Option<String> {
    let file = file(parts, key);
    let read = tokio::task::spawn_blocking(move || tail(&file));
    match read.await.unwrap_or_else(|e| Err(io::Error::other(e))) {
        Ok(words) if !words.is_empty() => return Some(text(&words)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Some(format!("Error on reading termination log: {error}"));
        }
        _ => {}
    }
    let view = parts.board.pod(&key.pod)?;
    let (_, spec) = view.pod.container(&key.name)?;
    let policy = spec.termination_message_policy.as_deref();
    if exit.code == 0 || policy != Some("FallbackToLogsOnError") {
        return None;
    }
    parts.host.log_is_complete(key, LOG_WAIT).await;
    let log = parts.paths.log_of(view.pod.name(), key);
    let read = tokio::task::spawn_blocking(move || end_of_log(&log));
    let words = match read.await.ok()? {
        Ok(lines) => text(&lines),
        Err(error) => format!(
            "Error on reading termination message from logs: {}",
            super::outcome::chain(&error)
        ),
    };
    Some(words).filter(|words| !words.is_empty())
}

/// Of everything that a look shows to have ended.
pub(super) async fn of_all(parts: &Arc<Parts>, observed: &mut Observed) {
    for (key, container) in &mut observed.containers {
        if let ObservedState::Exited(exit) = &container.state {
            container.last_words = of(parts, key, exit).await;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The last bytes of it.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    let mut words = Vec::new();
    file.take(LONGEST).read_to_end(&mut words)?;
    Ok(words)
}

fn end_of_log(path: &Path) -> Result<Vec<u8>, container_logs::ReadError> {
    let options = ReadOptions {
        tail_lines: Some(LINES_OF_LOG),
        ..ReadOptions::default()
    };
    let mut reader = match Reader::open(path, options) {
        // it said nothing
        Err(container_logs::ReadError::Missing { .. }) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut lines = Vec::new();
    loop {
        let progress = reader.read(&mut lines)?;
        let too_many = lines.len().saturating_sub(LONGEST_OF_LOG);
        lines.drain(..too_many);
        if progress != Progress::More {
            return Ok(lines);
        }
    }
}
