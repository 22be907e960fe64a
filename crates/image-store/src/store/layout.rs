//! The paths below the store's root.

use crate::digest::{Digest, ImageId};
use crate::error::StoreError;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    /// Numbers for private directories.
    next: AtomicU64,
}

impl Layout {
    /// Makes what is missing. Everything is closed to other users: file capabilities and set-id programs of strangers lie here.
    pub(super) fn create(root: &Path) -> Result<Layout, StoreError> {
        let layout = Layout {
            root: root.to_owned(),
            next: AtomicU64::new(0),
        };
        for path in [
            root.to_owned(),
            layout.ingest(),
            layout.layers(),
            layout.images(),
            layout.names(),
            layout.trash(),
        ] {
            make(&path, 0o700)?;
        }
        make(&layout.empty(), 0o755)?;
        Ok(layout)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
    pub(super) fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }
    pub(super) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }
    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }
    pub(super) fn names(&self) -> PathBuf {
        self.root.join("names")
    }
    pub(super) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }
    pub(super) fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }
    pub(super) fn layer(&self, id: &str) -> PathBuf {
        self.layers().join(id)
    }
    pub(super) fn layer_tree(&self, id: &str) -> PathBuf {
        self.layer(id).join("fs")
    }
    pub(super) fn layer_mark(&self, id: &str) -> PathBuf {
        self.layer(id).join("mark")
    }
    pub(super) fn image(&self, id: &ImageId) -> PathBuf {
        self.images().join(id.digest().hex())
    }
    /// Names hold slashes and may be long: their file is named by their digest.
    pub(super) fn name(&self, name: &str) -> PathBuf {
        self.names().join(&Digest::of(name.as_bytes()).hex()[..32])
    }
    /// A path that nobody uses, below `ingest` or `trash`.
    pub(super) fn fresh(&self, directory: &Path) -> PathBuf {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(number.to_string());
            if !path.exists() {
                return path;
            }
        }
    }
}

pub(super) fn make(path: &Path, mode: u32) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(StoreError::io("make directory", path))
}

/// Makes renames and removals in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::io("sync directory", path))
}

pub(super) fn remove_file(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
