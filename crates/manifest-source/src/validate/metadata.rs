//! Name, namespace, labels and annotations.

use super::names;
use crate::field_path::{FieldPath, Findings};
use crate::identity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pod_model::PodUid;

/// All annotations together, keys and values.
const MAX_ANNOTATIONS_BYTES: usize = 256 << 10;
/// `<namespace>_<name>_<uid>` names the pod's log directory, and no file name is longer.
const MAX_LOG_DIRECTORY_BYTES: usize = 255;
/// Of a uid that the node makes.
const UID_BYTES: usize = 32;

pub(super) fn check(meta: &ObjectMeta, node_name: &str, findings: &mut Findings) {
    let root = FieldPath::Root.key("metadata");
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    if let Some(wrong) = names::dns_label(namespace) {
        findings.invalid(&root.key("namespace"), namespace, wrong);
    }
    let given = meta.uid.as_deref().unwrap_or_default();
    if !given.is_empty()
        && let Err(wrong) = PodUid::new(given)
    {
        // it is a part of paths and of the names of cgroups
        let detail = format!("must be {}", wrong.rule);
        findings.invalid(&root.key("uid"), given, &detail);
    }
    let uid_bytes = if given.is_empty() {
        UID_BYTES
    } else {
        given.len()
    };
    let path = root.key("name");
    match meta.name.as_deref().unwrap_or_default() {
        "" => findings.required(&path, "name is required"),
        name => {
            let full = identity::static_name(name, node_name);
            if let Some(wrong) = names::dns_subdomain(name) {
                findings.invalid(&path, name, wrong);
            } else if let Some(wrong) = names::dns_subdomain(&full) {
                findings.invalid(&path, full, wrong);
            } else if namespace.len() + full.len() + uid_bytes + 2 > MAX_LOG_DIRECTORY_BYTES {
                let taken = uid_bytes + 2 + namespace.len();
                let max = MAX_LOG_DIRECTORY_BYTES.saturating_sub(taken);
                findings.say(
                    &path,
                    format!(
                        "Too long: {full:?} may not be more than {max} bytes, for namespace, name and uid name its log directory"
                    ),
                );
            }
        }
    }
    let path = root.key("labels");
    for (key, value) in meta.labels.iter().flatten() {
        if let Some(wrong) = names::qualified_name(key) {
            findings.invalid(&path, key, wrong);
        }
        if let Some(wrong) = names::label_value(value) {
            findings.invalid(&path.map_key(key), value, wrong);
        }
    }
    let path = root.key("annotations");
    let mut bytes = 0;
    for (key, value) in meta.annotations.iter().flatten() {
        bytes += key.len() + value.len();
        if let Some(wrong) = names::qualified_name(&key.to_lowercase()) {
            findings.invalid(&path, key, wrong);
        }
        if [
            identity::SOURCE,
            identity::SEEN,
            identity::HASH,
            identity::FILE,
            identity::VALUES,
            MIRROR,
        ]
        .contains(&key.as_str())
        {
            findings.forbidden(&path.map_key(key), "is made by the node for a static pod");
        }
    }
    if bytes > MAX_ANNOTATIONS_BYTES {
        findings.too_long(&path, MAX_ANNOTATIONS_BYTES);
    }
}

const MIRROR: &str = "kubernetes.io/config.mirror";
