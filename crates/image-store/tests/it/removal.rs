//! Names, images and layers going away.

use crate::kit::*;
use image_store::{ArchiveSource, ImageError, ImageId, ImageStore};
use std::io::Cursor;

async fn load(store: &ImageStore, image: &BuiltImage, tags: &[&str]) -> ImageId {
    let source = ArchiveSource::Reader(Box::new(Cursor::new(image.docker_archive(tags))));
    store
        .load(source, &silent())
        .await
        .unwrap()
        .remove(0)
        .info
        .id
}

fn image(text: &str) -> BuiltImage {
    BuiltImage::new(vec![
        Layer::gzip(Tar::default().file("shared", vec![b's'; 1000]).end()),
        Layer::gzip(Tar::default().file("own", text).end()),
    ])
}

fn nobody(_: &ImageId) -> bool {
    false
}

fn layers_on_disk(home: &Home) -> usize {
    std::fs::read_dir(home.images().join("layers"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn an_image_goes_with_its_last_name_and_shared_layers_stay() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let first = load(&store, &image("first"), &["a:1", "b:1"]).await;
    let second = load(&store, &image("second"), &["c:1"]).await;
    assert_eq!(layers_on_disk(&home), 3);
    let removed = store
        .remove("a:1", &|_| panic!("another name is left"))
        .unwrap();
    assert_eq!(
        (removed.untagged, removed.deleted),
        (vec!["docker.io/library/a:1".to_owned()], None)
    );
    assert!(store.find("a:1").is_none() && store.find("b:1").is_some());
    let removed = store.remove("b:1", &nobody).unwrap();
    assert_eq!(
        (removed.deleted, removed.freed_bytes),
        (Some(first.clone()), 5)
    );
    assert!(store.image(&first).is_none() && store.image(&second).is_some());
    assert_eq!(layers_on_disk(&home), 2);
    // By the beginning of its id, with every name.
    let removed = store.remove(&second.digest().hex()[..12], &nobody).unwrap();
    assert_eq!(removed.freed_bytes, 1006);
    home.assert_nothing_kept(&store);
    eventually("the disk is free again", || {
        std::fs::read_dir(home.images().join("trash"))
            .unwrap()
            .next()
            .is_none()
    });
    assert!(matches!(
        store.remove("c:1", &nobody),
        Err(ImageError::NoSuchImage(_))
    ));
}

#[tokio::test]
async fn an_image_in_use_stays() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let id = load(&store, &image("x"), &["a:1", "b:1"]).await;
    let used = id.clone();
    let in_use = move |asked: &ImageId| *asked == used;
    assert!(matches!(
        store.remove(&id.to_string(), &in_use),
        Err(ImageError::InUse { .. })
    ));
    assert_eq!(store.list()[0].tags.len(), 2);
    store.remove("a:1", &in_use).unwrap();
    assert!(matches!(
        store.remove("b:1", &in_use),
        Err(ImageError::InUse { .. })
    ));
    assert!(store.find("b:1").is_some());
}

#[tokio::test]
async fn what_is_complete_is_there_after_a_restart_and_nothing_else() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let (list, layers) = {
        let store = home.open();
        let id = load(&store, &image("x"), &["a:1"]).await;
        store.set_pinned(&id, true).await.unwrap();
        (store.list(), store.image(&id).unwrap().layers().to_vec())
    };
    assert!(list[0].pinned);
    // What a crash can leave: work begun, a layer in its place without its mark, records half written.
    let images = home.images();
    std::fs::create_dir_all(images.join("ingest/7/fs/etc")).unwrap();
    std::fs::write(images.join("ingest/7/fs/etc/half"), "x").unwrap();
    std::fs::create_dir_all(images.join("layers/unmarked/fs")).unwrap();
    std::fs::write(images.join("names/0123.tmp"), "half").unwrap();
    std::fs::write(images.join("names/4567"), "garbage").unwrap();
    std::fs::create_dir_all(images.join("trash/0/fs")).unwrap();
    let store = home.open();
    assert_eq!(store.list(), list);
    assert_eq!(store.image(&list[0].id).unwrap().layers(), layers);
    assert!(!images.join("layers/unmarked").exists() && !images.join("names/0123.tmp").exists());
    assert!(
        images.join("names/4567.corrupt").exists(),
        "put aside, not lost"
    );
    for directory in ["ingest", "trash"] {
        eventually("it is empty", || {
            std::fs::read_dir(images.join(directory))
                .unwrap()
                .next()
                .is_none()
        });
    }
}

#[tokio::test]
async fn a_corrupt_record_costs_its_own_image_only() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let (first, second) = {
        let store = home.open();
        (
            load(&store, &image("first"), &["a:1"]).await,
            load(&store, &image("second"), &["b:1"]).await,
        )
    };
    let record = home.images().join("images").join(first.digest().hex());
    let mut bytes = std::fs::read(&record).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&record, bytes).unwrap();
    let store = home.open();
    assert!(store.image(&first).is_none() && store.find("a:1").is_none());
    assert!(store.image(&second).is_some() && store.find("b:1").is_some());
    // Loaded again, it is whole again; its own layer was still there.
    assert_eq!(load(&store, &image("first"), &["a:1"]).await, first);
    drop(store);
    assert!(home.open().find("a:1").is_some());
}

#[tokio::test]
async fn a_layer_that_lost_its_tree_takes_its_image_along() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let id = {
        let store = home.open();
        let id = load(&store, &image("x"), &["a:1"]).await;
        let tree = store.image(&id).unwrap().layers()[0].clone();
        std::fs::remove_dir_all(tree).unwrap();
        id
    };
    let store = home.open();
    assert!(store.image(&id).is_none() && store.list().is_empty());
}

#[tokio::test]
async fn a_store_has_one_owner() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let error = ImageStore::open(home.config()).err().unwrap();
    assert!(
        error.message().contains("another process has it open"),
        "{}",
        error.message()
    );
    drop(store);
    home.open();
}
