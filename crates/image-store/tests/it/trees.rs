//! What a good layer becomes.

use crate::kit::*;
use image_store::{ArchiveSource, Image, ImageStore};
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;
use tar::EntryType;

pub(crate) async fn load(store: &ImageStore, layers: Vec<Layer>) -> Arc<Image> {
    let archive = BuiltImage::new(layers).docker_archive(&["t:1"]);
    let loaded = store
        .load(
            ArchiveSource::Reader(Box::new(Cursor::new(archive))),
            &silent(),
        )
        .await
        .unwrap();
    store.image(&loaded[0].info.id).unwrap()
}

#[tokio::test]
async fn attributes_are_those_of_the_archive() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let capability =
        b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let tar = Tar::default()
        .item(Item {
            mode: 0o700,
            uid: 5,
            gid: 6,
            mtime: 77,
            ..Item::new("./", EntryType::Directory)
        })
        .item(Item {
            mode: 0o1777,
            mtime: 11,
            ..Item::new("tmp/", EntryType::Directory)
        })
        .item(Item {
            mode: 0o4755,
            uid: 1000,
            gid: 1001,
            mtime: 12,
            data: b"su",
            ..Item::new("tmp/su", EntryType::Regular)
        })
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"a\nb"),
            ("mtime", b"13.25"),
        ])
        .item(Item {
            uid: 7,
            ..Item::new("ping", EntryType::Regular)
        })
        .pax(&[
            ("SCHILY.xattr.security.selinux", b"label"),
            ("uid", b"3000000"),
            ("gid", b"70000"),
        ])
        .file("big-id", "x")
        .item(Item {
            link: "/etc/../somewhere",
            uid: 9,
            gid: 8,
            mtime: 14,
            ..Item::new("abs", EntryType::Symlink)
        })
        .symlink("up", "../../../../x")
        .hardlink("tmp/su2", "tmp/su")
        .hardlink("abs2", "abs")
        .item(Item {
            mode: 0o600,
            ..Item::new("fifo", EntryType::Fifo)
        })
        .item(Item {
            mode: 0,
            ..Item::new("secret", EntryType::Regular)
        })
        .pax(&[(
            "path",
            format!("tmp/{}/{}", "d".repeat(200), "f".repeat(250)).as_bytes(),
        )])
        .file("short", "long name")
        .end();
    let image = load(&store, vec![Layer::gzip(tar)]).await;
    let root = &image.layers()[0];
    let stat = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(
        (stat("").mode() & 0o7777, stat("").uid(), stat("").mtime()),
        (0o700, 5, 77)
    );
    assert_eq!(
        (stat("tmp").mode() & 0o7777, stat("tmp").mtime()),
        (0o1777, 11)
    );
    assert_eq!(
        (
            stat("tmp/su").mode() & 0o7777,
            stat("tmp/su").uid(),
            stat("tmp/su").gid()
        ),
        (0o4755, 1000, 1001)
    );
    assert_eq!(stat("tmp/su").mtime(), 12);
    assert_eq!(stat("tmp/su").ino(), stat("tmp/su2").ino());
    assert_eq!(
        (
            stat("ping").mtime(),
            stat("ping").mtime_nsec(),
            stat("ping").uid()
        ),
        (13, 250_000_000, 7)
    );
    let xattr = |file: &str, name: &str| {
        let mut value = [0u8; 64];
        rustix::fs::lgetxattr(root.join(file), name, &mut value[..])
            .map(|length| value[..length].to_vec())
    };
    assert_eq!(xattr("ping", "security.capability").unwrap(), capability);
    assert_eq!(xattr("ping", "user.note").unwrap(), b"a\nb");
    assert!(xattr("big-id", "security.selinux").is_err());
    assert_eq!(
        (stat("big-id").uid(), stat("big-id").gid()),
        (3_000_000, 70_000)
    );
    assert_eq!(
        std::fs::read_link(root.join("abs")).unwrap().to_str(),
        Some("/etc/../somewhere")
    );
    assert_eq!(
        (stat("abs").uid(), stat("abs").gid(), stat("abs").mtime()),
        (9, 8, 14)
    );
    assert_eq!(stat("abs").ino(), stat("abs2").ino());
    assert!(stat("fifo").file_type().is_fifo());
    assert_eq!(stat("secret").mode() & 0o7777, 0);
    let long = format!("tmp/{}/{}", "d".repeat(200), "f".repeat(250));
    assert_eq!(
        std::fs::read_to_string(root.join(long)).unwrap(),
        "long name"
    );
}

