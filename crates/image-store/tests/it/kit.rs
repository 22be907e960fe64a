//! Building images, and looking at what became of them.

use image_store::{
    Digest, ImageReference, ImageStore, ImageStoreConfig, ProgressSink, RetryPolicy,
};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tar::EntryType;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// These tests make devices, owners and trusted attributes; without root they are skipped by name, and fail where nobody would look.
pub(crate) fn privileged() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(
            std::env::var_os("CI").is_none(),
            "this test must run as root"
        );
        let _ = writeln!(std::io::stderr(), "skipped: needs root");
    }
    root
}

/// A tar archive, byte for byte as asked: names that no well-meaning library would write are no problem here.
#[derive(Default, Clone)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

pub(crate) struct Item<'a> {
    pub(crate) path: &'a str,
    pub(crate) kind: EntryType,
    pub(crate) link: &'a str,
    pub(crate) data: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
}

impl<'a> Item<'a> {
    pub(crate) fn new(path: &'a str, kind: EntryType) -> Item<'a> {
        Item {
            path,
            kind,
            link: "",
            data: b"",
            mode: if kind == EntryType::Directory {
                0o755
            } else {
                0o644
            },
            uid: 0,
            gid: 0,
            mtime: 1_000_000_000,
        }
    }
}

impl Tar {
    pub(crate) fn item(self, item: Item<'_>) -> Tar {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(item.kind);
        header.set_mode(item.mode);
        header.set_uid(item.uid);
        header.set_gid(item.gid);
        header.set_mtime(item.mtime);
        header.set_size(item.data.len() as u64);
        let old = header.as_old_mut();
        assert!(
            item.path.len() <= 100 && item.link.len() <= 100,
            "use pax() for long names"
        );
        old.name[..item.path.len()].copy_from_slice(item.path.as_bytes());
        old.linkname[..item.link.len()].copy_from_slice(item.link.as_bytes());
        header.set_cksum();
        self.raw(header.as_bytes(), item.data)
    }
    pub(crate) fn raw(mut self, header: &[u8], data: &[u8]) -> Tar {
        self.0.extend_from_slice(header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    pub(crate) fn dir(self, path: &str) -> Tar {
        self.item(Item::new(path, EntryType::Directory))
    }
    pub(crate) fn file(self, path: &str, data: impl AsRef<[u8]>) -> Tar {
        self.item(Item {
            data: data.as_ref(),
            ..Item::new(path, EntryType::Regular)
        })
    }
    pub(crate) fn symlink(self, path: &str, link: &str) -> Tar {
        self.item(Item {
            link,
            ..Item::new(path, EntryType::Symlink)
        })
    }
    pub(crate) fn hardlink(self, path: &str, link: &str) -> Tar {
        self.item(Item {
            link,
            ..Item::new(path, EntryType::Link)
        })
    }
    /// An extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + 1;
            while length != body + length.to_string().len() {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.item(Item {
            data: &data,
            ..Item::new("PaxHeaders/x", EntryType::XHeader)
        })
    }
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

/// One layer as it is and as it travels.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) tar: Vec<u8>,
    pub(crate) blob: Vec<u8>,
    pub(crate) media_type: &'static str,
}

impl Layer {
    pub(crate) fn gzip(tar: Vec<u8>) -> Layer {
        Layer {
            blob: gzip(&tar),
            tar,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
    pub(crate) fn zstd(tar: Vec<u8>) -> Layer {
        Layer {
            blob: zstd::encode_all(&tar[..], 1).unwrap(),
            tar,
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
    pub(crate) fn plain(tar: Vec<u8>) -> Layer {
        Layer {
            blob: tar.clone(),
            tar,
            media_type: "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

/// An image ready to be served or put into an archive.
#[derive(Clone)]
pub(crate) struct BuiltImage {
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl BuiltImage {
    pub(crate) fn new(layers: Vec<Layer>) -> BuiltImage {
        BuiltImage::with_config(
            layers,
            serde_json::json!({"Cmd": ["/bin/x"], "Env": ["A=b"]}),
        )
    }
    pub(crate) fn with_config(layers: Vec<Layer>, config: serde_json::Value) -> BuiltImage {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| Digest::of(&layer.tar).to_string())
            .collect();
        let config = serde_json::to_vec(&serde_json::json!({
            "architecture": architecture(), "os": "linux", "created": "2026-01-02T03:04:05Z",
            "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": null,
        }))
        .unwrap();
        let manifest = BuiltImage::manifest_of(&layers, &config);
        BuiltImage {
            layers,
            config,
            manifest,
        }
    }
    fn manifest_of(layers: &[Layer], config: &[u8]) -> Vec<u8> {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                serde_json::json!({"mediaType": layer.media_type, "size": layer.blob.len(),
                    "digest": Digest::of(&layer.blob).to_string()})
            })
            .collect();
        serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(config).to_string(), "size": config.len()},
        }))
        .unwrap()
    }
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
    pub(crate) fn id(&self) -> String {
        Digest::of(&self.config).to_string()
    }
    /// As `docker save` writes it.
    pub(crate) fn docker_archive(&self, tags: &[&str]) -> Vec<u8> {
        let hex = Digest::of(&self.config).hex().to_owned();
        let mut tar = Tar::default();
        let mut names = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = format!("{number}/layer.tar");
            tar = tar.dir(&number.to_string()).file(&name, &layer.blob);
            names.push(name);
        }
        let manifest = serde_json::json!([{"Config": format!("{hex}.json"), "RepoTags": tags, "Layers": names}]);
        tar.file(&format!("{hex}.json"), &self.config)
            .file("manifest.json", manifest.to_string())
            .end()
    }
    /// As `skopeo copy … oci-archive:` writes it.
    pub(crate) fn oci_archive(&self, name: &str) -> Vec<u8> {
        let mut tar = Tar::default().file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
            "mediaType": MANIFEST, "digest": self.digest().to_string(), "size": self.manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name}}]});
        tar = tar.file("index.json", index.to_string());
        let mut blobs: BTreeMap<String, &[u8]> = BTreeMap::new();
        blobs.insert(self.digest().hex().into(), &self.manifest);
        blobs.insert(Digest::of(&self.config).hex().into(), &self.config);
        for layer in &self.layers {
            blobs.insert(Digest::of(&layer.blob).hex().into(), &layer.blob);
        }
        for (hex, blob) in blobs {
            tar = tar.file(&format!("blobs/sha256/{hex}"), blob);
        }
        tar.end()
    }
}

pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

/// A store in a directory of its own, with a canary beside it that nothing may touch.
pub(crate) struct Home {
    pub(crate) directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let canary = directory.path().join("canary");
        std::fs::create_dir(&canary).unwrap();
        std::fs::write(canary.join("bird"), "alive").unwrap();
        Home { directory }
    }
    pub(crate) fn images(&self) -> PathBuf {
        self.directory.path().join("images")
    }
    /// Quick to give up: no test waits for a real back-off.
    pub(crate) fn config(&self) -> ImageStoreConfig {
        let mut config = ImageStoreConfig::new(self.images());
        config.registries.docker_config = Some(self.directory.path().join("config.json"));
        config.registries.retry = RetryPolicy {
            tries: 3,
            first_wait: Duration::from_millis(5),
            longest_wait: Duration::from_millis(200),
            connect_timeout: Duration::from_secs(5),
            stall: Duration::from_secs(1),
            least_bytes: 16,
        };
        config
    }
    pub(crate) fn open(&self) -> ImageStore {
        ImageStore::open(self.config()).unwrap()
    }
    /// Everything outside of the store, and that the canary lives.
    pub(crate) fn outside(&self) -> BTreeMap<PathBuf, (u32, u64, i64, Vec<u8>)> {
        let mut out = BTreeMap::new();
        walk(self.directory.path(), &mut |path, metadata| {
            if path != self.images() && !path.ends_with("config.json") {
                let content = if metadata.is_file() {
                    std::fs::read(path).unwrap()
                } else {
                    Vec::new()
                };
                out.insert(
                    path.to_owned(),
                    (
                        metadata.mode(),
                        u64::from(metadata.uid()),
                        metadata.mtime(),
                        content,
                    ),
                );
            }
            path != self.images()
        });
        assert_eq!(
            std::fs::read_to_string(self.directory.path().join("canary/bird")).unwrap(),
            "alive"
        );
        out.remove(self.directory.path());
        out
    }
    /// Nothing of a failed pull is left: no image, no layer, nothing in work. The trash empties itself.
    pub(crate) fn assert_nothing_kept(&self, store: &ImageStore) {
        assert!(store.list().is_empty(), "{:?}", store.list());
        assert_eq!(store.bytes(), 0);
        for directory in ["layers", "images", "names", "ingest"] {
            eventually(&format!("{directory} is empty"), || {
                std::fs::read_dir(self.images().join(directory))
                    .unwrap()
                    .next()
                    .is_none()
            });
        }
    }
}

pub(crate) fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &std::fs::Metadata) -> bool) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    if visit(path, &metadata) && metadata.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), visit);
        }
    }
}

/// Waits for a predicate, with a deadline that only a defect reaches.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn reference(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

pub(crate) fn silent() -> ProgressSink {
    ProgressSink::none()
}

/// Everything in the visible tree of an image, by path: kind and content, as overlayfs would show it, uppermost layer only.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, &mut |path, metadata| {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if !name.is_empty() {
            lines.push(format!(
                "{name} {:o} {}:{}",
                metadata.mode(),
                metadata.uid(),
                metadata.gid()
            ));
        }
        true
    });
    lines.sort();
    lines
}
