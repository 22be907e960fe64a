//! Image indexes, manifests and configurations: Docker's schema 2 and OCI's, which differ in media types only.
//!
//! A document must be one thing: what could be read as an index by one program and as a manifest by another is refused (CVE-2021-41190).
//! `null` stands for an absent list or map, as Go's encoder writes it.

use crate::digest::Digest;
use crate::error::ManifestError;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::sync::Arc;

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What this client understands, for `Accept`.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

/// Points to a blob or a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Platform {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) variant: String,
}

#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Image(ImageManifest),
}

#[derive(Debug)]
pub(crate) struct ImageManifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    /// Only in schema 1.
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

fn bad<T>(what: impl Into<String>) -> Result<T, ManifestError> {
    Err(ManifestError::Bad(what.into()))
}

pub(crate) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(Arc::new(error)))
}

impl Document {
    /// `labelled` is the media type that came beside the bytes.
    pub(crate) fn parse(
        bytes: &[u8],
        labelled: Option<&str>,
        most_layers: usize,
    ) -> Result<Document, ManifestError> {
        let raw: Raw = json(bytes)?;
        if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
            return bad(
                "it has the old format, schema 1, which is not supported: push the image again",
            );
        }
        if raw.schema_version.is_some_and(|version| version != 2) {
            return bad("it has an unknown schemaVersion");
        }
        let labelled = labelled.map(|label| label.split(';').next().unwrap_or(label).trim());
        let known = |label: &&str| ACCEPTED.contains(label);
        let media_type = match (raw.media_type.as_deref(), labelled.filter(known)) {
            (Some(own), Some(label)) if own != label => {
                return bad(format!(
                    "it says that it is {own:?}, the registry says {label:?}"
                ));
            }
            (Some(own), _) => Some(own),
            (None, label) => label,
        };
        let is_index = match media_type {
            Some(DOCKER_LIST | OCI_INDEX) => true,
            Some(DOCKER_MANIFEST | OCI_MANIFEST) => false,
            Some(other) => {
                return bad(format!("media type {other:?} is not that of an image"));
            }
            None => raw.manifests.is_some(),
        };
        match (is_index, raw.manifests, raw.config, raw.layers) {
            (true, Some(manifests), None, None) => Ok(Document::Index(manifests)),
            (false, None, Some(config), Some(layers)) => {
                check_image(&config, &layers, most_layers)?;
                Ok(Document::Image(ImageManifest { config, layers }))
            }
            (_, Some(_), _, Some(_)) | (_, Some(_), Some(_), _) => {
                bad("it could be read as an index and as a manifest")
            }
            (true, ..) => bad("it is an index without manifests"),
            (false, ..) => bad("it is a manifest without config or layers"),
        }
    }
}

fn check_image(
    config: &Descriptor,
    layers: &[Descriptor],
    most_layers: usize,
) -> Result<(), ManifestError> {
    if !matches!(config.media_type.as_str(), DOCKER_CONFIG | OCI_CONFIG) {
        return bad(format!(
            "its configuration is of type {:?}: this is not a container image",
            config.media_type
        ));
    }
    if layers.len() > most_layers {
        return bad(format!(
            "it has {} layers, more than the {most_layers} allowed",
            layers.len()
        ));
    }
    let is_layer = |media_type: &str| {
        let tar = media_type
            .strip_prefix("application/vnd.docker.image.rootfs.")
            .and_then(|rest| {
                rest.strip_prefix("diff.")
                    .or(rest.strip_prefix("foreign.diff."))
            })
            .or_else(|| {
                media_type
                    .strip_prefix("application/vnd.oci.image.layer.")
                    .and_then(|rest| {
                        rest.strip_prefix("v1.")
                            .or(rest.strip_prefix("nondistributable.v1."))
                    })
            });
        matches!(
            tar,
            Some("tar" | "tar+gzip" | "tar+zstd" | "tar.gzip" | "tar.zstd")
        )
    };
    match layers.iter().find(|layer| !is_layer(&layer.media_type)) {
        Some(layer) => bad(format!(
            "layer {} is of type {:?}, which cannot be unpacked",
            layer.digest, layer.media_type
        )),
        None => Ok(()),
    }
}

/// The Go name of this machine's architecture.
pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// The manifest of an index that suits this machine best.
pub(crate) fn choose(manifests: &[Descriptor]) -> Result<&Descriptor, ManifestError> {
    let best = manifests
        .iter()
        .filter_map(|manifest| {
            let platform = manifest.platform.as_ref()?;
            let suits = platform.os == "linux" && platform.architecture == ARCHITECTURE;
            let rank = suits.then(|| rank(&platform.variant)).flatten()?;
            Some((rank, manifest))
        })
        // Of equals the first, as containerd does.
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, manifest)) = best {
        return Ok(manifest);
    }
    // An index of one manifest without a platform is a wrapper.
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let offered: Vec<String> = manifests
        .iter()
        .take(20)
        .map(|manifest| match &manifest.platform {
            Some(platform) => format!("{}/{}", platform.os, platform.architecture),
            None => "unnamed".to_owned(),
        })
        .collect();
    Err(ManifestError::NoPlatform {
        wanted: format!("linux/{ARCHITECTURE}"),
        offered: offered.join(", "),
    })
}

