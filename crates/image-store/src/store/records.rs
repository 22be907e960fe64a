//! The small files: marks of layers, images, names. JSON inside the workspace's state-file format.

use crate::digest::{Digest, ImageId};
use crate::error::StoreError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use state_file::Durability;
use std::path::Path;

const VERSION: u32 = 1;

/// The mark of a complete layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerMark {
    pub(crate) diff_id: Digest,
    /// The chain of layers below it, where it depends on them; see [`super::LayerKey`].
    pub(crate) on: Option<Digest>,
    /// Bytes of its files.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) compressed_bytes: u64,
    /// It hides all layers below it.
    pub(crate) opaque_root: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    pub(super) id: ImageId,
    /// The bytes that the id is the digest of.
    pub(super) config: String,
    pub(super) manifest: Option<Digest>,
    /// Lowest first.
    pub(super) layers: Vec<String>,
    pub(super) pinned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameRecord {
    pub(super) name: String,
    pub(super) image: ImageId,
    /// What the name pointed to: an index or a manifest.
    pub(super) target: Option<Digest>,
}

/// An image to be recorded; its layers are complete.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) id: ImageId,
    pub(crate) config: String,
    pub(crate) manifest: Option<Digest>,
    /// Lowest first.
    pub(crate) layers: Vec<String>,
    /// Name, and the digest that it pointed to.
    pub(crate) names: Vec<(String, Option<Digest>)>,
}

pub(super) fn write(path: &Path, record: &impl Serialize) -> Result<(), StoreError> {
    let payload =
        serde_json::to_vec(record).map_err(|error| StoreError::io("encode", path)(error.into()))?;
    state_file::write(path, VERSION, &payload, Durability::Disk)?;
    Ok(())
}

/// A record, or nothing if there is none or it cannot be believed; the latter is said, and the file moved aside.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let why = match state_file::read(path) {
        Ok(None) => return None,
        Ok(Some(stored)) if stored.version != VERSION => {
            format!("its version is {}, not {VERSION}", stored.version)
        }
        Ok(Some(stored)) => match serde_json::from_slice(&stored.payload) {
            Ok(record) => return Some(record),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    match state_file::quarantine(path) {
        Ok(aside) => {
            tracing::warn!(path = %path.display(), aside = %aside.display(), why, "a record of the image store is unreadable and was put aside");
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), why, %error, "a record of the image store is unreadable");
        }
    }
    None
}
