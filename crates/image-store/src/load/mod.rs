//! Images from archives: what `docker save`, `podman save`, `skopeo copy … oci-archive:` and BuildKit write.
//!
//! An archive is read where it lies: one pass finds out what is in it, then configurations and layers are read at their offsets. Only a
//! compressed archive, or one that cannot be read twice, is first written to a nameless file. Layers go through the same pipeline as those
//! of a registry.

mod archive;
mod docker;
mod layout;

use crate::config::Limits;
use crate::digest::{Digest, ImageId};
use crate::error::{PullError, StoreError};
use crate::fetch_layer::{Workshop, keys};
use crate::image::{ImageInfo, Loaded};
use crate::image_config::ImageConfig;
use crate::progress::{LayerProgress, LayerToFetch, ProgressEvent, ProgressSink};
use crate::pull::chain_ids;
use crate::store::{LayerLease, NewImage, Staged};
use crate::unpack::{Budget, Expected, Fed, LayerPipeline, UnpackError};
use archive::{Archive, Place};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Where an archive comes from.
pub enum ArchiveSource {
    Path(PathBuf),
    /// Read once, from where it stands to its end.
    Reader(Box<dyn Read + Send>),
}

impl std::fmt::Display for ArchiveSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ArchiveSource::Path(path) => write!(f, "{}", path.display()),
            ArchiveSource::Reader(_) => f.write_str("a stream"),
        }
    }
}

pub(crate) struct Loader {
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) limits: Limits,
    pub(crate) sink: ProgressSink,
}

/// One image of an archive, before its layers are looked at.
struct Found {
    config: Vec<u8>,
    manifest: Option<Digest>,
    /// Lowest first: where it lies, and the digest of what lies there, if something states it.
    layers: Vec<(Place, Option<Digest>)>,
    names: Vec<String>,
}

impl Loader {
    /// Blocking.
    pub(crate) fn load(&self, source: ArchiveSource) -> Result<Vec<Loaded>, PullError> {
        let archive = Archive::open(source, &self.workshop.store, &self.limits)?;
        let found = if archive.has("index.json") && archive.has("oci-layout") {
            layout::images(&archive, &self.limits)?
        } else if archive.has("manifest.json") {
            docker::images(&archive, &self.limits)?
        } else {
            return Err(PullError::Archive(
                "it holds neither manifest.json (docker-archive) nor index.json and oci-layout (oci-archive)".into(),
            ));
        };
        let mut loaded = Vec::new();
        for image in found {
            loaded.push(self.image(&archive, image)?);
        }
        Ok(loaded)
    }

