//! What a pull or a load is doing, for a person's progress bars and for the timeline of `explain`.
//!
//! Events are told from several tasks and threads at once; those of one layer come in order. A sink must be quick and must not block.

use crate::digest::{Digest, ImageId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum ProgressEvent {
    /// The manifest is known: these layers make up the image, lowest first.
    Resolved {
        /// Digest of what the name pointed to (an index, or a manifest).
        digest: Digest,
        image: ImageId,
        layers: Vec<LayerToFetch>,
        /// Compressed size of all layers together, in bytes.
        total_bytes: u64,
    },
    /// A layer went on; `layer` is the digest that [`ProgressEvent::Resolved`] listed.
    Layer { layer: Digest, state: LayerProgress },
    /// The image is complete and has its name.
    Complete { image: ImageId, took: Duration },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerToFetch {
    pub digest: Digest,
    /// As it travels, in bytes.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum LayerProgress {
    /// It waits for its turn, or for another pull that fetches it already.
    Waiting,
    AlreadyExists,
    /// `bytes` of `total` have come; they are unpacked as they come.
    Downloading {
        bytes: u64,
        total: u64,
    },
    /// Everything has come; the rest is being unpacked.
    Unpacking {
        unpacked_bytes: u64,
    },
    /// The transfer broke; it goes on from the byte reached after `after`.
    Retrying {
        reason: String,
        after: Duration,
    },
    /// Unpacked, verified, on disk.
    Done {
        unpacked_bytes: u64,
        /// From the first request to the last byte.
        download: Duration,
        /// From the first request until it was on disk.
        total: Duration,
    },
}

/// Where events go.
#[derive(Clone, Default)]
pub struct ProgressSink(Option<Arc<Tell>>);

type Tell = dyn Fn(&ProgressEvent) + Send + Sync;

impl ProgressSink {
    pub fn new(tell: impl Fn(&ProgressEvent) + Send + Sync + 'static) -> ProgressSink {
        ProgressSink(Some(Arc::new(tell)))
    }
    /// Nobody watches.
    pub fn none() -> ProgressSink {
        ProgressSink(None)
    }
    pub fn tell(&self, event: &ProgressEvent) {
        if let Some(sink) = &self.0 {
            sink(event);
        }
    }
    pub(crate) fn layer(&self, layer: &Digest, state: LayerProgress) {
        if self.0.is_some() {
            self.tell(&ProgressEvent::Layer {
                layer: layer.clone(),
                state,
            });
        }
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "ProgressSink(watched)"
        } else {
            "ProgressSink(none)"
        })
    }
}
