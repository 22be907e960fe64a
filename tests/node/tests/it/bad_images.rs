//! Archives that attack and configurations that ask for what they may not.

use node_tests::manifest::{Manifest, idle};
use node_tests::registry::Registry;
use node_tests::{Image, Layer, Node, archive, pod, seconds, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Loading and pulling this must both be refused with one of `words`; a canary beside the node's directories stays as it is.
#[track_caller]
fn refused(words: &[&str], image: &Image) {
    let node = Node::builder().without_images().start();
    let canary = node.dir("canary");
    fs::write(&canary, "alive").unwrap();
    let file = node.dir("bad.tar");
    archive::oci(&file, &[("localhost/bad:1", image)]);
    let said = node
        .refuses(&["load", &file.to_string_lossy()])
        .to_lowercase();
    assert!(
        words.iter().any(|word| said.contains(word)),
        "none of {words:?} in {said}"
    );
    let registry = Registry::start(&node.sandbox);
    registry.push("bad", "1", image);
    let said = node
        .refuses(&["pull", &registry.reference("bad", "1")])
        .to_lowercase();
    assert!(
        words.iter().any(|word| said.contains(word)),
        "none of {words:?} in {said}"
    );
    assert!(!node.say(&["images"]).contains("bad"));
    assert_eq!(fs::read_to_string(&canary).unwrap(), "alive");
    for file in [
        "/coracle-escape",
        "/tmp/coracle-escape",
        "/etc/coracle-escape",
    ] {
        assert!(!std::path::Path::new(file).exists(), "{file} was written");
    }
}

fn layer(layer: Layer) -> Image {
    Image::busybox().layer(layer)
}

#[test]
fn a_name_that_climbs_out_is_refused() {
    refused(
        &[".."],
        &layer(Layer::new().file("../../../../../../../../tmp/coracle-escape", "x")),
    );
}

#[test]
fn a_link_that_is_written_through_stays_inside_or_is_refused() {
    // Runtimes differ on whether to refuse this; what counts is that nothing outside is written.
    let node = Node::builder().without_images().start();
    let image = layer(
        Layer::new()
            .symlink("out", "/tmp")
            .file("out/coracle-escape", "x"),
    );
    let file = node.dir("link.tar");
    archive::oci(&file, &[("localhost/link:1", &image)]);
    node.coracle(&["load", &file.to_string_lossy()]);
    assert!(!std::path::Path::new("/tmp/coracle-escape").exists());
}

#[test]
fn a_hard_link_out_of_the_tree_is_refused() {
    refused(
        &["link"],
        &layer(Layer::new().hard_link("shadow", "../../../../../../../../etc/shadow")),
    );
}

#[test]
fn a_whiteout_of_a_parent_is_refused() {
    refused(&["whiteout"], &layer(Layer::new().file("a/.wh...", "")));
}

#[test]
fn a_layer_whose_diff_id_is_wrong_is_refused() {
    let mut image = Image::busybox();
    image.layers[0].diff_id = node_tests::image::digest(b"something else");
    refused(&["diff"], &image);
}

#[test]
fn a_layer_that_is_no_archive_is_refused() {
    let mut image = Image::busybox();
    image.layers.push(node_tests::image::pack(
        &[b'x'; 4096],
        node_tests::image::Packing::Gzip,
    ));
    refused(&["archive", "tar", "header", "entry"], &image);
}

#[test]
fn a_bomb_is_stopped_at_its_budget() {
    let node = Node::builder()
        .without_images()
        .config("images:\n  maxUnpackedSize: 32Mi\n")
        .start();
    let image = Image::busybox().layer(Layer::new().file("zeros", vec![0_u8; 64 << 20]));
    let file = node.dir("bomb.tar");
    archive::oci(&file, &[("localhost/bomb:1", &image)]);
    let said = node.refuses(&["load", &file.to_string_lossy()]);
    assert!(
        said.contains("MiB") || said.contains("bytes") || said.contains("large"),
        "{said}"
    );
    wait_until("nothing of it to be kept", seconds(20), || {
        kept_bytes(&node) < 1 << 20
    });
}

/// Bytes of all files in the image store, each counted once however many names it has.
fn kept_bytes(node: &Node) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    node_tests::leaks::files(&node.root().join("images"))
        .iter()
        .filter_map(|path| fs::symlink_metadata(path).ok())
        .filter(|metadata| metadata.is_file() && seen.insert(metadata.ino()))
        .map(|metadata| metadata.len())
        .sum()
}

