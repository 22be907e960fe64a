//! Several pulls at once.

use crate::kit::*;
use crate::lying_registry::{LyingRegistry, Reply};
use image_store::{CancellationToken, Digest};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn layer(text: &str) -> Layer {
    Layer::gzip(Tar::default().file(text, text).end())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_of_one_name_share_one_transfer() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let image = BuiltImage::new(vec![layer("a")]);
    let waiting = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&waiting);
    let registry = LyingRegistry::scripted(move |r| {
        if r.is_manifest() {
            eventually("everybody has asked", || seen.load(Ordering::SeqCst) == 5);
        }
        None
    });
    registry.put("1", &image);
    let name = reference(&registry.name("1"));
    let mut pulls = Vec::new();
    for _ in 0..5 {
        let (store, name, waiting) = (store.clone(), name.clone(), Arc::clone(&waiting));
        pulls.push(tokio::spawn(async move {
            let sink = silent();
            let pull = store.pull(&name, None, &sink, CancellationToken::new());
            tokio::pin!(pull);
            // Asked, once the future has been polled.
            std::future::poll_fn(|context| {
                let poll = pull.as_mut().poll(context);
                waiting.fetch_add(1, Ordering::SeqCst);
                assert!(poll.is_pending(), "the registry waits for everybody");
                std::task::Poll::Ready(())
            })
            .await;
            pull.await
        }));
    }
    for pull in pulls {
        assert_eq!(pull.await.unwrap().unwrap().id.to_string(), image.id());
    }
    assert_eq!(
        registry.seen().len(),
        3,
        "manifest, configuration, layer: once each"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_of_two_images_is_fetched_once() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let shared = layer("shared");
    let first = BuiltImage::new(vec![shared.clone(), layer("first")]);
    let second = BuiltImage::new(vec![shared.clone(), layer("second")]);
    let registry = LyingRegistry::honest();
    registry.put("1", &first);
    registry.put("2", &second);
    let (one, two) = (
        reference(&registry.name("1")),
        reference(&registry.name("2")),
    );
    let sink = silent();
    let (a, b) = tokio::join!(
        store.pull(&one, None, &sink, CancellationToken::new()),
        store.pull(&two, None, &sink, CancellationToken::new()),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a.id, b.id);
    assert_eq!(registry.blob_requests(&Digest::of(&shared.blob)), 1);
    let bottom = |id| store.image(id).unwrap().layers().last().cloned();
    assert_eq!(bottom(&a.id), bottom(&b.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_takes_nothing_from_those_who_stay() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let image = BuiltImage::new(vec![layer("a")]);
    let gone = CancellationToken::new();
    let seen = gone.clone();
    let registry = LyingRegistry::scripted(move |r| {
        if r.is_blob() {
            eventually("the first has gone away", || seen.is_cancelled());
        }
        None
    });
    registry.put("1", &image);
    let name = reference(&registry.name("1"));
    let first = tokio::spawn({
        let (store, name, gone) = (store.clone(), name.clone(), gone.clone());
        async move { store.pull(&name, None, &silent(), gone).await }
    });
    let sink = silent();
    let second = store.pull(&name, None, &sink, CancellationToken::new());
    let leave = async {
        while registry.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        gone.cancel();
    };
    let (stayed, ()) = tokio::join!(second, leave);
    assert_eq!(stayed.unwrap().id.to_string(), image.id());
    assert!(first.await.unwrap().is_err());
}

#[tokio::test]
async fn a_failure_is_everybody_s_and_the_next_pull_begins_anew() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let image = BuiltImage::new(vec![layer("a")]);
    let registry =
        LyingRegistry::scripted(|r| (r.is_manifest() && r.nth == 0).then(|| Reply::new(404, "")));
    registry.put("1", &image);
    let name = reference(&registry.name("1"));
    let sink = silent();
    let pull = || store.pull(&name, None, &sink, CancellationToken::new());
    let (a, b) = tokio::join!(pull(), pull());
    assert_eq!(a.unwrap_err().message(), b.unwrap_err().message());
    pull().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_images_does_not_take_layers_from_a_pull_under_way() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let shared = layer("shared");
    let first = BuiltImage::new(vec![shared.clone(), layer("first")]);
    let second = BuiltImage::new(vec![shared.clone(), layer("second")]);
    let slow = Digest::of(&second.layers[1].blob).to_string();
    let (other, hold) = (store.clone(), Arc::new(AtomicUsize::new(0)));
    let once = Arc::clone(&hold);
    let id = first.id();
    let registry = LyingRegistry::scripted(move |r| {
        if r.path.ends_with(&slow) && once.fetch_add(1, Ordering::SeqCst) == 0 {
            other.remove(&id, &|_| false).unwrap();
        }
        None
    });
    registry.put("1", &first);
    registry.put("2", &second);
    let sink = silent();
    store
        .pull(
            &reference(&registry.name("1")),
            None,
            &sink,
            CancellationToken::new(),
        )
        .await
        .unwrap();
    let info = store
        .pull(
            &reference(&registry.name("2")),
            None,
            &sink,
            CancellationToken::new(),
        )
        .await
        .unwrap();
    assert_eq!(hold.load(Ordering::SeqCst), 1);
    let image = store.image(&info.id).unwrap();
    assert_eq!(image.file("shared", 10).unwrap().unwrap(), b"shared");
    assert!(store.find(&first.id()).is_none());
}
