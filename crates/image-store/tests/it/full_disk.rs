//! No space, no inodes: a clean error, nothing half written is believed, and everything works again when there is room.

use crate::kit::*;
use crate::lying_registry::LyingRegistry;
use image_store::{ArchiveSource, CancellationToken, ImageStore};
use pod_model::{FailureReason, Fault};
use std::path::{Path, PathBuf};

/// A small file system; unmounted whatever happens.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> SmallDisk {
        std::fs::create_dir_all(at).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount(
            "tmpfs",
            at,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap();
        SmallDisk(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes / 4)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn files(count: usize) -> Vec<u8> {
    (0..count)
        .fold(Tar::default(), |tar, n| tar.file(&format!("f{n}"), ""))
        .end()
}

async fn check(options: &str, big: BuiltImage) {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let disk = SmallDisk::mount(&home.images(), options);
    let store = home.open();
    let small = BuiltImage::new(vec![Layer::gzip(Tar::default().file("a", "small").end())]);
    let registry = LyingRegistry::honest();
    registry.put("small", &small).put("big", &big);
    let sink = silent();
    let pull = |tag: &str| {
        let name = reference(&registry.name(tag));
        let (store, sink) = (store.clone(), sink.clone());
        async move {
            store
                .pull(&name, None, &sink, CancellationToken::new())
                .await
        }
    };
    let kept = pull("small").await.unwrap();
    for _ in 0..3 {
        let failure = pull("big").await.unwrap_err().failure();
        assert!(
            failure.message.contains("No space left on device"),
            "{}",
            failure.message
        );
        assert_eq!(
            (failure.reason, failure.fault, failure.retry),
            (FailureReason::ErrImagePull, Fault::Node, true)
        );
        assert_eq!(store.list().len(), 1);
        assert_eq!(store.bytes(), kept.size_bytes);
        for directory in ["ingest", "trash"] {
            eventually("the space is given back", || {
                std::fs::read_dir(home.images().join(directory))
                    .unwrap()
                    .next()
                    .is_none()
            });
        }
    }
    let archive = gzip(&big.docker_archive(&["big:1"]));
    let error = store
        .load(
            ArchiveSource::Reader(Box::new(std::io::Cursor::new(archive))),
            &sink,
        )
        .await
        .unwrap_err();
    assert!(
        error.message().contains("No space left on device"),
        "{}",
        error.message()
    );
    // What was complete is whole, and can be removed with no byte free.
    assert_eq!(
        store
            .image(&kept.id)
            .unwrap()
            .file("a", 10)
            .unwrap()
            .unwrap(),
        b"small"
    );
    let filler = home.images().join("filler");
    let _ = std::fs::write(&filler, noise(64 << 20));
    store.remove(&registry.name("small"), &|_| false).unwrap();
    assert!(store.list().is_empty());
    std::fs::remove_file(filler).unwrap();
    drop(store);
    let store = home.open();
    let name = reference(&registry.name("small"));
    store
        .pull(&name, None, &sink, CancellationToken::new())
        .await
        .unwrap();
    drop(store);
    drop(disk);
}

#[tokio::test]
async fn a_full_disk_is_a_clean_error() {
    check(
        "size=6m",
        BuiltImage::new(vec![
            Layer::gzip(Tar::default().file("one", noise(3 << 20)).end()),
            Layer::gzip(Tar::default().file("two", noise(5 << 20)).end()),
        ]),
    )
    .await;
}

#[tokio::test]
async fn no_inodes_left_is_a_clean_error() {
    check(
        "size=64m,nr_inodes=300",
        BuiltImage::new(vec![Layer::gzip(files(100)), Layer::gzip(files(1000))]),
    )
    .await;
}

#[tokio::test]
async fn a_store_on_a_full_disk_opens() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let disk = SmallDisk::mount(&home.images(), "size=4m");
    let image = BuiltImage::new(vec![Layer::gzip(Tar::default().file("a", "a").end())]);
    let archive = image.docker_archive(&["a:1"]);
    let store = home.open();
    store
        .load(
            ArchiveSource::Reader(Box::new(std::io::Cursor::new(archive))),
            &silent(),
        )
        .await
        .unwrap();
    drop(store);
    let _ = std::fs::write(home.images().join("filler"), noise(8 << 20));
    let store = ImageStore::open(home.config()).unwrap();
    assert!(store.find("a:1").is_some());
    drop(store);
    drop(disk);
}
