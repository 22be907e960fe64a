//! What once broke a rule: shortened histories, each as `cargo xtask sim --seed N --shrink` printed it.

use node_sim::{History, run};
use pod_lifecycle::step;
use std::path::Path;

#[test]
fn what_was_found_once_stays_mended() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("the directory of regressions")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a history");
        let history: History =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let outcome = run(&history, step, false);
        assert_eq!(outcome.finding, None, "{}", file.display());
    }
}
