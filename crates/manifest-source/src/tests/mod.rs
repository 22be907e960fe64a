//! What manifests mean, as tables: text in, the pod or what is wrong with it out.

mod defaulting;
mod ephemeral;
mod handlers;
mod identity;
mod names_of_files;
mod refused;
mod samples;
mod signs;
mod surroundings;
mod text;
mod update;
mod validation;

use crate::identity::Origin;
use crate::manifest::read_manifest;
use pod_model::{AdmittedPod, WallTime};
use std::path::Path;

const FILE: &str = "/m/p.yaml";

pub(super) fn origin() -> Origin<'static> {
    Origin {
        node_name: "n1",
        file: Path::new(FILE),
        seen: WallTime(1_700_000_000_000_000_000),
    }
}

/// `body` as the spec of a pod that has a container, unless `body` has its own.
pub(super) fn with_spec(body: &str) -> String {
    let mut text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n".to_owned();
    if !body.lines().any(|l| l.starts_with("containers:")) {
        text += "  containers: [{name: c, image: 'i:1'}]\n";
    }
    for line in body.lines() {
        text += &format!("  {line}\n");
    }
    text
}

/// `body` as the fields of a pod's container, after its name and image.
pub(super) fn with_container(body: &str) -> String {
    let mut text = "containers:\n- name: c\n  image: i:1\n".to_owned();
    for line in body.lines() {
        text += &format!("  {line}\n");
    }
    with_spec(&text)
}

/// `body` as the metadata of a pod.
pub(super) fn with_metadata(body: &str) -> String {
    with_spec("").replace("metadata:\n  name: p\n", &format!("metadata: {body}\n"))
}

/// `path: message` of everything that is wrong, a line each; `ok` when nothing is.
pub(super) fn verdict(text: &str) -> String {
    match read_manifest(text, &origin()) {
        Ok(_) => "ok".to_owned(),
        Err(problems) => {
            let line = |p: &crate::Problem| format!("{}: {}", p.path, p.message);
            problems.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

/// The same with lines and columns.
pub(super) fn located(text: &str) -> String {
    match read_manifest(text, &origin()) {
        Ok(pods) => format!("{} pods", pods.len()),
        Err(problems) => {
            let line = |p: &crate::Problem| p.to_string().replace("/m/", "");
            problems.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

#[track_caller]
pub(super) fn admitted(text: &str) -> AdmittedPod {
    match read_manifest(text, &origin()).as_deref() {
        Ok([pod]) => pod.clone(),
        other => panic!("{text}\n{other:#?}"),
    }
}
