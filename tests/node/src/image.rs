//! Images made layer by layer, with whatever a test wants to be right or wrong about them.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::LazyLock;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

pub fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Packing::Plain => tar.to_vec(),
            Packing::Gzip => {
                let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
                zip.write_all(tar).expect("write to memory");
                zip.finish().expect("write to memory")
            }
            Packing::Zstd => zstd::encode_all(tar, 1).expect("write to memory"),
        }
    }
    fn media_type(self) -> &'static str {
        match self {
            Packing::Plain => "application/vnd.oci.image.layer.v1.tar",
            Packing::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Packing::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A layer's archive in the making. Entries are written as they are given: also those that no honest tool writes.
pub struct Layer {
    tar: tar::Builder<Vec<u8>>,
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    pub fn new() -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
        }
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_as(path, 0o644, 0, content)
    }

    pub fn file_as(self, path: &str, mode: u32, uid: u64, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_size(content.len() as u64);
        self.raw(path, header, content)
    }

    pub fn dir(self, path: &str, mode: u32) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        self.raw(&format!("{}/", path.trim_end_matches('/')), header, &[])
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, path, target)
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, path, target)
    }

    fn link(self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(0);
        put_bytes(&mut header.as_old_mut().linkname, target);
        self.raw(path, header, &[])
    }

    /// A character device.
    pub fn device(self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Char);
        header.set_mode(0o666);
        header.set_size(0);
        header.set_device_major(major).expect("a device number");
        header.set_device_minor(minor).expect("a device number");
        self.raw(path, header, &[])
    }

    /// Hides a file of the layers below.
    pub fn whiteout(self, path: &str) -> Self {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = format!("{dir}/.wh.{name}");
        self.file(name.trim_start_matches('/'), b"")
    }

    /// Hides all that the layers below have in a directory.
    pub fn opaque(self, dir: &str) -> Self {
        self.file(&format!("{dir}/.wh..wh..opq"), b"")
    }

    /// An entry with a name that is written as it is, absolute or with `..`. At most 100 bytes.
    pub fn raw(mut self, path: &str, mut header: tar::Header, content: &[u8]) -> Self {
        put_bytes(&mut header.as_old_mut().name, path);
        header.set_cksum();
        self.tar.append(&header, content).expect("write to memory");
        self
    }

    pub fn into_tar(self) -> Vec<u8> {
        self.tar.into_inner().expect("write to memory")
    }
}

fn put_bytes(field: &mut [u8], text: &str) {
    assert!(text.len() <= field.len(), "{text}: too long for a header");
    field.fill(0);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// A layer as it travels.
#[derive(Clone)]
pub struct PackedLayer {
    pub media_type: String,
    pub blob: Vec<u8>,
    pub diff_id: String,
}

#[derive(Clone)]
pub struct Image {
    pub layers: Vec<PackedLayer>,
    pub config: Value,
    pub architecture: String,
}

/// What a registry or an archive holds of one image.
pub struct Blobs {
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

static BUSYBOX: LazyLock<PackedLayer> = LazyLock::new(|| {
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let names = std::process::Command::new("/bin/busybox")
        .arg("--list")
        .output()
        .expect("run busybox");
    let mut layer = Layer::new()
        .dir("bin", 0o755)
        .dir("etc", 0o755)
        .dir("tmp", 0o1777)
        .file_as("bin/busybox", 0o755, 0, program)
        .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nana:x:1000:1000::/home/ana:/bin/sh\n")
        .file("etc/group", "root:x:0:\nnobody:x:65534:\nana:x:1000:\nteam:x:2000:ana\n");
    for name in String::from_utf8_lossy(&names.stdout).lines() {
        if name != "busybox" {
            layer = layer.hard_link(&format!("bin/{name}"), "bin/busybox");
        }
    }
    pack(&layer.into_tar(), Packing::Gzip)
});

pub fn pack(tar: &[u8], packing: Packing) -> PackedLayer {
    PackedLayer {
        media_type: packing.media_type().to_owned(),
        blob: packing.pack(tar),
        diff_id: digest(tar),
    }
}

impl Image {
    /// No layer and an empty configuration.
    pub fn empty() -> Self {
        Self {
            layers: Vec::new(),
            config: json!({"Env": ["PATH=/bin"]}),
            architecture: "amd64".to_owned(),
        }
    }

    /// All of busybox in one layer, `sh` as its command.
    pub fn busybox() -> Self {
        let mut image = Self::empty();
        image.layers.push(BUSYBOX.clone());
        image.set("Cmd", json!(["/bin/sh"]))
    }

    /// One more layer on top.
    pub fn layer(self, layer: Layer) -> Self {
        self.layer_as(layer, Packing::Gzip)
    }

    pub fn layer_as(mut self, layer: Layer, packing: Packing) -> Self {
        self.layers.push(pack(&layer.into_tar(), packing));
        self
    }

    /// A field of the configuration's `config`, as `User` or `Entrypoint`.
    pub fn set(mut self, field: &str, value: Value) -> Self {
        self.config[field] = value;
        self
    }

    pub fn blobs(&self) -> Blobs {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| &layer.diff_id).collect();
        let config = serde_json::to_vec(&json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))
        .expect("JSON");
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| descriptor(&layer.media_type, &layer.blob))
            .collect();
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": layers,
        }))
        .expect("JSON");
        Blobs { config, manifest }
    }
}

pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}
