//! Archives that attack: each is refused with a reason, writes nothing outside of the private directory, and leaves nothing.

use crate::kit::*;
use image_store::{ArchiveSource, Duplicates, ImageStore, ImageStoreConfig, Limits};
use pod_model::{FailureReason, Fault};
use std::io::{Cursor, Write};
use tar::EntryType;

struct Attack {
    name: &'static str,
    layers: Vec<Layer>,
    /// What the message must say.
    says: &'static str,
}

fn attack(name: &'static str, tar: Tar, says: &'static str) -> Attack {
    raw(name, tar.end(), says)
}

fn raw(name: &'static str, tar: Vec<u8>, says: &'static str) -> Attack {
    Attack {
        name,
        layers: vec![Layer::gzip(tar)],
        says,
    }
}

fn device(path: &str, kind: EntryType, major: u32, minor: u32) -> Tar {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_mode(0o666);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(1);
    header.set_device_major(major).unwrap();
    header.set_device_minor(minor).unwrap();
    header.set_cksum();
    Tar::default().raw(header.as_bytes(), b"")
}

fn header(change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.as_old_mut().name[..1].copy_from_slice(b"x");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(1);
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn names() -> Vec<Attack> {
    let t = Tar::default;
    vec![
        attack(
            "absolute name",
            t().file("/canary/bird", "dead"),
            "absolute name",
        ),
        attack("absolute directory", t().dir("/tmp/evil"), "absolute name"),
        attack(
            "absolute symbolic link",
            t().symlink("/evil", "x"),
            "absolute name",
        ),
        attack("parent", t().file("../canary/bird", "dead"), "\"..\""),
        attack(
            "many parents",
            t().file("../../../../../../../../../../canary/bird", "dead"),
            "\"..\"",
        ),
        attack(
            "parent inside",
            t().dir("a").file("a/../../canary/bird", "dead"),
            "\"..\"",
        ),
        attack(
            "parent that stays inside",
            t().dir("a").file("a/../b", "x"),
            "\"..\"",
        ),
        attack("parent at the end", t().dir("a/.."), "\"..\""),
        attack(
            "parent by pax",
            t().pax(&[("path", b"../../canary/bird")]).file("x", "dead"),
            "\"..\"",
        ),
        attack(
            "absolute by pax",
            t().pax(&[("path", b"/canary/bird")]).file("x", "dead"),
            "absolute",
        ),
        attack(
            "NUL by pax",
            t().pax(&[("path", b"a\0b")]).file("x", "dead"),
            "NUL",
        ),
        attack(
            "parent by sparse name",
            t().pax(&[
                ("GNU.sparse.name", b"../canary/bird"),
                ("GNU.sparse.size", b"1"),
                ("GNU.sparse.map", b"0,1"),
            ])
            .file("x", "d"),
            "\"..\"",
        ),
        attack(
            "too deep",
            t().pax(&[("path", "d/".repeat(300).as_bytes())]).dir("x"),
            "deeper",
        ),
        attack(
            "long component",
            t().pax(&[("path", "n".repeat(256).as_bytes())])
                .file("x", ""),
            "255",
        ),
        attack(
            "long path",
            t().pax(&[("path", format!("{}x", "n/".repeat(3000)).as_bytes())])
                .file("x", ""),
            "4096",
        ),
        attack("no name", t().file("", "x"), "has no name"),
        attack("root as a file", t().file("./", "x"), "root directory"),
        attack("root as a link", t().symlink(".", "/"), "root directory"),
        attack(
            "pax and long name",
            {
                let mut long = tar::Header::new_gnu();
                long.set_entry_type(EntryType::GNULongName);
                long.set_size(3);
                long.set_cksum();
                t().raw(long.as_bytes(), b"abc")
                    .pax(&[("path", b"def")])
                    .file("x", "")
            },
            "two forms",
        ),
    ]
}

fn links() -> Vec<Attack> {
    let t = Tar::default;
    vec![
        attack(
            "through an absolute link",
            t().symlink("evil", "/").file("evil/canary", "dead"),
            "not a directory",
        ),
        attack(
            "through a climbing link",
            t().symlink("evil", "../../..")
                .file("evil/canary/bird", "dead"),
            "not a directory",
        ),
        attack(
            "through a harmless link",
            t().dir("real").symlink("evil", "real").file("evil/x", "x"),
            "not a directory",
        ),
        attack(
            "directory through a link",
            t().symlink("evil", "/tmp").dir("evil/made"),
            "not a directory",
        ),
        attack(
            "link replaced by directory",
            t().symlink("evil", "/tmp").dir("evil").file("evil/x", "x"),
            "something else",
        ),
        attack(
            "directory replaced by link",
            t().dir("evil").symlink("evil", "/tmp").file("evil/x", "x"),
            "something else",
        ),
        attack(
            "whiteout through a link",
            t().symlink("evil", "/tmp").file("evil/.wh.x", ""),
            "not a directory",
        ),
        attack(
            "opaque through a link",
            t().symlink("evil", "/tmp").file("evil/.wh..wh..opq", ""),
            "not a directory",
        ),
        attack(
            "hard link through a link",
            t().symlink("evil", "../../../canary")
                .hardlink("x", "evil/bird"),
            "does not have",
        ),
        attack(
            "hard link into a link",
            t().file("a", "")
                .symlink("evil", "/tmp")
                .hardlink("evil/x", "a"),
            "not a directory",
        ),
        attack(
            "hard link out",
            t().hardlink("x", "../../../../canary/bird"),
            "outside",
        ),
        attack(
            "hard link to an absolute name",
            t().hardlink("x", "/etc/passwd"),
            "outside",
        ),
        attack(
            "hard link to nothing",
            t().hardlink("x", "missing"),
            "does not have",
        ),
        attack(
            "hard link to a directory",
            t().dir("d").hardlink("x", "d"),
            "directory",
        ),
        attack("hard link to the root", t().hardlink("x", "."), "root"),
        attack(
            "hard link to itself",
            t().hardlink("x", "x"),
            "does not have",
        ),
        attack(
            "hard link to a whiteout",
            t().file(".wh.w", "").hardlink("x", "w"),
            "does not have",
        ),
        attack(
            "hard link to a whiteout's name",
            t().hardlink("x", ".wh.w"),
            "whiteout",
        ),
        attack(
            "symbolic link to nothing",
            t().symlink("x", ""),
            "no proper target",
        ),
        attack(
            "write to a linked file",
            t().symlink("evil", "../../../canary/bird")
                .file("evil", "dead"),
            "twice",
        ),
        attack(
            "fifo over a link",
            t().symlink("evil", "/tmp/x")
                .item(Item::new("evil", EntryType::Fifo)),
            "twice",
        ),
        attack(
            "file below a file",
            t().file("a", "x").file("a/b", "y"),
            "not a directory",
        ),
        attack(
            "file below a fifo",
            t().item(Item::new("a", EntryType::Fifo)).file("a/b", "y"),
            "not a directory",
        ),
    ]
}

fn kinds() -> Vec<Attack> {
    let t = Tar::default;
    vec![
        attack(
            "block device",
            device("sda", EntryType::Block, 8, 0),
            "device node",
        ),
        attack(
            "character device",
            device("mem", EntryType::Char, 1, 1),
            "device node",
        ),
        attack(
            "forged whiteout",
            device("gone", EntryType::Char, 0, 0),
            "device node",
        ),
        attack(
            "device named as a whiteout",
            device(".wh.x", EntryType::Char, 1, 1),
            "device node",
        ),
        attack(
            "unknown type",
            t().item(Item::new("x", EntryType::new(b'Z'))),
            "unknown type",
        ),
        attack(
            "whiteout of the directory itself",
            t().file(".wh..", ""),
            "parent",
        ),
        attack("whiteout of the parent", t().file("a/.wh...", ""), "parent"),
        attack("whiteout of nothing", t().file(".wh.", ""), "parent"),
        attack(
            "below a whiteout",
            t().file(".wh.a/b", ""),
            "below a whiteout",
        ),
        attack(
            "duplicate file",
            t().file("a", "first").file("a", "second"),
            "twice",
        ),
        attack(
            "duplicate in other spelling",
            t().file("a", "first").file("./a", "second"),
            "twice",
        ),
        attack(
            "duplicate link",
            t().symlink("a", "b").symlink("a", "c"),
            "twice",
        ),
        attack(
            "file and directory",
            t().file("a", "").dir("a"),
            "something else",
        ),
        attack(
            "directory and file",
            t().dir("a").file("a", ""),
            "something else",
        ),
        attack(
            "steering overlayfs",
            t().pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/etc")])
                .dir("a"),
            "extended attribute",
        ),
        attack(
            "opaque by attribute",
            t().pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
                .dir("a"),
            "extended attribute",
        ),
        attack(
            "user overlay attribute",
            t().pax(&[("SCHILY.xattr.user.overlay.opaque", b"y")])
                .dir("a"),
            "extended attribute",
        ),
        attack(
            "metacopy of a file",
            t().pax(&[("SCHILY.xattr.trusted.overlay.metacopy", b"")])
                .file("a", ""),
            "extended attribute",
        ),
        attack(
            "unknown attribute",
            t().pax(&[("SCHILY.xattr.btrfs.compression", b"x")])
                .file("a", ""),
            "extended attribute",
        ),
        attack(
            "attribute of a link",
            t().pax(&[("SCHILY.xattr.user.x", b"y")]).symlink("a", "b"),
            "extended attribute",
        ),
        attack(
            "malformed capability",
            t().pax(&[("SCHILY.xattr.security.capability", b"nonsense")])
                .file("a", ""),
            "bad value",
        ),
        attack(
            "owner beyond 32 bits",
            t().pax(&[("uid", b"4294967296")]).file("a", ""),
            "owner",
        ),
        attack(
            "owner that means no change",
            t().pax(&[("uid", b"4294967295")]).file("a", ""),
            "owner",
        ),
        attack(
            "negative owner",
            t().pax(&[("gid", b"-1")]).file("a", ""),
            "malformed",
        ),
    ]
}

fn forms() -> Vec<Attack> {
    let t = Tar::default;
    let huge = |name: &'static str, kind: EntryType| {
        let mut long = tar::Header::new_gnu();
        long.set_entry_type(kind);
        long.set_size(8 << 30);
        long.set_cksum();
        attack(name, t().raw(long.as_bytes(), b""), "longer than 1 MiB")
    };
    let good = t().file("a", "x").end();
    vec![
        huge("endless long name", EntryType::GNULongName),
        huge("endless long link", EntryType::GNULongLink),
        huge("endless pax header", EntryType::XHeader),
        huge("endless global header", EntryType::XGlobalHeader),
        attack(
            "global header renames",
            {
                let record = b"14 path=../xx\n";
                t().item(Item {
                    data: record,
                    ..Item::new("g", EntryType::XGlobalHeader)
                })
                .file("a", "")
            },
            "global",
        ),
        attack(
            "two pax headers",
            t().pax(&[("path", b"a")])
                .pax(&[("path", b"b")])
                .file("x", ""),
            "two extended",
        ),
        raw(
            "pax header at the end",
            t().pax(&[("path", b"a")]).end(),
            "after an extended header",
        ),
        raw(
            "wrong checksum",
            {
                let mut tar = good.clone();
                tar[150] ^= 1;
                tar
            },
            "checksum",
        ),
        raw("not a tar", b"#!/bin/sh\nrm -rf /\n".repeat(60), "checksum"),
        raw("short", good[..700].to_vec(), "middle of an entry"),
        raw(
            "lone zero block",
            [&[0u8; 512][..], &good].concat(),
            "lone zero block",
        ),
        raw(
            "directory with data",
            header(|h| {
                h.set_entry_type(EntryType::Directory);
                h.set_size(512);
            }),
            "has data",
        ),
        raw(
            "link with data",
            header(|h| {
                h.set_entry_type(EntryType::Symlink);
                h.as_old_mut().linkname[0] = b'y';
                h.set_size(512);
            }),
            "has data",
        ),
        raw(
            "size that is no number",
            header(|h| h.as_old_mut().size = *b"99999999999z"),
            "malformed",
        ),
        raw(
            "size beyond everything",
            header(|h| h.set_size(1 << 62)),
            "middle of an entry",
        ),
        raw(
            "sparse of 8 EiB",
            {
                t().pax(&[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.name", b"x"),
                    ("GNU.sparse.realsize", b"9223372036854775807"),
                ])
                .file("x", {
                    let mut map = b"0\n".to_vec();
                    map.resize(512, 0);
                    map
                })
                .end()
            },
            "unpacks to more",
        ),
        raw(
            "sparse regions overlap",
            t().pax(&[
                ("GNU.sparse.size", b"100"),
                ("GNU.sparse.map", b"0,10,5,10"),
            ])
            .file("x", [0; 20])
            .end(),
            "overlaps",
        ),
        raw(
            "sparse region outside",
            t().pax(&[("GNU.sparse.size", b"100"), ("GNU.sparse.map", b"95,10")])
                .file("x", [0; 10])
                .end(),
            "leaves the file",
        ),
        raw(
            "sparse map without data",
            t().pax(&[("GNU.sparse.size", b"100"), ("GNU.sparse.map", b"0,50")])
                .file("x", [0; 10])
                .end(),
            "does not fit",
        ),
        raw(
            "sparse map of many regions",
            t().pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"1"),
            ])
            .file("x", {
                let mut map = b"99999999999\n".to_vec();
                map.resize(512, 0);
                map
            })
            .end(),
            "malformed",
        ),
        Attack {
            name: "garbage after gzip",
            layers: vec![{
                let mut layer = Layer::gzip(good.clone());
                layer.blob.extend_from_slice(b"garbage");
                layer
            }],
            says: "decompressed",
        },
        Attack {
            name: "cut gzip",
            layers: vec![{
                let mut layer = Layer::gzip(good.clone());
                layer.blob.truncate(layer.blob.len() - 5);
                layer
            }],
            says: "decompressed",
        },
        Attack {
            name: "wrong diffID",
            layers: vec![Layer {
                tar: b"another".to_vec(),
                ..Layer::gzip(good.clone())
            }],
            says: "diffID",
        },
        Attack {
            name: "a bad layer above good ones",
            layers: vec![
                Layer::gzip(good.clone()),
                Layer::gzip(t().file("b", "").end()),
                Layer::gzip(t().file("../c", "").end()),
            ],
            says: "\"..\"",
        },
    ]
}

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
