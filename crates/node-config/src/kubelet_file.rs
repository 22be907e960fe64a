//! A `KubeletConfiguration` (`kubelet.config.k8s.io/v1beta1`) and its drop-ins.
//!
//! What the keys mean here stands in [`crate::kubelet_keys`]; this walks the documents and merges them as a kubelet does: later files win,
//! key by key.

use crate::coracle_file::unknown;
use crate::kubelet_keys::{KEYS, Rule, Said};
use crate::mistake::Mistake;
use crate::settings::Settings;
use located_yaml::{Kind, Node, Place};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";

/// The files taken in so far.
#[derive(Default)]
pub(crate) struct Reading {
    said: Said,
    /// Where the parallel pulls were last asked for, for a mistake that needs both keys.
    parallel_at: Option<(PathBuf, Place)>,
    ignored: BTreeSet<String>,
}

impl Reading {
    pub(crate) fn take(&mut self, document: &Node, file: &Path, mistakes: &mut Vec<Mistake>) {
        let mut say = |at, key: &str, message: String| {
            mistakes.push(Mistake {
                file: file.to_owned(),
                at: Some(at),
                key: key.to_owned(),
                message,
            });
        };
        if !matches!(document.kind, Kind::Map(_)) {
            let message = format!("expected a {KIND}, found {}", document.describe());
            return say(document.at, "", message);
        }
        for (key, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            match document.get(key).map(|n| (n, n.as_text())) {
                Some((_, Some(text))) if text == wanted => {}
                Some((node, _)) => say(node.at, key, format!("must be {wanted:?}")),
                None => say(
                    document.at,
                    key,
                    format!("is missing; it must be {wanted:?}"),
                ),
            }
        }
        for entry in document.entries() {
            let key = entry.key.as_str();
            let value = &entry.value;
            if ["apiVersion", "kind"].contains(&key) {
                continue;
            }
            let Some((_, rule)) = KEYS.iter().find(|(name, _)| *name == key) else {
                say(
                    entry.key_at,
                    key,
                    unknown(key, KEYS.iter().map(|(name, _)| *name)),
                );
                continue;
            };
            // In Go, `null` leaves the field at its default.
            if value.kind == Kind::Null {
                continue;
            }
            match rule {
                Rule::Set(set) => {
                    if let Err(message) = set(&mut self.said, value) {
                        say(entry.key_at, key, message);
                    } else if key == "maxParallelImagePulls" {
                        self.parallel_at = Some((file.to_owned(), entry.key_at));
                    }
                }
                Rule::Harmless => {
                    self.ignored.insert(key.to_owned());
                }
                Rule::Only(accepted, otherwise) => {
                    if !accepted(value) {
                        say(
                            entry.key_at,
                            key,
                            format!("not supported by this node: {otherwise}"),
                        );
                    }
                }
            }
        }
    }

    /// The one warning about all keys that change nothing here.
    pub(crate) fn warning(&self) -> Option<String> {
        let keys: Vec<&str> = self.ignored.iter().map(String::as_str).collect();
        (!keys.is_empty()).then(|| {
            format!(
                "the KubeletConfiguration has keys that change nothing on this node and are ignored: {}",
                keys.join(", ")
            )
        })
    }

    pub(crate) fn finish(mut self, mistakes: &mut Vec<Mistake>) -> Settings {
        let parallel = self.said.settings.max_parallel_image_pulls;
        match (self.said.serialize_image_pulls, parallel) {
            (Some(true), Some(2..)) => {
                let (file, at) = self.parallel_at.unzip();
                mistakes.push(Mistake {
                    file: file.unwrap_or_default(),
                    at,
                    key: "maxParallelImagePulls".to_owned(),
                    message: "cannot be larger than 1 unless serializeImagePulls is false"
                        .to_owned(),
                });
            }
            (Some(true), None) => self.said.settings.max_parallel_image_pulls = Some(1),
            _ => {}
        }
        self.said.settings
    }
}
