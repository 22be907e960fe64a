//! What the repository ships as samples is what this node runs.

use manifest_source::{Origin, read_manifest};
use pod_model::WallTime;
use std::fs;
use std::path::Path;

#[test]
fn every_sample_manifest_is_admitted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests");
    let mut pods = 0;
    for entry in fs::read_dir(&directory).expect("the samples") {
        let file = entry.expect("an entry").path();
        if file.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a sample");
        let origin = Origin {
            node_name: "a-node",
            file: &file,
            seen: WallTime(0),
        };
        match read_manifest(&text, &origin) {
            Ok(found) => pods += found.len(),
            Err(problems) => panic!("{problems:#?}"),
        }
    }
    assert!(pods > 0, "there are samples");
}
