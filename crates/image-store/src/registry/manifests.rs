//! Manifests and configurations: small, fetched whole, and believed only when their digest is right.

use super::endpoint::Endpoint;
use super::fetch::{Patience, Repository, read_bounded};
use super::http_client::said;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{ACCEPTED, Descriptor};
use crate::reference::Target;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use std::time::Duration;

pub(crate) struct FetchedManifest {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
    /// As the registry labels it.
    pub(crate) media_type: Option<String>,
    /// Which endpoint had it: the one to ask first for the rest.
    pub(crate) endpoint: usize,
}

impl Repository {
    /// The manifest or index behind a tag or a digest. `size`, if it is known, must be its length.
    pub(crate) async fn manifest(
        &self,
        target: &Target,
        size: Option<u64>,
        first: usize,
    ) -> Result<FetchedManifest, RegistryError> {
        let mut last = None;
        for (index, endpoint) in self.endpoints.iter().enumerate().skip(first) {
            let mut patience = Patience::with(endpoint, self.client.config.retry);
            loop {
                match self.manifest_from(endpoint, target, size).await {
                    Ok((bytes, digest, media_type)) => {
                        return Ok(FetchedManifest {
                            bytes,
                            digest,
                            media_type,
                            endpoint: index,
                        });
                    }
                    Err(error) => match patience.after(error) {
                        Ok((wait, error)) => repeats(&error, wait).await,
                        Err(error) => {
                            last = Some(given_up(endpoint, error));
                            break;
                        }
                    },
                }
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    /// A small blob: an image's configuration.
    pub(crate) async fn small_blob(
        &self,
        descriptor: &Descriptor,
        first: usize,
    ) -> Result<Bytes, RegistryError> {
        let mut last = None;
        for endpoint in self.endpoints.iter().skip(first) {
            let mut patience = Patience::with(endpoint, self.client.config.retry);
            loop {
                match self.small_blob_from(endpoint, descriptor).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => match patience.after(error) {
                        Ok((wait, error)) => repeats(&error, wait).await,
                        Err(error) => {
                            last = Some(given_up(endpoint, error));
                            break;
                        }
                    },
                }
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    /// There is always the registry itself, unless the caller counts beyond it.
    fn nobody(&self) -> RegistryError {
        RegistryError::Protocol {
            url: self.path.clone(),
            what: "there is nobody left to ask".into(),
        }
    }

    async fn small_blob_from(
        &self,
        endpoint: &Endpoint,
        descriptor: &Descriptor,
    ) -> Result<Bytes, RegistryError> {
        let rest = format!("blobs/{}", descriptor.digest);
        let (response, uri) = self.get(endpoint, &rest, &HeaderMap::new()).await?;
        let patience = self.client.config.retry.stall;
        // One byte more than stated shows a longer one.
        let body = read_bounded(&uri, response.into_body(), descriptor.size + 1, patience).await?;
        check(
            &said(&uri),
            &body,
            &descriptor.digest,
            Some(descriptor.size),
        )?;
        Ok(body)
    }

    async fn manifest_from(
        &self,
        endpoint: &Endpoint,
        target: &Target,
        size: Option<u64>,
    ) -> Result<(Bytes, Digest, Option<String>), RegistryError> {
        let mut headers = HeaderMap::new();
        for media_type in ACCEPTED {
            headers.append(ACCEPT, HeaderValue::from_static(media_type));
        }
        let rest = match target {
            Target::Tag(tag) => format!("manifests/{tag}"),
            Target::Digest(digest) => format!("manifests/{digest}"),
        };
        let (response, uri) = self.get(endpoint, &rest, &headers).await?;
        let text = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let media_type = text(CONTENT_TYPE.as_str());
        let claimed = text("docker-content-digest");
        let url = said(&uri);
        let most = self.client.limits.manifest_bytes;
        let patience = self.client.config.retry.stall;
        let body = read_bounded(&uri, response.into_body(), most, patience).await?;
        let digest = match target {
            Target::Digest(digest) => digest.clone(),
            // A tag's digest is what was received; what the registry claims about it must agree.
            Target::Tag(_) => match claimed {
                Some(claimed) => claimed.parse().map_err(|error| RegistryError::Lied {
                    url: url.clone(),
                    what: format!("Docker-Content-Digest: {error}"),
                })?,
                None => Digest::of(&body),
            },
        };
        check(&url, &body, &digest, size)?;
        Ok((body, digest, media_type))
    }
}

async fn repeats(error: &RegistryError, wait: Duration) {
    tracing::debug!(%error, ?wait, "repeating a request to a registry");
    tokio::time::sleep(wait).await;
}

fn given_up(endpoint: &Endpoint, error: RegistryError) -> RegistryError {
    if endpoint.mirror_of.is_some() {
        tracing::info!(mirror = %endpoint.base, %error, "a mirror did not deliver");
    }
    error
}

fn check(url: &str, body: &[u8], digest: &Digest, size: Option<u64>) -> Result<(), RegistryError> {
    let lied = |what: String| {
        Err(RegistryError::Lied {
            url: url.to_owned(),
            what,
        })
    };
    if let Some(size) = size
        && size != body.len() as u64
    {
        return lied(format!("it is {} bytes long, not {size}", body.len()));
    }
    if !digest.matches(body) {
        return lied(format!("what it sent does not have the digest {digest}"));
    }
    Ok(())
}
