//! Images as files for `coracle load`: the OCI layout in a tar, and what `docker save` writes.

use crate::image::{Image, MANIFEST, descriptor, digest};
use serde_json::json;
use std::fs::File;
use std::path::Path;

type Archive = tar::Builder<File>;

fn put(archive: &mut Archive, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, name, content)
        .expect("write the archive");
}

fn create(file: &Path) -> Archive {
    tar::Builder::new(File::create(file).expect("make the archive"))
}

/// An OCI archive of images with their references.
pub fn oci(file: &Path, images: &[(&str, &Image)]) {
    let mut archive = create(file);
    put(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    );
    let mut entries = Vec::new();
    let mut there = std::collections::BTreeSet::new();
    for (reference, image) in images {
        let blobs = image.blobs();
        let mut entry = descriptor(MANIFEST, &blobs.manifest);
        entry["annotations"] = json!({
            "org.opencontainers.image.ref.name": reference,
            "io.containerd.image.name": reference,
        });
        entries.push(entry);
        let layers = image.layers.iter().map(|layer| &layer.blob);
        for blob in layers.chain([&blobs.config, &blobs.manifest]) {
            let name = digest(blob).replace(':', "/");
            if there.insert(name.clone()) {
                put(&mut archive, &format!("blobs/{name}"), blob);
            }
        }
    }
    let index = json!({"schemaVersion": 2, "manifests": entries});
    put(&mut archive, "index.json", index.to_string().as_bytes());
    archive.into_inner().expect("finish the archive");
}

/// A docker archive of one image with its tags; layers as they are, whatever their packing.
pub fn docker(file: &Path, tags: &[&str], image: &Image) {
    let mut archive = create(file);
    let config = image.blobs().config;
    let config_name = format!("{}.json", digest(&config).trim_start_matches("sha256:"));
    put(&mut archive, &config_name, &config);
    let mut layers = Vec::new();
    for layer in &image.layers {
        let name = format!("{}/layer.tar", layer.diff_id.trim_start_matches("sha256:"));
        put(&mut archive, &name, &layer.blob);
        layers.push(name);
    }
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": layers}]);
    put(
        &mut archive,
        "manifest.json",
        manifest.to_string().as_bytes(),
    );
    archive.into_inner().expect("finish the archive");
}
