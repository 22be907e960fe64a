//! A layer's bytes, in order and each once, however often the transfer breaks.
//!
//! ```text
//!            ┌── broken, stalled, 5xx, 429: wait, ask for the rest (Range) ──┐
//!            ▼                                                               │
//!   Closed ──► Open ── frames ──► all bytes came ── nothing follows ──► End  │
//!     ▲        └───────────────────────────────────────────────────────────►─┘
//!     └── a server that gives up: the next endpoint, from the byte reached
//! ```
//!
//! The length is checked here, the digest by whoever takes the bytes.

use super::fetch::{Patience, Repository};
use super::http_client::said;
use crate::error::RegistryError;
use crate::manifest::Descriptor;
use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A transfer that brings this much between two breaks gets on, however often it breaks.
const GETS_ON: u64 = 64 << 10;

pub(crate) struct Blob<'a> {
    repository: &'a Repository,
    descriptor: Descriptor,
    /// The endpoint in use.
    endpoint: usize,
    /// Bytes handed out.
    offset: u64,
    open: Option<Open>,
    patience: Patience,
    offset_at_failure: u64,
    ended: bool,
}

struct Open {
    body: Incoming,
    uri: Uri,
    /// Bytes that were handed out before and come again: the server does not know ranges.
    skip: u64,
    /// Time spent waiting since the last look, and what came in it: time in which nobody asked does not count.
    waited: Duration,
    came: u64,
}

pub(crate) enum BlobEvent {
    Bytes(Bytes),
    /// The transfer broke and goes on after the wait; the caller sleeps, so that it can be cancelled and can say so.
    Retry {
        wait: Duration,
        why: RegistryError,
    },
    End,
}

impl<'a> Blob<'a> {
    pub(crate) fn new(
        repository: &'a Repository,
        descriptor: Descriptor,
        first: usize,
    ) -> Blob<'a> {
        Blob {
            repository,
            descriptor,
            endpoint: first,
            offset: 0,
            open: None,
            patience: Patience::with(&repository.endpoints[first], repository.client.config.retry),
            offset_at_failure: 0,
            ended: false,
        }
    }

    /// The endpoint that is being asked.
    pub(crate) fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// What comes next. Not cancel-safe in the sense that a dropped call loses bytes: drop the blob with it.
    pub(crate) async fn next(&mut self) -> Result<BlobEvent, RegistryError> {
        if self.ended {
            return Ok(BlobEvent::End);
        }
        let result = match &mut self.open {
            None => match self.request().await {
                Ok(open) => {
                    self.open = Some(open);
                    // An empty layer has its end in the first frame, too.
                    self.read().await
                }
                Err(error) => Err(error),
            },
            Some(_) => self.read().await,
        };
        match result {
            Ok(event) => {
                self.ended = matches!(event, BlobEvent::End);
                Ok(event)
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: RegistryError) -> Result<BlobEvent, RegistryError> {
        self.open = None;
        if self.offset - self.offset_at_failure >= GETS_ON {
            self.patience.renew();
        }
        self.offset_at_failure = self.offset;
        let error = match self.patience.after(error) {
            Ok((wait, why)) => return Ok(BlobEvent::Retry { wait, why }),
            Err(error) => error,
        };
        match self.repository.endpoints.get(self.endpoint + 1) {
            Some(next) => {
                self.endpoint += 1;
                self.patience = Patience::with(next, self.repository.client.config.retry);
                Ok(BlobEvent::Retry {
                    wait: Duration::ZERO,
                    why: error,
                })
            }
            None => Err(error),
        }
    }

    async fn request(&self) -> Result<Open, RegistryError> {
        let mut headers = HeaderMap::new();
        if self.offset > 0 {
            let range = format!("bytes={}-", self.offset);
            headers.insert(
                RANGE,
                HeaderValue::try_from(range).map_err(|error| RegistryError::Protocol {
                    url: self.descriptor.digest.to_string(),
                    what: error.to_string(),
                })?,
            );
        }
        let endpoint = &self.repository.endpoints[self.endpoint];
        let rest = format!("blobs/{}", self.descriptor.digest);
        let (response, uri) = self.repository.get(endpoint, &rest, &headers).await?;
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let size = self.descriptor.size;
        let lied = |what: String| RegistryError::Lied {
            url: said(&uri),
            what,
        };
        let (skip, expected) = match response.status() {
            StatusCode::OK => (self.offset, size),
            StatusCode::PARTIAL_CONTENT if self.offset > 0 => {
                let range = header(CONTENT_RANGE).unwrap_or_default();
                let wanted = format!("bytes {}-{}/", self.offset, size.saturating_sub(1));
                if range != format!("{wanted}{size}") && range != format!("{wanted}*") {
                    return Err(lied(format!(
                        "asked for bytes from {} of {size}, it sends {:?}",
                        self.offset,
                        range.chars().take(60).collect::<String>()
                    )));
                }
                (0, size - self.offset)
            }
            status => {
                return Err(RegistryError::Protocol {
                    url: said(&uri),
                    what: format!("unexpected status {status} for a layer"),
                });
            }
        };
        if let Some(length) = header(CONTENT_LENGTH)
            && length.parse() != Ok(expected)
        {
            return Err(lied(format!(
                "it announces {length} bytes where the manifest says {expected}"
            )));
        }
        Ok(Open {
            body: response.into_body(),
            uri,
            skip,
            waited: Duration::ZERO,
            came: 0,
        })
    }

    async fn read(&mut self) -> Result<BlobEvent, RegistryError> {
        let retry = self.repository.client.config.retry;
        let Some(open) = &mut self.open else {
            return Ok(BlobEvent::End);
        };
        loop {
            let began = Instant::now();
            let left = retry.stall.saturating_sub(open.waited);
            let frame = tokio::time::timeout(left, open.body.frame()).await;
            open.waited += began.elapsed();
            if open.waited >= retry.stall {
                if open.came < retry.least_bytes {
                    return Err(RegistryError::Stalled {
                        url: said(&open.uri),
                        after: retry.stall,
                    });
                }
                open.waited = Duration::ZERO;
                open.came = 0;
            }
            let mut data = match frame {
                // The time was up, but enough came in it.
                Err(_) => continue,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_trailers) => continue,
                },
                Ok(Some(Err(error))) => {
                    return Err(RegistryError::Broken {
                        url: said(&open.uri),
                        source: Arc::new(error),
                    });
                }
                Ok(None) if self.offset == self.descriptor.size && open.skip == 0 => {
                    return Ok(BlobEvent::End);
                }
                Ok(None) => {
                    return Err(RegistryError::Broken {
                        url: said(&open.uri),
                        source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
                            format!(
                                "it ended after {} of {} bytes",
                                self.offset, self.descriptor.size
                            ),
                        )),
                    });
                }
            };
            open.came += data.len() as u64;
            let skipped = usize::try_from(open.skip)
                .unwrap_or(usize::MAX)
                .min(data.len());
            open.skip -= skipped as u64;
            data.advance(skipped);
            if data.is_empty() {
                continue;
            }
            self.offset += data.len() as u64;
            if self.offset > self.descriptor.size {
                return Err(RegistryError::Lied {
                    url: said(&open.uri),
                    what: format!(
                        "it sends more than the {} bytes that the manifest says",
                        self.descriptor.size
                    ),
                });
            }
            return Ok(BlobEvent::Bytes(data));
        }
    }
}
