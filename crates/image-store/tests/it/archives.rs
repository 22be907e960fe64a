//! Archives as other tools write them.

use crate::kit::*;
use image_store::{ArchiveSource, Digest, ImageStore, Loaded};
use std::io::Cursor;

fn image() -> BuiltImage {
    BuiltImage::new(vec![
        Layer::gzip(Tar::default().dir("etc").file("etc/a", "a").end()),
        Layer::plain(Tar::default().file("etc/b", "b").end()),
    ])
}

async fn load(
    store: &ImageStore,
    archive: Vec<u8>,
) -> Result<Vec<Loaded>, image_store::ImageError> {
    store
        .load(
            ArchiveSource::Reader(Box::new(Cursor::new(archive))),
            &silent(),
        )
        .await
}

#[tokio::test]
async fn a_docker_archive_is_loaded_with_its_names() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let image = image();
    let path = home.directory.path().join("archive.tar");
    std::fs::write(
        &path,
        image.docker_archive(&["busybox:1", "localhost:5000/x/y:2"]),
    )
    .unwrap();
    let loaded = store
        .load(ArchiveSource::Path(path), &silent())
        .await
        .unwrap();
    assert_eq!(
        loaded[0].names,
        ["docker.io/library/busybox:1", "localhost:5000/x/y:2"]
    );
    assert_eq!(loaded[0].info.id.to_string(), image.id());
    assert_eq!(loaded[0].info.repo_digest, image.id());
    assert_eq!(store.find("busybox:1").unwrap().id, loaded[0].info.id);
    assert_eq!(
        store
            .image(&loaded[0].info.id)
            .unwrap()
            .file("etc/b", 9)
            .unwrap()
            .unwrap(),
        b"b"
    );
}

#[tokio::test]
async fn an_oci_archive_is_loaded_with_its_name() {
    if !privileged() {
        return;
    }
    for (annotation, names) in [
        (
            "docker.io/library/busybox:1",
            &["docker.io/library/busybox:1"][..],
        ),
        ("busybox:1", &["docker.io/library/busybox:1"]),
        // Only a tag: the archive does not say of what.
        ("latest", &[]),
    ] {
        let home = Home::new();
        let store = home.open();
        let loaded = load(&store, image().oci_archive(annotation)).await.unwrap();
        assert_eq!(loaded[0].names, names);
        let kept = store.image(&loaded[0].info.id).unwrap();
        assert_eq!(kept.manifest(), Some(&image().digest()));
        assert_eq!(kept.file("etc/a", 9).unwrap().unwrap(), b"a");
        assert_eq!(store.find(&image().id()).unwrap(), loaded[0].info);
    }
}

#[tokio::test]
async fn a_compressed_archive_is_the_same_archive() {
    if !privileged() {
        return;
    }
    let archive = image().docker_archive(&["x:1"]);
    for (name, bytes) in [
        ("a.tar.gz", gzip(&archive)),
        ("a.tar.zst", zstd::encode_all(&archive[..], 1).unwrap()),
        ("a.tar", archive),
    ] {
        let home = Home::new();
        let store = home.open();
        let path = home.directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let loaded = store
            .load(ArchiveSource::Path(path), &silent())
            .await
            .unwrap();
        assert_eq!(loaded[0].info.id.to_string(), image().id(), "{name}");
    }
}

#[tokio::test]
async fn an_image_loaded_twice_is_one_image() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    load(&store, image().docker_archive(&["x:1"]))
        .await
        .unwrap();
    let bytes = store.bytes();
    load(&store, image().oci_archive("y:1")).await.unwrap();
    assert_eq!(store.list().len(), 1);
    assert_eq!(
        store.list()[0].tags,
        ["docker.io/library/x:1", "docker.io/library/y:1"]
    );
    assert_eq!(store.bytes(), bytes);
}