#[tokio::test]
async fn whiteouts_take_the_form_that_overlayfs_reads() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let tar = Tar::default()
        .file("a/.wh.gone", "")
        .file("b/.wh..wh..opq", "")
        .file("b/new", "x")
        // A layer that hides a name and has it: what it hides is below only.
        .file(".wh.both", "")
        .file("both", "y")
        .file(".wh.dir", "")
        .file("dir/inside", "z")
        .dir("dir2")
        .file(".wh.dir2", "")
        .file(".wh..wh.plnk", "")
        .end();
    let image = load(&store, vec![Layer::plain(tar)]).await;
    let root = &image.layers()[0];
    let stat = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    let opaque = |name: &str| {
        let mut value = [0u8; 8];
        rustix::fs::lgetxattr(root.join(name), "trusted.overlay.opaque", &mut value[..]) == Ok(1)
            && value[0] == b'y'
    };
    assert!(stat("a/gone").file_type().is_char_device() && stat("a/gone").rdev() == 0);
    assert!(!opaque("a"));
    assert!(opaque("b") && stat("b/new").is_file());
    assert_eq!(std::fs::read_to_string(root.join("both")).unwrap(), "y");
    assert!(opaque("dir") && stat("dir/inside").is_file());
    assert!(opaque("dir2"));
    assert!(!root.join(".wh..wh.plnk").exists());
}

#[tokio::test]
async fn overlayfs_shows_the_image_as_its_author_saw_it() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let below = Tar::default()
        .item(Item {
            mode: 0o1777,
            uid: 3,
            gid: 4,
            mtime: 55,
            ..Item::new("var", EntryType::Directory)
        })
        .file("var/old", "old")
        .file("var/kept", "kept")
        .dir("opt")
        .file("opt/a", "a")
        .end();
    // Like layers from tools that do not write parents: nothing describes `var`.
    let above = Tar::default()
        .file("var/new", "new")
        .file("var/.wh.old", "")
        .file("opt/.wh..wh..opq", "")
        .file("opt/b", "b")
        .end();
    let image = load(&store, vec![Layer::gzip(below), Layer::zstd(above)]).await;
    let target = home.directory.path().join("merged");
    std::fs::create_dir(&target).unwrap();
    let lower = image
        .layers()
        .iter()
        .map(|layer| layer.display().to_string())
        .collect::<Vec<_>>()
        .join(":");
    // In a mount namespace of this thread only: nothing is left when it ends.
    let seen = std::thread::spawn(move || {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .unwrap();
        let options = std::ffi::CString::new(format!("lowerdir={lower}")).unwrap();
        mount(
            "overlay",
            &target,
            "overlay",
            MountFlags::RDONLY,
            options.as_c_str(),
        )
        .unwrap();
        let time = std::fs::metadata(target.join("var")).unwrap().mtime();
        (listing(&target), time)
    })
    .join()
    .unwrap();
    assert_eq!(
        seen.0,
        [
            "opt 40755 0:0",
            "opt/b 100644 0:0",
            "var 41777 3:4",
            "var/kept 100644 0:0",
            "var/new 100644 0:0",
        ]
    );
    assert_eq!(seen.1, 55);
}

#[tokio::test]
async fn an_opaque_root_hides_the_layers_below() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let below = Tar::default().file("a", "a").end();
    let above = Tar::default().file(".wh..wh..opq", "").file("b", "b").end();
    let image = load(&store, vec![Layer::gzip(below), Layer::gzip(above)]).await;
    assert_eq!(image.layers().len(), 1);
    assert_eq!(image.file("a", 100).unwrap(), None);
    assert_eq!(image.file("b", 100).unwrap().unwrap(), b"b");
}

#[tokio::test]
async fn sparse_files_have_their_holes_in_every_format() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let size = 10u64 << 20;
    let mut expected = vec![0u8; size as usize];
    expected[4096..4099].copy_from_slice(b"abc");
    expected[(5 << 20)..(5 << 20) + 600].fill(7);
    let mut data = b"abc".to_vec();
    data.extend_from_slice(&[7; 600]);
    // GNU tar's old format.
    let mut old = tar::Header::new_gnu();
    old.set_entry_type(EntryType::GNUSparse);
    old.as_old_mut().name[..3].copy_from_slice(b"old");
    old.set_mode(0o644);
    old.set_uid(0);
    old.set_gid(0);
    old.set_mtime(1);
    old.set_size(512 + 600);
    let gnu = old.as_gnu_mut().unwrap();
    gnu.set_real_size(size);
    let octal = |value: u64| {
        let mut field = [0u8; 12];
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
        field
    };
    gnu.sparse[0].offset = octal(4096);
    gnu.sparse[0].numbytes = octal(512);
    gnu.sparse[1].offset = octal(5 << 20);
    gnu.sparse[1].numbytes = octal(600);
    old.set_cksum();
    let mut old_data = b"abc".to_vec();
    old_data.resize(512, 0);
    old_data.extend_from_slice(&[7; 600]);
    // Version 1.0, as GNU tar writes with --format=posix.
    let mut map = format!("2\n4096\n3\n{}\n600\n", 5 << 20).into_bytes();
    map.resize(512, 0);
    map.extend_from_slice(&data);
    let size_text = size.to_string();
    let map_text = format!("4096,3,{},600", 5 << 20);
    let tar = Tar::default()
        .raw(old.as_bytes(), &old_data)
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"new"),
            ("GNU.sparse.realsize", size_text.as_bytes()),
        ])
        .file("GNUSparseFile.1/new", &map)
        .pax(&[
            ("GNU.sparse.size", size_text.as_bytes()),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.map", map_text.as_bytes()),
            ("GNU.sparse.name", b"middle"),
        ])
        .file("x", &data)
        .file("after", "read at the right place")
        .end();
    let image = load(&store, vec![Layer::gzip(tar)]).await;
    for name in ["old", "new", "middle"] {
        let path = image.layers()[0].join(name);
        assert_eq!(std::fs::read(&path).unwrap(), expected, "{name}");
        assert!(
            std::fs::metadata(&path).unwrap().blocks() < 1000,
            "{name} has no holes"
        );
    }
    assert_eq!(
        image.file("after", 100).unwrap().unwrap(),
        b"read at the right place"
    );
    assert_eq!(image.size_bytes(), 3 * size + 23);
}

