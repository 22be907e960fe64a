//! Transfers that break, stall, come from mirrors, or are cancelled.

use crate::kit::*;
use crate::lies::{image, pull, refused};
use crate::lying_registry::{Body, LyingRegistry, Reply, Request};
use image_store::{CancellationToken, Digest, ImageStore};
use pod_model::{FailureReason, Fault};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A layer that breaks at `offsets`, once at each, then comes whole from there.
fn breaking(
    at: Vec<usize>,
    how: fn(Vec<u8>, usize) -> Body,
    ranges: bool,
) -> (LyingRegistry, BuiltImage) {
    let image = image();
    let blob = image.layers[1].blob.clone();
    let digest = Digest::of(&blob).to_string();
    let next = AtomicUsize::new(0);
    let registry = LyingRegistry::scripted(move |r| {
        if !r.path.ends_with(&digest) {
            return None;
        }
        let number = next.fetch_add(1, Ordering::SeqCst);
        let asked = r.header("range").map_or(0, |range| {
            range
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse()
                .unwrap()
        });
        let from = if ranges { asked } else { 0 };
        let mut reply = Reply::body(match at.get(number) {
            Some(cut) => how(blob[from..].to_vec(), cut - from),
            None => Body::Whole(blob[from..].to_vec()),
        });
        if from > 0 {
            reply.status = 206;
            reply = reply.with(
                "Content-Range",
                format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()),
            );
        }
        Some(reply)
    });
    registry.put("1", &image);
    (registry, image)
}

async fn comes_through(registry: &LyingRegistry, image: &BuiltImage, requests: usize) {
    let home = Home::new();
    let store = home.open();
    let info = pull(&store, &registry.name("1")).await.unwrap();
    assert_eq!(info.id.to_string(), image.id());
    let file = std::fs::read(store.image(&info.id).unwrap().layers()[0].join("big")).unwrap();
    assert_eq!(file.len(), 1_600_000);
    assert_eq!(
        registry.blob_requests(&Digest::of(&image.layers[1].blob)),
        requests
    );
}

#[tokio::test]
async fn a_transfer_that_breaks_goes_on_from_the_byte_reached() {
    if !privileged() {
        return;
    }
    for at in [0, 1, 3, 17, 512, 4096, 65536, 100_001, 700_000, 1_000_000] {
        let (registry, image) = breaking(vec![at], Body::Cut, true);
        comes_through(&registry, &image, 2).await;
        let again = registry.seen().into_iter().rfind(Request::is_blob).unwrap();
        if at > 0 {
            assert_eq!(again.header("range"), Some(format!("bytes={at}-").as_str()));
        }
    }
    // Many breaks are no reason to give up as long as it gets on.
    let (registry, image) = breaking((1..12).map(|n| n * 100_000).collect(), Body::Cut, true);
    comes_through(&registry, &image, 12).await;
}

#[tokio::test]
async fn a_server_that_ignores_ranges_costs_time_but_nothing_else() {
    if !privileged() {
        return;
    }
    let (registry, image) = breaking(vec![300_000, 700_000], Body::Cut, false);
    comes_through(&registry, &image, 3).await;
}

#[tokio::test]
async fn a_transfer_that_stalls_is_begun_again() {
    if !privileged() {
        return;
    }
    let (registry, image) = breaking(vec![500_000], Body::Stall, true);
    comes_through(&registry, &image, 2).await;
}

#[tokio::test]
async fn a_transfer_that_never_gets_on_is_given_up() {
    let digest = Digest::of(&image().layers[1].blob).to_string();
    let cut = digest.clone();
    refused(
        "always cut at the same byte",
        move |r| {
            r.path
                .ends_with(&cut)
                .then(|| Reply::body(Body::Cut(image().layers[1].blob.clone(), 0)))
        },
        "the transfer broke",
        Fault::Cluster,
    )
    .await;
    let drip = digest.clone();
    refused(
        "one byte now and then",
        move |r| {
            r.path
                .ends_with(&drip)
                .then(|| Reply::body(Body::Drip(image().layers[1].blob.clone())))
        },
        "no progress for 1 s",
        Fault::Cluster,
    )
    .await;
    let wrong = digest.clone();
    refused(
        "the wrong range",
        move |r| {
            r.path.ends_with(&wrong).then(|| match r.nth {
                0 => Reply::body(Body::Cut(image().layers[1].blob.clone(), 1000)),
                _ => {
                    let mut reply = Reply::new(200, &image().layers[1].blob[5..])
                        .with("Content-Range", "bytes 5-10/11");
                    reply.status = 206;
                    reply
                }
            })
        },
        "asked for bytes from 1000",
        Fault::Cluster,
    )
    .await;
}

