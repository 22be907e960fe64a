//! One layer: from a registry into the store, or found there.

use crate::digest::Digest;
use crate::error::{PullError, StoreError};
use crate::manifest::Descriptor;
use crate::progress::{LayerProgress, ProgressSink};
use crate::registry::{Blob, BlobEvent, Repository};
use crate::store::{LayerKey, LayerLease, Staged, Store};
use crate::unpack::{Budget, Expected, Fed, Feed, LayerPipeline, UnpackError, Unpacked};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Frames of a body are gathered to about this size before they go to the pipeline.
const BATCH: usize = 256 << 10;
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What all pulls share.
pub(crate) struct Workshop {
    pub(crate) store: Arc<Store>,
    /// Layers in work, over all pulls.
    turns: Semaphore,
    /// One at a time for each layer: the second finds what the first brought.
    locks: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

/// A layer that stands ready.
pub(crate) enum Ready {
    Complete(LayerLease),
    /// Unpacked, but some of its directories look as the layers below say: those have to be known first.
    OnTop {
        staged: Staged,
        unpacked: Unpacked,
    },
}

/// What waiting for one's turn came to.
enum Brought<'a> {
    /// Somebody else brought it meanwhile.
    Found(LayerLease),
    /// The lock is held until it stands in its place.
    New(tokio::sync::MutexGuard<'a, ()>, Staged, Unpacked, Instant),
}

/// What a layer is fetched by.
#[derive(Clone)]
pub(crate) struct LayerJob {
    pub(crate) repository: Arc<Repository>,
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: Digest,
    /// Digest of the chain below; `None` for the lowest layer.
    pub(crate) below: Option<Digest>,
    /// The endpoint to ask first.
    pub(crate) first: usize,
    pub(crate) budget: Arc<Budget>,
    pub(crate) sink: ProgressSink,
    /// Another layer of the image failed. What is complete is still put into its place, so that it can be found and removed.
    pub(crate) stop: CancellationToken,
}

impl LayerJob {
    pub(crate) fn keys(&self) -> [LayerKey; 2] {
        keys(&self.diff_id, self.below.as_ref())
    }
}

/// A layer may be known by itself, or as it looks on the layers below it.
pub(crate) fn keys(diff_id: &Digest, below: Option<&Digest>) -> [LayerKey; 2] {
    [None, below].map(|on| LayerKey {
        diff_id: diff_id.clone(),
        on: on.cloned(),
    })
}

impl Workshop {
    pub(crate) fn new(store: Arc<Store>, parallel_layers: usize) -> Workshop {
        Workshop {
            store,
            turns: Semaphore::new(parallel_layers.max(1)),
            locks: Mutex::default(),
        }
    }

    pub(crate) fn find(&self, keys: &[LayerKey]) -> Option<LayerLease> {
        keys.iter().find_map(|key| self.store.lease(key))
    }

