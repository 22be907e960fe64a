//! The demo image: one static program in one layer, written as an OCI archive by this file alone, so that a demo needs neither a
//! registry nor an image builder. The layout is that of the OCI image specification v1.1 ("image-layout.md").

use crate::run::{cargo, root, run, target};
use anyhow::Context;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) const REFERENCE: &str = "localhost/hello:latest";

/// Builds `crates/demo-server` as a static program and writes it as an image to `file`.
pub(crate) fn image(file: &Path) -> anyhow::Result<()> {
    let program = static_program("demo-server")?;
    let file = root().join(file);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    write_archive(&program, &file)
        .with_context(|| format!("could not write the image to {}", file.display()))?;
    println!("{} ({REFERENCE})", file.display());
    Ok(())
}

/// The gnu target links statically when asked; no second toolchain is needed. The flag reaches this one program only, so nothing
/// else is built twice.
fn static_program(package: &str) -> anyhow::Result<PathBuf> {
    run(cargo()
        .args(["rustc", "--quiet", "--package", package, "--bin", package])
        .arg("--release")
        .args(["--", "-C", "target-feature=+crt-static"]))?;
    Ok(target().join("release").join(package))
}

fn write_archive(program: &Path, file: &Path) -> anyhow::Result<()> {
    let layer_tar = layer(program)?;
    let mut zip = GzEncoder::new(Vec::new(), Compression::default());
    zip.write_all(&layer_tar)?;
    let layer_blob = zip.finish()?;
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": ["/demo-server"],
            "ExposedPorts": {"8080/tcp": {}},
            "User": "65532:65532",
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer_tar)]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer_blob)],
    }))?;
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["annotations"] = json!({
        "org.opencontainers.image.ref.name": REFERENCE,
        "io.containerd.image.name": REFERENCE,
    });
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [entry]}))?;

    let mut archive = tar::Builder::new(File::create(file)?);
    let mut put = |path: &str, content: &[u8]| {
        let mut header = plain_header(0o644, content.len());
        archive.append_data(&mut header, path, content)
    };
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put("index.json", &index)?;
    for blob in [&layer_blob, &config, &manifest] {
        let name = digest(blob).replace(':', "/");
        put(&format!("blobs/{name}"), blob)?;
    }
    archive.into_inner()?.sync_all()?;
    Ok(())
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn layer(program: &Path) -> anyhow::Result<Vec<u8>> {
    let program =
        std::fs::read(program).with_context(|| format!("could not read {}", program.display()))?;
    let mut layer = tar::Builder::new(Vec::new());
    for dir in ["tmp/", "etc/"] {
        let mut header = plain_header(if dir == "tmp/" { 0o1777 } else { 0o755 }, 0);
        header.set_entry_type(tar::EntryType::Directory);
        layer.append_data(&mut header, dir, std::io::empty())?;
    }
    let passwd = "root:x:0:0::/:/demo-server\nnonroot:x:65532:65532::/:/demo-server\n";
    let mut header = plain_header(0o644, passwd.len());
    layer.append_data(&mut header, "etc/passwd", passwd.as_bytes())?;
    let mut header = plain_header(0o755, program.len());
    layer.append_data(&mut header, "demo-server", program.as_slice())?;
    Ok(layer.into_inner()?)
}

/// Times and owners are zero: the same program gives the same digest.
fn plain_header(mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn digest(content: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(content) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
