//! A registry in this process that does as its script says, down to the bytes of a connection.

use crate::kit::{BuiltImage, MANIFEST};
use image_store::Digest;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    /// How often this path was asked for before.
    pub(crate) nth: usize,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
    pub(crate) fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
    pub(crate) fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

#[derive(Clone)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// Announces everything, sends this many bytes, closes.
    Cut(Vec<u8>, usize),
    /// The same, but stays silent instead of closing.
    Stall(Vec<u8>, usize),
    /// No length, and no end.
    Endless(Vec<u8>),
    /// Announces another length.
    Announce(Vec<u8>, u64),
    /// One byte, a long wait, one byte…
    Drip(Vec<u8>),
    /// Closes before it says anything.
    Reset,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Body::Whole(body.into()),
        }
    }
    pub(crate) fn body(body: Body) -> Reply {
        Reply {
            status: 200,
            headers: Vec::new(),
            body,
        }
    }
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }
    pub(crate) fn redirect(to: impl Into<String>) -> Reply {
        Reply::new(307, "").with("Location", to)
    }
}

type Script = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

struct Shared {
    manifests: Mutex<HashMap<String, (String, Vec<u8>)>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    script: Box<Script>,
    seen: Mutex<Vec<Request>>,
    stop: AtomicBool,
}

pub(crate) struct LyingRegistry {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

impl LyingRegistry {
    /// Tells the truth.
    pub(crate) fn honest() -> LyingRegistry {
        LyingRegistry::scripted(|_| None)
    }

    /// `script` may answer instead of the truth.
    pub(crate) fn scripted(
        script: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> LyingRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manifests: Mutex::default(),
            blobs: Mutex::default(),
            script: Box::new(script),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    // A client that hangs up is part of the game.
                    let _ = shared.serve(stream.unwrap());
                });
            }
        });
        LyingRegistry { shared, address }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
    /// Name of an image in repository `r`.
    pub(crate) fn name(&self, tag: &str) -> String {
        format!("{}/r:{tag}", self.address)
    }
    pub(crate) fn put(&self, tag: &str, image: &BuiltImage) -> &Self {
        self.put_manifest(tag, MANIFEST, &image.manifest);
        self.put_blob(&image.config);
        for layer in &image.layers {
            self.put_blob(&layer.blob);
        }
        self
    }
    pub(crate) fn put_manifest(&self, tag: &str, media_type: &str, manifest: &[u8]) {
        let mut manifests = self.shared.manifests.lock().unwrap();
        for name in [tag.to_owned(), Digest::of(manifest).to_string()] {
            manifests.insert(name, (media_type.to_owned(), manifest.to_vec()));
        }
    }
    pub(crate) fn put_blob(&self, blob: &[u8]) {
        self.put_blob_as(&Digest::of(blob), blob);
    }
    pub(crate) fn put_blob_as(&self, digest: &Digest, blob: &[u8]) {
        let mut blobs = self.shared.blobs.lock().unwrap();
        blobs.insert(digest.to_string(), blob.to_vec());
    }
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }
    pub(crate) fn blob_requests(&self, digest: &Digest) -> usize {
        let digest = digest.to_string();
        self.seen()
            .iter()
            .filter(|request| request.path.ends_with(&digest))
            .count()
    }
}

impl Drop for LyingRegistry {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some(request) = self.read(&mut reader)? {
            let reply = (self.script)(&request).unwrap_or_else(|| self.truth(&request));
            if !self.send(&mut stream, reply)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read(&self, reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        std::io::Read::read_exact(reader, &mut body)?;
        let mut seen = self.seen.lock().unwrap();
        let nth = seen.iter().filter(|request| request.path == path).count();
        let request = Request {
            path,
            headers,
            nth,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        seen.push(request.clone());
        Ok(Some(request))
    }

    pub(crate) fn truth(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        if request.is_manifest()
            && let Some((media_type, bytes)) = self.manifests.lock().unwrap().get(last)
        {
            return Reply::new(200, bytes.clone())
                .with("Content-Type", media_type)
                .with("Docker-Content-Digest", Digest::of(bytes).to_string());
        }
        if request.is_blob()
            && let Some(bytes) = self.blobs.lock().unwrap().get(last)
        {
            let range = request.header("range").and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse::<usize>()
                    .ok()
            });
            return match range {
                Some(from) => Reply::new(206, &bytes[from..]).with(
                    "Content-Range",
                    format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()),
                ),
                None => Reply::new(200, bytes.clone()),
            };
        }
        Reply::new(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
        )
    }

    /// Whether the connection can go on.
    fn send(&self, stream: &mut TcpStream, reply: Reply) -> std::io::Result<bool> {
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let announced = match &reply.body {
            Body::Whole(bytes)
            | Body::Cut(bytes, _)
            | Body::Stall(bytes, _)
            | Body::Drip(bytes) => Some(bytes.len() as u64),
            Body::Announce(_, length) => Some(*length),
            Body::Endless(_) => None,
            Body::Reset => return Ok(false),
        };
        match announced {
            Some(length) => head.push_str(&format!("Content-Length: {length}\r\n\r\n")),
            None => head.push_str("Connection: close\r\n\r\n"),
        }
        stream.write_all(head.as_bytes())?;
        match reply.body {
            Body::Whole(bytes) => {
                stream.write_all(&bytes)?;
                Ok(true)
            }
            Body::Announce(bytes, _) => {
                stream.write_all(&bytes)?;
                Ok(false)
            }
            Body::Cut(bytes, at) => {
                stream.write_all(&bytes[..at])?;
                Ok(false)
            }
            Body::Stall(bytes, at) => {
                stream.write_all(&bytes[..at])?;
                self.until_stopped(stream);
                Ok(false)
            }
            Body::Endless(bytes) => loop {
                stream.write_all(&bytes)?;
            },
            Body::Drip(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(200));
                }
                Ok(true)
            }
            Body::Reset => Ok(false),
        }
    }

    /// Holds the connection open until the other side has had enough.
    fn until_stopped(&self, stream: &mut TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let _ = std::io::Read::read(stream, &mut [0]);
    }
}
