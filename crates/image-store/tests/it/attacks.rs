//! The corpus: archives that attack, and what the refusal must say.

use crate::kit::*;
use tar::EntryType;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) layers: Vec<Layer>,
    /// What the message must say.
    pub(crate) says: &'static str,
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

pub(crate) fn names() -> Vec<Attack> {
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

pub(crate) fn links() -> Vec<Attack> {
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

pub(crate) fn kinds() -> Vec<Attack> {
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

pub(crate) fn forms() -> Vec<Attack> {
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
