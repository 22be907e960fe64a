//! A registry that lies, stalls or breaks: the pod says so, nothing of the lie is kept, and the truth is taken when it comes.

use node_tests::leaks::files;
use node_tests::liar::{Body, Liar, Reply, Request};
use node_tests::manifest::Manifest;
use node_tests::{Image, Node, pod, seconds, wait_for};
use serde_json::json;

fn user(reference: &str) -> Manifest {
    pod("user").once().container(json!({
        "name": "main", "image": reference, "imagePullPolicy": "IfNotPresent", "command": ["/bin/echo", "ran"],
    }))
}

/// The pod must fail to get its image, say `words`, and leave no file of it.
#[track_caller]
fn refused(words: &[&str], tamper: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
    let node = Node::builder().without_images().start();
    let images = node.root().join("images");
    let before = files(&images);
    let liar = Liar::serve(&node.sandbox, &Image::busybox(), tamper);
    node.apply(&user(&liar.reference()));
    node.wait_pod("user", "refused", |pod| {
        pod.try_container("main")
            .is_some_and(|main| ["ErrImagePull", "ImagePullBackOff"].contains(&main.waiting()))
    });
    let said = wait_for("the reason", seconds(20), || {
        let events = node.say(&["get", "events"]);
        events.contains("Failed to pull image").then_some(events)
    })
    .to_lowercase();
    assert!(
        words.iter().any(|word| said.contains(word)),
        "none of {words:?} in {said}"
    );
    assert!(
        said.contains(&liar.address.to_string()),
        "the registry is not named: {said}"
    );
    let kept = || {
        let new = files(&images)
            .into_iter()
            .filter(|path| !before.contains(path));
        new.filter(|path| !is_bookkeeping(path)).collect::<Vec<_>>()
    };
    let begin = std::time::Instant::now();
    while !kept().is_empty() {
        assert!(
            begin.elapsed() < seconds(20),
            "something of it is kept: {:?}",
            kept()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let listed = node.say(&["images"]);
    assert!(!listed.contains(&liar.address.to_string()), "{listed}");
}

/// A directory or an empty file: there to be found again, not part of an image.
fn is_bookkeeping(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() || metadata.len() == 0)
}

fn is_layer(request: &Request, reply: &Reply) -> bool {
    request.is_blob() && reply.bytes().len() > 100_000
}

#[test]
fn a_layer_with_a_wrong_digest_is_refused() {
    refused(&["digest"], |request, mut reply| {
        if is_layer(request, &reply) {
            let mut bytes = reply.bytes();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            reply.body = Body::Whole(bytes);
        }
        reply
    });
}

#[test]
fn a_config_with_a_wrong_digest_is_refused() {
    refused(&["digest", "size", "bytes long"], |request, mut reply| {
        if request.is_blob() && !is_layer(request, &reply) {
            reply.body = Body::Whole(br#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec());
        }
        reply
    });
}

#[test]
fn a_layer_longer_than_it_says_is_refused() {
    refused(
        &["size", "longer", "bytes", "digest"],
        |request, mut reply| {
            if is_layer(request, &reply) {
                let mut bytes = reply.bytes();
                bytes.extend_from_slice(&[0; 4096]);
                reply.body = Body::Whole(bytes);
            }
            reply
        },
    );
}

#[test]
fn an_endless_manifest_is_refused() {
    refused(&["manifest"], |request, mut reply| {
        if request.is_manifest() {
            reply.body = Body::Endless;
        }
        reply
    });
}

#[test]
fn an_endless_layer_is_refused() {
    refused(
        &["size", "longer", "bytes", "digest"],
        |request, mut reply| {
            if is_layer(request, &reply) {
                reply.body = Body::Endless;
            }
            reply
        },
    );
}

#[test]
fn a_manifest_that_is_none_is_refused() {
    refused(&["manifest"], |request, mut reply| {
        if request.is_manifest() {
            reply.body = Body::Whole(b"<html>hello</html>".to_vec());
        }
        reply
    });
}

#[test]
fn a_401_without_a_way_in_is_refused() {
    refused(&["401", "unauthorized"], |_, _| Reply::status(401));
}

#[test]
fn a_404_is_refused_as_not_found() {
    refused(&["not found", "404"], |request, reply| {
        if request.is_manifest() {
            Reply::status(404)
        } else {
            reply
        }
    });
}

#[test]
fn a_registry_that_only_fails_is_refused() {
    refused(&["500"], |request, reply| {
        if request.is_manifest() {
            Reply::status(500)
        } else {
            reply
        }
    });
}

#[test]
fn redirects_without_end_are_refused() {
    refused(&["redirect"], |request, reply| {
        if request.is_blob() {
            return Reply::status(307).header("Location", request.path.clone());
        }
        reply
    });
}

#[test]
fn a_layer_that_breaks_off_is_resumed_where_it_broke() {
    let node = Node::builder().without_images().start();
    let liar = Liar::serve(&node.sandbox, &Image::busybox(), |request, mut reply| {
        if is_layer(request, &reply) && request.earlier == 0 {
            let bytes = reply.bytes();
            let half = bytes.len() / 2;
            reply.body = Body::BrokenOff(bytes, half);
        }
        reply
    });
    node.apply(&user(&liar.reference()));
    node.wait_phase("user", "Succeeded");
    let resumed = liar
        .seen()
        .into_iter()
        .filter_map(|request| request.range_start())
        .max();
    assert!(
        resumed.is_some_and(|start| start > 0),
        "it began again from nothing: {:?}",
        liar.seen()
    );
}

#[test]
fn a_registry_that_asks_for_patience_gets_it() {
    let node = Node::builder().without_images().start();
    let liar = Liar::serve(&node.sandbox, &Image::busybox(), |request, reply| {
        if request.is_manifest() && request.earlier == 0 {
            return Reply::status(429).header("Retry-After", "1");
        }
        reply
    });
    node.apply(&user(&liar.reference()));
    node.wait_phase("user", "Succeeded");
}

#[test]
fn once_the_registry_tells_the_truth_the_pod_runs() {
    let node = Node::builder().without_images().start();
    let liar = Liar::serve(&node.sandbox, &Image::busybox(), |request, reply| {
        if request.is_manifest() && request.earlier < 1 {
            Reply::status(404)
        } else {
            reply
        }
    });
    node.apply(&user(&liar.reference()));
    node.wait_phase("user", "Succeeded");
}
