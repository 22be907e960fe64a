//! From a private directory to a layer.

use super::index::{LayerKey, LayerLease};
use super::layout::{make, sync_directory};
use super::open::{Store, discard};
use super::records::{LayerMark, write};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::merged::Merged;
use crate::unpack::Unpacked;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// A layer being unpacked. Dropped, it goes to the trash.
#[derive(Debug)]
pub(crate) struct Staged {
    store: Arc<Store>,
    directory: Option<PathBuf>,
    /// Opened before the first byte was written, so that `syncfs` reports every error since.
    root: OwnedFd,
}

impl Staged {
    /// Blocking.
    pub(crate) fn create(store: &Arc<Store>) -> Result<Staged, StoreError> {
        let directory = store.layout.fresh(&store.layout.ingest());
        make(&directory, 0o700)?;
        let tree = directory.join("fs");
        make(&tree, 0o755)?;
        let root = rustix::fs::open(
            &tree,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(StoreError::rustix("open", &tree))?;
        // The umask of this process may have been wider than the mode wanted.
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))
            .map_err(StoreError::rustix("change the mode of", &tree))?;
        Ok(Staged {
            store: Arc::clone(store),
            directory: Some(directory),
            root,
        })
    }

    pub(crate) fn root(&self) -> Result<OwnedFd, StoreError> {
        self.root
            .try_clone()
            .map_err(StoreError::io("duplicate a descriptor of", "ingest"))
    }

    /// Gives directories that the archive did not describe the attributes they have in the layers below (uppermost first). Whether
    /// any were found: then this tree fits onto these layers only.
    pub(crate) fn inherit(
        &self,
        implied: &[Vec<u8>],
        below: Vec<PathBuf>,
    ) -> Result<bool, StoreError> {
        let merged = Merged::new(below);
        let mut any = false;
        for path in implied {
            let components: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
            let shown = || PathBuf::from(String::from_utf8_lossy(path).into_owned());
            let Some(original) = merged
                .directory(&components)
                .map_err(StoreError::io("look below for", shown()))?
            else {
                continue;
            };
            any = true;
            self.copy_attributes(&original, path)
                .map_err(StoreError::rustix("change the attributes of", shown()))?;
        }
        Ok(any)
    }

    fn copy_attributes(&self, original: &OwnedFd, path: &[u8]) -> rustix::io::Result<()> {
        let stat = rustix::fs::fstat(original)?;
        let copy = rustix::fs::openat2(
            &self.root,
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        )?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::fchown(&copy, Some(uid), Some(gid))?;
        rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        let time = Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or_default(),
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(&copy, c".", &times, AtFlags::empty())
    }

    /// Makes it a layer: everything on disk, then in its place, then marked. If somebody was quicker, theirs counts. Blocking.
    pub(crate) fn commit(
        mut self,
        key: LayerKey,
        unpacked: &Unpacked,
    ) -> Result<LayerLease, StoreError> {
        let store = Arc::clone(&self.store);
        let layout = &store.layout;
        let Some(from) = self.directory.clone() else {
            return Err(StoreError::Panicked);
        };
        rustix::fs::syncfs(&self.root).map_err(StoreError::rustix("write to disk", &from))?;
        let mark = LayerMark {
            diff_id: key.diff_id.clone(),
            on: key.on.clone(),
            bytes: unpacked.extracted.bytes,
            entries: unpacked.extracted.entries,
            compressed_bytes: unpacked.compressed_bytes,
            opaque_root: unpacked.extracted.opaque_root,
        };
        let writer = store.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = store.index.lease(&key) {
            return Ok(lease);
        }
        let id = store.free_id(&key.diff_id);
        let to = layout.layer(&id);
        fs::rename(&from, &to).map_err(StoreError::io("move into place", &to))?;
        self.directory = None;
        let marked =
            sync_directory(&layout.layers()).and_then(|()| write(&layout.layer_mark(&id), &mark));
        if let Err(error) = marked {
            // Unmarked, it does not exist; out of the way with it.
            discard(layout, &to)?;
            store.reaper.wake();
            return Err(error);
        }
        store.index.lock().add_layer(id, mark);
        let lease = store.index.lease(&key).ok_or(StoreError::Panicked);
        drop(writer);
        lease
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take() {
            if let Err(error) = discard(&self.store.layout, &directory) {
                tracing::warn!(%error, "an unfinished layer could not be put away; the next start does it");
            }
            self.store.reaper.wake();
        }
    }
}

impl Store {
    /// A file on the store's disk that nobody can find: it is gone with its descriptor. Blocking.
    pub(crate) fn nameless_file(&self) -> Result<fs::File, StoreError> {
        let path = self.layout.fresh(&self.layout.ingest());
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(StoreError::io("make", &path))?;
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        Ok(file)
    }

    /// A short name that no layer has. Mostly the beginning of the digest; two that begin alike get different ones.
    fn free_id(&self, diff_id: &Digest) -> String {
        let short = diff_id.short();
        let mut id = short.to_owned();
        let mut number = 1;
        while self.layout.layer(&id).exists() {
            number += 1;
            id = format!("{short}-{number}");
        }
        id
    }
}
