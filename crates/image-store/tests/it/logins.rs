//! Who gets which credentials.

use crate::kit::*;
use crate::lies::{image, pull};
use crate::lying_registry::{LyingRegistry, Reply};
use image_store::{Auth, CancellationToken};
use pod_model::Fault;
use std::sync::Arc;

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