    fn image(&self, archive: &Archive, found: Found) -> Result<Loaded, PullError> {
        let began = Instant::now();
        let digest = Digest::of(&found.config);
        let refused = |source| PullError::Config {
            digest: digest.clone(),
            source,
        };
        let config = ImageConfig::parse(&found.config, found.layers.len()).map_err(refused)?;
        let text = String::from_utf8(found.config)
            .map_err(|_| refused(crate::error::ManifestError::Bad("it is not UTF-8".into())))?;
        let id = ImageId(digest.clone());
        let shown = |number: usize| -> &Digest {
            found.layers[number]
                .1
                .as_ref()
                .unwrap_or(&config.diff_ids[number])
        };
        self.sink.tell(&ProgressEvent::Resolved {
            digest: found.manifest.clone().unwrap_or_else(|| digest.clone()),
            image: id.clone(),
            layers: found
                .layers
                .iter()
                .enumerate()
                .map(|(number, (place, _))| LayerToFetch {
                    digest: shown(number).clone(),
                    bytes: place.size,
                })
                .collect(),
            total_bytes: found.layers.iter().map(|(place, _)| place.size).sum(),
        });
        let mut leases: Vec<LayerLease> = Vec::with_capacity(found.layers.len());
        let chain = chain_ids(&config.diff_ids);
        let budget = Arc::new(Budget::new(self.limits));
        for (number, (place, digest)) in found.layers.iter().enumerate() {
            let layer = LoadedLayer {
                place: *place,
                expected: Expected {
                    digest: digest.clone(),
                    size: Some(place.size),
                    diff_id: config.diff_ids[number].clone(),
                },
                shown: shown(number),
                below: number.checked_sub(1).map(|below| &chain[below]),
            };
            match self.layer(archive, &layer, &leases, &budget) {
                Ok(lease) => leases.push(lease),
                Err(error) => {
                    let ids: Vec<String> = leases.iter().map(|lease| lease.id.clone()).collect();
                    drop(leases);
                    // The load's own error is the one to tell; an archive can be read again.
                    let _ = self.workshop.store.sweep(Some(&ids));
                    return Err(error);
                }
            }
        }
        let names = found
            .names
            .iter()
            .map(|name| (name.clone(), found.manifest.clone()))
            .collect();
        self.workshop.store.add_image(NewImage {
            id: id.clone(),
            config: text,
            manifest: found.manifest,
            layers: leases.iter().map(|lease| lease.id.clone()).collect(),
            names,
        })?;
        self.sink.tell(&ProgressEvent::Complete {
            image: id.clone(),
            took: began.elapsed(),
        });
        let info: ImageInfo = self
            .workshop
            .store
            .info(&id, found.names.first().map(String::as_str))
            .ok_or(PullError::Cancelled)?;
        Ok(Loaded {
            names: found.names,
            info,
        })
    }

    fn layer(
        &self,
        archive: &Archive,
        layer: &LoadedLayer<'_>,
        below: &[LayerLease],
        budget: &Arc<Budget>,
    ) -> Result<LayerLease, PullError> {
        let tell = |state| self.sink.layer(layer.shown, state);
        let keys = keys(&layer.expected.diff_id, layer.below);
        if let Some(lease) = self.workshop.find(&keys) {
            tell(LayerProgress::AlreadyExists);
            return Ok(lease);
        }
        let began = Instant::now();
        let store = &self.workshop.store;
        let staged = Staged::create(store)?;
        let (feed, pipeline) =
            LayerPipeline::start(staged.root()?, layer.expected.clone(), Arc::clone(budget))
                .map_err(StoreError::io("start the threads that unpack", "ingest"))?;
        let mut bytes = 0;
        let total = layer.place.size;
        let read = archive.pieces(layer.place, |piece| {
            bytes += piece.len() as u64;
            tell(LayerProgress::Downloading { bytes, total });
            feed.blocking_send(Fed::Bytes(vec![piece])).is_ok()
        });
        if read.is_ok() {
            // If nobody listens, the pipeline has its answer already.
            let _ = feed.blocking_send(Fed::End);
        }
        drop(feed);
        let download = began.elapsed();
        let unpacked = match (read, pipeline.finish_blocking()) {
            (Err(error), Ok(_) | Err(UnpackError::Aborted)) => return Err(error),
            (_, Err(source)) => {
                return Err(PullError::Layer {
                    digest: layer.shown.clone(),
                    source,
                });
            }
            (Ok(()), Ok(unpacked)) => unpacked,
        };
        let trees = below.iter().rev().map(|lease| store.tree(lease)).collect();
        let unpacked_bytes = unpacked.extracted.bytes;
        let [plain, on_top] = keys;
        let inherits =
            layer.below.is_some() && staged.inherit(&unpacked.extracted.implied, trees)?;
        let lease = staged.commit(if inherits { on_top } else { plain }, &unpacked)?;
        tell(LayerProgress::Done {
            unpacked_bytes,
            download,
            total: began.elapsed(),
        });
        Ok(lease)
    }
}

struct LoadedLayer<'a> {
    place: Place,
    expected: Expected,
    /// How progress names it.
    shown: &'a Digest,
    below: Option<&'a Digest>,
}
