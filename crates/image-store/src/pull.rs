//! A pull from beginning to end.
//!
//! ```text
//! name ─► manifest (index ─► this platform's) ─► configuration ─► layers, some at a time ─► what depends on the layers below ─► image ─► names
//! ```

use crate::config::{Auth, Limits};
use crate::digest::{Digest, ImageId};
use crate::error::{ManifestError, PullError};
use crate::fetch_layer::{LayerJob, Ready, Workshop, blocking, keys};
use crate::image::ImageInfo;
use crate::image_config::ImageConfig;
use crate::manifest::{Descriptor, Document, ImageManifest, choose};
use crate::progress::{LayerToFetch, ProgressEvent, ProgressSink};
use crate::reference::{ImageReference, Target};
use crate::registry::{FetchedManifest, RegistryClient, Repository};
use crate::store::{LayerKey, LayerLease, NewImage};
use crate::unpack::Budget;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// An index may point to an index, but not for ever.
const MOST_INDEXES: usize = 3;

pub(crate) struct Puller {
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) registries: Arc<RegistryClient>,
    pub(crate) limits: Limits,
}

/// What a name turned out to mean.
struct Resolved {
    /// Of the index or manifest that the name points to.
    target: Digest,
    manifest_digest: Digest,
    manifest: ImageManifest,
    /// The endpoint that had it.
    endpoint: usize,
}

impl Puller {
    pub(crate) async fn pull(
        &self,
        reference: &ImageReference,
        auth: Option<Auth>,
        sink: &ProgressSink,
    ) -> Result<ImageInfo, PullError> {
        let began = Instant::now();
        let repository = Arc::new(Repository::new(
            Arc::clone(&self.registries),
            reference,
            auth,
        )?);
        let resolved = self.resolve(&repository, reference.target()).await?;
        let config = self.config(&repository, &resolved).await?;
        let id = ImageId(resolved.manifest.config.digest.clone());
        sink.tell(&ProgressEvent::Resolved {
            digest: resolved.target.clone(),
            image: id.clone(),
            layers: resolved
                .manifest
                .layers
                .iter()
                .map(|layer| LayerToFetch {
                    digest: layer.digest.clone(),
                    bytes: layer.size,
                })
                .collect(),
            total_bytes: resolved
                .manifest
                .layers
                .iter()
                .fold(0, |sum, layer| sum.saturating_add(layer.size)),
        });
        let (config, text) = config;
        let mut done = Vec::new();
        let result = self
            .layers(&repository, &resolved, &config, sink, &mut done)
            .await;
        let leases = match result {
            Ok(leases) => leases,
            Err(error) => {
                let ids: Vec<String> = done.iter().map(|lease| lease.id.clone()).collect();
                drop(done);
                if !error.keeps_finished_layers() {
                    let store = Arc::clone(&self.workshop.store);
                    // The pull's own error is the one to tell.
                    let _ = blocking(move || store.sweep(Some(&ids))).await;
                }
                return Err(error);
            }
        };
        let mut names = vec![(
            reference.with_digest(resolved.target.clone()).to_string(),
            Some(resolved.target.clone()),
        )];
        let name = reference.to_string();
        if names[0].0 != name {
            names.push((name.clone(), Some(resolved.target.clone())));
        }
        let new = NewImage {
            id: id.clone(),
            config: text,
            manifest: Some(resolved.manifest_digest),
            layers: leases.iter().map(|lease| lease.id.clone()).collect(),
            names,
        };
        let store = Arc::clone(&self.workshop.store);
        blocking(move || {
            let added = store.add_image(new);
            drop(leases);
            added
        })
        .await?;
        sink.tell(&ProgressEvent::Complete {
            image: id.clone(),
            took: began.elapsed(),
        });
        self.workshop
            .store
            .info(&id, Some(&name))
            .ok_or(PullError::Cancelled)
    }

    async fn resolve(
        &self,
        repository: &Repository,
        target: &Target,
    ) -> Result<Resolved, PullError> {
        let mut fetched = repository.manifest(target, None, 0).await?;
        let first = fetched.digest.clone();
        for _ in 0..MOST_INDEXES {
            let refused = |source| PullError::Manifest {
                digest: fetched.digest.clone(),
                source,
            };
            let document = Document::parse(
                &fetched.bytes,
                fetched.media_type.as_deref(),
                self.limits.layers,
            )
            .map_err(refused)?;
            let manifests = match document {
                Document::Image(manifest) => {
                    self.check_sizes(&manifest).map_err(refused)?;
                    return Ok(Resolved {
                        target: first,
                        manifest_digest: fetched.digest,
                        manifest,
                        endpoint: fetched.endpoint,
                    });
                }
                Document::Index(manifests) => manifests,
            };
            let chosen = choose(&manifests).map_err(refused)?;
            self.check_small(chosen).map_err(refused)?;
            fetched = self.child(repository, chosen, &fetched).await?;
        }
        Err(PullError::Manifest {
            digest: first,
            source: ManifestError::Bad("its indexes are nested too deeply".into()),
        })
    }

