//! The samples under `manifests/` run as they are.

use node_tests::{Node, seconds, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The demo image as `cargo xtask image` makes it; where there is no cargo (in the machine), where it was put.
fn demo_image() -> PathBuf {
    if let Some(file) = std::env::var_os("CORACLE_DEMO_IMAGE") {
        return file.into();
    }
    let file = workspace().join("target/demo/hello.tar");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["xtask", "image"])
        .current_dir(workspace())
        .output()
        .expect("run cargo xtask image");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    file
}

fn samples() -> PathBuf {
    std::env::var_os("CORACLE_SAMPLES").map_or_else(|| workspace().join("manifests"), PathBuf::from)
}

#[test]
fn every_sample_runs_with_the_demo_image_alone() {
    let image = demo_image();
    let node = Node::builder().without_images().start();
    node.say(&["load", &image.to_string_lossy()]);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(samples()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(pod) = name.strip_suffix(".yaml") {
            node.write_manifest(&name, &std::fs::read_to_string(entry.path()).unwrap());
            names.push(pod.to_owned());
        }
    }
    assert!(names.len() >= 6, "{names:?}");
    for name in &names {
        node.wait_pod(name, "running or done", |pod| {
            pod.is_ready() || pod.phase() == "Succeeded"
        });
    }
    let hello = node.wait_ready("hello");
    let page = |address: String| {
        node.fetch(&address, "/")
            .map(|answer| answer.text())
            .unwrap_or_default()
    };
    wait_until("hello to answer", seconds(10), || {
        page(format!("{}:8080", hello.ip())).starts_with("ahoy from pod hello-node at ")
    });
    assert!(page("127.0.0.1:8080".to_owned()).contains(hello.ip()));
    assert!(page("127.0.0.1:8090".to_owned()).starts_with("hello from the host's network"));
    node.wait_log("shared-volume", "reader", "written by the init container");
}
