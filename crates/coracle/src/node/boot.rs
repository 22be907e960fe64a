//! What has to be true before anything else starts: we are alone on these directories, and nothing in them is of an earlier boot.

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const A_MOMENT: Duration = Duration::from_secs(1);

/// Held for the life of the agent; the kernel lets go of it when the agent dies, however it dies.
#[derive(Debug)]
pub(crate) struct Alone {
    _locks: Vec<OwnedFd>,
}

/// Makes the directories and locks them.
///
/// # Errors
/// When another agent has one of them.
pub(crate) fn lock(directories: &[&Path]) -> Result<Alone> {
    let mut locks = Vec::new();
    for directory in directories {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("cannot make directory {}", directory.display()))?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot set the mode of {}", directory.display()))?;
        let path = directory.join("agent.lock");
        let file = rustix::fs::open(
            &path,
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )
        .with_context(|| format!("cannot open {}", path.display()))?;
        match lock_soon(&file) {
            Ok(()) => locks.push(file),
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(
                "another coracle runs on {}: end it first, or choose another directory (--run-dir, --root)",
                directory.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
    Ok(Alone { _locks: locks })
}

/// Of an agent that is killed while it starts a program, the half-made child holds the lock until it executes: a moment, and no agent.
fn lock_soon(file: &OwnedFd) -> rustix::io::Result<()> {
    let begin = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < A_MOMENT => {
                std::thread::sleep(A_MOMENT / 50);
            }
            other => return other,
        }
    }
}

/// Whether the machine was booted since the run directory was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boot {
    Same,
    /// The run directory has been emptied: nothing that it spoke of exists any more.
    New,
}

/// Compares the kernel's boot id with the one in the run directory. Of an earlier boot's files only the lock stays, which is ours.
///
/// # Errors
/// When the run directory cannot be read or emptied.
pub(crate) fn notice_boot(run: &Path) -> Result<Boot> {
    let current =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
    let mark = run.join("boot_id");
    if fs::read_to_string(&mark).is_ok_and(|seen| seen == current) {
        return Ok(Boot::Same);
    }
    for entry in fs::read_dir(run).with_context(|| format!("cannot list {}", run.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "agent.lock") {
            continue;
        }
        remove(&path)
            .with_context(|| format!("cannot remove {} of an earlier boot", path.display()))?;
    }
    fs::write(&mark, current).with_context(|| format!("cannot write {}", mark.display()))?;
    Ok(Boot::New)
}

fn remove(path: &PathBuf) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// After a boot the upper layers of containers are dropped: they are mounted `volatile`, so what a power cut left of them is not to be
/// believed. Their exit slots go with them; what they told is in the records.
pub(crate) fn drop_container_layers(root: &Path) -> Result<()> {
    let pods = root.join("pods");
    let Ok(entries) = fs::read_dir(&pods) else {
        return Ok(());
    };
    for entry in entries {
        let containers = entry?.path().join("containers");
        if containers.exists() {
            fs::remove_dir_all(&containers)
                .with_context(|| format!("cannot remove {}", containers.display()))?;
        }
    }
    Ok(())
}
