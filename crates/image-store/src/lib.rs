//! Images: pulled from OCI distribution registries or loaded from archives, verified, unpacked for overlayfs, listed, deleted.
//!
//! What flows in: names of images, credentials, archives. What flows out: directories of layers ([`Image::layers`]) and what an image's author
//! wants a container to be ([`Image::config`]). Everything that comes from a registry or an archive is a stranger's: it is bounded, verified
//! while it streams, and refused as a whole if any part of it is wrong.
//!
//! It runs one thread that deletes, two for each layer in work, and one tokio task for each pull. All of them end with the store.
//!
//! What it deliberately does not know: pods, pull policies, back-off, who uses an image (whoever removes one says so), and mounts: it
//! makes directories, nothing more.
//!
//! | module | holds |
//! |---|---|
//! | [`ImageReference`], [`Digest`] | names as types |
//! | `registry` | the client |
//! | `unpack` | from a stream of bytes to a tree |
//! | `store` | what is on disk, and when it counts |
//! | `pull`, `load` | the two ways in |
//! | `merged` | looking into an image without mounting it |

mod config;
mod digest;
mod error;
mod fetch_layer;
mod flight;
mod image;
mod image_config;
mod load;
mod manifest;
mod merged;
mod progress;
mod pull;
mod reference;
mod registry;
mod store;
mod unpack;

pub use config::{Auth, Duplicates, ImageStoreConfig, Limits, RegistryConfig, RetryPolicy};
pub use digest::{Digest, DigestError, ImageId};
pub use error::{ImageError, ManifestError, PullError, RegistryError, Status, StoreError};
pub use image::{Image, ImageInfo, ImageSummary, LARGEST_FILE, Loaded, Removed};
pub use image_config::ImageConfig;
pub use load::ArchiveSource;
pub use progress::{LayerProgress, LayerToFetch, ProgressEvent, ProgressSink};
pub use reference::{ImageReference, Target};
pub use unpack::UnpackError;

use fetch_layer::{Workshop, blocking};
use flight::{FlightKey, Flights};
use pull::Puller;
use registry::RegistryClient;
use std::sync::Arc;
use store::{NotRemoved, Removal, Store};
pub use tokio_util::sync::CancellationToken;

/// The images of a node. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct ImageStore {
    store: Arc<Store>,
    puller: Arc<Puller>,
    flights: Arc<Flights>,
}

impl ImageStore {
    /// Opens the store and puts away what never became complete. Blocking; spawns one thread. Nobody else may have it open.
    pub fn open(config: ImageStoreConfig) -> Result<ImageStore, ImageError> {
        let store = Store::open(&config.root).map_err(|source| ImageError::Open {
            root: config.root.clone(),
            source,
        })?;
        let store = Arc::new(store);
        Ok(ImageStore {
            puller: Arc::new(Puller {
                workshop: Arc::new(Workshop::new(Arc::clone(&store), config.parallel_layers)),
                registries: RegistryClient::new(config.registries, config.limits),
                limits: config.limits,
            }),
            flights: Arc::default(),
            store,
        })
    }

    /// Fetches what the name means now, whether or not something of that name is here. `auth` is used for the registry itself only; without it
    /// Docker's `config.json` is asked. Pulls of the same name share one transfer; dropping the future or cancelling leaves nothing behind
    /// that is not complete.
    pub async fn pull(
        &self,
        reference: &ImageReference,
        auth: Option<Auth>,
        progress: &ProgressSink,
        cancel: CancellationToken,
    ) -> Result<ImageInfo, ImageError> {
        let key = FlightKey {
            image: reference.to_string(),
            auth: auth.clone(),
        };
        let puller = Arc::clone(&self.puller);
        let reference = reference.clone();
        self.flights
            .join(key, progress, &cancel, move |sink| async move {
                puller
                    .pull(&reference, auth, &sink)
                    .await
                    .map_err(|source| ImageError::Pull {
                        image: reference.to_string(),
                        source,
                    })
            })
            .await
    }

