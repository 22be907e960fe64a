//! A registry that may lie: it serves one image over plain HTTP, and a test changes any answer before it leaves.

use crate::image::{Image, MANIFEST, digest};
use crate::sandbox::Sandbox;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// How many requests for this path there were before this one.
    pub earlier: usize,
}

impl Request {
    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
    /// The first byte that a range asks for.
    pub fn range_start(&self) -> Option<usize> {
        let range = self.headers.get("range")?.strip_prefix("bytes=")?;
        range.split('-').next()?.parse().ok()
    }
}

#[derive(Debug, Clone)]
pub enum Body {
    Whole(Vec<u8>),
    /// Says the whole length, sends only so many bytes and hangs up.
    BrokenOff(Vec<u8>, usize),
    /// Says no length and sends zeros for ever (64 MiB, or until the client hangs up).
    Endless,
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Whole(Vec::new()),
        }
    }
    pub fn ok(body: Vec<u8>) -> Self {
        Self {
            body: Body::Whole(body),
            ..Self::status(200)
        }
    }
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
    pub fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Whole(bytes) | Body::BrokenOff(bytes, _) => bytes.clone(),
            Body::Endless => Vec::new(),
        }
    }
}

type Tamper = dyn Fn(&Request, Reply) -> Reply + Send + Sync;

struct Shared {
    content: HashMap<String, (String, Vec<u8>)>,
    tamper: Box<Tamper>,
    seen: Mutex<Vec<Request>>,
    over: AtomicBool,
}

pub struct Liar {
    pub address: SocketAddr,
    sandbox: Sandbox,
    shared: Arc<Shared>,
    accepting: Option<std::thread::JoinHandle<()>>,
}

impl Liar {
    /// Serves `image` as `x:1`; each honest answer goes through `tamper`.
    pub fn serve(
        sandbox: &Sandbox,
        image: &Image,
        tamper: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let blobs = image.blobs();
        let mut content = HashMap::new();
        for blob in image
            .layers
            .iter()
            .map(|layer| &layer.blob)
            .chain([&blobs.config])
        {
            let path = format!("/v2/x/blobs/{}", digest(blob));
            content.insert(path, ("application/octet-stream".to_owned(), blob.clone()));
        }
        for name in ["1".to_owned(), digest(&blobs.manifest)] {
            let path = format!("/v2/x/manifests/{name}");
            content.insert(path, (MANIFEST.to_owned(), blobs.manifest.clone()));
        }
        content.insert(
            "/v2/".to_owned(),
            ("application/json".to_owned(), b"{}".to_vec()),
        );
        let listener = sandbox
            .enter(|| TcpListener::bind("127.0.0.1:0"))
            .expect("listen on loopback");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            content,
            tamper: Box::new(tamper),
            seen: Mutex::new(Vec::new()),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &theirs));
        Self {
            address,
            sandbox: sandbox.clone(),
            shared,
            accepting: Some(accepting),
        }
    }

    pub fn reference(&self) -> String {
        format!("{}/x:1", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.shared
            .seen
            .lock()
            .map(|seen| seen.clone())
            .unwrap_or_default()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let address = self.address;
        let _ = self.sandbox.enter(|| TcpStream::connect(address));
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client that hangs up is what some tests are about.
            let _ = answer(stream, &shared);
        });
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(64 * 1024)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let mut request = Request {
        path: words.next().unwrap_or_default().to_owned(),
        headers: HashMap::new(),
        earlier: 0,
    };
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            request
                .headers
                .insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    if let Ok(mut seen) = shared.seen.lock() {
        request.earlier = seen
            .iter()
            .filter(|earlier| earlier.path == request.path)
            .count();
        seen.push(request.clone());
    }
    let reply = (shared.tamper)(&request, honest(shared, &request));
    send(&mut stream, &reply, method == "HEAD")
}

fn honest(shared: &Shared, request: &Request) -> Reply {
    let Some((media_type, bytes)) = shared.content.get(&request.path) else {
        return Reply::status(404);
    };
    let reply = match request.range_start() {
        Some(start) if start < bytes.len() => Reply {
            status: 206,
            ..Reply::ok(bytes[start..].to_vec()).header(
                "Content-Range",
                format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            )
        },
        Some(_) => return Reply::status(416),
        None => Reply::ok(bytes.clone()),
    };
    reply
        .header("Content-Type", media_type.as_str())
        .header("Docker-Content-Digest", digest(bytes))
        .header("Accept-Ranges", "bytes")
}

fn send(stream: &mut TcpStream, reply: &Reply, head_only: bool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match &reply.body {
        Body::Whole(bytes) | Body::BrokenOff(bytes, _) => {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len()));
        }
        Body::Endless => head.push_str("\r\n"),
    }
    stream.write_all(head.as_bytes())?;
    if head_only {
        return Ok(());
    }
    match &reply.body {
        Body::Whole(bytes) => stream.write_all(bytes),
        Body::BrokenOff(bytes, length) => stream.write_all(&bytes[..*length]),
        Body::Endless => {
            let zeros = vec![0; 64 * 1024];
            for _ in 0..1024 {
                stream.write_all(&zeros)?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn without_a_lie_it_is_a_registry_that_can_resume() {
        let sandbox = Sandbox::new();
        let image = Image::busybox();
        let liar = Liar::serve(&sandbox, &image, |_, reply| reply);
        let address = liar.address.to_string();
        let blob = &image.layers[0].blob;
        let path = format!("/v2/x/blobs/{}", digest(blob));
        let rest = sandbox
            .enter(|| http::request(&address, "GET", &path, &[("Range", "bytes=100-")], &[]))
            .unwrap();
        assert_eq!((rest.status, rest.body.as_slice()), (206, &blob[100..]));
        assert_eq!(liar.seen().len(), 1);
    }
}