    fn lock_of(&self, diff_id: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(diff_id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(diff_id.clone(), Arc::downgrade(&lock));
        lock
    }

    /// Finds the layer or fetches it. Dropped, it leaves nothing behind.
    pub(crate) async fn layer(&self, job: LayerJob) -> Result<Ready, PullError> {
        let tell = |state| job.sink.layer(&job.descriptor.digest, state);
        if let Some(lease) = self.find(&job.keys()) {
            tell(LayerProgress::AlreadyExists);
            return Ok(Ready::Complete(lease));
        }
        tell(LayerProgress::Waiting);
        let lock = self.lock_of(&job.diff_id);
        let brought = async {
            let ours = lock.lock().await;
            if let Some(lease) = self.find(&job.keys()) {
                return Ok::<_, PullError>(Brought::Found(lease));
            }
            let turn = self.turns.acquire().await;
            let _turn = turn.map_err(|_| PullError::Cancelled)?;
            let began = Instant::now();
            let (staged, unpacked) = self.fetch(&job).await?;
            // Writing to disk is not what the turns are for: the next transfer may begin.
            Ok(Brought::New(ours, staged, unpacked, began))
        };
        let brought = tokio::select! {
            brought = brought => brought?,
            // Cancel-safe: a token stays cancelled. What was being brought goes to the trash.
            () = job.stop.cancelled() => return Err(PullError::Cancelled),
        };
        let (_ours, staged, unpacked, began) = match brought {
            Brought::Found(lease) => {
                tell(LayerProgress::AlreadyExists);
                return Ok(Ready::Complete(lease));
            }
            Brought::New(ours, staged, unpacked, began) => (ours, staged, unpacked, began),
        };
        let download = began.elapsed();
        let unpacked_bytes = unpacked.extracted.bytes;
        let describes_all = job.below.is_none() || unpacked.extracted.implied.is_empty();
        let ready = if describes_all {
            let key = LayerKey {
                diff_id: job.diff_id.clone(),
                on: None,
            };
            let lease = blocking(move || staged.commit(key, &unpacked)).await?;
            Ready::Complete(lease)
        } else {
            Ready::OnTop { staged, unpacked }
        };
        tell(LayerProgress::Done {
            unpacked_bytes,
            download,
            total: began.elapsed(),
        });
        Ok(ready)
    }

    /// Tries one endpoint after another where what came was not what the manifest names.
    async fn fetch(&self, job: &LayerJob) -> Result<(Staged, Unpacked), PullError> {
        let mut first = job.first;
        loop {
            let mut blob = Blob::new(&job.repository, job.descriptor.clone(), first);
            let store = Arc::clone(&self.store);
            let staged = blocking(move || Staged::create(&store)).await?;
            let (feed, mut pipeline) = LayerPipeline::start(
                staged.root()?,
                Expected {
                    digest: Some(job.descriptor.digest.clone()),
                    size: Some(job.descriptor.size),
                    diff_id: job.diff_id.clone(),
                },
                Arc::clone(&job.budget),
            )
            .map_err(StoreError::io("start the threads that unpack", "ingest"))?;
            let fed = transfer(job, &mut blob, feed, &pipeline).await;
            let unpacked = pipeline.finish().await;
            let source = match (fed, unpacked) {
                (Ok(()), Ok(unpacked)) => return Ok((staged, unpacked)),
                // The pipeline only notices that nothing more came.
                (Err(error), Ok(_) | Err(UnpackError::Aborted)) => return Err(error.into()),
                (_, Err(source)) => source,
            };
            if source.is_of_the_transfer() && blob.endpoint() + 1 < job.repository.endpoint_count()
            {
                first = blob.endpoint() + 1;
                tracing::info!(layer = %job.descriptor.digest, error = %source, "a mirror sent a wrong layer");
                continue;
            }
            return Err(PullError::Layer {
                digest: job.descriptor.digest.clone(),
                source,
            });
        }
    }
}

/// Moves bytes from the registry to the pipeline until either has enough.
async fn transfer(
    job: &LayerJob,
    blob: &mut Blob<'_>,
    feed: Feed,
    pipeline: &LayerPipeline,
) -> Result<(), crate::error::RegistryError> {
    let digest = &job.descriptor.digest;
    let total = job.descriptor.size;
    let mut bytes = 0;
    let mut batch: Vec<Bytes> = Vec::new();
    let mut batched = 0;
    let mut told: Option<Instant> = None;
    loop {
        match blob.next().await? {
            BlobEvent::Bytes(data) => {
                bytes += data.len() as u64;
                batched += data.len();
                batch.push(data);
                if batched >= BATCH || bytes == total {
                    batched = 0;
                    if feed
                        .send(Fed::Bytes(std::mem::take(&mut batch)))
                        .await
                        .is_err()
                    {
                        // It has refused the layer and says why itself.
                        return Ok(());
                    }
                }
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    job.sink
                        .layer(digest, LayerProgress::Downloading { bytes, total });
                }
            }
            BlobEvent::Retry { wait, why } => {
                tracing::info!(layer = %digest, error = %why, ?wait, at = bytes, "the transfer of a layer broke");
                job.sink.layer(
                    digest,
                    LayerProgress::Retrying {
                        reason: why.to_string(),
                        after: wait,
                    },
                );
                tokio::time::sleep(wait).await;
            }
            BlobEvent::End => break,
        }
    }
    job.sink
        .layer(digest, LayerProgress::Downloading { bytes, total });
    let unpacked_bytes = pipeline.unpacked_bytes.load(Ordering::Relaxed);
    job.sink
        .layer(digest, LayerProgress::Unpacking { unpacked_bytes });
    // If nobody listens, the pipeline has its answer already.
    let _ = feed.send(Fed::End).await;
    Ok(())
}

/// Runs what waits for the disk where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(StoreError::Panicked))
}