    /// The image that a name means here. Touches no disk.
    pub fn resolve(&self, reference: &ImageReference) -> Option<ImageInfo> {
        self.store
            .by_name(&reference.to_string())
            .or_else(|| match reference.target() {
                // `sha256:…` reads as a name with a tag; as an image in a pod it means an id.
                Target::Tag(hex) if reference.repository() == "docker.io/library/sha256" => {
                    let id = format!("sha256:{hex}").parse().ok()?;
                    self.store.info(&id, None)
                }
                _ => None,
            })
    }

    /// As people say it: a name, an id, or the beginning of an id (at least seven digits, and only one that fits).
    pub fn find(&self, text: &str) -> Option<ImageInfo> {
        let by_name = ImageReference::parse(text)
            .ok()
            .and_then(|reference| self.resolve(&reference));
        by_name.or_else(|| self.store.info(&self.id_of(text)?, None))
    }

    fn id_of(&self, text: &str) -> Option<ImageId> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() < 7 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.store.by_id_prefix(&hex.to_ascii_lowercase())
    }

    /// The image itself. Touches no disk.
    pub fn image(&self, id: &ImageId) -> Option<Arc<Image>> {
        self.store.image(id)
    }

    /// Every image, by id. Whether one is in use is known to the caller.
    pub fn list(&self) -> Vec<ImageSummary> {
        self.store.list()
    }

    /// Bytes of the files of all complete layers, also of those that a broken pull left for the next try.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Reads the images of a docker-archive or an oci-archive, as it is or compressed with gzip or zstd.
    pub async fn load(
        &self,
        source: ArchiveSource,
        progress: &ProgressSink,
    ) -> Result<Vec<Loaded>, ImageError> {
        let loader = load::Loader {
            workshop: Arc::clone(&self.puller.workshop),
            limits: self.puller.limits,
            sink: progress.clone(),
        };
        let from = source.to_string();
        tokio::task::spawn_blocking(move || loader.load(source))
            .await
            .unwrap_or(Err(PullError::Store(StoreError::Panicked)))
            .map_err(|source| ImageError::Load { from, source })
    }

    /// Takes a name away, and the image if it was the last one; or an image with all its names, by id. `in_use` is asked before an image is
    /// deleted. Returns before the disk is free: that happens in the background. Blocking.
    pub fn remove(
        &self,
        text: &str,
        in_use: &dyn Fn(&ImageId) -> bool,
    ) -> Result<Removed, ImageError> {
        let by_name = ImageReference::parse(text)
            .ok()
            .map(|reference| reference.to_string())
            .filter(|name| self.store.by_name(name).is_some());
        let removal = match by_name {
            Some(name) => Removal::Name(name),
            None => match self.id_of(text) {
                Some(id) => Removal::Image(id),
                None => return Err(ImageError::NoSuchImage(text.to_owned())),
            },
        };
        self.store
            .remove(&removal, in_use)
            .map_err(|error| match error {
                NotRemoved::Missing => ImageError::NoSuchImage(text.to_owned()),
                NotRemoved::InUse(image) => ImageError::InUse { image },
                NotRemoved::Failed(source) => ImageError::Remove {
                    image: text.to_owned(),
                    source,
                },
            })
    }

    /// Deletes layers that a broken pull left and that nobody needs now. Returns their bytes. Blocking.
    pub fn sweep(&self) -> Result<u64, ImageError> {
        self.store.sweep(None).map_err(|source| ImageError::Remove {
            image: "unused layers".into(),
            source,
        })
    }

    /// Keeps an image from being chosen for deletion, or allows it again.
    pub async fn set_pinned(&self, id: &ImageId, pinned: bool) -> Result<(), ImageError> {
        let store = Arc::clone(&self.store);
        let image = id.clone();
        match blocking(move || store.set_pinned(&image, pinned)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ImageError::NoSuchImage(id.to_string())),
            Err(source) => Err(ImageError::Pin {
                image: id.clone(),
                source,
            }),
        }
    }
}