/// Which variants this machine runs; the smallest number is the most careful choice.
fn rank(variant: &str) -> Option<u8> {
    if cfg!(target_arch = "aarch64") {
        return match variant {
            "v8" | "" => Some(0),
            _ => None,
        };
    }
    match variant {
        "" | "v1" => Some(0),
        "v2" if has_level_2() => Some(1),
        "v3" if has_level_2() && has_level_3() => Some(2),
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
fn has_level_2() -> bool {
    std::is_x86_feature_detected!("sse4.2") && std::is_x86_feature_detected!("popcnt")
}
#[cfg(target_arch = "x86_64")]
fn has_level_3() -> bool {
    std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("bmi2")
        && std::is_x86_feature_detected!("fma")
}
#[cfg(not(target_arch = "x86_64"))]
fn has_level_2() -> bool {
    false
}
#[cfg(not(target_arch = "x86_64"))]
fn has_level_3() -> bool {
    false
}

/// Go writes an absent list, map or string as `null`.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, platform: &str) -> String {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":7{platform}}}"#,
            "a".repeat(64)
        )
    }

    fn image(layers: &[&str]) -> String {
        let layers: Vec<_> = layers.iter().map(|t| descriptor(t, "")).collect();
        format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor(OCI_CONFIG, ""),
            layers.join(",")
        )
    }

    fn parse(text: &str) -> Result<Document, ManifestError> {
        Document::parse(text.as_bytes(), None, 10)
    }

    #[test]
    fn docker_and_oci_manifests_are_read() {
        let text = image(&[
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ]);
        let Document::Image(manifest) = parse(&text).unwrap() else {
            panic!("not an image");
        };
        assert_eq!(manifest.layers.len(), 6);
    }

    #[test]
    fn a_document_that_is_two_things_is_refused() {
        let d = descriptor(OCI_CONFIG, "");
        for text in [
            format!(r#"{{"schemaVersion":2,"manifests":[],"config":{d},"layers":[]}}"#),
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned(),
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","config":{d},"layers":[]}}"#),
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#),
            format!(r#"{{"schemaVersion":2,"config":{d}}}"#),
            format!(r#"{{"schemaVersion":2,"layers":[],"layers":[],"config":{d}}}"#),
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            r#"{"schemaVersion":3,"manifests":[]}"#.to_owned(),
            "{}".to_owned(),
            "[]".to_owned(),
            "nonsense".to_owned(),
            "[".repeat(100_000),
        ] {
            assert!(parse(&text).is_err(), "{}", &text[..text.len().min(200)]);
        }
        let good = image(&[]);
        assert!(Document::parse(good.as_bytes(), Some(OCI_MANIFEST), 10).is_ok());
        assert!(Document::parse(good.as_bytes(), Some("text/plain; charset=x"), 10).is_ok());
        assert!(Document::parse(good.as_bytes(), Some(OCI_INDEX), 10).is_err());
    }

    #[test]
    fn what_is_no_image_or_has_too_many_layers_is_refused() {
        assert!(parse(&image(&["application/vnd.in-toto+json"])).is_err());
        assert!(
            parse(&image(&[
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
            ]))
            .is_err()
        );
        assert!(parse(&image(&["application/vnd.oci.image.layer.v1.tar"; 11])).is_err());
        let helm = image(&[]).replace(OCI_CONFIG, "application/vnd.cncf.helm.config.v1+json");
        assert!(
            parse(&helm)
                .unwrap_err()
                .to_string()
                .contains("not a container image")
        );
    }

    #[test]
    fn the_manifest_of_this_platform_is_chosen() {
        let of = |arch: &str, variant: &str| {
            descriptor(
                OCI_MANIFEST,
                &format!(
                    r#","platform":{{"os":"linux","architecture":"{arch}","variant":"{variant}"}}"#
                ),
            )
        };
        let index = |entries: &[String]| {
            let text = format!(
                r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
                entries.join(",")
            );
            let Document::Index(list) = parse(&text).unwrap() else {
                panic!("not an index");
            };
            list
        };
        let list = index(&[
            of("s390x", ""),
            of(ARCHITECTURE, "v9"),
            of(ARCHITECTURE, ""),
        ]);
        assert_eq!(
            choose(&list).unwrap().platform.as_ref().unwrap().variant,
            ""
        );
        let error = choose(&index(&[of("s390x", ""), of("unknown", "")])).unwrap_err();
        assert!(error.to_string().contains("linux/s390x"), "{error}");
        assert!(choose(&index(&[descriptor(OCI_MANIFEST, "")])).is_ok());
        assert!(choose(&[]).is_err());
    }
}
