//! Archives that attack: each is refused with a reason, writes nothing outside of the private directory, and leaves nothing.

use crate::kit::*;
use image_store::{ArchiveSource, Duplicates, ImageStore, ImageStoreConfig, Limits};
use pod_model::{FailureReason, Fault};
use std::io::{Cursor, Write};
use tar::EntryType;

use crate::attacks::{Attack, forms, kinds, links, names};

async fn load(store: &ImageStore, layers: Vec<Layer>) -> Result<(), image_store::ImageError> {
    let archive = BuiltImage::new(layers).docker_archive(&["t:1"]);
    store
        .load(
            ArchiveSource::Reader(Box::new(Cursor::new(archive))),
            &silent(),
        )
        .await
        .map(drop)
}

async fn check(attacks: Vec<Attack>) {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let before = home.outside();
    let store = home.open();
    for attack in attacks {
        let error = match load(&store, attack.layers).await {
            Err(error) => error,
            Ok(()) => panic!("{} was accepted", attack.name),
        };
        let failure = error.failure();
        assert!(
            failure.message.contains(attack.says),
            "{}: {}",
            attack.name,
            failure.message
        );
        assert!(!failure.message.contains('\n'), "{}", attack.name);
        assert_eq!(
            failure.reason,
            FailureReason::ErrImagePull,
            "{}",
            attack.name
        );
        assert_eq!(
            failure.fault,
            Fault::Workload,
            "{}: {}",
            attack.name,
            failure.message
        );
        assert_eq!(home.outside(), before, "{}", attack.name);
        home.assert_nothing_kept(&store);
    }
}

#[tokio::test]
async fn names_that_leave_the_layer_are_refused() {
    check(names()).await;
}

#[tokio::test]
async fn links_that_lead_out_are_refused_or_never_followed() {
    check(links()).await;
}

#[tokio::test]
async fn devices_whiteouts_of_parents_duplicates_and_steering_attributes_are_refused() {
    check(kinds()).await;
}

#[tokio::test]
async fn archives_that_two_readers_could_read_differently_are_refused() {
    check(forms()).await;
}

fn with_limits(home: &Home, change: impl FnOnce(&mut Limits)) -> ImageStore {
    let mut config: ImageStoreConfig = home.config();
    change(&mut config.limits);
    ImageStore::open(config).unwrap()
}

#[tokio::test]
async fn bombs_stop_at_the_budget() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let before = home.outside();
    let many = |count: usize| {
        let mut tar = Tar::default();
        for number in 0..count {
            tar = tar.file(&format!("f{number}-{count}"), "");
        }
        vec![Layer::gzip(tar.end())]
    };
    // A zero-filled file of 64 MiB: 64 KB as it travels.
    let zeros = Tar::default().file("zeros", vec![0; 64 << 20]).end();
    let implied = Tar::default()
        .pax(&[("path", "d/".repeat(150).as_bytes())])
        .dir("x")
        .end();
    let mut members = Vec::new();
    for _ in 0..64 {
        members.extend(gzip(&vec![0; 1 << 20]));
    }
    let window = {
        let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
        out.window_log(30).unwrap();
        out.write_all(&Tar::default().file("a", "x").end()).unwrap();
        out.finish().unwrap()
    };
    type Change = fn(&mut Limits);
    let cases: Vec<(&str, Vec<Layer>, Change, &str)> = vec![
        (
            "bytes",
            vec![Layer::gzip(zeros.clone())],
            |l| l.unpacked_bytes = 1 << 20,
            "unpacks to more than the 1048576 bytes",
        ),
        (
            "bytes of zstd",
            vec![Layer::zstd(zeros.clone())],
            |l| l.unpacked_bytes = 1 << 20,
            "unpacks to more",
        ),
        (
            "bytes over layers",
            vec![
                Layer::gzip(Tar::default().file("a", vec![1; 700 << 10]).end()),
                Layer::gzip(Tar::default().file("b", vec![2; 700 << 10]).end()),
            ],
            |l| l.unpacked_bytes = 1 << 20,
            "unpacks to more",
        ),
        (
            "expansion",
            vec![Layer::gzip(zeros.clone())],
            |l| {
                l.expansion_checked_from = 1 << 20;
                l.expansion = 50
            },
            "bomb",
        ),
        (
            "expansion of zstd",
            vec![Layer::zstd(zeros)],
            |l| {
                l.expansion_checked_from = 1 << 20;
                l.expansion = 50
            },
            "bomb",
        ),
        (
            "members",
            vec![Layer {
                tar: vec![],
                blob: members,
                media_type: "",
            }],
            |l| {
                l.expansion_checked_from = 1 << 20;
                l.expansion = 50
            },
            "",
        ),
        (
            "entries",
            many(2000),
            |l| l.entries = 1000,
            "more than the 1000 files",
        ),
        (
            "entries over layers",
            [many(600), many(601)].concat(),
            |l| l.entries = 1000,
            "1000",
        ),
        (
            "implied directories",
            vec![Layer::gzip(implied)],
            |l| l.entries = 100,
            "100",
        ),
        (
            "window",
            vec![Layer {
                blob: window,
                ..Layer::zstd(Tar::default().file("a", "x").end())
            }],
            |_| {},
            "decompressed",
        ),
        (
            "layers",
            (0..20)
                .map(|n| Layer::gzip(Tar::default().file(&n.to_string(), "").end()))
                .collect(),
            |l| l.layers = 10,
            "20 layers",
        ),
    ];
    for (name, layers, change, says) in cases {
        let store = with_limits(&home, change);
        let error = load(&store, layers).await.expect_err(name);
        assert!(
            error.message().contains(says),
            "{name}: {}",
            error.message()
        );
        assert_eq!(home.outside(), before, "{name}");
        home.assert_nothing_kept(&store);
    }
}

