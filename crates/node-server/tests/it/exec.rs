use crate::ask::unix;
use crate::fake::{Fake, Serving, serve};
use bytes::{Bytes, BytesMut};
use node_server::frames::{Frame, FrameCodec};
use node_server::wire::ExecResult;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::codec::{Decoder, Encoder};

/// An upgraded connection.
struct Session {
    stream: UnixStream,
    input: BytesMut,
}

impl Session {
    async fn open(serving: &Serving, query: &str) -> Self {
        let mut stream = UnixStream::connect(&serving.socket).await.unwrap();
        let request = format!(
            "POST /coracle/v1/exec/default/hello-node-1/main?{query} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: coracle-exec/1\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        Self {
            stream,
            input: BytesMut::new(),
        }
    }
    async fn send(&mut self, frame: Frame) {
        let mut out = BytesMut::new();
        FrameCodec.encode(frame, &mut out).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }
    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        let read = async {
            loop {
                if let Some(frame) = FrameCodec.decode(&mut self.input).unwrap() {
                    return Some(frame);
                }
                if self.stream.read_buf(&mut self.input).await.unwrap() == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .expect("a frame comes")
    }
    /// Everything that is left: stdout, stderr, and the result.
    async fn rest(&mut self) -> (Vec<u8>, Vec<u8>, ExecResult) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.next().await.expect("an exit comes before the end") {
                Frame::Stdout(bytes) => out.extend_from_slice(&bytes),
                Frame::Stderr(bytes) => err.extend_from_slice(&bytes),
                Frame::Exit(result) => {
                    assert_eq!(self.next().await, None);
                    return (out, err, serde_json::from_slice(&result).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn output_and_exit_code_come_back() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let query = "command=sh&command=-c&command=echo+out;echo+err+%3E%262;exit+7";
    let (out, err, result) = Session::open(&serving, query).await.rest().await;
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(result.code, Some(7));
    let asked = node.asked.lock().unwrap().take().unwrap();
    assert_eq!(asked.command, ["sh", "-c", "echo out;echo err >&2;exit 7"]);
    assert!(!asked.stdin && !asked.tty && asked.size.is_none());
}

#[tokio::test]
async fn input_reaches_the_process_and_ends_when_it_is_said_to() {
    let serving = serve(&Fake::new()).await;
    let mut session = Session::open(&serving, "command=cat&stdin=1").await;
    session
        .send(Frame::Stdin(Bytes::from_static(b"hello")))
        .await;
    assert_eq!(
        session.next().await,
        Some(Frame::Stdout(Bytes::from_static(b"hello")))
    );
    session.send(Frame::StdinEnd).await;
    assert_eq!(session.rest().await.2.code, Some(0));
}

#[tokio::test]
async fn much_output_comes_whole_to_a_slow_reader() {
    let serving = serve(&Fake::new()).await;
    let mut session = Session::open(
        &serving,
        "command=head&command=-c&command=5000000&command=/dev/zero",
    )
    .await;
    let (out, _, result) = session.rest().await;
    assert_eq!((out.len(), result.code), (5_000_000, Some(0)));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_process() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let file = node.directory.path().join("pid");
    let query = format!(
        "stdin=1&command=sh&command=-c&command=echo+$$%3E{};exec+sleep+1000",
        file.display()
    );
    let session = Session::open(&serving, &query).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let pid = loop {
        match std::fs::read_to_string(&file) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => assert!(std::time::Instant::now() < deadline),
        }
        tokio::task::yield_now().await;
    };
    drop(session);
    let proc = format!("/proc/{pid}/cmdline");
    while std::fs::read(&proc).is_ok_and(|c| !c.is_empty()) {
        assert!(std::time::Instant::now() < deadline, "sleep goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_the_upgrade() {
    let serving = serve(&Fake::new()).await;
    for (path, status, text) in [
        ("/default/x/main?command=id", 404, "pods \"x\" not found"),
        (
            "/default/hello-node-1/x?command=id",
            404,
            "container x is not valid for pod hello-node-1",
        ),
        (
            "/default/hello-node-1/main",
            400,
            "you must specify at least one command",
        ),
        (
            "/default/hello-node-1/main?command=id&comand=x",
            400,
            "exec has no parameter \"comand\"",
        ),
        (
            "/default/hello-node-1/main?command=id&columns=x",
            400,
            "columns is no size",
        ),
        (
            "/default/hello-node-1/main?command=id",
            426,
            "exec needs an upgrade",
        ),
    ] {
        let answer = unix(&serving, "POST", &format!("/coracle/v1/exec{path}")).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.contains(text), "{path}: {}", answer.body);
    }
}
