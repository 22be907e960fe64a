//! The client side of the OCI distribution protocol (and of Docker's registry API, version 2).
//!
//! A [`Repository`] answers for one name: it knows the endpoints to ask in turn (mirrors, then the registry itself), logs in where it is
//! asked to, follows redirects carefully, and repeats what may pass. Whatever comes back is bounded in size and time; whether it is the
//! right thing is checked here for manifests and in [`crate::unpack`] for layers.

mod auth;
mod blob;
mod challenge;
mod credentials;
mod endpoint;
mod fetch;
mod http_client;
mod manifests;
mod sessions;
mod tls;

pub(crate) use blob::{Blob, BlobEvent};
pub(crate) use fetch::{RegistryClient, Repository};
pub(crate) use manifests::FetchedManifest;
