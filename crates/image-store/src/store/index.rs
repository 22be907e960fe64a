//! What the store holds, in memory: look-ups touch no disk.

use super::layout::Layout;
use super::records::{ImageRecord, LayerMark, NameRecord};
use crate::digest::{Digest, ImageId};
use crate::image::{Image, ImageInfo, ImageSummary};
use crate::image_config::ImageConfig;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What makes two unpacked layers the same: the tar stream; and the layers below, if the stream leaves directories undescribed that
/// those have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LayerKey {
    pub(crate) diff_id: Digest,
    pub(crate) on: Option<Digest>,
}

#[derive(Debug)]
pub(super) struct LayerState {
    pub(super) mark: LayerMark,
    /// Pulls that rely on it before their image is recorded.
    pub(super) leases: usize,
    /// Images that are made of it.
    pub(super) images: usize,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) layers: HashMap<String, LayerState>,
    pub(super) by_key: HashMap<LayerKey, String>,
    pub(super) images: BTreeMap<ImageId, Arc<Image>>,
    /// Layers of each image, lowest first.
    pub(super) layers_of: HashMap<ImageId, Vec<String>>,
    pub(super) names: BTreeMap<String, NameRecord>,
}

impl Index {
    pub(super) fn add_layer(&mut self, id: String, mark: LayerMark) {
        let key = LayerKey {
            diff_id: mark.diff_id.clone(),
            on: mark.on.clone(),
        };
        self.by_key.insert(key, id.clone());
        self.layers.insert(
            id,
            LayerState {
                mark,
                leases: 0,
                images: 0,
            },
        );
    }

    pub(super) fn drop_layer(&mut self, id: &str) -> Option<LayerState> {
        let state = self.layers.remove(id)?;
        self.by_key.retain(|_, other| other != id);
        Some(state)
    }

    /// `None`: a layer is missing, or the configuration is not one.
    pub(super) fn image_of(&self, record: &ImageRecord, layout: &Layout) -> Option<Image> {
        if !record.id.digest().matches(record.config.as_bytes()) {
            return None;
        }
        let config = ImageConfig::parse(record.config.as_bytes(), record.layers.len()).ok()?;
        let mut layers: Vec<PathBuf> = Vec::with_capacity(record.layers.len());
        let mut size_bytes = 0;
        let mut hidden = false;
        for (id, diff_id) in record.layers.iter().zip(&config.diff_ids).rev() {
            let mark = &self.layers.get(id)?.mark;
            if mark.diff_id != *diff_id {
                return None;
            }
            size_bytes += mark.bytes;
            if !hidden {
                layers.push(layout.layer_tree(id));
            }
            // overlayfs does not look for the mark on the root itself: the layers below are left out instead.
            hidden |= mark.opaque_root;
        }
        if layers.is_empty() {
            layers.push(layout.empty());
        }
        Some(Image {
            id: record.id.clone(),
            layers,
            config,
            manifest: record.manifest.clone(),
            size_bytes,
            pinned: record.pinned,
        })
    }

    pub(super) fn add_image(&mut self, image: Image, layers: Vec<String>) {
        let id = image.id.clone();
        if self.images.insert(id.clone(), Arc::new(image)).is_none() {
            for layer in &layers {
                if let Some(state) = self.layers.get_mut(layer) {
                    state.images += 1;
                }
            }
        }
        self.layers_of.insert(id, layers);
    }

    pub(super) fn drop_image(&mut self, id: &ImageId) {
        if self.images.remove(id).is_none() {
            return;
        }
        for layer in self.layers_of.remove(id).unwrap_or_default() {
            if let Some(state) = self.layers.get_mut(&layer) {
                state.images -= 1;
            }
        }
    }

    pub(super) fn names_of(&self, id: &ImageId) -> impl Iterator<Item = &NameRecord> {
        self.names.values().filter(move |name| name.image == *id)
    }

    pub(super) fn info(&self, id: &ImageId, asked: Option<&str>) -> Option<ImageInfo> {
        let image = self.images.get(id)?;
        // The digest of the repository that was asked for, else of any.
        let repository = asked.map(repository_of);
        let digests: Vec<&str> = self
            .names_of(id)
            .map(|record| record.name.as_str())
            .filter(|name| name.contains('@'))
            .collect();
        let repo_digest = digests
            .iter()
            .find(|name| Some(**name) == asked)
            .or_else(|| {
                let target = asked.and_then(|name| self.names.get(name)?.target.clone());
                digests.iter().find(|name| {
                    Some(repository_of(name)) == repository
                        && target
                            .as_ref()
                            .is_some_and(|target| name.ends_with(&target.to_string()))
                })
            })
            .or_else(|| {
                digests
                    .iter()
                    .find(|name| Some(repository_of(name)) == repository)
            })
            .or(digests.first())
            .map_or_else(|| id.to_string(), |name| (*name).to_owned());
        Some(ImageInfo {
            id: id.clone(),
            repo_digest,
            size_bytes: image.size_bytes,
        })
    }

    pub(super) fn summaries(&self) -> Vec<ImageSummary> {
        let mut summaries: BTreeMap<&ImageId, ImageSummary> = self
            .images
            .values()
            .map(|image| {
                let summary = ImageSummary {
                    id: image.id.clone(),
                    tags: Vec::new(),
                    digests: Vec::new(),
                    size_bytes: image.size_bytes,
                    created: image.config.created.clone(),
                    pinned: image.pinned,
                };
                (&image.id, summary)
            })
            .collect();
        for record in self.names.values() {
            if let Some(summary) = summaries.get_mut(&record.image) {
                if record.name.contains('@') {
                    summary.digests.push(record.name.clone());
                } else {
                    summary.tags.push(record.name.clone());
                }
            }
        }
        summaries.into_values().collect()
    }
}

/// `repository:tag` or `repository@digest` without what follows the repository.
pub(super) fn repository_of(name: &str) -> &str {
    if let Some((repository, _)) = name.split_once('@') {
        return repository;
    }
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// The index, shared. The lock is held for moments only, never while the disk is touched.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedIndex(Arc<Mutex<Index>>);

impl SharedIndex {
    pub(super) fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lease on the layer if it is there.
    pub(super) fn lease(&self, key: &LayerKey) -> Option<LayerLease> {
        let mut index = self.lock();
        let id = index.by_key.get(key)?.clone();
        let state = index.layers.get_mut(&id)?;
        state.leases += 1;
        Some(LayerLease {
            id,
            index: self.clone(),
        })
    }
}

/// Keeps a complete layer from being deleted until its image is recorded.
#[derive(Debug)]
pub(crate) struct LayerLease {
    pub(crate) id: String,
    index: SharedIndex,
}

impl Drop for LayerLease {
    fn drop(&mut self) {
        if let Some(state) = self.index.lock().layers.get_mut(&self.id) {
            state.leases -= 1;
        }
    }
}
