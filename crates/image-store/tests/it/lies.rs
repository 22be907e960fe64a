//! A registry that lies, fails or dawdles.

use crate::kit::*;
use crate::lying_registry::{Body, LyingRegistry, Reply, Request};
use image_store::{CancellationToken, Digest, ImageError, ImageInfo, ImageStore};
use pod_model::{FailureReason, Fault};
use std::time::{Duration, Instant};

pub(crate) fn image() -> BuiltImage {
    let big: Vec<u8> = (0..400_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    BuiltImage::new(vec![
        Layer::gzip(Tar::default().dir("bin").file("bin/x", "program").end()),
        Layer::gzip(Tar::default().file("big", big).end()),
    ])
}

pub(crate) async fn pull(store: &ImageStore, name: &str) -> Result<ImageInfo, ImageError> {
    store
        .pull(&reference(name), None, &silent(), CancellationToken::new())
        .await
}

/// Pulls from a registry that holds a good image and follows `script`; the pull must fail, saying `says`, and leave nothing.
pub(crate) async fn refused(
    what: &str,
    script: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    says: &str,
    fault: Fault,
) {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let before = home.outside();
    let store = home.open();
    let registry = LyingRegistry::scripted(script);
    registry.put("1", &image());
    let began = Instant::now();
    let error = pull(&store, &registry.name("1")).await.expect_err(what);
    let failure = error.failure();
    assert!(
        failure.message.contains(says),
        "{what}: {}",
        failure.message
    );
    assert!(
        failure
            .message
            .starts_with("failed to pull image \"127.0.0.1:"),
        "{}",
        failure.message
    );
    assert!(!failure.message.contains('\n'), "{what}");
    assert_eq!(failure.reason, FailureReason::ErrImagePull, "{what}");
    assert_eq!(failure.fault, fault, "{what}: {}", failure.message);
    assert!(failure.retry, "{what}");
    // Far more than any case needs; without a bound the test would hang.
    assert!(began.elapsed() < Duration::from_secs(60), "{what}");
    assert!(
        store.list().is_empty() && store.find(&registry.name("1")).is_none(),
        "{what}"
    );
    assert_eq!(home.outside(), before, "{what}");
    eventually("nothing is in work", || {
        std::fs::read_dir(home.images().join("ingest"))
            .unwrap()
            .next()
            .is_none()
    });
}

#[tokio::test]
async fn a_wrong_digest_is_refused() {
    refused(
        "a manifest that is not what the registry says",
        |r| {
            r.is_manifest().then(|| {
                Reply::new(200, image().manifest)
                    .with("Docker-Content-Digest", Digest::of(b"x").to_string())
            })
        },
        "does not have the digest",
        Fault::Cluster,
    )
    .await;
    refused(
        "a digest that is none",
        |r| {
            r.is_manifest().then(|| {
                Reply::new(200, image().manifest).with("Docker-Content-Digest", "sha256:../../x")
            })
        },
        "is not a digest",
        Fault::Cluster,
    )
    .await;
    let config = Digest::of(&image().config).to_string();
    refused(
        "another configuration of the same length",
        move |r| {
            r.path
                .ends_with(&config)
                .then(|| Reply::new(200, vec![b' '; image().config.len()]))
        },
        "does not have the digest",
        Fault::Cluster,
    )
    .await;
    let layer = image().layers[1].blob.clone();
    let digest = Digest::of(&layer).to_string();
    for at in [0, 1, 2, 10, 1000, layer.len() / 2, layer.len() - 1] {
        let (mut bad, digest) = (layer.clone(), digest.clone());
        bad[at] ^= 1;
        refused(
            "a flipped bit",
            move |r| {
                r.path
                    .ends_with(&digest)
                    .then(|| Reply::new(200, bad.clone()))
            },
            "is refused: ",
            Fault::Cluster,
        )
        .await;
    }
}

#[tokio::test]
async fn a_wrong_size_is_refused() {
    let blob = image().layers[0].blob.clone();
    let digest = Digest::of(&blob).to_string();
    let with = move |reply: fn(Vec<u8>) -> Reply| {
        let (blob, digest) = (blob.clone(), digest.clone());
        move |r: &Request| r.path.ends_with(&digest).then(|| reply(blob.clone()))
    };
    refused(
        "longer",
        with(|b| Reply::new(200, [b, vec![0; 10]].concat())),
        "where the manifest says",
        Fault::Cluster,
    )
    .await;
    refused(
        "shorter",
        with(|b| Reply::new(200, &b[..b.len() - 1])),
        "where the manifest says",
        Fault::Cluster,
    )
    .await;
    refused(
        "endless",
        with(|b| Reply::body(Body::Endless(b))),
        "sends more than",
        Fault::Cluster,
    )
    .await;
    refused(
        "announces more",
        with(|b| Reply::body(Body::Announce(b.clone(), b.len() as u64 + 5))),
        "announces",
        Fault::Cluster,
    )
    .await;
    let config = Digest::of(&image().config).to_string();
    refused(
        "a longer configuration",
        move |r| {
            r.path
                .ends_with(&config)
                .then(|| Reply::new(200, [image().config, vec![b' '; 4]].concat()))
        },
        "larger than",
        Fault::Cluster,
    )
    .await;
}

#[tokio::test]
async fn an_endless_or_huge_manifest_is_refused() {
    refused(
        "endless",
        |r| {
            r.is_manifest()
                .then(|| Reply::body(Body::Endless(vec![b' '; 65536])))
        },
        "larger than the 4194304 bytes",
        Fault::Cluster,
    )
    .await;
    refused(
        "deep",
        |r| {
            r.is_manifest()
                .then(|| Reply::new(200, "[".repeat(100_000)))
        },
        "not valid JSON",
        Fault::Workload,
    )
    .await;
    refused(
        "huge headers",
        |r| {
            r.is_manifest()
                .then(|| Reply::new(200, "{}").with("X", "y".repeat(1 << 20)))
        },
        "transfer broke",
        Fault::Cluster,
    )
    .await;
    refused(
        "many headers",
        |r| {
            r.is_manifest().then(|| {
                (0..1000).fold(Reply::new(200, "{}"), |reply, n| {
                    reply.with(&format!("X-{n}"), "y")
                })
            })
        },
        "transfer broke",
        Fault::Cluster,
    )
    .await;
}

#[tokio::test]
async fn an_unhelpful_registry_is_reported_in_its_own_words() {
    refused(
        "404",
        |r| {
            r.is_manifest().then(|| {
                Reply::new(
                    404,
                    r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\nunknown"}]}"#,
                )
            })
        },
        "/v2/r/manifests/1: not found: MANIFEST_UNKNOWN: manifest unknown",
        Fault::Workload,
    )
    .await;
    refused(
        "403",
        |_| {
            Some(Reply::new(
                403,
                r#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
            ))
        },
        "access denied (403): DENIED: no",
        Fault::Workload,
    )
    .await;
    refused(
        "401 without a challenge",
        |_| Some(Reply::new(401, "")),
        "401",
        Fault::Workload,
    )
    .await;
    refused(
        "500",
        |r| r.is_manifest().then(|| Reply::new(500, "<html>")),
        "500 Internal Server Error",
        Fault::Cluster,
    )
    .await;
    refused(
        "reset",
        |r| r.is_manifest().then(|| Reply::body(Body::Reset)),
        "transfer broke",
        Fault::Cluster,
    )
    .await;
    refused(
        "no manifest",
        |r| {
            r.is_manifest()
                .then(|| Reply::new(200, "<html>login</html>").with("Content-Type", "text/html"))
        },
        "not valid JSON",
        Fault::Workload,
    )
    .await;
    refused(
        "204",
        |r| r.is_blob().then(|| Reply::new(204, "")),
        "it is 0 bytes long",
        Fault::Cluster,
    )
    .await;
}

#[tokio::test]
async fn too_many_requests_are_waited_for_or_passed_on() {
    if !privileged() {
        return;
    }
    // Soon: waited for.
    let home = Home::new();
    let store = home.open();
    let registry = LyingRegistry::scripted(|r| {
        (r.nth == 0).then(|| Reply::new(429, "").with("Retry-After", "0"))
    });
    registry.put("1", &image());
    pull(&store, &registry.name("1")).await.unwrap();
    // Later: the caller's business, who is told when.
    let home = Home::new();
    let store = home.open();
    let registry = LyingRegistry::scripted(|_| {
        Some(
            Reply::new(
                429,
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
            )
            .with("Retry-After", "120"),
        )
    });
    let failure = pull(&store, &registry.name("1"))
        .await
        .unwrap_err()
        .failure();
    assert_eq!(failure.retry_after, Some(Duration::from_secs(120)));
    assert!(
        failure
            .message
            .contains("too many requests (429): TOOMANYREQUESTS: slow down"),
        "{}",
        failure.message
    );
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn a_redirect_loop_and_redirects_that_lead_astray_are_refused() {
    refused(
        "loop",
        |r| r.is_blob().then(|| Reply::redirect(r.path.clone())),
        "more than 5 times",
        Fault::Cluster,
    )
    .await;
    refused(
        "file",
        |r| r.is_blob().then(|| Reply::redirect("file:///etc/passwd")),
        "the redirect is refused",
        Fault::Cluster,
    )
    .await;
    refused(
        "link-local",
        |r| {
            r.is_blob()
                .then(|| Reply::redirect("http://169.254.169.254/latest/meta-data"))
        },
        "link-local",
        Fault::Cluster,
    )
    .await;
    refused(
        "nowhere",
        |r| r.is_blob().then(|| Reply::new(302, "")),
        "the redirect is refused",
        Fault::Cluster,
    )
    .await;
}

#[tokio::test]
async fn a_manifest_that_is_two_things_or_no_image_is_refused() {
    for (text, says) in [
        (
            r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":null}"#,
            "index and as a manifest",
        ),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
        (
            r#"{"schemaVersion":2,"manifests":[]}"#,
            "no image for platform linux/",
        ),
    ] {
        refused(
            says,
            move |r| r.is_manifest().then(|| Reply::new(200, text)),
            says,
            Fault::Workload,
        )
        .await;
    }
    let swapped = BuiltImage::new(vec![Layer::gzip(Tar::default().end())]).config;
    refused(
        "a configuration with other layers",
        {
            let image = image();
            let manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
            move |r| {
                let mut manifest = manifest.clone();
                manifest["config"]["digest"] = Digest::of(&swapped).to_string().into();
                manifest["config"]["size"] = swapped.len().into();
                if r.is_manifest() {
                    return Some(Reply::new(200, manifest.to_string()));
                }
                r.path
                    .ends_with(&Digest::of(&swapped).to_string())
                    .then(|| Reply::new(200, swapped.clone()))
            }
        },
        "describes 1 layers where the manifest has 2",
        Fault::Workload,
    )
    .await;
}

#[tokio::test]
async fn nobody_listening_is_said_plainly() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let failure = pull(&store, &format!("{address}/r:1"))
        .await
        .unwrap_err()
        .failure();
    assert!(
        failure.message.contains("cannot reach http://"),
        "{}",
        failure.message
    );
    assert!(
        failure.message.contains("Connection refused"),
        "{}",
        failure.message
    );
    assert_eq!(
        (failure.fault, failure.reason),
        (Fault::Cluster, FailureReason::ErrImagePull)
    );
}