#[tokio::test]
async fn a_hostile_layer_leaves_nothing_of_its_image() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let before = home.outside();
    let store = home.open();
    let registry = LyingRegistry::honest();
    let image = BuiltImage::new(vec![
        Layer::gzip(Tar::default().file("good", "x").end()),
        Layer::gzip(
            Tar::default()
                .symlink("evil", "/")
                .file("evil/canary", "dead")
                .end(),
        ),
        Layer::gzip(Tar::default().file("good2", "x").end()),
    ]);
    registry.put("1", &image);
    let failure = pull(&store, &registry.name("1"))
        .await
        .unwrap_err()
        .failure();
    assert!(
        failure.message.contains("evil/canary"),
        "{}",
        failure.message
    );
    assert_eq!(
        (failure.reason, failure.fault),
        (FailureReason::ErrImagePull, Fault::Workload)
    );
    home.assert_nothing_kept(&store);
    assert_eq!(home.outside(), before);
}

#[tokio::test]
async fn layers_that_came_whole_are_not_fetched_again() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let image = image();
    let broken = Digest::of(&image.layers[1].blob).to_string();
    let up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = Arc::clone(&up);
    let first = Digest::of(&image.layers[0].blob);
    let layers = home.images().join("layers");
    let registry = LyingRegistry::scripted(move |r| {
        (r.path.ends_with(&broken) && !switch.load(Ordering::SeqCst)).then(|| {
            eventually("the other layer is complete", || {
                std::fs::read_dir(&layers)
                    .unwrap()
                    .flatten()
                    .any(|layer| layer.path().join("mark").exists())
            });
            Reply::new(503, "")
        })
    });
    registry.put("1", &image);
    pull(&store, &registry.name("1")).await.unwrap_err();
    assert!(store.list().is_empty());
    up.store(true, Ordering::SeqCst);
    pull(&store, &registry.name("1")).await.unwrap();
    assert_eq!(registry.blob_requests(&first), 1);
}

#[tokio::test]
async fn a_mirror_that_fails_or_lies_is_passed_over() {
    if !privileged() {
        return;
    }
    let image = image();
    let layer = Digest::of(&image.layers[1].blob).to_string();
    type Make = fn(&str) -> LyingRegistry;
    let mirrors: [(&str, Make); 4] = [
        ("down", |_| {
            LyingRegistry::scripted(|_| Some(Reply::new(503, "")))
        }),
        ("empty", |_| LyingRegistry::honest()),
        ("wrong layer", |layer| {
            let layer = layer.to_owned();
            LyingRegistry::scripted(move |r| {
                r.path
                    .contains(&layer)
                    .then(|| Reply::new(200, vec![0; crate::lies::image().layers[1].blob.len()]))
            })
        }),
        ("cut", |layer| {
            let layer = layer.to_owned();
            LyingRegistry::scripted(move |r| {
                r.path.contains(&layer).then(|| {
                    Reply::body(Body::Cut(crate::lies::image().layers[1].blob.clone(), 1000))
                })
            })
        }),
    ];
    for (what, mirror) in mirrors {
        let mirror = mirror(&layer);
        if what != "empty" {
            mirror.put("1", &image);
        }
        let home = Home::new();
        let registry = LyingRegistry::honest();
        registry.put("1", &image);
        let mut config = home.config();
        config
            .registries
            .mirrors
            .insert(registry.host(), vec![mirror.host()]);
        let store = ImageStore::open(config).unwrap();
        pull(&store, &registry.name("1"))
            .await
            .unwrap_or_else(|error| panic!("{what}: {}", error.message()));
        assert!(
            mirror
                .seen()
                .iter()
                .all(|r| r.path.contains(&format!("?ns={}", registry.host()))),
            "{what}"
        );
    }
    // A good mirror is all that is needed.
    let (mirror, home) = (LyingRegistry::honest(), Home::new());
    mirror.put("1", &image);
    let mut config = home.config();
    config
        .registries
        .mirrors
        .insert("x.invalid".into(), vec![mirror.host()]);
    let store = ImageStore::open(config).unwrap();
    let info = pull(&store, "x.invalid/r:1").await.unwrap();
    assert_eq!(info.repo_digest, format!("x.invalid/r@{}", image.digest()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_pull_ends_soon_and_leaves_nothing_in_work() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let digest = Digest::of(&image().layers[1].blob).to_string();
    let registry = LyingRegistry::scripted(move |r| {
        r.path
            .ends_with(&digest)
            .then(|| Reply::body(Body::Stall(image().layers[1].blob.clone(), 500_000)))
    });
    registry.put("1", &image());
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let sink = image_store::ProgressSink::new(move |event| {
        if let image_store::ProgressEvent::Layer {
            state: image_store::LayerProgress::Downloading { bytes, total },
            ..
        } = event
            && *total > 100_000
            && bytes < total
        {
            token.cancel();
        }
    });
    let error = store
        .pull(&reference(&registry.name("1")), None, &sink, cancel)
        .await
        .unwrap_err();
    assert!(error.message().contains("cancelled"), "{}", error.message());
    eventually("nothing is in work", || {
        std::fs::read_dir(home.images().join("ingest"))
            .unwrap()
            .next()
            .is_none()
            && std::fs::read_dir(home.images().join("trash"))
                .unwrap()
                .next()
                .is_none()
    });
    assert!(store.list().is_empty());
}
