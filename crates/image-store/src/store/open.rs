//! Opening a store: taking the lock, reading what is there, throwing away what never became complete.
//!
//! This is the only recovery there is, and it runs at every start.

use super::index::{Index, LayerKey, LayerLease, SharedIndex};
use super::layout::{Layout, remove_file};
use super::reaper::Reaper;
use super::records::{ImageRecord, LayerMark, NameRecord, read};
use crate::digest::ImageId;
use crate::error::StoreError;
use crate::image::{Image, ImageInfo, ImageSummary};
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A complete layer that no image uses is kept this long for the pull that may resume.
const KEEP_UNUSED: Duration = Duration::from_secs(24 * 3600);

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(super) layout: Layout,
    pub(super) index: SharedIndex,
    /// Held by whoever changes records, so that names, images and layers change in order.
    pub(super) writer: Mutex<()>,
    pub(super) reaper: Reaper,
    /// Its lock goes with it.
    _lock: File,
}

impl Store {
    /// Blocking.
    pub(crate) fn open(root: &Path) -> Result<Store, StoreError> {
        let layout = Layout::create(root)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(layout.lock())
            .map_err(StoreError::io("open", layout.lock()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked),
            Err(fs::TryLockError::Error(error)) => {
                return Err(StoreError::io("lock", layout.lock())(error));
            }
        }
        let reaper = Reaper::start(layout.trash())?;
        for unfinished in entries(&layout.ingest())? {
            discard(&layout, &layout.ingest().join(unfinished))?;
        }
        let mut index = Index::default();
        read_layers(&layout, &mut index)?;
        read_images(&layout, &mut index)?;
        read_names(&layout, &mut index)?;
        forget_unused(&layout, &mut index)?;
        let index_now = SharedIndex::default();
        *index_now.lock() = index;
        reaper.wake();
        Ok(Store {
            layout,
            index: index_now,
            writer: Mutex::new(()),
            reaper,
            _lock: lock,
        })
    }

    pub(crate) fn info(&self, id: &ImageId, name: Option<&str>) -> Option<ImageInfo> {
        self.index.lock().info(id, name)
    }

    /// The image that a name means.
    pub(crate) fn by_name(&self, name: &str) -> Option<ImageInfo> {
        let index = self.index.lock();
        let id = &index.names.get(name)?.image;
        index.info(id, Some(name))
    }

    /// The image whose id begins with `hex`, if there is exactly one.
    pub(crate) fn by_id_prefix(&self, hex: &str) -> Option<ImageId> {
        let index = self.index.lock();
        let mut fitting = index
            .images
            .keys()
            .filter(|id| id.digest().hex().starts_with(hex));
        match (fitting.next(), fitting.next()) {
            (Some(id), None) => Some(id.clone()),
            _ => None,
        }
    }

    pub(crate) fn image(&self, id: &ImageId) -> Option<Arc<Image>> {
        self.index.lock().images.get(id).cloned()
    }

    pub(crate) fn list(&self) -> Vec<ImageSummary> {
        self.index.lock().summaries()
    }

    /// Bytes of all layers that are complete.
    pub(crate) fn bytes(&self) -> u64 {
        let index = self.index.lock();
        index.layers.values().map(|layer| layer.mark.bytes).sum()
    }

    pub(crate) fn lease(&self, key: &LayerKey) -> Option<LayerLease> {
        self.index.lease(key)
    }

    /// Where the tree of a layer lies.
    pub(crate) fn tree(&self, lease: &LayerLease) -> std::path::PathBuf {
        self.layout.layer_tree(&lease.id)
    }
}

/// Names in a directory; what is not UTF-8 is not ours.
fn entries(directory: &Path) -> Result<Vec<String>, StoreError> {
    let listing = fs::read_dir(directory).map_err(StoreError::io("read directory", directory))?;
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(StoreError::io("read directory", directory))?;
        match entry.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => {
                tracing::warn!(directory = %directory.display(), ?name, "a strange file in the image store is left alone");
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Out of sight at once; deleted later.
pub(super) fn discard(layout: &Layout, path: &Path) -> Result<(), StoreError> {
    let trash = layout.fresh(&layout.trash());
    fs::rename(path, &trash).map_err(StoreError::io("move to the trash", path))
}

fn read_layers(layout: &Layout, index: &mut Index) -> Result<(), StoreError> {
    for id in entries(&layout.layers())? {
        let mark: Option<LayerMark> = read(&layout.layer_mark(&id));
        match mark {
            Some(mark) if layout.layer_tree(&id).is_dir() => index.add_layer(id, mark),
            _ => {
                tracing::info!(layer = %id, "a layer that never became complete is removed");
                discard(layout, &layout.layer(&id))?;
            }
        }
    }
    Ok(())
}

/// Files of records; those being written or put aside have an extension.
fn records(directory: &Path) -> Result<Vec<std::path::PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for name in entries(directory)? {
        let path = directory.join(&name);
        if name.ends_with(".tmp") {
            remove_file(&path)?;
        } else if !name.contains('.') {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn read_images(layout: &Layout, index: &mut Index) -> Result<(), StoreError> {
    for path in records(&layout.images())? {
        let Some(record) = read::<ImageRecord>(&path) else {
            continue;
        };
        match index.image_of(&record, layout) {
            Some(image) if layout.image(&record.id) == path => {
                index.add_image(image, record.layers);
            }
            _ => {
                tracing::warn!(image = %record.id, "an image is not complete any more and is removed");
                remove_file(&path)?;
            }
        }
    }
    Ok(())
}

fn read_names(layout: &Layout, index: &mut Index) -> Result<(), StoreError> {
    for path in records(&layout.names())? {
        let Some(record) = read::<NameRecord>(&path) else {
            continue;
        };
        if index.images.contains_key(&record.image) && layout.name(&record.name) == path {
            index.names.insert(record.name.clone(), record);
        } else {
            tracing::info!(name = %record.name, "a name of an image that is gone is removed");
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn forget_unused(layout: &Layout, index: &mut Index) -> Result<(), StoreError> {
    let unused: Vec<String> = index
        .layers
        .iter()
        .filter(|(_, state)| state.images == 0)
        .map(|(id, _)| id.clone())
        .collect();
    for id in unused {
        let age = fs::metadata(layout.layer_mark(&id))
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age > KEEP_UNUSED) {
            index.drop_layer(&id);
            discard(layout, &layout.layer(&id))?;
        }
    }
    Ok(())
}
