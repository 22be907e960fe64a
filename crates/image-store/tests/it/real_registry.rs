//! Debian's `docker-registry`, started on a loopback port with its files in a temporary directory.

use crate::kit::*;
use image_store::{
    Auth, CancellationToken, Digest, ImageStore, LayerProgress, ProgressEvent, ProgressSink,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

struct Registry {
    child: Child,
    address: SocketAddr,
    authorization: Option<&'static str>,
    _directory: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// bcrypt of `secret`, made with `htpasswd -nbB user secret`.
const HTPASSWD: &str = "user:$2y$05$UKpBuz67bkGLlF1lJC.LP.RQMbLgaW/l3oSvd1369f8jBNw5a12ny\n";
/// `user:secret`.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

impl Registry {
    /// `None`: this machine has none, and nobody insists.
    fn start(login: bool) -> Option<Registry> {
        if !privileged() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        // Free now; nobody else on this machine takes ports in this moment.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let path = directory.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\nhttp: {{addr: \"{address}\"}}\n"
        );
        if login {
            std::fs::write(directory.path().join("htpasswd"), HTPASSWD).unwrap();
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: {path}/htpasswd}}}}\n"
            ));
        }
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "docker-registry: {error}");
                let _ = writeln!(
                    std::io::stderr(),
                    "skipped: docker-registry is not installed ({error})"
                );
                return None;
            }
        };
        let registry = Registry {
            child,
            address,
            authorization: login.then_some(BASIC),
            _directory: directory,
        };
        eventually("the registry listens", || {
            TcpStream::connect(address).is_ok()
        });
        Some(registry)
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    fn request(&self, head: &str, content_type: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let login = self
            .authorization
            .map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
        let head = format!(
            "{head} HTTP/1.1\r\nHost: {}\r\n{login}Connection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{head}{answer}");
        answer
    }

    fn push_blob(&self, repository: &str, blob: &[u8]) {
        let answer = self.request(&format!("POST /v2/{repository}/blobs/uploads/"), "x", b"");
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap();
        let path = &location[location.find("/v2/").unwrap()..];
        self.request(
            &format!("PUT {path}&digest={}", Digest::of(blob)),
            "application/octet-stream",
            blob,
        );
    }

    fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &[u8]) {
        self.request(
            &format!("PUT /v2/{repository}/manifests/{tag}"),
            media_type,
            manifest,
        );
    }

    fn push(&self, repository: &str, tag: &str, image: &BuiltImage) {
        self.push_blob(repository, &image.config);
        for layer in &image.layers {
            self.push_blob(repository, &layer.blob);
        }
        self.push_manifest(repository, tag, MANIFEST, &image.manifest);
    }
}

fn image(text: &str) -> BuiltImage {
    BuiltImage::new(vec![
        Layer::gzip(Tar::default().dir("etc").file("etc/text", text).end()),
        Layer::zstd(Tar::default().file("etc/zstd", "second").end()),
        Layer::plain(Tar::default().file("etc/plain", "third").end()),
    ])
}

async fn pull(
    store: &ImageStore,
    name: &str,
) -> Result<image_store::ImageInfo, image_store::ImageError> {
    store
        .pull(&reference(name), None, &silent(), CancellationToken::new())
        .await
}

#[tokio::test]
async fn an_image_is_pulled_by_tag_and_by_digest() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let image = image("first");
    registry.push("team/app", "v1", &image);
    let home = Home::new();
    let store = home.open();
    let name = registry.name("team/app:v1");
    assert_eq!(store.resolve(&reference(&name)), None);
    let info = pull(&store, &name).await.unwrap();
    let by_digest = registry.name(&format!("team/app@{}", image.digest()));
    assert_eq!(info.id.to_string(), image.id());
    assert_eq!(info.repo_digest, by_digest);
    assert_eq!(info.size_bytes, 5 + 6 + 5);
    for text in [&name, &by_digest, &image.id(), &image.id()[7..19]] {
        assert_eq!(store.find(text).as_ref(), Some(&info), "{text}");
    }
    let found = store.image(&info.id).unwrap();
    assert_eq!(found.layers().len(), 3);
    assert_eq!(found.config().cmd, ["/bin/x"]);
    assert_eq!(found.file("etc/text", 100).unwrap().unwrap(), b"first");
    assert_eq!(found.file("etc/zstd", 100).unwrap().unwrap(), b"second");
    assert_eq!(found.file("etc/plain", 100).unwrap().unwrap(), b"third");
    // Another store, by digest only.
    let other = Home::new();
    let store = other.open();
    assert_eq!(pull(&store, &by_digest).await.unwrap(), info);
    assert_eq!(store.resolve(&reference(&name)), None);
    let missing = pull(&store, &registry.name("team/app:v2"))
        .await
        .unwrap_err()
        .message();
    assert!(
        missing.contains("/v2/team/app/manifests/v2: not found: MANIFEST_UNKNOWN"),
        "{missing}"
    );
}