#[tokio::test]
async fn files_are_read_through_the_layers_as_a_container_would() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let below = Tar::default()
        .file("etc/passwd", "old")
        .file("etc/group", "group")
        .file("gone/file", "x")
        .file("hidden/file", "x")
        .file("under/file", "x")
        .file("replaced/file", "x")
        .end();
    let above = Tar::default()
        .file("etc/passwd", "new")
        .file(".wh.gone", "")
        .file("hidden/.wh..wh..opq", "")
        .file("replaced", "a file now")
        .symlink("etc/absolute", "/etc/group")
        .symlink("etc/relative", "../etc/./group")
        .symlink("etc/climbing", "../../../../../../../etc/group")
        .symlink("linked", "etc")
        .symlink("loop", "loop2")
        .symlink("loop2", "loop")
        .symlink("zero", "/dev/zero")
        .item(Item::new("etc/fifo", EntryType::Fifo))
        .file("etc/big", vec![b'x'; 5000])
        .end();
    let image = load(&store, vec![Layer::gzip(below), Layer::gzip(above)]).await;
    let read = |path: &str| image.file(path, 4096);
    for (path, content) in [
        ("etc/passwd", Some("new")),
        ("/etc/passwd", Some("new")),
        ("etc/group", Some("group")),
        ("etc/absolute", Some("group")),
        ("etc/relative", Some("group")),
        ("etc/climbing", Some("group")),
        ("linked/group", Some("group")),
        ("../../../etc/group", Some("group")),
        ("linked/../etc/group", Some("group")),
        ("under/file", Some("x")),
        ("replaced", Some("a file now")),
        ("replaced/file", None),
        ("gone/file", None),
        ("hidden/file", None),
        ("missing", None),
        ("etc/passwd/x", None),
        // Followed inside the image, where there is no such device.
        ("zero", None),
    ] {
        assert_eq!(
            read(path).unwrap().as_deref(),
            content.map(str::as_bytes),
            "{path}"
        );
    }
    for path in ["etc", "/", "loop", "etc/fifo", "etc/big"] {
        let error = read(path).unwrap_err();
        assert!(error.message().contains(path), "{}", error.message());
        assert_eq!(error.failure().fault, pod_model::Fault::Workload, "{path}");
    }
}

#[tokio::test]
async fn a_layer_of_one_hundred_layers_fits_into_a_page_of_mount_options() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let layers = (0..100)
        .map(|number| {
            Layer::gzip(
                Tar::default()
                    .file(&format!("f{number}"), number.to_string())
                    .end(),
            )
        })
        .collect();
    let image = load(&store, layers).await;
    let common = home.images().join("layers");
    let options: usize = image
        .layers()
        .iter()
        .map(|layer| layer.strip_prefix(&common).unwrap().as_os_str().len() + 1)
        .sum();
    assert_eq!(image.layers().len(), 100);
    assert!(options < 4096 - 512, "{options}");
}

#[tokio::test]
async fn a_long_list_of_files_is_unpacked_whole() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let mut tar = Tar::default();
    for directory in 0..50 {
        tar = tar.dir(&format!("d{directory}"));
        for file in 0..100 {
            tar = tar.file(
                &format!("d{directory}/f{file}"),
                vec![file as u8; file * 37],
            );
        }
    }
    let image = load(&store, vec![Layer::zstd(tar.end())]).await;
    for directory in 0..50 {
        for file in 0..100usize {
            let path = image.layers()[0].join(format!("d{directory}/f{file}"));
            assert_eq!(std::fs::read(path).unwrap(), vec![file as u8; file * 37]);
        }
    }
}
