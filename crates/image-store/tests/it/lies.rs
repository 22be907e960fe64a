//! A registry that lies, fails or dawdles.

use crate::kit::*;
use crate::lying_registry::{Body, LyingRegistry, Reply, Request};
use image_store::{Auth, CancellationToken, Digest, ImageError, ImageInfo, ImageStore};
use pod_model::{FailureReason, Fault};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn image() -> BuiltImage {
    let big: Vec<u8> = (0..400_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    BuiltImage::new(vec![
        Layer::gzip(Tar::default().dir("bin").file("bin/x", "program").end()),
        Layer::gzip(Tar::default().file("big", big).end()),
    ])
}

async fn pull(store: &ImageStore, name: &str) -> Result<ImageInfo, ImageError> {
    store
        .pull(&reference(name), None, &silent(), CancellationToken::new())
        .await
}

/// Pulls from a registry that holds a good image and follows `script`; the pull must fail, saying `says`, and leave nothing.
async fn refused(
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
async fn a_registry_that_never_accepts_the_login_is_asked_twice_and_no_more() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let registry = LyingRegistry::scripted(|_| {
        Some(Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""))
    });
    let auth = Auth::Basic {
        username: "u".into(),
        password: "secret-word".into(),
    };
    let error = store
        .pull(
            &reference(&registry.name("1")),
            Some(auth),
            &silent(),
            CancellationToken::new(),
        )
        .await
        .unwrap_err();
    assert!(
        error.message().contains("authorization failed (401)"),
        "{}",
        error.message()
    );
    assert!(!error.message().contains("secret-word"));
    assert_eq!(error.fault(), Fault::Workload);
    assert_eq!(registry.seen().len(), 2);
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
async fn credentials_stay_with_the_registry_they_are_for() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let image = image();
    let storage = Arc::new(LyingRegistry::honest());
    storage.put("1", &image);
    let host = storage.host();
    let registry = LyingRegistry::scripted(move |r| {
        if r.header("authorization") != Some("Basic dTpw") {
            return Some(Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        r.is_blob()
            .then(|| Reply::redirect(format!("http://{host}{}?signature=abc", r.path)))
    });
    registry.put("1", &image);
    let auth = Auth::Basic {
        username: "u".into(),
        password: "p".into(),
    };
    store
        .pull(
            &reference(&registry.name("1")),
            Some(auth),
            &silent(),
            CancellationToken::new(),
        )
        .await
        .unwrap();
    assert!(storage.seen().len() >= 3);
    assert!(
        storage
            .seen()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    // Another pod that brings no credentials does not profit from the first one's login.
    let error = pull(&store, &registry.name("1")).await.unwrap_err();
    assert!(
        error.message().contains("no basic auth credentials"),
        "{}",
        error.message()
    );
}

#[tokio::test]
async fn tokens_are_fetched_as_challenged_and_used_again() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let image = image();
    let tokens = Arc::new(LyingRegistry::scripted(|r| {
        let good = r.header("authorization") == Some("Basic dTpw")
            || r.body.contains("refresh_token=idtok");
        Some(if good {
            Reply::new(200, r#"{"token":"T","expires_in":300}"#)
        } else {
            Reply::new(401, "{}")
        })
    }));
    let realm = tokens.host();
    let registry = LyingRegistry::scripted(move |r| {
        (r.header("authorization") != Some("Bearer T")).then(|| {
            Reply::new(401, "").with(
                "WWW-Authenticate",
                format!("Bearer realm=\"http://{realm}/token\",service=\"reg\",scope=\"repository:r:pull\""),
            )
        })
    });
    registry.put("1", &image);
    let auth = Auth::Basic {
        username: "u".into(),
        password: "p".into(),
    };
    let name = reference(&registry.name("1"));
    let with = async |auth| {
        store
            .pull(&name, Some(auth), &silent(), CancellationToken::new())
            .await
    };
    with(auth).await.unwrap();
    assert_eq!(tokens.seen().len(), 1, "one token for everything");
    assert_eq!(
        tokens.seen()[0].path,
        "/token?scope=repository%3Ar%3Apull&service=reg"
    );
    assert!(
        registry
            .seen()
            .iter()
            .all(|r| r.header("authorization") != Some("Basic dTpw")),
        "the password goes to the token service only"
    );
    with(Auth::IdentityToken("idtok".into())).await.unwrap();
    assert!(tokens.seen()[1].body.contains("grant_type=refresh_token"));
    let error = with(Auth::Basic {
        username: "u".into(),
        password: "wrong".into(),
    })
    .await
    .unwrap_err();
    assert!(
        error.message().contains("token service"),
        "{}",
        error.message()
    );
    assert_eq!(error.fault(), Fault::Workload);
}

#[tokio::test]
async fn docker_s_configuration_file_is_asked_for_credentials() {
    if !privileged() {
        return;
    }
    let home = Home::new();
    let store = home.open();
    let registry = LyingRegistry::scripted(|r| {
        (r.header("authorization") != Some("Basic dTpw"))
            .then(|| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"))
    });
    registry.put("1", &image());
    let file = home.directory.path().join("config.json");
    let error = pull(&store, &registry.name("1")).await.unwrap_err();
    assert!(error.message().contains("no basic auth credentials"));
    std::fs::write(&file, "{broken").unwrap();
    let error = pull(&store, &registry.name("1")).await.unwrap_err();
    assert!(
        error
            .message()
            .contains("config.json: it is not valid (line 1)"),
        "{}",
        error.message()
    );
    std::fs::write(
        &file,
        format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.host()),
    )
    .unwrap();
    pull(&store, &registry.name("1")).await.unwrap();
}

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
                    .then(|| Reply::new(200, vec![0; super::lies::image().layers[1].blob.len()]))
            })
        }),
        ("cut", |layer| {
            let layer = layer.to_owned();
            LyingRegistry::scripted(move |r| {
                r.path.contains(&layer).then(|| {
                    Reply::body(Body::Cut(super::lies::image().layers[1].blob.clone(), 1000))
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
