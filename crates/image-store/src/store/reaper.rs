//! Deletes trees that nobody can see any more, at the lowest priority: an `rm -r` of a big image must not be felt by a pod's start.

use crate::error::StoreError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Reaper {
    wake: Sender<()>,
}

impl Reaper {
    /// Starts the thread; it ends when the store is closed.
    pub(super) fn start(trash: PathBuf) -> Result<Reaper, StoreError> {
        let (wake, woken) = channel();
        std::thread::Builder::new()
            .name("image-reaper".into())
            .spawn({
                let trash = trash.clone();
                move || run(&trash, &woken)
            })
            .map_err(StoreError::io("start the thread that empties", trash))?;
        Ok(Reaper { wake })
    }

    /// Something new is in the trash.
    pub(super) fn wake(&self) {
        // The thread ends only when this half is dropped.
        let _ = self.wake.send(());
    }
}

fn run(trash: &Path, woken: &Receiver<()>) {
    // On Linux this is the priority of the calling thread alone. Without it the work is done all the same.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "the image reaper runs at normal priority");
    }
    let mut patience = None;
    loop {
        let go_on = match patience {
            None => woken.recv().is_ok(),
            Some(wait) => !matches!(
                woken.recv_timeout(wait),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
            ),
        };
        if !go_on {
            return;
        }
        // An aborted unpack may still be writing: what does not go now goes later.
        patience = (!empty(trash)).then_some(Duration::from_secs(1));
    }
}

/// Whether everything is gone.
fn empty(trash: &Path) -> bool {
    let Ok(listing) = fs::read_dir(trash) else {
        return false;
    };
    let mut all = true;
    for entry in listing.flatten() {
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        if let Err(error) = removed {
            tracing::debug!(path = %path.display(), %error, "a deleted layer is not gone yet");
            all = false;
        }
    }
    all
}
