//! A real registry: Debian's `docker-registry`, on loopback inside a sandbox, its files in a temporary directory.

use crate::http::{self, Answer};
use crate::image::{INDEX, Image, MANIFEST, digest};
use crate::sandbox::Sandbox;
use crate::wait::{seconds, wait_until};
use anyhow::ensure;
use serde_json::json;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Registry {
    pub address: String,
    sandbox: Sandbox,
    server: Child,
    dir: TempDir,
}

/// `user:password` in an htpasswd file that asks for `ana` / `secret`; bcrypt, the one hash that the registry reads.
const HTPASSWD: &str = "ana:$2y$05$KI7T3BDkxEkZcQrKMcRi6.HIYNPbbYrTSigqAkVqPA/Hloic7DZRa\n";

impl Registry {
    pub fn start(sandbox: &Sandbox) -> Self {
        Self::start_at(sandbox, 5000, "")
    }

    /// Asks for ana's password (basic authentication).
    pub fn start_with_password(sandbox: &Sandbox) -> Self {
        Self::start_at(
            sandbox,
            5001,
            "auth:\n  htpasswd:\n    realm: test\n    path: DIR/htpasswd\n",
        )
    }

    fn start_at(sandbox: &Sandbox, port: u16, more: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("coracle-registry-")
            .tempdir()
            .expect("make a directory");
        let path = dir.path().to_string_lossy().into_owned();
        fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("write htpasswd");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {path}/data\n\
             http:\n  addr: 127.0.0.1:{port}\n{}",
            more.replace("DIR", &path)
        );
        fs::write(dir.path().join("config.yml"), config)
            .expect("write the registry's configuration");
        let log = fs::File::create(dir.path().join("log")).expect("make a log");
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let server = sandbox
            .enter(|| command.spawn())
            .expect("start docker-registry (cargo xtask test installs it)");
        let registry = Self {
            address: format!("127.0.0.1:{port}"),
            sandbox: sandbox.clone(),
            server,
            dir,
        };
        wait_until("the registry to answer", seconds(20), || {
            registry.ask("GET", "/v2/", &[], &[]).is_ok()
        });
        registry
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let mut headers = headers.to_vec();
        headers.push(("Authorization", "Basic YW5hOnNlY3JldA=="));
        self.sandbox
            .enter(|| http::request(&self.address, method, path, &headers, body))
    }

    /// Pushes an image under `name:tag`; the digest of its manifest.
    #[track_caller]
    pub fn push(&self, name: &str, tag: &str, image: &Image) -> String {
        let blobs = image.blobs();
        for blob in image
            .layers
            .iter()
            .map(|layer| &layer.blob)
            .chain([&blobs.config])
        {
            self.push_blob(name, blob).expect("push a blob");
        }
        self.push_manifest(name, tag, MANIFEST, &blobs.manifest)
            .expect("push a manifest");
        digest(&blobs.manifest)
    }

    /// Pushes one index over images of several platforms, as `architecture` of each says.
    #[track_caller]
    pub fn push_index(&self, name: &str, tag: &str, images: &[&Image]) -> String {
        let mut manifests = Vec::new();
        for image in images {
            let digest = self.push(name, &format!("{tag}-{}", image.architecture), image);
            manifests.push(json!({
                "mediaType": MANIFEST,
                "digest": digest,
                "size": image.blobs().manifest.len(),
                "platform": {"os": "linux", "architecture": image.architecture},
            }));
        }
        let index =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        self.push_manifest(name, tag, INDEX, index.as_bytes())
            .expect("push an index");
        digest(index.as_bytes())
    }

    fn push_blob(&self, name: &str, blob: &[u8]) -> anyhow::Result<()> {
        let begun = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), &[], &[])?;
        ensure!(
            begun.status == 202,
            "upload: {} {}",
            begun.status,
            begun.text()
        );
        let location = begun.header("location").unwrap_or_default();
        let path = location
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..]))
            .unwrap_or(location);
        let joint = if path.contains('?') { '&' } else { '?' };
        let done = self.ask(
            "PUT",
            &format!("{path}{joint}digest={}", digest(blob)),
            &[("Content-Type", "application/octet-stream")],
            blob,
        )?;
        ensure!(done.status == 201, "blob: {} {}", done.status, done.text());
        Ok(())
    }

    fn push_manifest(
        &self,
        name: &str,
        tag: &str,
        media_type: &str,
        manifest: &[u8],
    ) -> anyhow::Result<()> {
        let path = format!("/v2/{name}/manifests/{tag}");
        let done = self.ask("PUT", &path, &[("Content-Type", media_type)], manifest)?;
        ensure!(
            done.status == 201,
            "manifest: {} {}",
            done.status,
            done.text()
        );
        Ok(())
    }

    /// `address/name:tag`.
    pub fn reference(&self, name: &str, tag: &str) -> String {
        format!("{}/{name}:{tag}", self.address)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_can_be_fetched() {
        let sandbox = Sandbox::new();
        let registry = Registry::start(&sandbox);
        let image = Image::busybox();
        let digest = registry.push("busybox", "1", &image);
        let answer = registry
            .ask(
                "GET",
                "/v2/busybox/manifests/1",
                &[("Accept", MANIFEST)],
                &[],
            )
            .unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("docker-content-digest"),
            Some(digest.as_str())
        );
        assert_eq!(answer.body, image.blobs().manifest);
    }

    #[test]
    fn a_registry_with_a_password_asks_for_it() {
        let sandbox = Sandbox::new();
        let registry = Registry::start_with_password(&sandbox);
        let stranger = sandbox
            .enter(|| http::get(&registry.address, "/v2/"))
            .unwrap();
        assert_eq!(stranger.status, 401);
        assert_eq!(registry.ask("GET", "/v2/", &[], &[]).unwrap().status, 200);
    }
}
