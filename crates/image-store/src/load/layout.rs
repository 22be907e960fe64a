//! An oci-archive: an OCI image layout in a tar. Everything in it is named by digest and verified.

use super::Found;
use super::archive::Archive;
use crate::config::Limits;
use crate::error::{ManifestError, PullError};
use crate::manifest::{Descriptor, Document, ImageManifest, choose};
use crate::reference::ImageReference;

const MOST_INDEXES: usize = 3;

pub(super) fn images(archive: &Archive, limits: &Limits) -> Result<Vec<Found>, PullError> {
    let bytes = archive.bytes(archive.place("index.json")?, limits.manifest_bytes)?;
    let parsed = Document::parse(&bytes, None, limits.layers)
        .map_err(|error| PullError::Archive(format!("index.json: {error}")))?;
    let Document::Index(descriptors) = parsed else {
        return Err(PullError::Archive("its index.json is not an index".into()));
    };
    if descriptors.is_empty() || descriptors.len() > limits.images_per_archive {
        return Err(PullError::Archive(format!(
            "its index.json lists {} images; 1 to {} are allowed",
            descriptors.len(),
            limits.images_per_archive
        )));
    }
    let mut found = Vec::new();
    let mut foreign = None;
    for descriptor in &descriptors {
        match image(archive, limits, descriptor) {
            Ok(image) => found.push(image),
            // A part for another platform, beside ours.
            Err(
                error @ PullError::Manifest {
                    source: ManifestError::NoPlatform { .. },
                    ..
                },
            ) => foreign = Some(error),
            Err(error) => return Err(error),
        }
    }
    match foreign {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn image(archive: &Archive, limits: &Limits, descriptor: &Descriptor) -> Result<Found, PullError> {
    let (manifest, own) = resolve(archive, limits, descriptor)?;
    let config = archive.blob_bytes(&manifest.config, limits.manifest_bytes)?;
    let layers = manifest
        .layers
        .iter()
        .map(|layer| Ok((archive.blob(layer)?, Some(layer.digest.clone()))))
        .collect::<Result<_, PullError>>()?;
    Ok(Found {
        config,
        manifest: Some(own.digest),
        layers,
        names: names(descriptor)?,
    })
}

fn resolve(
    archive: &Archive,
    limits: &Limits,
    descriptor: &Descriptor,
) -> Result<(ImageManifest, Descriptor), PullError> {
    let mut at = descriptor.clone();
    for _ in 0..MOST_INDEXES {
        let refused = |source| PullError::Manifest {
            digest: at.digest.clone(),
            source,
        };
        if at.platform.is_some() {
            choose(std::slice::from_ref(&at)).map_err(refused)?;
        }
        let bytes = archive.blob_bytes(&at, limits.manifest_bytes)?;
        let label = Some(at.media_type.as_str()).filter(|label| !label.is_empty());
        at = match Document::parse(&bytes, label, limits.layers).map_err(refused)? {
            Document::Image(manifest) => return Ok((manifest, at)),
            Document::Index(list) => choose(&list).map_err(refused)?.clone(),
        };
    }
    Err(PullError::Archive(
        "its indexes are nested too deeply".into(),
    ))
}

/// The full name that containerd and BuildKit write; else the reference, unless it is no more than a tag.
fn names(descriptor: &Descriptor) -> Result<Vec<String>, PullError> {
    let annotation = |key: &str| descriptor.annotations.get(key);
    let name = match annotation("io.containerd.image.name") {
        Some(name) => Some(name),
        None => {
            annotation("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']))
        }
    };
    name.into_iter()
        .map(|name| {
            ImageReference::parse(name)
                .map(|reference| reference.to_string())
                .map_err(|error| PullError::Archive(error.to_string()))
        })
        .collect()
}