#[tokio::test]
async fn where_duplicates_are_allowed_the_last_wins_and_nothing_is_written_through() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let before = home.outside();
    let store = with_limits(&home, |limits| limits.duplicates = Duplicates::LastWins);
    let bird = home
        .directory
        .path()
        .join("canary/bird")
        .display()
        .to_string();
    let tar = Tar::default()
        .file("a", "first")
        .hardlink("b", "a")
        .file("a", "second")
        .symlink("evil", "../../../../canary/bird")
        .file("evil", "dead")
        .pax(&[("linkpath", bird.as_bytes())])
        .symlink("evil2", "x")
        .file("evil2", "dead")
        .file("c", "")
        .dir("c")
        .file("c/d", "x")
        .end();
    let archive = BuiltImage::new(vec![Layer::gzip(tar)]).docker_archive(&["t:1"]);
    let loaded = store
        .load(
            ArchiveSource::Reader(Box::new(Cursor::new(archive))),
            &silent(),
        )
        .await
        .unwrap();
    let image = store.image(&loaded[0].info.id).unwrap();
    for (path, content) in [
        ("a", "second"),
        ("b", "first"),
        ("evil", "dead"),
        ("evil2", "dead"),
        ("c/d", "x"),
    ] {
        assert_eq!(
            image.file(path, 100).unwrap().unwrap(),
            content.as_bytes(),
            "{path}"
        );
    }
    assert_eq!(home.outside(), before);
    for (tar, says) in [
        (
            Tar::default().dir("d").file("d/x", "").symlink("d", "/tmp"),
            "something else",
        ),
        (
            Tar::default().symlink("d", "/tmp").file("d/x", ""),
            "not a directory",
        ),
    ] {
        let error = load(&store, vec![Layer::gzip(tar.end())])
            .await
            .unwrap_err();
        assert!(error.message().contains(says), "{}", error.message());
    }
}

#[tokio::test]
async fn a_repeated_directory_is_described_anew() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let tar = Tar::default()
        .dir("a")
        .file("a/b", "x")
        .item(Item {
            mode: 0o700,
            ..Item::new("./a/", EntryType::Directory)
        })
        .end();
    let image = crate::trees::load(&store, vec![Layer::gzip(tar)]).await;
    assert_eq!(
        listing(&image.layers()[0]),
        ["a 40700 0:0", "a/b 100644 0:0"]
    );
}
