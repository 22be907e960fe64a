//! An image that is complete on disk.

use crate::digest::{Digest, ImageId};
use crate::error::ImageError;
use crate::image_config::ImageConfig;
use crate::merged::Merged;
use std::path::PathBuf;
use std::sync::Arc;

/// The largest file that [`Image::file`] reads, in bytes.
pub const LARGEST_FILE: u64 = 1 << 20;

/// What a container is made of. It stays valid as long as the image is not removed.
#[derive(Debug)]
pub struct Image {
    pub(crate) id: ImageId,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) config: ImageConfig,
    /// Digest of the manifest, if it is known.
    pub(crate) manifest: Option<Digest>,
    pub(crate) size_bytes: u64,
    pub(crate) pinned: bool,
}

impl Image {
    pub fn id(&self) -> &ImageId {
        &self.id
    }
    /// Directories for overlayfs, uppermost layer first; never empty.
    pub fn layers(&self) -> &[PathBuf] {
        &self.layers
    }
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }
    /// Bytes of all files of all layers.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
    /// Digest of the platform's manifest, if the image came with one.
    pub fn manifest(&self) -> Option<&Digest> {
        self.manifest.as_ref()
    }

    /// Reads a regular file (`etc/passwd`) as a container of this image would find it: the uppermost layer counts, whiteouts hide,
    /// links are followed inside the image. At most `most` bytes, and never more than [`LARGEST_FILE`]. `None`: there is none.
    /// Blocking.
    pub fn file(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, ImageError> {
        Merged::new(self.layers.clone())
            .read_file(path, most.min(LARGEST_FILE))
            .map_err(|source| ImageError::ReadFile {
                image: self.id.clone(),
                path: path.to_owned(),
                source: Arc::new(source),
            })
    }
}

/// What a look-up or a pull answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: ImageId,
    /// `repository@sha256:…`, what `imageID` of a container's status says; the id if the image came without a manifest.
    pub repo_digest: String,
    /// Bytes of all files of all layers.
    pub size_bytes: u64,
}

/// One line of `coracle images`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSummary {
    pub id: ImageId,
    /// `repository:tag`.
    pub tags: Vec<String>,
    /// `repository@digest`.
    pub digests: Vec<String>,
    pub size_bytes: u64,
    /// RFC 3339, as the builder wrote it; may be empty.
    pub created: String,
    /// Not to be deleted to win space.
    pub pinned: bool,
}

/// One image that an archive held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The names it got; none if the archive gave it none.
    pub names: Vec<String>,
    pub info: ImageInfo,
}

/// What [`crate::ImageStore::remove`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// The image itself, if its last name went.
    pub deleted: Option<ImageId>,
    /// Bytes of the layers that nobody needs any more; the disk gets them back in the background.
    pub freed_bytes: u64,
}
