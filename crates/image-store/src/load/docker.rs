//! A docker-archive: `manifest.json` lists images; layers are named by path and verified by their diffID.

use super::Found;
use super::archive::Archive;
use crate::config::Limits;
use crate::digest::Digest;
use crate::error::PullError;
use crate::manifest::or_default;
use crate::reference::ImageReference;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

pub(super) fn images(archive: &Archive, limits: &Limits) -> Result<Vec<Found>, PullError> {
    let entries: Vec<Entry> = archive.json("manifest.json", limits.manifest_bytes)?;
    if entries.is_empty() || entries.len() > limits.images_per_archive {
        return Err(PullError::Archive(format!(
            "its manifest.json lists {} images; 1 to {} are allowed",
            entries.len(),
            limits.images_per_archive
        )));
    }
    entries
        .into_iter()
        .map(|entry| image(archive, limits, entry))
        .collect()
}

fn image(archive: &Archive, limits: &Limits, entry: Entry) -> Result<Found, PullError> {
    if entry.layers.len() > limits.layers {
        return Err(PullError::Archive(format!(
            "an image has {} layers, more than the {} allowed",
            entry.layers.len(),
            limits.layers
        )));
    }
    let config = archive.bytes(archive.place(&entry.config)?, limits.manifest_bytes)?;
    check_named_digest(&entry.config, &config)?;
    let layers = entry
        .layers
        .iter()
        .map(|path| Ok((archive.place(path)?, None)))
        .collect::<Result<_, PullError>>()?;
    let names = entry
        .repo_tags
        .iter()
        .map(|name| {
            ImageReference::parse(name)
                .map(|reference| reference.to_string())
                .map_err(|error| PullError::Archive(error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    Ok(Found {
        config,
        manifest: None,
        layers,
        names,
    })
}

/// Docker names the configuration by its digest (`HEX.json`, `blobs/sha256/HEX`); where it does, it must be true.
fn check_named_digest(path: &str, config: &[u8]) -> Result<(), PullError> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let hex = file.strip_suffix(".json").unwrap_or(file);
    match format!("sha256:{hex}").parse::<Digest>() {
        Ok(digest) if !digest.matches(config) => Err(PullError::Archive(format!(
            "the configuration {path:?} does not have the digest that its name says"
        ))),
        _ => Ok(()),
    }
}
