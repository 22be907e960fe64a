//! Volumes of the pod.

use super::{names, no_dot_dot, one_of};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{PodSpec, Volume};
use pod_model::Quantity;
use std::collections::BTreeSet;

const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// Checks the volumes and gives their names.
pub(super) fn check<'s>(
    spec: &'s PodSpec,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) -> BTreeSet<&'s str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = path.index(index);
        let key = path.key("name");
        if volume.name.is_empty() {
            findings.required(&key, "");
        } else if let Some(wrong) = names::dns_label(&volume.name) {
            findings.invalid(&key, &volume.name, wrong);
        } else if !seen.insert(volume.name.as_str()) {
            findings.duplicate(&key, &volume.name);
        }
        source(volume, &path, findings);
    }
    seen
}

fn source(volume: &Volume, path: &FieldPath<'_>, findings: &mut Findings) {
    if let Some(empty) = &volume.empty_dir {
        let path = path.key("emptyDir");
        one_of(
            empty.medium.as_deref(),
            &["", "Memory"],
            &path.key("medium"),
            findings,
        );
        if let Some(limit) = &empty.size_limit {
            let key = path.key("sizeLimit");
            match Quantity::parse(&limit.0) {
                Ok(q) if q.milli() < 0 => {
                    findings.forbidden(&key, "SizeLimit field must be a valid resource quantity")
                }
                Ok(_) => {}
                Err(e) => findings.invalid(&key, &limit.0, &e.to_string()),
            }
        }
    }
    if let Some(host) = &volume.host_path {
        let key = path.key("hostPath");
        if volume.empty_dir.is_some() {
            findings.forbidden(&key, "may not specify more than 1 volume type");
        }
        let path = key.key("path");
        if host.path.is_empty() {
            findings.required(&path, "");
        } else {
            // Stricter than upstream, where a relative path fails when the container is made.
            if !host.path.starts_with('/') {
                findings.invalid(&path, &host.path, "must be an absolute path");
            }
            no_dot_dot(&host.path, &path, findings);
        }
        one_of(
            host.type_.as_deref(),
            &HOST_PATH_TYPES,
            &key.key("type"),
            findings,
        );
    }
}