    async fn child(
        &self,
        repository: &Repository,
        chosen: &Descriptor,
        parent: &FetchedManifest,
    ) -> Result<FetchedManifest, PullError> {
        let target = Target::Digest(chosen.digest.clone());
        let child = repository
            .manifest(&target, Some(chosen.size), parent.endpoint)
            .await?;
        Ok(child)
    }

    fn check_small(&self, descriptor: &Descriptor) -> Result<(), ManifestError> {
        if descriptor.size > self.limits.manifest_bytes {
            return Err(ManifestError::TooLarge {
                size: descriptor.size,
                limit: self.limits.manifest_bytes,
            });
        }
        Ok(())
    }

    fn check_sizes(&self, manifest: &ImageManifest) -> Result<(), ManifestError> {
        self.check_small(&manifest.config)?;
        match manifest
            .layers
            .iter()
            .find(|layer| layer.size > self.limits.layer_bytes)
        {
            Some(layer) => Err(ManifestError::TooLarge {
                size: layer.size,
                limit: self.limits.layer_bytes,
            }),
            None => Ok(()),
        }
    }

    async fn config(
        &self,
        repository: &Repository,
        resolved: &Resolved,
    ) -> Result<(ImageConfig, String), PullError> {
        let descriptor = &resolved.manifest.config;
        let bytes = repository.small_blob(descriptor, resolved.endpoint).await?;
        let refused = |source| PullError::Config {
            digest: descriptor.digest.clone(),
            source,
        };
        let config = ImageConfig::parse(&bytes, resolved.manifest.layers.len()).map_err(refused)?;
        let text = String::from_utf8(bytes.to_vec())
            .map_err(|_| refused(ManifestError::Bad("it is not UTF-8".into())))?;
        Ok((config, text))
    }

    /// Brings every layer; `done` holds those that are complete, whether or not the rest succeeds.
    async fn layers(
        &self,
        repository: &Arc<Repository>,
        resolved: &Resolved,
        config: &ImageConfig,
        sink: &ProgressSink,
        done: &mut Vec<LayerLease>,
    ) -> Result<Vec<LayerLease>, PullError> {
        let budget = Arc::new(Budget::new(self.limits));
        let chain = chain_ids(&config.diff_ids);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for (number, descriptor) in resolved.manifest.layers.iter().enumerate() {
            let job = LayerJob {
                repository: Arc::clone(repository),
                descriptor: descriptor.clone(),
                diff_id: config.diff_ids[number].clone(),
                below: number.checked_sub(1).map(|below| chain[below].clone()),
                first: resolved.endpoint,
                budget: Arc::clone(&budget),
                sink: sink.clone(),
                stop: stop.clone(),
            };
            let workshop = Arc::clone(&self.workshop);
            tasks.spawn(async move { (number, workshop.layer(job).await) });
        }
        let mut ready: Vec<Option<Ready>> = resolved.manifest.layers.iter().map(|_| None).collect();
        let mut failed = None;
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok((number, Ok(layer))) => ready[number] = Some(layer),
                Ok((_, Err(error))) => {
                    failed.get_or_insert(error);
                    stop.cancel();
                }
                Err(_) => {
                    failed.get_or_insert(crate::error::StoreError::Panicked.into());
                    stop.cancel();
                }
            }
        }
        if let Some(error) = failed {
            done.extend(ready.into_iter().flatten().filter_map(|ready| match ready {
                Ready::Complete(lease) => Some(lease),
                Ready::OnTop { .. } => None,
            }));
            return Err(error);
        }
        self.finish_on_top(ready, &config.diff_ids, &chain).await
    }

    /// Completes the layers that look at those below, from the bottom up.
    async fn finish_on_top(
        &self,
        ready: Vec<Option<Ready>>,
        diff_ids: &[Digest],
        chain: &[Digest],
    ) -> Result<Vec<LayerLease>, PullError> {
        let mut leases: Vec<LayerLease> = Vec::with_capacity(ready.len());
        for (number, layer) in ready.into_iter().enumerate() {
            let Some(layer) = layer else {
                return Err(PullError::Cancelled);
            };
            let lease = match layer {
                Ready::Complete(lease) => lease,
                Ready::OnTop { staged, unpacked } => {
                    let store = &self.workshop.store;
                    let below = leases.iter().rev().map(|lease| store.tree(lease)).collect();
                    let on = number.checked_sub(1).map(|below| &chain[below]);
                    let [plain, on_top] = keys(&diff_ids[number], on);
                    blocking(move || {
                        let inherits = staged.inherit(&unpacked.extracted.implied, below)?;
                        let key: LayerKey = if inherits { on_top } else { plain };
                        staged.commit(key, &unpacked)
                    })
                    .await?
                }
            };
            leases.push(lease);
        }
        Ok(leases)
    }
}

/// Names each layer together with all below it (OCI image specification, "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}