#[tokio::test]
async fn an_old_docker_archive_with_links_between_layers_is_loaded() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let layer = Layer::plain(Tar::default().file("a", "a").end());
    let image = BuiltImage::new(vec![layer.clone(), layer.clone()]);
    let hex = Digest::of(&image.config).hex().to_owned();
    let manifest = serde_json::json!([{"Config": format!("{hex}.json"), "RepoTags": null, "Layers": ["one/layer.tar", "two/layer.tar"]}]);
    let archive = Tar::default()
        .file("one/layer.tar", &layer.tar)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file(&format!("{hex}.json"), &image.config)
        .file("manifest.json", manifest.to_string())
        .end();
    let loaded = load(&store, archive).await.unwrap();
    assert!(loaded[0].names.is_empty());
    assert_eq!(store.image(&loaded[0].info.id).unwrap().layers().len(), 2);
}

#[tokio::test]
async fn a_bad_archive_is_refused_with_a_reason() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let before = home.outside();
    let store = home.open();
    let image = image();
    let hex = Digest::of(&image.config).hex().to_owned();
    let docker = |manifest: serde_json::Value| {
        Tar::default()
            .file(&format!("{hex}.json"), &image.config)
            .file("x.json", b"{}")
            .file("manifest.json", manifest.to_string())
            .end()
    };
    let flipped = {
        let mut archive = image.oci_archive("x:1");
        let at = archive
            .windows(20)
            .position(|w| w == &image.config[..20])
            .unwrap();
        archive[at + 5] ^= 1;
        archive
    };
    let wrong_layer = {
        let mut other = image.clone();
        other.layers[1] = Layer::plain(Tar::default().file("etc/b", "B").end());
        other.docker_archive(&["x:1"])
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "neither manifest.json"),
        (
            "something else",
            Tar::default().file("hello", "x").end(),
            "neither manifest.json",
        ),
        ("no tar", b"hello".repeat(500), "checksum"),
        (
            "cut",
            image.docker_archive(&["x:1"])[..2000].to_vec(),
            "middle of an entry",
        ),
        (
            "cut gzip",
            gzip(&image.docker_archive(&["x:1"]))[..300].to_vec(),
            "cannot read the archive",
        ),
        ("no images", docker(serde_json::json!([])), "lists 0 images"),
        ("no list", docker(serde_json::json!({})), "not valid JSON"),
        (
            "missing configuration",
            docker(serde_json::json!([{"Config": "no.json", "Layers": []}])),
            "\"no.json\" is missing",
        ),
        (
            "missing layer",
            docker(serde_json::json!([{"Config": format!("{hex}.json"), "Layers": ["a", "b"]}])),
            "\"a\" is missing",
        ),
        (
            "a path outside",
            docker(serde_json::json!([{"Config": "../../../canary/bird", "Layers": []}])),
            "is missing",
        ),
        (
            "no configuration",
            docker(serde_json::json!([{"Config": "x.json", "Layers": []}])),
            "is refused",
        ),
        (
            "fewer layers",
            docker(serde_json::json!([{"Config": format!("{hex}.json"), "Layers": []}])),
            "describes 2 layers",
        ),
        (
            "a bad name",
            docker(serde_json::json!([{"Config": "x.json", "RepoTags": ["A B"], "Layers": []}])),
            "couldn't parse image name",
        ),
        ("another layer", wrong_layer, "diffID"),
        ("flipped configuration", flipped, "does not have its digest"),
        (
            "a link to itself",
            Tar::default()
                .symlink("manifest.json", "manifest.json")
                .end(),
            "neither",
        ),
        (
            "twice",
            Tar::default().file("a", "").file("./a", "").end(),
            "comes twice",
        ),
    ];
    for (what, archive, says) in cases {
        let error = load(&store, archive).await.expect_err(what);
        assert!(
            error.message().contains(says),
            "{what}: {}",
            error.message()
        );
        assert!(
            error
                .message()
                .starts_with("failed to load images from a stream: "),
            "{}",
            error.message()
        );
        assert_eq!(home.outside(), before, "{what}");
        home.assert_nothing_kept(&store);
    }
    let missing = store
        .load(ArchiveSource::Path("/no/such/file".into()), &silent())
        .await
        .unwrap_err();
    assert!(
        missing.message().contains("/no/such/file") && missing.message().contains("No such file"),
        "{}",
        missing.message()
    );
}