#[test]
fn a_bomb_of_entries_is_stopped_at_its_budget() {
    let node = Node::builder()
        .without_images()
        .config("images:\n  maxEntries: 1000\n")
        .start();
    let mut many = Layer::new();
    for number in 0..2000 {
        many = many.file(&format!("f{number}"), "");
    }
    let file = node.dir("bomb.tar");
    archive::oci(
        &file,
        &[("localhost/bomb:1", &Image::busybox().layer(many))],
    );
    let said = node.refuses(&["load", &file.to_string_lossy()]);
    assert!(said.contains("entries") || said.contains("1000"), "{said}");
}

#[test]
fn a_device_in_an_image_is_of_no_use() {
    let node = Node::builder().without_images().start();
    let file = node.dir("device.tar");
    // Debian's root disk, or any other block of the host: opening it must fail, if unpacking did not.
    archive::oci(
        &file,
        &[(
            "localhost/device:1",
            &layer(Layer::new().device("kmsg", 1, 11)),
        )],
    );
    if !node
        .coracle(&["load", &file.to_string_lossy()])
        .status
        .success()
    {
        return;
    }
    node.apply(&pod("device").once().container(json!({
        "name": "main", "image": "localhost/device:1", "imagePullPolicy": "Never", "command": ["/bin/head", "-c", "1", "/kmsg"],
    })));
    node.wait_phase("device", "Failed");
}

fn configured(field: &str, value: Value) -> (Node, Manifest) {
    let node = Node::builder().without_images().start();
    node.load("localhost/odd:1", &Image::busybox().set(field, value));
    let manifest = pod("odd")
        .container(json!({"name": "main", "image": "localhost/odd:1", "imagePullPolicy": "Never"}));
    (node, manifest)
}

#[track_caller]
fn waits_with(reason: &[&str], word: &str, (node, manifest): (Node, Manifest)) {
    node.apply(&manifest);
    let odd = node.wait_pod("odd", "refused", |pod| {
        pod.try_container("main").is_some_and(|main| {
            reason.contains(&main.waiting())
                || main
                    .ended_before()
                    .is_some_and(|end| reason.contains(&end.reason()))
        })
    });
    let main = odd.container("main");
    let said = format!(
        "{} {}",
        main.message(),
        main.ended_before()
            .map(|end| end.message().to_owned())
            .unwrap_or_default()
    );
    assert!(said.contains(word), "{word:?} is not in {said:?}");
}

#[test]
fn a_user_that_does_not_exist_is_named() {
    waits_with(
        &["CreateContainerConfigError", "CreateContainerError"],
        "nobody-knows",
        configured("User", json!("nobody-knows")),
    );
}

#[test]
fn a_user_id_beyond_all_bounds_is_never_root() {
    waits_with(
        &["CreateContainerConfigError", "CreateContainerError"],
        "4294967296",
        configured("User", json!("4294967296")),
    );
}

#[test]
fn an_environment_without_an_equals_sign_is_refused() {
    waits_with(
        &["CreateContainerConfigError", "CreateContainerError"],
        "NONSENSE",
        configured("Env", json!(["NONSENSE"])),
    );
}

#[test]
fn a_relative_entry_point_that_is_not_on_the_path_is_said_not_to_be_found() {
    waits_with(
        &["StartError", "RunContainerError"],
        "bin/nothing",
        configured("Entrypoint", json!(["bin/nothing"])),
    );
}

#[test]
fn a_command_that_is_not_there_is_a_start_error_with_the_kernels_word() {
    let node = Node::start();
    node.apply(
        &pod("absent")
            .once()
            .container(idle("main"))
            .with("command", json!(["/no/such/program"])),
    );
    let absent = node.wait_phase("absent", "Failed");
    let end = absent.container("main").ended().expect("ended");
    assert_eq!((end.exit_code(), end.reason()), (128, "StartError"));
    assert!(
        end.message().contains("/no/such/program")
            && end.message().to_lowercase().contains("no such file"),
        "{}",
        end.message()
    );
}

#[test]
fn a_program_that_may_not_be_executed_is_a_start_error_too() {
    let node = Node::start();
    node.apply(
        &pod("data")
            .once()
            .container(idle("main"))
            .with("command", json!(["/etc/passwd"])),
    );
    let data = node.wait_phase("data", "Failed");
    let end = data.container("main").ended().expect("ended");
    assert_eq!((end.exit_code(), end.reason()), (128, "StartError"));
    assert!(
        end.message().to_lowercase().contains("permission denied"),
        "{}",
        end.message()
    );
}
