//! Who a static pod is: the kubelet's rules for names, uids and annotations of pods that come from files.
//!
//! Source: `applyDefaults` in `pkg/kubelet/config/common.go`. A manifest may name its uid; without one, the uid is a hash. One difference:
//! it is a hash over the manifest as it was written (its values, not its layout or comments) and not over the object with its defaults, so
//! that an agent that learns another default does not replace every pod it finds.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Toleration};
use pod_model::{AdmittedPod, WallTime};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

pub(crate) const SOURCE: &str = "kubernetes.io/config.source";
pub(crate) const SEEN: &str = "kubernetes.io/config.seen";
pub(crate) const HASH: &str = "kubernetes.io/config.hash";
/// The manifest's path: ours, so that a pod found on disk after a restart still tells which file it came from.
pub(crate) const FILE: &str = "coracle.dev/manifest";
/// What the uid would be, of a manifest that names another: ours, to tell whether its values have changed since.
pub(crate) const VALUES: &str = "coracle.dev/manifest-hash";

/// Where a manifest was found.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The node's name: an RFC 1123 subdomain in lower case.
    pub node_name: &'a str,
    /// Absolute path of the manifest's file.
    pub file: &'a Path,
    /// When this pod was first seen; only printed.
    pub seen: WallTime,
}

/// The name that a pod of this node's files gets.
pub(crate) fn static_name(name: &str, node_name: &str) -> String {
    format!("{name}-{}", node_name.to_lowercase())
}

/// Who a manifest's pod is.
pub(crate) struct Identity {
    /// Of the manifest's values, of node and file.
    pub(crate) hash: String,
    /// `metadata.uid`, not checked yet; an empty one is none, as in a kubelet.
    pub(crate) given: Option<String>,
}

impl Identity {
    pub(crate) fn of(manifest: &Value, origin: &Origin<'_>) -> Self {
        let given = manifest["metadata"]["uid"].as_str();
        Self {
            hash: hash(manifest, origin),
            given: given.filter(|uid| !uid.is_empty()).map(str::to_owned),
        }
    }
}

/// 32 hexadecimal digits that change when the manifest's values, the node or the file change.
fn hash(manifest: &Value, origin: &Origin<'_>) -> String {
    let mut hasher = Sha256::new();
    feed(&mut hasher, manifest);
    hasher.update(b"host:");
    hasher.update(origin.node_name.as_bytes());
    hasher.update(b"file:");
    hasher.update(origin.file.as_os_str().as_encoded_bytes());
    hasher
        .finalize()
        .iter()
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Every value with its type, texts with their length, keys in order: no two manifests feed the same bytes.
fn feed(hasher: &mut Sha256, value: &Value) {
    fn text(hasher: &mut Sha256, kind: u8, text: &str) {
        hasher.update([kind]);
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    match value {
        Value::Null => hasher.update(b"0"),
        Value::Bool(b) => text(hasher, b'b', if *b { "true" } else { "false" }),
        Value::Number(n) => text(hasher, b'n', &n.to_string()),
        Value::String(s) => text(hasher, b's', s),
        Value::Array(items) => {
            text(hasher, b'a', &items.len().to_string());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().filter(|(_, v)| !v.is_null()).collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            text(hasher, b'o', &entries.len().to_string());
            for (key, inner) in entries {
                text(hasher, b'k', key);
                feed(hasher, inner);
            }
        }
    }
}

/// Makes the pod this node's: uid, full name, node name, the annotations and the toleration of a static pod.
pub(crate) fn adopt(pod: &mut Pod, identity: Identity, origin: &Origin<'_>) {
    let meta = &mut pod.metadata;
    let name = meta.name.take().unwrap_or_default();
    meta.name = Some(static_name(&name, origin.node_name));
    let annotations = meta.annotations.get_or_insert_default();
    let uid = match identity.given {
        Some(uid) => {
            annotations.insert(VALUES.to_owned(), identity.hash);
            uid
        }
        None => identity.hash,
    };
    annotations.insert(HASH.to_owned(), uid.clone());
    annotations.insert(SOURCE.to_owned(), "file".to_owned());
    annotations.insert(SEEN.to_owned(), rfc3339(origin.seen));
    annotations.insert(FILE.to_owned(), origin.file.to_string_lossy().into_owned());
    meta.uid = Some(uid);
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(origin.node_name.to_owned());
    // A node in trouble keeps its static pods.
    let forever = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&forever) {
        tolerations.push(forever);
    }
}

fn rfc3339(time: WallTime) -> String {
    Timestamp::from_nanosecond(i128::from(time.0))
        .map(|t| t.to_string())
        .unwrap_or_default()
}

/// Whether two pods of one uid come from a manifest with the same values, in the same file.
pub(crate) fn is_of_same_manifest(one: &AdmittedPod, other: &AdmittedPod) -> bool {
    fn values(pod: &AdmittedPod) -> Option<&String> {
        let annotations = pod.pod().metadata.annotations.as_ref()?;
        annotations.get(VALUES).or_else(|| annotations.get(HASH))
    }
    one.uid() == other.uid() && values(one) == values(other)
}

/// A pod that is changed was first seen when it came, as in a kubelet.
pub(crate) fn keep_first_seen(pod: &mut Pod, before: &Pod) {
    let annotations = before.metadata.annotations.as_ref();
    if let Some(seen) = annotations.and_then(|annotations| annotations.get(SEEN)) {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(SEEN.to_owned(), seen.clone());
    }
}

/// The manifest that a pod came from, as its annotations tell; `None` of a pod from elsewhere.
pub fn manifest_file(pod: &AdmittedPod) -> Option<&Path> {
    let annotations = pod.pod().metadata.annotations.as_ref()?;
    annotations.get(FILE).map(Path::new)
}
