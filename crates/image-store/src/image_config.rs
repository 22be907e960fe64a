//! The configuration of an image (OCI image specification, "Image Configuration"): what its author wants a container to be.
//!
//! It is a stranger's text. It is parsed and bounded here; whether a user exists, a path is absolute or a variable is well formed is
//! decided where a container is made of it. Nothing in it, least of all a label, ever configures this node.

use crate::digest::Digest;
use crate::error::ManifestError;
use crate::manifest::{ARCHITECTURE, json, or_default};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the author wrote. Absent and `null` are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `name`, `uid`, `name:group` or `uid:gid`.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub working_dir: String,
    /// A name or a number.
    pub stop_signal: String,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Paths that a `VOLUME` line named.
    pub volumes: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// RFC 3339, as the builder wrote it.
    pub created: String,
    pub architecture: String,
    pub os: String,
    /// Digests of the tar streams, lowest layer first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default, deserialize_with = "or_default")]
    created: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    config: RawContainer,
    rootfs: RawRootfs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainer {
    #[serde(default, deserialize_with = "or_default")]
    user: String,
    #[serde(default, deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    cmd: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    working_dir: String,
    #[serde(default, deserialize_with = "or_default")]
    stop_signal: String,
    #[serde(default, deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    volumes: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a configuration; refuses one for another machine or with another number of layers than `layers`.
    pub(crate) fn parse(bytes: &[u8], layers: usize) -> Result<ImageConfig, ManifestError> {
        let raw: Raw = json(bytes)?;
        if raw.rootfs.kind != "layers" && !raw.rootfs.kind.is_empty() {
            return Err(ManifestError::Bad(format!(
                "its root file system is of type {:?}, not \"layers\"",
                raw.rootfs.kind
            )));
        }
        if raw.rootfs.diff_ids.len() != layers {
            return Err(ManifestError::Bad(format!(
                "it describes {} layers where the manifest has {layers}",
                raw.rootfs.diff_ids.len()
            )));
        }
        let fits = |value: &str, ours: &str| value.is_empty() || value == ours;
        if !fits(&raw.os, "linux") || !fits(&raw.architecture, ARCHITECTURE) {
            return Err(ManifestError::NoPlatform {
                wanted: format!("linux/{ARCHITECTURE}"),
                offered: format!("{}/{}", raw.os, raw.architecture),
            });
        }
        let container = raw.config;
        Ok(ImageConfig {
            user: container.user,
            env: container.env,
            entrypoint: container.entrypoint,
            cmd: container.cmd,
            working_dir: container.working_dir,
            stop_signal: container.stop_signal,
            exposed_ports: container.exposed_ports.into_keys().collect(),
            volumes: container.volumes.into_keys().collect(),
            labels: container.labels,
            created: raw.created,
            architecture: raw.architecture,
            os: raw.os,
            diff_ids: raw.rootfs.diff_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_writes_is_read() {
        let text = format!(
            r#"{{"architecture":"{ARCHITECTURE}","os":"linux","created":"2026-01-02T03:04:05Z",
                "config":{{"User":"65532:65532","Env":["A=b","broken"],"Entrypoint":["/app"],"Cmd":null,"WorkingDir":"/w",
                "ExposedPorts":{{"80/tcp":{{}}}},"Volumes":null,"Labels":{{"a":"b"}},"StopSignal":"SIGQUIT","OnBuild":null,"Shell":["x"]}},
                "rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}},"history":null,"container_config":{{"Env":null}}}}"#,
            "a".repeat(64)
        );
        let config = ImageConfig::parse(text.as_bytes(), 1).unwrap();
        assert_eq!(config.user, "65532:65532");
        assert_eq!(config.env, ["A=b", "broken"]);
        assert_eq!(config.entrypoint, ["/app"]);
        assert!(config.cmd.is_empty() && config.volumes.is_empty());
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.stop_signal, "SIGQUIT");
        assert!(ImageConfig::parse(text.as_bytes(), 2).is_err());
        let foreign = text.replace("linux", "windows");
        assert!(matches!(
            ImageConfig::parse(foreign.as_bytes(), 1),
            Err(ManifestError::NoPlatform { .. })
        ));
    }

    #[test]
    fn a_configuration_without_layers_or_with_bad_digests_is_refused() {
        for text in [
            "{}",
            "null",
            r#"{"rootfs":null}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#,
            r#"{"rootfs":{"type":"squashfs","diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Env":"A=b"}}"#,
        ] {
            assert!(ImageConfig::parse(text.as_bytes(), 0).is_err(), "{text}");
        }
        assert!(ImageConfig::parse(br#"{"rootfs":{"type":"layers"}}"#, 0).is_ok());
    }
}