#[tokio::test]
async fn an_index_leads_to_this_platform() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let ours = image("ours");
    let theirs = image("theirs");
    registry.push("multi", "ours", &ours);
    registry.push("multi", "theirs", &theirs);
    let entry = |image: &BuiltImage, architecture: &str| {
        serde_json::json!({"mediaType": MANIFEST, "digest": image.digest().to_string(), "size": image.manifest.len(),
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry(&theirs, "s390x"), entry(&ours, architecture())]})
    .to_string();
    registry.push_manifest("multi", "latest", INDEX, index.as_bytes());
    let home = Home::new();
    let store = home.open();
    let info = pull(&store, &registry.name("multi")).await.unwrap();
    assert_eq!(info.id.to_string(), ours.id());
    // What a kubelet reports is the digest that the tag had.
    assert_eq!(
        info.repo_digest,
        registry.name(&format!("multi@{}", Digest::of(index.as_bytes())))
    );
    let foreign = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry(&theirs, "s390x")]}).to_string();
    registry.push_manifest("multi", "foreign", INDEX, foreign.as_bytes());
    let error = pull(&store, &registry.name("multi:foreign"))
        .await
        .unwrap_err()
        .message();
    assert!(
        error.contains("no image for platform linux/") && error.contains("linux/s390x"),
        "{error}"
    );
}

#[tokio::test]
async fn a_login_is_needed_and_enough() {
    let Some(registry) = Registry::start(true) else {
        return;
    };
    registry.push("private", "1", &image("secret"));
    let home = Home::new();
    let store = home.open();
    let name = registry.name("private:1");
    let error = pull(&store, &name).await.unwrap_err().message();
    assert!(error.contains("no basic auth credentials"), "{error}");
    let with = async |password: &str| {
        let auth = Auth::Basic {
            username: "user".into(),
            password: password.into(),
        };
        store
            .pull(
                &reference(&name),
                Some(auth),
                &silent(),
                CancellationToken::new(),
            )
            .await
    };
    let error = with("wrong").await.unwrap_err().message();
    assert!(
        error.contains("authorization failed (401): UNAUTHORIZED"),
        "{error}"
    );
    with("secret").await.unwrap();
    // The node's own configuration does, too.
    let other = Home::new();
    let store = other.open();
    let auths =
        serde_json::json!({"auths": {registry.address.to_string(): {"auth": "dXNlcjpzZWNyZXQ="}}});
    std::fs::write(
        other.directory.path().join("config.json"),
        auths.to_string(),
    )
    .unwrap();
    pull(&store, &name).await.unwrap();
}

#[tokio::test]
async fn progress_tells_every_layer_from_beginning_to_end() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let image = image("x");
    registry.push("p", "1", &image);
    let home = Home::new();
    let store = home.open();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let sink = ProgressSink::new(move |event| heard.lock().unwrap().push(event.clone()));
    let name = reference(&registry.name("p:1"));
    store
        .pull(&name, None, &sink, CancellationToken::new())
        .await
        .unwrap();
    let told = std::mem::take(&mut *events.lock().unwrap());
    let ProgressEvent::Resolved {
        layers,
        total_bytes,
        ..
    } = &told[0]
    else {
        panic!("{:?}", told[0]);
    };
    assert_eq!(layers.len(), 3);
    assert_eq!(
        *total_bytes,
        image
            .layers
            .iter()
            .map(|layer| layer.blob.len() as u64)
            .sum::<u64>()
    );
    assert!(matches!(told.last(), Some(ProgressEvent::Complete { .. })));
    for layer in layers {
        let states: Vec<_> = told
            .iter()
            .filter_map(|event| match event {
                ProgressEvent::Layer {
                    layer: digest,
                    state,
                } if *digest == layer.digest => Some(state),
                _ => None,
            })
            .collect();
        assert!(matches!(states[0], LayerProgress::Waiting));
        assert!(states.contains(&&LayerProgress::Downloading {
            bytes: layer.bytes,
            total: layer.bytes
        }));
        assert!(
            matches!(states.last(), Some(LayerProgress::Done { .. })),
            "{states:?}"
        );
    }
    // Again: everything is there, and that is said.
    store
        .pull(&name, None, &sink, CancellationToken::new())
        .await
        .unwrap();
    let exists = |event: &&ProgressEvent| {
        matches!(
            event,
            ProgressEvent::Layer {
                state: LayerProgress::AlreadyExists,
                ..
            }
        )
    };
    assert_eq!(events.lock().unwrap().iter().filter(exists).count(), 3);
}

#[tokio::test]
async fn a_tag_that_moves_leaves_the_old_image_to_its_digest() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let home = Home::new();
    let store = home.open();
    let name = registry.name("moving:1");
    let (old, new) = (image("old"), image("new"));
    registry.push("moving", "1", &old);
    let before = pull(&store, &name).await.unwrap();
    registry.push("moving", "1", &new);
    let after = pull(&store, &name).await.unwrap();
    assert_ne!(before.id, after.id);
    assert_eq!(store.resolve(&reference(&name)).unwrap().id, after.id);
    assert_eq!(store.find(&before.repo_digest).unwrap().id, before.id);
    let list = store.list();
    assert_eq!(list.len(), 2);
    let of = |id| list.iter().find(|summary| summary.id == id).unwrap();
    assert!(of(before.id.clone()).tags.is_empty());
    assert_eq!(of(after.id.clone()).tags, [name]);
}
